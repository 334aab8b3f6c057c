"""One file over HTTP: it goes on where it was cut, is checked against a published checksum, and appears complete.

What has arrived is `NAME.part` beside the file; `NAME.part.validator` keeps the server's ETag or date, which is sent
back as If-Range (RFC 9110, section 13.1.5): a server whose file has changed sends it whole, and so does one that knows
no ranges.
"""

import hashlib
import http.client
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from preprocessing.errors import InputError

TIMEOUT_SECONDS = 30.0  # without a byte
ATTEMPTS = 5
FIRST_WAIT_SECONDS = 1.0  # doubled after each attempt that brought nothing
BLOCK = 1 << 20
PASSING = (408, 425, 429, 500, 502, 503, 504)  # status codes of a fault that may pass


@dataclass(frozen=True)
class RemoteFile:
    """A file to be downloaded.

    name: what it is called here. megabytes: about, for the list and the free space. checksum: `sha256:HEX` or
    `md5:HEX` as its publisher or a well-known library gives it; empty where there is none.
    """

    url: str
    name: str
    megabytes: float
    checksum: str = ""


class _CutError(Exception):
    """The connection ended early, or the server has a fault that may pass."""


def download(
    file: RemoteFile,
    folder: Path,
    advance: Callable[[int], None] = lambda n_bytes: None,
    first_wait: float = FIRST_WAIT_SECONDS,
) -> Path:
    """Download into `folder` and return the path; a complete file that is there already is only checked.

    advance: called with the number of bytes that have arrived since, those of an earlier call among them.
    first_wait: seconds before the second attempt.
    Raises InputError, one sentence, where the server has no such file, cannot be reached, cuts ATTEMPTS times, or sends
    something of another checksum. OSError of the disk passes through; what has arrived is kept.
    """
    path, part = folder / file.name, folder / f"{file.name}.part"
    if path.is_file():
        _check(path, file)
        advance(path.stat().st_size)
        return path
    folder.mkdir(parents=True, exist_ok=True)
    advance(part.stat().st_size if part.is_file() else 0)
    wait = first_wait
    for attempt in range(1, ATTEMPTS + 1):
        before = part.stat().st_size if part.is_file() else 0
        try:
            _receive(file, part, advance)
            break
        except _CutError as cut:
            arrived = part.stat().st_size if part.is_file() else 0
            if attempt == ATTEMPTS:
                raise InputError(
                    f"{file.url}: {cut}, {ATTEMPTS} times; {arrived / 1e6:.1f} MB have been downloaded and are kept: "
                    "run the same command again to resume"
                ) from None
            time.sleep(wait)
            wait = first_wait if arrived > before else 2 * wait
    _check(part, file)
    part.replace(path)
    _validator(part).unlink(missing_ok=True)
    return path


def checksum_of(path: Path, algorithm: str) -> str:
    """Hexadecimal digest of a file; algorithm: a name of hashlib."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, algorithm).hexdigest()


def _validator(part: Path) -> Path:
    return part.with_name(f"{part.name}.validator")


def _receive(file: RemoteFile, part: Path, advance: Callable[[int], None]) -> None:
    """Append what is missing to `part`. Raises _CutError where it is not complete afterwards."""
    offset = part.stat().st_size if part.is_file() else 0
    validator = _validator(part).read_text(encoding="utf-8") if _validator(part).is_file() else ""
    headers = {"User-Agent": "speech-on-your-own", "Accept-Encoding": "identity"}
    if offset and (validator or file.checksum):
        headers["Range"] = f"bytes={offset}-"
        if validator:
            headers["If-Range"] = validator
    try:
        with urllib.request.urlopen(
            urllib.request.Request(file.url, headers=headers), timeout=TIMEOUT_SECONDS
        ) as answer:
            _write(answer, part, offset, advance)
    except urllib.error.HTTPError as error:
        with error:
            if error.code == 416 and error.headers.get("Content-Range", "") == f"bytes */{offset}":
                return  # it had arrived whole
            if error.code == 416:
                part.unlink()
                advance(-offset)
                raise _CutError("the file on the server has changed") from None
            if error.code in PASSING:
                raise _CutError(f"HTTP {error.code} {error.reason}") from None
            raise InputError(
                f"{file.url}: HTTP {error.code} {error.reason}; expected the file: it may have moved; see the data "
                "set's page"
            ) from None
    except urllib.error.URLError as error:
        if isinstance(error.reason, TimeoutError):
            raise _CutError(f"no answer within {TIMEOUT_SECONDS:g} s") from None
        raise InputError(
            f"{file.url}: no connection ({getattr(error.reason, 'strerror', None) or error.reason}); expected an "
            "internet connection, through a proxy if HTTPS_PROXY names one: check it, or set ASR_DATA_DIR to a folder "
            "that holds the data"
        ) from None
    except (TimeoutError, ConnectionError, http.client.HTTPException) as error:
        raise _CutError(f"the connection was cut ({error or type(error).__name__})") from None


def _write(answer: Any, part: Path, offset: int, advance: Callable[[int], None]) -> None:
    """Write the body of an answer: after `offset` where it is the range asked for, else from the beginning."""
    goes_on = answer.status == 206 and answer.headers.get("Content-Range", "").startswith(f"bytes {offset}-")
    if not goes_on:
        if answer.status == 206:
            raise _CutError("the server sent a different range than requested")
        advance(-offset)
    validator = answer.headers.get("ETag") or answer.headers.get("Last-Modified") or ""
    if validator and not validator.startswith("W/"):  # a weak one says nothing of bytes
        _validator(part).write_text(validator, encoding="utf-8")
    else:
        _validator(part).unlink(missing_ok=True)
    length = answer.headers.get("Content-Length")
    arrived = 0
    with part.open("ab" if goes_on else "wb") as stream:
        while block := answer.read(BLOCK):
            stream.write(block)
            arrived += len(block)
            advance(len(block))
    if length is not None and arrived < int(length):
        raise _CutError(f"the connection was cut after {arrived / 1e6:.1f} of {int(length) / 1e6:.1f} MB")


def _check(path: Path, file: RemoteFile) -> None:
    """Raises InputError, and removes the file, where its checksum is another one than published."""
    algorithm, _, expected = file.checksum.partition(":")
    if not expected:
        return
    found = checksum_of(path, algorithm)
    if found != expected:
        path.unlink()
        _validator(path).unlink(missing_ok=True)
        raise InputError(
            f"{file.url}: {algorithm} is {found}; expected {expected}: the file is damaged or was replaced; the "
            "download has been removed: run the same command again"
        )
