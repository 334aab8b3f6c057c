"""How accurate are the word times of forced alignment, compared with torchaudio's tutorial and ctc-forced-aligner?

All three align the same log-probabilities. Utterances of one or a few words are joined into strings, so that their true
start and end times are known; a recording with segment times gives them for natural speech. Without options, the
embedded demo's commands are joined.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, TypeAlias

from experiments.harness.command import ExperimentOptions, progress, run_experiment
from experiments.harness.figures import Findings, Table
from preprocessing.cli.options import check_counts, check_ranges, run_command
from preprocessing.errors import UsageError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from torch import Tensor

    from finetune.alignment.forced import Alignment
    from finetune.systems.ctc_model import CTCModel
    from preprocessing.corpus import Utterance

DURATION = "1 minute with the embedded demo"
QUICK_STRINGS = 5
OURS, FRAMES, TUTORIAL, CTC_FORCED_ALIGNER = (
    "ours",
    "first to last letter",
    "torchaudio's tutorial",
    "ctc-forced-aligner",
)

Times: TypeAlias = list[tuple[float, float]]  # start and end of each word, seconds
Errors: TypeAlias = dict[str, tuple[list[float], list[float]]]  # by way, of starts and of ends, seconds


@dataclass(frozen=True)
class Config(ExperimentOptions):
    """What is aligned, and by which model."""

    renamed: ClassVar[Mapping[str, str]] = {"words": "utterances_per_string"}

    model: str | None = None
    """CTC model, such as runs/mine. Default: the embedded demo's wav2vec2."""

    data: str | None = None
    """Corpus of short utterances, trimmed to speech. Default: the embedded demo's test corpus."""

    strings: int = 60
    """Number of strings of joined utterances; with --quick at most 5."""

    utterances_per_string: int = 5
    """Utterances per string, of one speaker if the corpus names speakers."""

    pause_seconds: float = 0.0
    """Longest silence between two utterances; each is drawn uniformly from 0 up to it."""

    recording: Path | None = None
    """Manifest of long recordings with segments, such as long-form/test.jsonl."""

    seed: int = 0
    """Seed of the strings."""


def run(config: Config) -> Findings:
    """Align strings and recordings, and compare times with the truth. Raises UserError on unusable input."""
    from benchmark.offline import DEMO_CORPUS
    from finetune.systems.ctc_model import load_ctc
    from preprocessing.corpus import open_corpus
    from preprocessing.storage.data_folder import DEMO, reference_of

    check_counts(("--strings", config.strings, 1), ("--utterances_per_string", config.utterances_per_string, 1))
    check_ranges(("--pause_seconds", config.pause_seconds, "0 or more", config.pause_seconds >= 0))
    model = load_ctc(config.model or reference_of(DEMO / "wav2vec2"))
    data = config.data or str(DEMO_CORPUS)
    n_strings = min(config.strings, QUICK_STRINGS) if config.quick else config.strings
    ways, missing = _ways(model)
    found = {"joined strings": _of_strings(config, model, list(open_corpus(data).utterances), n_strings, ways)}
    if config.recording is not None:
        recordings = list(open_corpus(str(config.recording)).utterances)
        found["segments of long recordings"] = _of_recordings(model, recordings, ways)
    settings = (
        f"{model.reference}, frames of {1000 * model.times.frame_seconds:g} ms; {n_strings} strings of "
        f"{config.utterances_per_string} utterances of {data}, pauses up to {config.pause_seconds:g} s"
    )
    return Findings(
        "Times of words",
        settings,
        missing=missing,
        tables=[_table(title, errors) for title, errors in found.items()],
        details={"errors_seconds": found},
        draw=lambda axes: _draw(axes, found["joined strings"]),
    )


def _of_strings(
    config: Config, model: "CTCModel", utterances: "list[Utterance]", n_strings: int, ways: "dict[str, Way]"
) -> Errors:
    """Errors of the moments where the utterances of joined strings begin and end."""
    import random

    import torch

    from finetune.alignment.forced import align
    from preprocessing.audio import SAMPLE_RATE
    from preprocessing.corpus import load_waveform
    from preprocessing.text import profile

    normalise, chosen = profile(model.profile), random.Random(config.seed)
    errors: Errors = {way: ([], []) for way in ways}
    speakers = sorted({utterance.speaker or "" for utterance in utterances})
    with progress("aligning strings", n_strings, "strings") as advance:
        for _ in range(n_strings):
            speaker = chosen.choice(speakers)
            own = [utterance for utterance in utterances if (utterance.speaker or "") == speaker]
            parts, truth, texts, position = [], [], [], 0
            for utterance in (chosen.choice(own) for _ in range(config.utterances_per_string)):
                silence = round(chosen.uniform(0, config.pause_seconds) * SAMPLE_RATE)
                waveform = load_waveform(utterance)
                parts += [torch.zeros(silence), waveform]
                position += silence
                truth.append((position / SAMPLE_RATE, (position + len(waveform)) / SAMPLE_RATE))
                position += len(waveform)
                texts.append(normalise(utterance.text))
            waveform = torch.cat(parts)
            log_probs = model.log_probs(waveform)
            found = align(log_probs, " ".join(texts), model.vocabulary, model.times)
            for way, times_of in ways.items():
                _add(errors[way], times_of(found, log_probs, len(waveform)), texts, truth)
            advance(1)
    return errors


def _of_recordings(model: "CTCModel", utterances: "list[Utterance]", ways: "dict[str, Way]") -> Errors:
    """Errors of the moments where the segments of long recordings begin and end."""
    from finetune.alignment.forced import align
    from preprocessing import audio
    from preprocessing.text import profile

    normalise = profile(model.profile)
    errors: Errors = {way: ([], []) for way in ways}
    total = round(sum(utterance.duration for utterance in utterances))
    with progress("aligning recordings", total, "seconds") as advance:
        for utterance in utterances:
            if not utterance.segments:
                raise UsageError(f"--recording: {utterance.id} has no segments; expected their times: leave it out")
            waveform = audio.load(utterance.audio)
            log_probs = model.log_probs(waveform, advance)
            texts = [normalise(segment.text) for segment in utterance.segments]
            truth = [(segment.start, segment.stop) for segment in utterance.segments]
            found = align(log_probs, " ".join(texts), model.vocabulary, model.times)
            for way, times_of in ways.items():
                _add(errors[way], times_of(found, log_probs, len(waveform)), texts, truth)
    return errors


def _add(errors: tuple[list[float], list[float]], times: Times, texts: Sequence[str], truth: Times) -> None:
    """Add the errors of the starts and ends of texts, of which `truth` has the spans. times: of all their words."""
    first = 0
    for text, (start, end) in zip(texts, truth, strict=True):
        count = len(text.split())
        errors[0].append(times[first][0] - start)
        errors[1].append(times[first + count - 1][1] - end)
        first += count


def _table(title: str, errors: Errors) -> Table:
    import numpy as np

    headings = ("", "median error", "90th percentile", "start: median", "bias", "end: median", "bias")
    rows = []
    for way, (starts, ends) in errors.items():
        both = np.abs([*starts, *ends])
        rows.append(
            (
                way,
                f"{1000 * np.median(both):.0f} ms",
                f"{1000 * np.quantile(both, 0.9):.0f} ms",
                f"{1000 * np.median(np.abs(starts)):.0f} ms",
                f"{1000 * np.median(starts):+.0f} ms",
                f"{1000 * np.median(np.abs(ends)):.0f} ms",
                f"{1000 * np.median(ends):+.0f} ms",
            )
        )
    return Table(headings, rows, title)


def _draw(axes: "Axes", errors: Errors) -> None:
    """The share of starts and ends within so many milliseconds of the truth, for each way."""
    import numpy as np

    from preprocessing.plot_style import PALETTE

    for place, (way, (starts, ends)) in enumerate(errors.items()):
        values = np.sort(1000 * np.abs([*starts, *ends]))
        axes.plot(values, np.arange(1, len(values) + 1) / len(values), color=PALETTE.of(place), label=way)
    axes.set(xlabel="error, ms", ylabel="share of starts and ends", xlim=(0, 300), ylim=(0, 1))
    axes.legend(frameon=False)


Way: TypeAlias = "Callable[[Alignment, Tensor, int], Times]"


def _ways(model: "CTCModel") -> tuple[dict[str, Way], dict[str, str]]:
    """How each makes times of an alignment's path, and which of them is not installed."""
    ways: dict[str, Way] = {OURS: _ours, FRAMES: _frames, TUTORIAL: _tutorial}
    try:
        import ctc_forced_aligner
    except ImportError as error:
        return ways, {CTC_FORCED_ALIGNER: f"not installed ({error}); `pip install ctc-forced-aligner` builds it"}

    def theirs(alignment: "Alignment", log_probs: "Tensor", n_samples: int) -> Times:
        """Its merge_repeats, get_spans and times of frames: half of the blanks around a word belong to it."""
        units, silent = model.vocabulary.units, model.vocabulary.blank
        blank = units[silent]
        path = [silent if label == model.vocabulary.boundary else label for label in alignment.path.tolist()]
        segments = ctc_forced_aligner.merge_repeats(path, dict(enumerate(units)))
        tokens = [" ".join(units[unit.label] for unit in word.units) for word in alignment.words]
        spans = ctc_forced_aligner.get_spans(tokens, segments, blank)
        stride = -(-n_samples / len(log_probs) // 16)  # whole milliseconds, rounded up, as generate_emissions does
        return [(span[0].start * stride / 1000, span[-1].end * stride / 1000) for span in spans]

    return ways | {CTC_FORCED_ALIGNER: theirs}, {}


def _ours(alignment: "Alignment", log_probs: "Tensor", n_samples: int) -> Times:
    return [(word.start, word.end) for word in alignment.words]


def _frames(alignment: "Alignment", log_probs: "Tensor", n_samples: int) -> Times:
    return [(word.units[0].start, word.units[-1].end) for word in alignment.words]


def _tutorial(alignment: "Alignment", log_probs: "Tensor", n_samples: int) -> Times:
    """pytorch.org/audio, "CTC forced alignment API tutorial": frames evenly over the waveform."""
    from preprocessing.audio import SAMPLE_RATE

    ratio = n_samples / len(log_probs) / SAMPLE_RATE
    return [(ratio * w.units[0].first_frame, ratio * (w.units[-1].last_frame + 1)) for w in alignment.words]


def main(arguments: Sequence[str] | None = None) -> None:
    run_experiment(Config, run, __doc__, __file__, arguments)


if __name__ == "__main__":
    run_command(main)
