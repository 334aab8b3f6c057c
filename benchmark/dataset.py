"""The evaluation set: every condition with its utterances, and how an utterance becomes the waveform to transcribe."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import TYPE_CHECKING, Protocol

from benchmark.conditions import Condition, parse_conditions
from benchmark.config import BenchmarkConfig
from finetune.systems.families import FAMILIES
from preprocessing.batching import evenly_spaced
from preprocessing.corpus import Utterance, load_part
from preprocessing.corpus.readers.times import letters
from preprocessing.errors import InputError, UsageError
from preprocessing.text import corpus_profile
from preprocessing.text.languages import common_language, language_code

if TYPE_CHECKING:
    from torch import Tensor

Item = tuple[int, int]  # an utterance under a condition: indices of EvaluationSet.conditions and of its utterances

ENGLISH_PROFILES = ("librispeech", "whisper-english")
SHOWN_LETTERS = 30  # of texts that differ
SHOWN_LANGUAGES = 5
FOREIGN_SHARE = 0.02  # of words with a letter outside a-z; loanwords and names of English are fewer


@dataclass(frozen=True)
class EvaluationSet:
    """What every system transcribes: utterances[c][i] under conditions[c].

    conditions[0] is clean speech and has the whole corpus.
    """

    conditions: tuple[Condition, ...]
    utterances: tuple[tuple[Utterance, ...], ...]

    def condition_name(self, item: Item) -> str:
        """The name of the item's condition, such as noise:10."""
        return self.conditions[item[0]].used.name

    def utterance(self, item: Item) -> Utterance:
        """The item's utterance, with the reference text that holds under its condition."""
        return self.utterances[item[0]][item[1]]

    def items(self) -> list[Item]:
        """Every utterance under every condition, clean speech first, in the order of the corpus."""
        return [(c, i) for c, utterances in enumerate(self.utterances) for i in range(len(utterances))]

    @property
    def clean_durations(self) -> list[float]:
        """Seconds of each utterance of the corpus."""
        return [utterance.duration for utterance in self.utterances[0]]


def requested_conditions(config: BenchmarkConfig) -> tuple[Condition, ...]:
    """The conditions of --conditions, clean speech first and always among them. Raises UsageError on an unknown one."""
    return tuple(parse_conditions(config.conditions, seed=config.seed, noise=config.noise, rooms=config.rooms))


def with_language(
    config: BenchmarkConfig, corpus: Sequence[Utterance], families: Sequence[str], notices: list[str], notes: list[str]
) -> BenchmarkConfig:
    """The configuration with what --language and --profiles leave open: the one language that all utterances name,
    where Whisper knows it, and the profiles of the language, with its region where all name one that texts depend on.

    families: of the systems. `notes` says so where it is not English; `notices`, which the report repeats above its
    figures, where it is unknown and the texts do not look English, or several are named.
    """
    named = common_language(None, (), (one.language for one in corpus))
    language = None if named is None else language_code(named)
    if config.language is not None:
        language = language_code(config.language) or config.language
    if config.profiles is not None:
        return replace(config, language=language)
    own = _profiles(corpus_profile((one.language for one in corpus), config.language))
    has_whisper = any(name in FAMILIES and FAMILIES[name].may_be_whisper for name in families)
    if language is None:
        notices += _not_english(corpus) if own == ENGLISH_PROFILES else [_of_no_language(corpus, own, has_whisper)]
    elif own != ENGLISH_PROFILES:
        whispers = ", and multilingual Whispers get this language" if has_whisper else ""
        notes.append(
            f"The language is {language}: texts are normalised by {' and '.join(own)}{whispers}. --profiles and "
            "--language override this."
        )
    return replace(config, language=language, profiles=list(own))


def _profiles(name: str) -> tuple[str, ...]:
    """The profiles of a corpus whose texts are compared under the profile of this name."""
    return ENGLISH_PROFILES if name == ENGLISH_PROFILES[0] else (name, "verbatim")


def _of_no_language(corpus: Sequence[Utterance], profiles: Sequence[str], has_whisper: bool) -> str:
    names = sorted({one.language or "none" for one in corpus})
    shown = f"{', '.join(names[:SHOWN_LANGUAGES])}{', ...' if len(names) > SHOWN_LANGUAGES else ''}"
    named = f"{shown!r}, which is no language of Whisper's" if len(names) == 1 else f"several languages ({shown})"
    whispers = ", and multilingual Whispers detect the language" if has_whisper else ""
    return (
        f"The corpus names {named}: texts are normalised by {' and '.join(profiles)}, which spell out no numbers"
        f"{whispers}. --profiles and --language override this."
    )


def _not_english(corpus: Sequence[Utterance]) -> list[str]:
    """A sentence about texts of an unknown language that are scored as English; none where they look like it."""
    words = [word for one in corpus for word in one.text.split()]
    foreign = [word for word in words if any(letter.isalpha() and not letter.isascii() for letter in word)]
    if not foreign or len(foreign) < FOREIGN_SHARE * len(words):
        return []
    return [
        f"No language is known for this corpus, so texts are normalised as English ({', '.join(ENGLISH_PROFILES)}), "
        f"but {len(foreign) / len(words):.0%} of its words have letters that English lacks ({foreign[0]}). Set "
        "--language, as in --language de, or add a column 'language'."
    ]


def build_evaluation_set(
    conditions: Sequence[Condition], corpus: Sequence[Utterance], condition_utterances: int
) -> EvaluationSet:
    """The whole corpus clean, and at most `condition_utterances` of it, evenly spaced, under every other condition."""
    some = evenly_spaced(corpus, condition_utterances)
    return EvaluationSet(
        conditions=tuple(conditions),
        utterances=tuple(tuple(one.utterances(corpus if place == 0 else some)) for place, one in enumerate(conditions)),
    )


def check_segments(utterances: Sequence[Utterance]) -> None:
    """Raises InputError where the segments of an utterance have other letters than its text: which of the two a rate
    is of would depend on how many recordings there are.
    """
    for one in utterances:
        if not one.segments:
            continue
        of_text, of_segments = letters(one.text), "".join(letters(segment.text) for segment in one.segments)
        if of_text != of_segments:
            pairs = enumerate(zip_longest(of_text, of_segments))
            same = next(place for place, (one_letter, other) in pairs if one_letter != other)
            ends = [repr(spelled[same : same + SHOWN_LETTERS]) for spelled in (of_segments, of_text)]
            raise InputError(
                f"{one.id}: after {same} equal letters its segments go on with {ends[0]}, its text with {ends[1]}; "
                "expected the same letters in both: correct one of them, or leave 'segments' out"
            )


def check_recordings(evaluation_set: EvaluationSet) -> None:
    """Decode the noises and rooms that the conditions draw for their utterances.

    Raises UsageError where one cannot be used: no system could transcribe the utterances that it is drawn for.
    """
    import torch

    checked: set[str] = set()
    for one, utterances in zip(evaluation_set.conditions, evaluation_set.utterances, strict=True):
        if one.recordings_key is None or one.recordings_key in checked:
            continue
        checked.add(one.recordings_key)
        condition = copy.deepcopy(one)  # its cache of recordings ends with the check
        for utterance in utterances:
            try:
                condition.apply(torch.zeros(1), utterance.id)
            except InputError as error:
                raise UsageError(f"--conditions {one.used.name}: {error}") from None


class LoadWaveform(Protocol):
    """A function from an item to its waveform [samples], float32 at 16 kHz."""

    def __call__(self, item: Item, longest_seconds: float | None = None) -> "Tensor":
        """longest_seconds: of an utterance that lasts longer, only its beginning is decoded; None decodes all."""
        ...


def waveform_loader(evaluation_set: EvaluationSet, *, denoise: bool) -> LoadWaveform:
    """What loads the waveforms of the evaluation set: the same for every system of one `denoise`.

    The audio is decoded, then its condition applied, then stationary noise removed where `denoise` is true.
    """
    from preprocessing.augment.denoise import SpectralGate

    gate = SpectralGate() if denoise else None

    def load(item: Item, longest_seconds: float | None = None) -> "Tensor":
        utterance = evaluation_set.utterance(item)
        if longest_seconds is not None and utterance.duration > longest_seconds:
            utterance = replace(utterance, stop=utterance.start + longest_seconds)
        waveform = load_part(utterance)
        waveform = evaluation_set.conditions[item[0]].apply(waveform, utterance.id)
        return waveform if gate is None else gate(waveform)

    return load
