"""`python -m preprocessing.segment FILE OUT_FOLDER`: a recording cut into FLAC segments with a manifest.

Thin: options in, audio loaded and cut, the folder written complete or not at all by `preprocessing.segment.pieces`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from preprocessing.cli.options import check_counts, check_ranges, parse_command, run_command
from preprocessing.errors import UsageError, counted
from preprocessing.plot_style import check_picture_suffix, save_figure

DESCRIPTION = (
    "Cut a recording into FLAC segments with a manifest: at pauses, into overlapping chunks, or at a fixed length."
)
MIN_SECONDS = 0.5


@dataclass(frozen=True)
class SegmentConfig:
    """What to cut, how, and where the output goes."""

    renamed: ClassVar[Mapping[str, str]] = {"output": "output_dir", "picture": "plot", "method": "segmentation"}

    file: Path
    """Audio file to cut."""
    output_dir: Path
    """New folder for the segments and manifest.jsonl."""
    segmentation: Literal["speech", "chunks", "fixed"] = "speech"
    """speech: cut at pauses. chunks: overlapping, with context. fixed: all of one length, the last one padded with
    zeros."""
    seconds: float = 20.0
    """Longest segment (speech), kept part of each chunk (chunks), or length of each segment (fixed), in seconds."""
    context_seconds: float = 2.0
    """Context on both sides of the kept part, which is included in the file (segmentation chunks only), in seconds."""
    threshold: float = 0.5
    """Threshold of the speech probability, above 0 and up to 1."""
    speech_only: bool = False
    """Leave out segments without speech (segmentation speech only)."""
    channel: int | None = None
    """Channel to cut, from 0, such as one side of a call. Default: the mix of all channels."""
    plot: Path | None = None
    """Picture of waveform, speech probability and cuts (also -o): .png, .pdf or .svg."""

    def check(self) -> None:
        """Raises UsageError on a value out of range or an option that does not go with the segmentation."""
        seconds, context = self.seconds, self.context_seconds
        check_ranges(
            ("--seconds", seconds, f"{MIN_SECONDS:g} or more", seconds >= MIN_SECONDS),
            ("--context_seconds", context, "0 or more", context >= 0.0),
            ("--threshold", self.threshold, "above 0 and up to 1", 0.0 < self.threshold <= 1.0),
        )
        check_counts(("--channel", self.channel, 0))
        if self.speech_only and self.segmentation != "speech":
            raise UsageError(
                f"--speech_only goes with --segmentation speech; found --segmentation {self.segmentation}: leave one "
                "of them out"
            )
        check_picture_suffix(self.plot, "--plot")
        if self.output_dir.is_file() or (self.output_dir.is_dir() and any(self.output_dir.iterdir())):
            raise UsageError(f"{self.output_dir}: already exists; expected a new folder: choose another name")


def main(arguments: Sequence[str] | None = None) -> None:
    config = parse_command(
        SegmentConfig,
        program="python -m preprocessing.segment",
        description=DESCRIPTION,
        arguments=arguments,
        positional=True,
        short={"-o": "--plot"},
    )
    config.check()
    from preprocessing import audio
    from preprocessing.cli.notes import note_once
    from preprocessing.segment.pieces import cut, detect_speech, quiet_note, write

    waveform = audio.load(config.file, channel=config.channel)
    needs_speech = config.segmentation == "speech" or config.plot is not None
    activity = detect_speech(waveform, config.threshold) if needs_speech else None
    if activity is not None and (note := quiet_note(str(config.file), waveform, activity)) is not None:
        note_once(note, note)
    pieces = cut(waveform, config.segmentation, config.seconds, config.context_seconds, activity)
    kept = [piece for piece in pieces if piece.speech is not False] if config.speech_only else pieces
    write(config.output_dir, config.file, waveform, kept, config.channel)
    seconds = sum(piece.stop - piece.start for piece in kept) / audio.SAMPLE_RATE
    print(f"{config.output_dir}: {counted(len(kept), 'segment')}, {seconds:.1f} s in all")
    if config.plot is not None and activity is not None:
        from preprocessing.segment.plot import page

        save_figure(page(waveform, config.file.name, activity, kept), config.plot, flag="--plot")
        print(config.plot)


if __name__ == "__main__":
    run_command(main)
