"""`python -m finetune.transcribe MODEL FILES_OR_FOLDERS...`: texts, subtitles, word times and confidence of recordings.

Thin: options in, the model loaded, `finetune.transcription` runs.
"""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

from finetune.transcription.options import LOADING, TranscribeConfig, resolve
from preprocessing.cli.options import parse_command, run_command
from preprocessing.errors import InputError, UsageError, counted

if TYPE_CHECKING:
    from rich.console import Console

    from finetune.systems.base import LoadOptions, SystemSpec
    from finetune.transcription.recordings import Recording
    from finetune.transcription.results import Results
    from finetune.transcription.writers import SegmentSelection

DESCRIPTION = (
    "Transcribe recordings of any length with a fine-tuned or published model, as text, subtitles or word timestamps."
)


def main(arguments: Sequence[str] | None = None) -> None:
    config = parse_command(
        TranscribeConfig,
        program="python -m finetune.transcribe",
        description=DESCRIPTION,
        arguments=arguments,
        positional=True,
        short={"-o": "--output_dir", "-f": "--format"},
        several=("recordings", "hotwords", "speakers"),
    )
    run(config)


def run(config: TranscribeConfig) -> None:
    """Transcribe what is not done. Raises UserError; also at the end, where recordings failed."""
    config.check()
    from finetune.transcription.recordings import check_paths, find_recordings

    recordings = [replace(one, channel=config.channel) for one in find_recordings(config.recordings)]
    if "manifest" in config.formats():
        check_paths(recordings)
    from rich.console import Console

    from finetune.transcription.writers import SegmentSelection
    from preprocessing.storage.folder_lock import only_writer

    console = Console(stderr=True, highlight=False, soft_wrap=True)
    spec, options = resolve(config)
    writing = nullcontext() if config.output_dir is None else only_writer(config.output_dir, "--output_dir")
    selection = SegmentSelection(config.min_confidence)
    with writing:
        results = _results(config, spec, options, selection)
        _transcribe(config, spec, options, results, recordings, console, selection)


def _transcribe(
    config: TranscribeConfig,
    spec: "SystemSpec",
    options: "LoadOptions",
    results: "Results",
    recordings: "list[Recording]",
    console: "Console",
    selection: "SegmentSelection",
) -> None:
    from finetune.systems.registry import load_system
    from finetune.transcription.notes import language_note
    from finetune.transcription.run import transcribe
    from preprocessing.cli.cores import keep_threads_to_quota

    if config.speakers:
        from finetune.transcription.by_channel import ByChannel

        results = ByChannel(results, config.speakers, console)
    remaining = results.pending(recordings)
    n_each, noun = (len(config.speakers), "channel") if config.speakers else (1, "recording")
    n_remaining = len(remaining) // n_each
    if n_remaining < len(recordings):
        console.print(f"resuming: {len(recordings) - n_remaining} of {len(recordings):,} recordings are done")
    if not remaining:
        return
    if spec.notice:
        console.print(spec.notice, markup=False)
    from transformers.utils import logging

    logging.disable_progress_bar()  # of weights, beside that of the recordings
    keep_threads_to_quota()
    system = load_system(spec, options)
    needs_words = {"--format ctm": "ctm" in config.formats(), "--min_confidence": config.min_confidence is not None}
    for option, is_given in needs_words.items():
        if is_given and not system.has_word_times:
            raise UsageError(
                f"{option} needs words with their times, which {spec.name} does not give; expected a model that does: "
                f"name another, or leave {option} out"
            )
    if not system.has_word_times and (config.max_line_width is not None or config.highlight_words):
        console.print(f"note: {spec.name} gives no times of words: subtitles are neither wrapped nor highlighted")
    if note := language_note(system, config.language):
        console.print(f"note: {note}", markup=False)
    failed = transcribe(
        system, remaining, results, console,
        words=config.word_timestamps, device=options.device, language=config.language, denoise=options.denoise,
    )  # fmt: skip
    if config.min_confidence is not None:
        console.print(selection.note)
    if failed:
        raise InputError(
            f"{failed:,} of {counted(len(remaining), noun)} could not be transcribed, for the reasons above; "
            "expected audio that the model can transcribe: fix or leave out the recordings named there"
        )


def _results(
    config: TranscribeConfig, spec: "SystemSpec", options: "LoadOptions", selection: "SegmentSelection"
) -> "Results":
    from finetune.transcription.made_with import made_with
    from finetune.transcription.results import ResultsFolder, StandardOutput
    from finetune.transcription.writers import Subtitles

    formats = config.formats()
    subtitles = Subtitles(config.max_line_width, config.max_line_count, config.highlight_words)
    if config.output_dir is None:
        return StandardOutput(formats[0], subtitles, selection=selection)
    apart = ("recordings", "output_dir", "format", "overwrite", "min_confidence", *LOADING)
    chosen = {name: value for name, value in asdict(config).items() if name not in apart}
    if config.min_confidence is not None:
        chosen["min_confidence"] = config.min_confidence
    return ResultsFolder(
        config.output_dir,
        formats,
        made_with(spec, options, chosen),
        overwrite=config.overwrite,
        subtitles=subtitles,
        selection=selection,
    )


if __name__ == "__main__":
    run_command(main)
