"""What every decoder gives, and the sentences for files that give too little."""

from collections.abc import Iterator
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from preprocessing.audio.contract import AudioError, AudioInfo
from preprocessing.audio.source import Opened

Samples = NDArray[np.float32]


class Decoder(Protocol):
    """What the decoders have in common."""

    info: AudioInfo
    on_grid: bool  # every sample is a 16-bit integer already

    def blocks(self, first: int, last: int | None, n_samples: int) -> Iterator[Samples]:
        """Blocks [samples, channels] between two sample indices, `n_samples` long or as the format has them.

        Raises AudioError on damage, and when the file ends before its header says.
        """


def truncated(opened: Opened, found_seconds: float, promised_seconds: float) -> AudioError:
    """The sentence for a file that ends too early."""
    return AudioError(
        f"{opened.name}: ends after {found_seconds:.2f} s; expected the {promised_seconds:.2f} s that its header "
        "promises: fetch it again, or cut it to what is there with a sound editor"
    )


def damaged(opened: Opened, reason: object, at_seconds: float) -> AudioError:
    return AudioError(
        f"{opened.name}: damaged after {at_seconds:.2f} s ({one_line(reason)}); expected samples that can be decoded: "
        "fetch it again"
    )


def one_line(reason: object) -> str:
    return " ".join(str(reason).split()).rstrip(".") or type(reason).__name__
