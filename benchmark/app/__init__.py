"""A web page that shows every system's transcription of one recording side by side: `python -m benchmark.app`.

Here are its options; transcribing.py runs the systems and compares their words, render.py makes HTML of it, page.py has
gradio's components and events. docs/app.md describes the page.
"""

import math
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from preprocessing.errors import UsageError


@dataclass(frozen=True)
class AppConfig:
    """The options of the page."""

    models: str = "wav2vec2,whisper"
    """Systems, separated by commas: wav2vec2, whisper, FAMILY=CHECKPOINT, or package.module:Class."""

    host: str = "127.0.0.1"
    """Address to listen on; 0.0.0.0 makes the page reachable from other machines."""

    port: int = 7860
    """Port to listen on; 0 takes a free one."""

    max_seconds: float = 300.0
    """Longest transcribed part of a recording, in seconds; the page says so if a file is longer."""

    language: str | None = None
    """Language of the speech, such as de. Default: a multilingual Whisper detects it."""

    lm: Path | None = None
    """ARPA file for systems with +lm, such as wav2vec2+lm=CHECKPOINT; `python -m finetune.language_model build` builds
    one."""

    profile: str = "basic"
    """Text normalisation profile applied before words are compared (`python -m preprocessing.text --list`)."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Device that the models run on; auto takes a GPU if there is one."""

    def check(self) -> None:
        """Raises UsageError on a value outside its range."""
        if not 0 <= self.port <= 65_535:
            raise UsageError(f"--port {self.port}; expected 0 (a free port) to 65535: choose another")
        if not 1 <= self.max_seconds < math.inf:
            raise UsageError(f"--max_seconds {self.max_seconds:g}; expected 1 or more seconds: raise it")


def chosen_port(host: str, port: int) -> int:
    """`port`, or a free one for 0. Raises UsageError where the address cannot be used, before any model is loaded."""
    try:
        family, kind, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            return int(probe.getsockname()[1])
    except socket.gaierror as error:
        raise UsageError(f"--host {host}: {error.strerror}; expected an address of this machine: correct it") from None
    except OSError as error:
        raise UsageError(
            f"--host {host} --port {port}: {error.strerror}; expected a free address: choose another port, or 0 for any"
        ) from None
