"""Conditions by name: what `--conditions` may list."""

import difflib
import math
from dataclasses import dataclass, replace
from pathlib import Path

from benchmark.conditions.base import NOISE_LEVEL_DB, Clean, Condition, Corrupted, Empty, NoiseOnly, Silence
from benchmark.results import CLEAN, ConditionUsed
from preprocessing.augment import Augmentation, Chain, Clipping, Noise, Reverb, Speed, Telephone
from preprocessing.augment.reverb import RT60_SECONDS, GeneratedRoom
from preprocessing.errors import UsageError

_WITH_SPEECH = "clean,noise:20,noise:10,noise:5,noise:0,reverb,telephone"
GROUPS = {
    "default": f"{_WITH_SPEECH},silence,noise-only",
    "all": f"{_WITH_SPEECH},speed:0.9,speed:1.1,clipped,silence,noise-only,empty",
}
PLAIN = (CLEAN, "reverb", "telephone", "clipped", "silence", "noise-only", "empty")
WITH_NUMBER = {"noise": ("a signal-to-noise ratio in dB", -20.0, 60.0), "speed": ("a factor", 0.5, 2.0)}
CLIPPED_DB = 12.0  # below the utterance's peak


@dataclass(frozen=True)
class ConditionSources:
    """The seed, and the folders of noises and of rooms; None where they are generated."""

    seed: int
    noise: Path | None
    rooms: Path | None

    def noise_at(self, snr_db: float) -> Noise:
        """The augmentation that adds noise at a signal-to-noise ratio."""
        return Noise(snr_db, colour="pink") if self.noise is None else Noise(snr_db, files=str(self.noise))

    @property
    def noise_description(self) -> str:
        """The kind of noise in words, for the report."""
        return "generated pink noise" if self.noise is None else f"recorded noise ({self.noise.name})"


def parse_conditions(text: str, *, seed: int, noise: Path | None, rooms: Path | None) -> list[Condition]:
    """The conditions that `text` lists, clean first and always among them, each once.

    text: names separated by commas, or "default" or "all". noise, rooms: folders of recordings; without them, pink
    noise and one room are generated. Raises UsageError on an unknown name, and on a folder without audio.
    """
    names = [name.strip() for name in GROUPS.get(text.strip(), text).split(",") if name.strip()]
    if not names:
        raise UsageError("--conditions is empty; expected conditions such as clean,noise:10, or default: name one")
    sources = ConditionSources(seed, noise, rooms)
    found: dict[str, Condition] = {}
    for name in [CLEAN, *names]:
        condition = _condition(name, sources)
        found.setdefault(condition.used.name, condition)
    return list(found.values())


def _condition(name: str, sources: ConditionSources) -> Condition:
    kind, has_number, number = name.partition(":")
    if has_number and kind in WITH_NUMBER:
        value = _number(name, kind, number)
        return _noisy(value, sources) if kind == "noise" else _faster(value, sources)
    match name:
        case "clean":
            return Clean(ConditionUsed(name, "as the corpus has it"))
        case "reverb":
            return _reverberant(sources)
        case "noise-only":
            description = f"no speech: {sources.noise_description} alone, {-NOISE_LEVEL_DB:g} dB below full scale"
            return NoiseOnly(ConditionUsed(name, description, speech=False), sources.noise_at(0.0), sources.seed)
        case "silence":
            return Silence(ConditionUsed(name, "no speech: digital silence of the utterances' durations", speech=False))
        case "empty":
            return Empty(ConditionUsed(name, "no speech: no samples at all", speech=False))
        case "telephone":
            description = "a fixed-line telephone: 300 to 3400 Hz, 8 kHz, 8-bit mu-law (ITU-T G.711)"
            return _corrupted(name, description, Telephone(), sources)
        case "clipped":
            description = f"hard clipping {CLIPPED_DB:g} dB below the utterance's peak"
            return _corrupted(name, description, Clipping(CLIPPED_DB), sources)
        case _:
            raise _unknown(name)


def _noisy(snr_db: float, sources: ConditionSources) -> Condition:
    used = ConditionUsed(
        f"noise:{snr_db:g}",
        f"{sources.noise_description} added at {snr_db:g} dB, both measured over the whole utterance",
        snr_db=snr_db,
    )
    return Corrupted(used, Chain([sources.noise_at(snr_db)]), sources.seed, "noise")


def _faster(factor: float, sources: ConditionSources) -> Condition:
    description = f"played {factor:g} times as fast: duration, pitch and formants change together"
    return replace(_corrupted(f"speed:{factor:g}", description, Speed(factor), sources), speed=factor)


def _reverberant(sources: ConditionSources) -> Condition:
    if sources.rooms is None:
        description = f"one generated room, reverberation time {RT60_SECONDS:g} s, as strong as the direct sound"
        return _corrupted("reverb", description, GeneratedRoom(), sources)
    description = f"measured rooms ({sources.rooms.name}), one drawn for each utterance"
    return _corrupted("reverb", description, Reverb(str(sources.rooms)), sources)


def _corrupted(name: str, description: str, augmentation: Augmentation, sources: ConditionSources) -> Corrupted:
    return Corrupted(ConditionUsed(name, description), Chain([augmentation]), sources.seed, name)


def _number(name: str, kind: str, number: str) -> float:
    meaning, minimum, maximum = WITH_NUMBER[kind]
    try:
        value = float(number)
    except ValueError:
        value = math.nan
    if not minimum <= value <= maximum:
        raise UsageError(
            f"--conditions: {name!r} has no valid number; expected {kind}: and {meaning} from {minimum:g} to "
            f"{maximum:g}, as in {kind}:{10 if kind == 'noise' else 1.1:g}: fix it"
        )
    return value


def _unknown(name: str) -> UsageError:
    listed = [*PLAIN, "noise:10", "speed:1.1"]
    near = difflib.get_close_matches(name, [*listed, *WITH_NUMBER, *GROUPS], n=1, cutoff=0.5)
    if near and near[0] in GROUPS:
        remedy = f"{near[0]} cannot be combined: name it alone"
    else:
        remedy = f"did you mean {near[0]}?" if near else "choose one of them"
    return UsageError(
        f"--conditions: {name!r} is not a condition; expected {', '.join(listed)}, default or all: {remedy}"
    )
