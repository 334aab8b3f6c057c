"""`python -m preprocessing.audio IN OUT`: any audio file as mono 16-bit PCM at 16 kHz, the waveform contract.

Thin: options in, one call of `transcode`, one line out.
"""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from preprocessing.audio.contract import SAMPLE_RATE
from preprocessing.cli.options import check_counts, parse_command, run_command
from preprocessing.errors import UsageError, counted

DESCRIPTION = "Convert an audio file to 16-bit PCM at 16 kHz, mono; the suffix of OUTPUT decides between WAV and FLAC."
LONG_SECONDS = 60.0  # shorter files show no progress
SUFFIXES = (".wav", ".flac")


@dataclass(frozen=True)
class TranscodeConfig:
    """What to read, and where to write it."""

    renamed: ClassVar[Mapping[str, str]] = {"source": "file"}

    file: Path
    """Audio file to read."""
    output: Path
    """File to write: .wav or .flac."""
    dither: Literal["none", "tpdf"] = "none"
    """Noise added before rounding to 16 bits: none, or triangular (two quantisation steps wide)."""
    seed: int = 0
    """Seed of the dither."""
    channel: int | None = None
    """Channel to convert, from 0, such as one side of a call. Default: the mix of all channels."""
    overwrite: bool = False
    """Replace an existing output."""

    def check(self) -> None:
        """Raises UsageError on an output that cannot be written, or a negative seed or channel."""
        if self.output.suffix.lower() not in SUFFIXES:
            raise UsageError(f"output {self.output}: expected a name ending in .wav or .flac: change its suffix")
        check_counts(("--seed", self.seed, 0), ("--channel", self.channel, 0))
        if self.output.exists() and not self.overwrite:
            raise UsageError(f"output {self.output}: exists; expected a new name: give another or --overwrite true")


def main(arguments: Sequence[str] | None = None) -> None:
    config = parse_command(
        TranscodeConfig,
        program="python -m preprocessing.audio",
        description=DESCRIPTION,
        arguments=arguments,
        positional=True,
    )
    config.check()
    from rich.console import Console

    from preprocessing import audio
    from preprocessing.audio.pcm16 import TriangularDither
    from preprocessing.cli.progress import Steps

    info = audio.probe(config.file)
    dither = TriangularDither(config.seed) if config.dither == "tpdf" else None
    steps = Steps(Console(stderr=True), 1, "seconds")
    is_long = info.duration >= LONG_SECONDS
    with steps.step("converting", round(info.duration)) if is_long else nullcontext() as on_progress:
        n_samples = audio.transcode(
            config.file, config.output, dither=dither, on_progress=on_progress, channel=config.channel
        )
    channels = counted(info.n_channels, "channel")
    channels = channels if config.channel is None else f"channel {config.channel} of {channels}"
    print(
        f"{config.output}: {n_samples / SAMPLE_RATE:.2f} s, {n_samples} samples at 16 kHz, from {info.codec} at "
        f"{info.sample_rate} Hz, {channels}, dither {config.dither}"
    )


if __name__ == "__main__":
    run_command(main)
