"""`python -m preprocessing.show FILE -o page.png`: see what a recogniser is given of a recording.

Thin: options in, audio loaded, one page drawn by `preprocessing.pictures` and written whole or not at all.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from preprocessing.command import parse_command, run_command
from preprocessing.errors import UsageError
from preprocessing.whole import write_output

DESCRIPTION = "Draw a recording's waveform, log-mel spectrogram, MFCC and the four SpecAugment policies on one page."
PAGE_SECONDS = 30.0  # more would be a smear
SUFFIXES = (".png", ".pdf", ".svg")


@dataclass(frozen=True)
class ShowConfig:
    """What to draw, and where to."""

    file: Path
    """any audio file"""
    output: Path = Path("page.png")
    """the page to write (also -o): .png, .pdf or .svg"""
    start: float = 0.0
    """seconds into the file"""
    stop: float | None = None
    """seconds into the file; by default its end, or 30 s after start where that comes first"""
    seed: int = 0
    """of SpecAugment's draws; the same seed draws the same page"""

    def check(self) -> None:
        """Raises UsageError on an output of unknown kind."""
        if self.output.suffix.lower() not in SUFFIXES:
            raise UsageError(
                f"--output {self.output}: suffix {self.output.suffix!r}; expected one of {', '.join(SUFFIXES)}: choose "
                "one of them"
            )


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
    from preprocessing import audio, pictures

    stop = config.start + PAGE_SECONDS if config.stop is None else config.stop
    waveform = audio.load(config.file, start=config.start, stop=stop)
    heading = pictures.Heading(config.file.name, audio.probe(config.file), config.start)
    page = pictures.page(waveform, heading, seed=config.seed)
    drawn = io.BytesIO()
    page.savefig(drawn, format=config.output.suffix[1:].lower())
    write_output(config.output, "--output", drawn.getvalue())
    print(config.output)


if __name__ == "__main__":
    run_command(main)
