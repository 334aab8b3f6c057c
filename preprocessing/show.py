"""`python -m preprocessing.show FILE -o page.png`: waveform, log-mel, MFCC and SpecAugment of a recording on one page.

Thin: options in, the stretch loaded, the page drawn by `preprocessing.recording_page` and written.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from preprocessing.cli.options import check_counts, parse_command, run_command
from preprocessing.plot_style import check_picture_suffix, save_figure

DESCRIPTION = "Draw a recording's waveform, log-mel spectrogram, MFCCs and the four SpecAugment policies on one page."
PAGE_SECONDS = 30.0  # frames of a longer stretch are narrower than a dot


@dataclass(frozen=True)
class ShowConfig:
    """What to draw, and where the output goes."""

    file: Path
    """Audio file to draw."""
    output: Path = Path("page.png")
    """Page to write (also -o): .png, .pdf or .svg."""
    start: float = 0.0
    """Start, in seconds into the file."""
    stop: float | None = None
    """End, in seconds into the file. Default: its end, at most 30 s after start."""
    seed: int = 0
    """Seed of SpecAugment; the same seed draws the same page."""
    channel: int | None = None
    """Channel to draw, from 0, such as one side of a call. Default: the mix of all channels."""

    def check(self) -> None:
        """Raises UsageError on an output that is no picture, or a negative channel."""
        check_counts(("--channel", self.channel, 0))
        check_picture_suffix(self.output, "--output")


def main(arguments: Sequence[str] | None = None) -> None:
    config = parse_command(
        ShowConfig,
        program="python -m preprocessing.show",
        description=DESCRIPTION,
        arguments=arguments,
        positional=True,
        short={"-o": "--output"},
    )
    config.check()
    from preprocessing import audio
    from preprocessing.recording_page import Heading, page

    stop = config.start + PAGE_SECONDS if config.stop is None else config.stop
    waveform = audio.load(config.file, start=config.start, stop=stop, channel=config.channel)
    heading = Heading(config.file.name, audio.probe(config.file), config.start, config.channel)
    save_figure(page(waveform, heading, seed=config.seed), config.output, flag="--output")
    print(config.output)


if __name__ == "__main__":
    run_command(main)
