"""Test corpora that `experiments.results` builds from the data folder, always the same, and how digits are compared.

- digits-joined: strings of 4 to 8 digits of one speaker, so that a model of sentences has context, with the times of
  the words; digits-joined-train is made alike of the recordings for training.
- digits-60: each of ten digits by each of six speakers once.
- noises: recordings without speech, with empty transcripts.

A digit may be written "nine" or "9", and "for" sounds like "four": `digit_profiles` are text profiles that count them
as the same word, and `score_digits` counts samples under them.
"""

import random
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.result_parts.systems import BASELINE, DIGIT_WORDS
from preprocessing.errors import UsageError
from preprocessing.storage.atomic_write import json_line, read_json_lines, write_text_atomically

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from benchmark.results import Comparison, Sample, Scores
    from preprocessing.text import Profile

Row = Mapping[str, Any]
STRING_LENGTHS = (4, 5, 6, 7, 8)
PAUSE_SECONDS = (0.1, 0.3)  # between two digits, drawn evenly
SEED = 13
EDGE_FRAMES_PER_SECOND, EDGE_DECIBELS = 100, 35.0  # where a digit begins and ends within its recording: `speech_edges`
# Words that sound like a digit, as American and British dictionaries (CMUdict, Longman) give them.
HOMOPHONES = {
    "oh": "zero", "o": "zero", "won": "one", "to": "two", "too": "two", "for": "four", "fore": "four", "ate": "eight",
}  # fmt: skip


@dataclass(frozen=True)
class DigitScores:
    """One profile's scores by system and every pair of systems compared under it."""

    profile: str
    description: str
    scores: "Mapping[str, Scores]"
    comparisons: "Sequence[Comparison]"


def join_digits(rows: Sequence[Row]) -> list[tuple[str, list[Row]]]:
    """Strings of 4 to 8 of the rows, each of one speaker, with an id; every row is in one string, if the speaker has 4.

    The rows of a speaker are shuffled; lengths come in turn, the last ones so that nothing is left over.
    """
    by_speaker: dict[str, list[Row]] = {}
    for row in rows:
        by_speaker.setdefault(str(row["speaker"]), []).append(row)
    generator = random.Random(SEED)
    strings = []
    for speaker in sorted(by_speaker):
        left = sorted(by_speaker[speaker], key=lambda row: str(row["id"]))
        generator.shuffle(left)
        for number, length in enumerate(split_lengths(len(left), generator)):
            strings.append((f"{speaker}-{number:02}", left[:length]))
            left = left[length:]
    return strings


def split_lengths(total: int, generator: random.Random) -> list[int]:
    """Lengths of 4 to 8 in random order that add up to `total`, as equal in number as they can be; [] below 4.

    >>> sorted(split_lengths(50, random.Random(0)))
    [4, 4, 5, 5, 5, 6, 6, 7, 8]
    """
    lengths: list[int] = []
    shortest, longest = STRING_LENGTHS[0], STRING_LENGTHS[-1]
    while total >= shortest:
        fitting = [one for one in STRING_LENGTHS if total - one == 0 or total - one >= shortest]
        length = min(fitting, key=lambda one: (lengths.count(one), one)) if total > longest else min(total, longest)
        lengths.append(length)
        total -= length
    generator.shuffle(lengths)
    return lengths


def speech_edges(waveform: "NDArray[np.int16]", rate: int) -> tuple[int, int]:
    """First sample of a recording of one word, and the one after its last, without the silence around it.

    Of frames of 10 ms, those whose energy is within 35 dB of the loudest frame's are speech; weak fricatives are about
    30 dB below a vowel. What is left after the last whole frame counts as silence.
    """
    import numpy as np

    length = rate // EDGE_FRAMES_PER_SECOND
    frames = waveform[: len(waveform) // length * length].reshape(-1, length).astype(np.float64)
    energies = np.square(frames).mean(axis=1)
    (speech,) = np.nonzero(energies >= energies.max() * 10 ** (-EDGE_DECIBELS / 10))
    return int(speech[0]) * length, (int(speech[-1]) + 1) * length


def build(name: str, data: Path, manifest: Path) -> None:
    """Write the corpus `name` of BUILT as a manifest with its audio. It is made anew each time, in seconds, and always
    the same; a manifest that an earlier version of this project wrote is replaced where it differs.

    data: the data folder. Raises UsageError naming --data_dir where it lacks what the corpus is made of.
    """
    manifest.parent.mkdir(parents=True, exist_ok=True)
    rows = BUILT[name](data, manifest.parent)
    text = "".join(map(json_line, rows))
    if not manifest.is_file() or manifest.read_text(encoding="utf-8") != text:
        write_text_atomically(manifest, text)


def _joined(data: Path, folder: Path, split: str = "test") -> list[Row]:
    import numpy as np
    import soundfile

    generator = random.Random(SEED)
    rows: list[Row] = []
    for identifier, digits in join_digits(_digits(data, split)):
        pieces: list[NDArray[np.int16]] = []
        words: list[dict[str, Any]] = []
        rate = position = 0
        for digit in digits:
            waveform, rate = soundfile.read(digit["audio"], dtype="int16")
            pause = np.zeros(round(generator.uniform(*PAUSE_SECONDS) * rate), dtype=np.int16)
            for piece in [pause, waveform] if pieces else [waveform]:
                pieces.append(piece)
                position += len(piece)
            start, end = ((position - len(waveform) + edge) / rate for edge in speech_edges(waveform, rate))
            words.append({"word": str(digit["text"]), "start": round(start, 4), "end": round(end, 4)})
        path = folder / f"{identifier}.wav"
        joined = np.concatenate(pieces)
        soundfile.write(path, joined, rate, subtype="PCM_16")
        text = " ".join(str(digit["text"]) for digit in digits)
        row = {"id": identifier, "audio": path.name, "text": text, "duration": round(len(joined) / rate, 3)}
        row |= {"speaker": digits[0]["speaker"], "language": "en", "domain": f"{len(digits)} digits"}
        rows.append(row | {"words": words})
    return rows


def _one_of_each(data: Path, folder: Path) -> list[Row]:
    """A recording of each digit by each speaker; which of several, changes from pair to pair."""
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in _digits(data):
        groups.setdefault((str(row["text"]), str(row["speaker"])), []).append(row)
    return [groups[key][number % len(groups[key])] for number, key in enumerate(sorted(groups))]


def _noises(data: Path, folder: Path) -> list[Row]:
    import soundfile

    paths = sorted((data / "noise").glob("*.ogg"))
    if not paths:
        raise UsageError(f"{data / 'noise'} holds no .ogg file; expected recordings of noise: name --data_dir")
    return [
        {"id": path.stem, "audio": str(path.resolve()), "text": "", "duration": round(soundfile.info(path).duration, 3)}
        for path in paths
    ]


def _joined_for_training(data: Path, folder: Path) -> list[Row]:
    return _joined(data, folder, "train")


def _digits(data: Path, split: str = "test") -> list[Row]:
    """The rows of a manifest of digits, audio with its folder."""
    manifest = data / "digits" / f"{split}.jsonl"
    if not manifest.is_file():
        raise UsageError(f"{manifest}: no such file; expected spoken digits: name their folder with --data_dir")
    return [row | {"audio": str((manifest.parent / row["audio"]).resolve())} for row in read_json_lines(manifest)]


BUILT: Mapping[str, Callable[[Path, Path], list[Row]]] = {
    "digits-joined": _joined,
    "digits-joined-train": _joined_for_training,
    "digits-60": _one_of_each,
    "noises": _noises,
}


def figures_one_by_one(text: str) -> str:
    """Every figure as the name of its digit: what a string of digits is, whether written "4829", "4,829" or "4 8 2 9".

    >>> figures_one_by_one("48, 9")
    ' four  eight ,  nine '
    """
    joined = re.sub(r"(?<=\d)[,.-](?=\d)", "", text)
    return re.sub(r"[0-9]", lambda figure: f" {DIGIT_WORDS[int(figure[0])]} ", joined)


def homophones_as_digits(text: str) -> str:
    """A normalised text with each word that sounds like a digit replaced by the digit.

    >>> homophones_as_digits("for to nine")
    'four two nine'
    """
    return " ".join(HOMOPHONES.get(word, word) for word in text.split())


def digit_profiles() -> "tuple[Profile, Profile]":
    """`basic` with every figure read by itself, and the same with homophones of digits counted as right."""
    from preprocessing.text import Profile, Step, profile

    basic = profile("basic")
    one_by_one = Step("every figure read by itself", figures_one_by_one, ("4829",))
    sounding = Step("homophones of digits as digits", homophones_as_digits, ("for",))
    written = Profile("digits", 1, "basic; every figure read by itself", (one_by_one, *basic.steps))
    words = ", ".join(HOMOPHONES)
    return written, Profile(
        "digits+homophones", 1, f"{written.description}; {words} count as the digit", (*written.steps, sounding)
    )


def score_digits(samples: "Iterable[Sample]", seed: int) -> list[DigitScores]:
    """Scores and paired comparisons of the clean samples under both digit profiles, with the project's own counting.

    The comparisons with BASELINE are corrected by themselves.
    """
    from benchmark.results import CLEAN
    from benchmark.scoring import Normaliser, ScoredCondition, compare_pairs, correct, count_errors, scores_of
    from finetune.metrics import resample

    by_system: dict[str, list[Sample]] = {}
    for sample in samples:
        if sample.condition == CLEAN:
            by_system.setdefault(sample.system, []).append(sample)
    found = []
    for used in digit_profiles():
        normaliser = Normaliser(used)
        scored = {
            name: ScoredCondition(own, count_errors(map(normaliser.pair, own))) for name, own in by_system.items()
        }
        scores = {
            name: scores_of(one.counts, resample([sample.speaker for sample in one.samples], seed=seed))
            for name, one in scored.items()
        }
        baseline = BASELINE if BASELINE in scored else None
        comparisons = correct(compare_pairs(scored, CLEAN, seed), baseline=baseline)
        found.append(DigitScores(used.name, used.description, scores, comparisons))
    return found
