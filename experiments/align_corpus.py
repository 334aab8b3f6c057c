"""How many segments of a long recording with an erroneous transcript are kept, and how many of these are wrong?

The transcript of a recording with segment times is aligned unchanged, and with words removed, added and swapped on
purpose; segments are cut and scored as by `python -m finetune.align_corpus`. A segment is wrong if its text has an
added or swapped word, lacks a word that is spoken in it, or lies outside its words' segments by more than half a
second. Without options, the embedded demo on its own joined commands; its figures say nothing about real models.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from experiments.harness.command import ExperimentOptions, progress, run_experiment
from experiments.harness.figures import Findings, Table
from preprocessing.cli.options import check_ranges, run_command
from preprocessing.errors import UsageError

if TYPE_CHECKING:
    import random

    from matplotlib.axes import Axes
    from torch import Tensor

    from finetune.alignment.forced import Alignment
    from finetune.alignment.pieces import PieceOptions, TextPiece
    from finetune.systems.ctc_model import CTCModel
    from preprocessing.corpus import Segment

DURATION = "1 minute with the embedded demo"
TOLERANCE_SECONDS = 0.5
LONGEST_RUN = 8  # words that are removed, added or swapped together

Change = Literal["none", "removed", "added", "swapped", "all three"]


@dataclass(frozen=True)
class Config(ExperimentOptions):
    """What is aligned, and how its text is changed."""

    model: str | None = None
    """CTC model, such as runs/mine. Default: the embedded demo's wav2vec2."""

    recording: Path | None = None
    """Manifest of one long recording with segments, such as long-form/test.jsonl. Default: joined commands of the
    demo's test corpus."""

    share: float = 0.03
    """Share of the words that are removed, added or swapped, in runs of 1 to 8 words."""

    min_score: float = -3.0
    """Lowest accepted score of a segment's worst word, as in finetune.align_corpus."""

    max_seconds: float = 10.0
    """Longest segment, in seconds."""

    seed: int = 0
    """Seed of the changes."""


@dataclass(frozen=True)
class SpokenWord:
    """A word of a text, and which of the recording's words it is; None where that is another one or none."""

    text: str
    origin: int | None


@dataclass(frozen=True)
class Recording:
    """A waveform [samples] and what is said in it when."""

    name: str
    waveform: "Tensor"
    segments: "Sequence[Segment]"


@dataclass(frozen=True)
class Kept:
    """What became of the pieces of one text."""

    change: str
    changed_words: int
    pieces: int
    wrong: int  # of all pieces
    kept: int
    kept_seconds: float
    kept_wrong: int
    examples: tuple[str, ...]


def run(config: Config) -> Findings:
    """Align each text and judge its pieces. Raises UserError where model or recording cannot be used."""
    import random

    from finetune.alignment.forced import align
    from finetune.alignment.pieces import PieceOptions
    from finetune.systems.ctc_model import load_ctc
    from preprocessing import audio
    from preprocessing.storage.data_folder import DEMO, reference_of
    from preprocessing.text import profile

    check_ranges(("--share", config.share, "above 0, up to 0.5", 0 < config.share <= 0.5))
    options = PieceOptions(max_seconds=config.max_seconds, min_score=config.min_score)
    options.check()
    model = load_ctc(config.model or reference_of(DEMO / "wav2vec2"))
    recording = _demo(60 if not config.quick else 15) if config.recording is None else _read(config.recording)
    seconds = len(recording.waveform) / audio.SAMPLE_RATE
    with progress("computing log-probabilities", round(seconds), "seconds") as advance:
        log_probs = model.log_probs(recording.waveform, advance)
    normalise = profile(model.profile)
    texts = [normalise(segment.text).split() for segment in recording.segments]
    truth = [SpokenWord(word, origin) for origin, word in enumerate(word for text in texts for word in text)]
    segment_of = [place for place, text in enumerate(texts) for _ in text]
    clean = align(log_probs, " ".join(word.text for word in truth), model.vocabulary, model.times, stars="everywhere")
    found = []
    changes = get_args(Change)
    with progress("aligning texts", len(changes), "texts") as advance:
        for change in changes:
            words, n_changed = change_words(truth, change, config.share, random.Random(config.seed))
            pieces = _pieces(model, log_probs, words, seconds, options)
            found.append(_judge(change, n_changed, pieces, words, clean, recording.segments, segment_of))
            advance(1)
    headings = ("words of the text", "changed", "pieces", "wrong", "kept", "minutes kept", "wrong among kept")
    rows = [
        (
            one.change,
            str(one.changed_words),
            str(one.pieces),
            str(one.wrong),
            f"{one.kept} ({100 * one.kept / max(one.pieces, 1):.0f} %)",
            f"{one.kept_seconds / 60:.1f}",
            str(one.kept_wrong),
        )
        for one in found
    ]
    settings = (
        f"{model.reference}; {recording.name}, {seconds / 60:.1f} min, {len(truth)} words; {100 * config.share:g} % "
        f"changed in runs of 1 to {LONGEST_RUN}; min_score {config.min_score:g}, pieces up to {config.max_seconds:g} s"
    )
    details = {"texts": [asdict(one) for one in found]}
    tables = [Table(headings, rows)]
    return Findings(
        "Pieces of a long recording", settings, tables=tables, details=details, draw=lambda axes: _draw(axes, found)
    )


def change_words(
    words: Sequence[SpokenWord], change: Change, share: float, chosen: "random.Random"
) -> tuple[list[SpokenWord], int]:
    """The text with so large a share of its words removed, added or swapped in runs, and how many were."""
    kinds = {"none": [], "all three": ["removed", "added", "swapped"]}.get(change, [change])
    result, n_changed = list(words), 0
    for kind in kinds:
        left = round(share * len(words) / len(kinds))
        while left > 0:
            run = min(chosen.randint(1, LONGEST_RUN), left)
            place = chosen.randrange(max(len(result) - run, 1))
            others = [SpokenWord(chosen.choice(words).text, None) for _ in range(run)]
            if kind == "removed":
                result[place : place + run] = []
            elif kind == "added":
                result[place:place] = others
            else:
                result[place : place + run] = [
                    other if other.text != word.text else word
                    for word, other in zip(result[place : place + run], others, strict=True)
                ]
            left -= run
            n_changed += run
    return result, n_changed


def _pieces(
    model: "CTCModel", log_probs: "Tensor", words: Sequence[SpokenWord], seconds: float, options: "PieceOptions"
) -> "list[TextPiece]":
    from finetune.alignment.forced import align
    from finetune.alignment.pieces import cut

    written = [word.text for word in words]
    found = align(log_probs, " ".join(written), model.vocabulary, model.times, stars="everywhere")
    return cut(found, seconds, options, written)


def _judge(
    change: str,
    n_changed: int,
    pieces: "Sequence[TextPiece]",
    words: Sequence[SpokenWord],
    clean: "Alignment",
    segments: "Sequence[Segment]",
    segment_of: Sequence[int],
) -> Kept:
    kept = [piece for piece in pieces if piece.reason is None]
    faults = {id(piece): _fault(piece, words, clean, segments, segment_of) for piece in pieces}
    wrong = [piece for piece in kept if faults[id(piece)]]
    return Kept(
        change,
        n_changed,
        len(pieces),
        sum(fault is not None for fault in faults.values()),
        len(kept),
        sum(piece.seconds for piece in kept),
        len(wrong),
        tuple(str(faults[id(piece)]) for piece in wrong),
    )


def _fault(
    piece: "TextPiece",
    words: Sequence[SpokenWord],
    clean: "Alignment",
    segments: "Sequence[Segment]",
    segment_of: Sequence[int],
) -> str | None:
    """What is wrong with a piece; None where nothing is."""
    own = words[piece.first : piece.stop]
    where = f"{piece.start:.2f} to {piece.end:.2f} s, score {piece.score:.2f}: "
    other = [word.text for word in own if word.origin is None]
    if other:
        return f"{where}not spoken: {' '.join(other)}"
    origins = [word.origin for word in own if word.origin is not None]
    inside = {
        origin for origin, word in enumerate(clean.words) if piece.start < (word.start + word.end) / 2 < piece.end
    }
    missing = sorted((inside | set(range(origins[0], origins[-1] + 1))) - set(origins))
    if missing:
        return f"{where}spoken, not in the text: {' '.join(clean.words[origin].text for origin in missing)}"
    first, last = segments[segment_of[origins[0]]], segments[segment_of[origins[-1]]]
    if piece.start < first.start - TOLERANCE_SECONDS or piece.end > last.stop + TOLERANCE_SECONDS:
        return f"{where}its words are spoken from {first.start:.2f} to {last.stop:.2f} s"
    return None


def _draw(axes: "Axes", found: Sequence[Kept]) -> None:
    """Kept and rejected pieces of each text; of both, the right and the wrong ones."""
    from preprocessing.plot_style import PALETTE

    names = [one.change for one in found]
    parts = [
        ("kept, right", [one.kept - one.kept_wrong for one in found], PALETTE.of(0)),
        ("kept, wrong", [one.kept_wrong for one in found], PALETTE.of(1)),
        ("rejected, wrong", [one.wrong - one.kept_wrong for one in found], PALETTE.of(2)),
        ("rejected, right", [one.pieces - one.kept - one.wrong + one.kept_wrong for one in found], PALETTE.of(7)),
    ]
    left = [0] * len(found)
    for label, counts, colour in parts:
        axes.barh(names, counts, left=left, color=colour, label=label)
        left = [before + count for before, count in zip(left, counts, strict=True)]
    axes.invert_yaxis()
    axes.set_xlabel("pieces")
    axes.set_xlim(0, 1.4 * max(one.pieces for one in found))
    axes.legend(frameon=False, loc="center right")


def _read(manifest: Path) -> Recording:
    from preprocessing import audio
    from preprocessing.corpus import open_corpus

    utterances = open_corpus(str(manifest)).utterances
    if len(utterances) != 1 or not utterances[0].segments:
        raise UsageError(f"--recording {manifest}: expected one recording with the times of its segments: name another")
    return Recording(manifest.name, audio.load(utterances[0].audio), utterances[0].segments)


def _demo(count: int) -> Recording:
    """Commands of the demo's test corpus, half a second apart."""
    import torch

    from benchmark.offline import DEMO_CORPUS
    from preprocessing import audio
    from preprocessing.corpus import Segment, open_corpus

    parts, segments, position = [], [], 0
    for utterance in open_corpus(str(DEMO_CORPUS)).utterances[:count]:
        waveform = audio.load(utterance.audio)
        parts += [waveform, torch.zeros(audio.SAMPLE_RATE // 2)]
        start = position / audio.SAMPLE_RATE
        position += len(waveform)
        segments.append(Segment(start, position / audio.SAMPLE_RATE, utterance.text))
        position += audio.SAMPLE_RATE // 2
    return Recording("commands of the embedded demo, joined", torch.cat(parts), segments)


def main(arguments: Sequence[str] | None = None) -> None:
    run_experiment(Config, run, __doc__, __file__, arguments)


if __name__ == "__main__":
    run_command(main)
