"""A page to speak to: every system's text of one recording side by side. `python -m benchmark.app`; docs/app.md.

config: what it can be told   hear: recording in, hypotheses out   comparison: words against a reference
render: HTML of both   picture: waveform and log-mel   page: gradio's components and events
"""

import math
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from preprocessing.cli.errors import UsageError


@dataclass(frozen=True)
class AppConfig:
    """One page, its systems loaded once."""

    models: str = "wav2vec2,whisper"
    """Systems, separated by commas: wav2vec2, whisper, FAMILY=CHECKPOINT, or package.module:Class."""

    host: str = "127.0.0.1"
    """Address to listen on; 0.0.0.0 opens the page to everyone who can reach this machine."""

    port: int = 7860
    """0: a free one."""

    max_seconds: float = 300.0
    """Of a longer recording only the beginning is heard, and the page says so."""

    language: str | None = None
    """Of the speech, such as de; a multilingual Whisper detects it where it is not given."""

    lm: Path | None = None
    """ARPA file for systems ending in +lm, such as wav2vec2+lm=CHECKPOINT (`python -m finetune.language_model` makes one)."""

    profile: str = "basic"
    """Text profile that words are compared under (`python -m preprocessing.text --list`)."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where models run."""

    def check(self) -> None:
        """Raises UsageError on values that cannot be."""
        if not 0 <= self.port <= 65_535:
            raise UsageError(f"--port {self.port}; expected 0 (a free one) to 65535: choose another")
        if not 1 <= self.max_seconds < math.inf:
            raise UsageError(f"--max_seconds {self.max_seconds:g}; expected 1 or more: raise it")


def chosen_port(host: str, port: int) -> int:
    """`port`, or a free one for 0. Raises UsageError where the address is not to be had, before anything is loaded."""
    try:
        family, kind, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as asked:
            asked.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            asked.bind(address)
            return int(asked.getsockname()[1])
    except socket.gaierror as error:
        raise UsageError(f"--host {host}: {error.strerror}; expected an address of this machine: mend it") from None
    except OSError as error:
        raise UsageError(
            f"--host {host} --port {port}: {error.strerror}; expected an address that is free: choose another port, "
            "or 0 for any"
        ) from None
