"""What is to be transcribed: each condition with its utterances, the clean ones first."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmark.conditions import Condition, parse_conditions
from benchmark.config import BenchmarkConfig
from benchmark.plan import spread
from preprocessing.corpus import Utterance

if TYPE_CHECKING:
    from torch import Tensor


CLEAN = "clean"


@dataclass(frozen=True)
class Material:
    """utterances[c][i] is heard under conditions[c]; conditions[0] is clean speech and has the whole corpus."""

    conditions: tuple[Condition, ...]
    utterances: tuple[tuple[Utterance, ...], ...]

    def name(self, item: tuple[int, int]) -> str:
        return self.conditions[item[0]].used.name

    def utterance(self, item: tuple[int, int]) -> Utterance:
        return self.utterances[item[0]][item[1]]

    def items(self) -> list[tuple[int, int]]:
        """Every utterance under every condition, as (condition, place)."""
        return [(c, i) for c, utterances in enumerate(self.utterances) for i in range(len(utterances))]


def choose_conditions(config: BenchmarkConfig) -> tuple[Condition, ...]:
    """Those asked for, clean speech first and always among them. Raises UsageError on an unknown one."""
    found = parse_conditions(config.conditions, seed=config.seed, noise=config.noise, rooms=config.rooms)
    clean = [condition for condition in found if condition.used.name == CLEAN]
    if not clean:
        clean = parse_conditions(CLEAN, seed=config.seed, noise=config.noise, rooms=config.rooms)
    return (*clean, *(condition for condition in found if condition.used.name != CLEAN))


def choose(conditions: Sequence[Condition], corpus: Sequence[Utterance], most: int) -> Material:
    """The whole corpus clean, and `most` of its utterances, evenly spread, under every other condition."""
    some = spread(corpus, most)
    return Material(
        conditions=tuple(conditions),
        utterances=tuple(tuple(one.utterances(corpus if place == 0 else some)) for place, one in enumerate(conditions)),
    )


def loader(material: Material, *, denoise: bool) -> Callable[[tuple[int, int]], "Tensor"]:
    """From an item to the waveform [samples] that every system is given: decoded, under its condition, then noise
    removed where that is asked for.
    """
    from preprocessing import audio
    from preprocessing.augment.denoise import SpectralGate

    gate = SpectralGate() if denoise else None

    def load(item: tuple[int, int]) -> "Tensor":
        utterance = material.utterance(item)
        waveform = audio.load(utterance.audio, start=utterance.start, stop=utterance.stop)
        waveform = material.conditions[item[0]].apply(waveform, utterance.id)
        return waveform if gate is None else gate(waveform)

    return load
