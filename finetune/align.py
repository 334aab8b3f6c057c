"""`python -m finetune.align MODEL RECORDING TEXT -o page.png`: when each word of a text is spoken, and a picture of it.

Thin: options in, log-probabilities of the model, `finetune.alignment.forced`, words as JSON and a page.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from preprocessing.cli.options import check_counts, check_ranges, parse_command, run_command
from preprocessing.errors import InputError, UsageError
from preprocessing.plot_style import check_picture_suffix, save_figure

QUIET_SECONDS = 60.0  # of speech: a shorter recording is done before progress would be seen
DESCRIPTION = (
    "Align a text to a recording with a CTC model; output start, end and confidence of each word as JSON and a picture."
)
SHORTEST_PAGE_SECONDS = 0.02  # a spectrogram of less has no frame
PAGE_SECONDS = 30.0  # drawn from `start`: of a longer stretch letters are narrower than a dot


@dataclass(frozen=True)
class AlignConfig:
    """What to align, and where to."""

    renamed: ClassVar[Mapping[str, str]] = {"audio": "recording", "output": "plot"}

    model: str
    """CTC model: a run's folder, a transformers folder or a Hub id; or FAMILY=CHECKPOINT, as for benchmark/run.py."""
    recording: Path
    """Audio file of any length."""
    text: str
    """Text file, or the text itself. * marks speech without a transcript; - aligns the model's own greedy
    transcript."""
    plot: Path | None = None
    """Picture to draw (also -o): .png, .pdf or .svg."""
    json: Path | None = None
    """File for the words with start, end and probability, under Whisper's key names. Default: print them."""
    profile: str | None = None
    """Text normalisation profile of the model's labels. Default: that of its training, else one fitted to its units."""
    language: str | None = None
    """Language of an MMS model whose adapter is used, such as deu or de. Default: the model's own."""
    channel: int | None = None
    """Channel to align, from 0, such as one side of a call. Default: the mix of all channels."""
    stars: bool = False
    """Allow speech without a transcript between any two words."""
    start: float = 0.0
    """Start of the picture, in seconds."""
    stop: float | None = None
    """End of the picture, in seconds. Default: the end of the recording, at most 30 s after start."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Device that the model runs on; auto takes a GPU if there is one."""

    def check(self) -> None:
        """Raises UsageError on a value that cannot be used."""
        check_picture_suffix(self.plot, "--plot")
        check_counts(("--channel", self.channel, 0))
        check_ranges(("--start", self.start, "0 or more", self.start >= 0.0))
        if self.stop is not None and self.stop <= self.start:
            raise UsageError(f"--stop is {self.stop:g}; expected more than --start {self.start:g}: raise it")


def main(arguments: Sequence[str] | None = None) -> None:
    config = parse_command(
        AlignConfig,
        program="python -m finetune.align",
        description=DESCRIPTION,
        arguments=arguments,
        positional=True,
        short={"-o": "--plot"},
    )
    config.check()
    run(config)


def run(config: AlignConfig) -> None:
    """Align, print or write the words, and draw the page. Raises UserError where an input cannot be used."""
    from rich.console import Console

    from finetune.alignment.confidence import DEFAULT, load_calibration, word_confidences
    from finetune.alignment.forced import Stars, align, align_greedy, as_dict, check_text
    from finetune.systems.ctc_model import load_ctc
    from preprocessing import audio
    from preprocessing.cli.cores import keep_threads_to_quota
    from preprocessing.cli.progress import Steps
    from preprocessing.storage.atomic_write import write_output

    text = None if config.text == "-" else read_text(config.text)
    keep_threads_to_quota()
    model = load_ctc(config.model, config.device, config.language)
    normalised = ""
    if text is not None:
        normalised = normalise_marked(text, model.normaliser(config.profile))
        try:
            check_text(normalised, model.vocabulary)
        except InputError as error:
            raise InputError(f"{config.recording}: {error}") from None
    waveform = audio.load(config.recording, channel=config.channel)
    seconds = len(waveform) / audio.SAMPLE_RATE
    stop = _end_of_page(config, seconds)
    console = Console(stderr=True, highlight=False, soft_wrap=True, quiet=seconds < QUIET_SECONDS)
    try:
        with Steps(console, 1, "seconds").step("listening", round(seconds)) as advance:
            log_probs = model.log_probs(waveform, advance)
        if text is None:
            found = align_greedy(log_probs, model.vocabulary, model.times, splits_unspaced=True)
        else:
            stars: Stars = "everywhere" if config.stars else "marked"
            found = align(log_probs, normalised, model.vocabulary, model.times, stars=stars, splits_unspaced=True)
    except InputError as error:
        raise InputError(f"{config.recording}: {error}") from None
    calibration = load_calibration(model.reference)
    confidences = word_confidences(log_probs, found.words, DEFAULT if calibration is None else calibration.measure)
    if calibration is not None:
        confidences = calibration(confidences).tolist()
    content = json.dumps(as_dict(found, confidences), ensure_ascii=False, indent=1) + "\n"
    if config.json is not None:
        write_output(config.json, "--json", content.encode())
        print(config.json)
    elif config.plot is None:
        print(content, end="")
    if config.plot is not None:
        from finetune.alignment.plot import AlignedRecording, page

        description = f"{len(found.words)} words, {seconds:.2f} s   ·   {config.model}"
        recording = AlignedRecording(waveform, log_probs, found, confidences, model.vocabulary, model.times)
        figure = page(recording, config.recording.name, description, config.start, stop)
        save_figure(figure, config.plot, flag="--plot")
        print(config.plot)


def _end_of_page(config: AlignConfig, seconds: float) -> float:
    """Seconds at which the page ends, where one is drawn. Raises UsageError where there would be nothing on it."""
    stop = min(config.start + PAGE_SECONDS if config.stop is None else config.stop, seconds)
    if config.plot is None:
        return stop
    if config.start >= seconds:
        raise UsageError(f"--start is {config.start:g}; expected less than the recording's {seconds:.2f} s: lower it")
    if stop - config.start < SHORTEST_PAGE_SECONDS:
        raise UsageError(
            f"the page is from {config.start:.3f} to {stop:.3f} s; expected {SHORTEST_PAGE_SECONDS:g} s or more: "
            "lower --start, or raise --stop"
        )
    return stop


def read_text(reference: str) -> str:
    """The text of a file, or `reference` itself where there is no such file and it is not named like one.

    Raises InputError where the file cannot be read or is no UTF-8 text, and where one that is named .txt is not there.
    """
    path = Path(reference)
    try:
        is_file = path.is_file()
    except OSError:  # the text is longer than a name may be
        return reference
    if is_file:
        try:
            return path.read_text(encoding="utf-8-sig")
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({error.strerror}); expected a text file: fix it") from None
        except UnicodeDecodeError as error:
            raise InputError(f"{path}: is not UTF-8 text ({error.reason}); expected a text file: convert it") from None
    if path.suffix == ".txt" and " " not in reference:
        raise InputError(f"{path}: no such file; expected a text file or the text itself: check the name")
    return reference


def normalise_marked(text: str, normalise: Callable[[str], str]) -> str:
    """The text under a profile, with each * that stands by itself kept as a word."""
    parts: list[list[str]] = [[]]
    for word in text.split():
        if word == "*":
            parts.append([])
        else:
            parts[-1].append(word)
    return " * ".join(normalise(" ".join(words)) for words in parts).strip()


if __name__ == "__main__":
    run_command(main)
