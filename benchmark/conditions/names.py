"""Conditions by name, as `--conditions` lists them."""

import difflib
import math
from dataclasses import dataclass
from pathlib import Path

from benchmark.conditions.base import NOISE_LEVEL_DB, Clean, Condition, Corrupted, Empty, NoiseOnly, Silence
from benchmark.results import ConditionUsed
from preprocessing.augment import Augmentation, Chain, Clipping, Noise, Reverb, Speed, Telephone
from preprocessing.augment.reverb import RT60_SECONDS, GeneratedRoom
from preprocessing.cli.errors import UsageError

_SPOKEN = "clean,noise:20,noise:10,noise:5,noise:0,reverb,telephone"
GROUPS = {
    "default": f"{_SPOKEN},silence,noise-only",
    "all": f"{_SPOKEN},speed:0.9,speed:1.1,clipped,silence,noise-only,empty",
}
PLAIN = ("clean", "reverb", "telephone", "clipped", "silence", "noise-only", "empty")
WITH_NUMBER = {"noise": ("a signal-to-noise ratio in dB", -20.0, 60.0), "speed": ("a factor", 0.5, 2.0)}
CLIPPED_DB = 12.0


@dataclass(frozen=True)
class _Material:
    """What conditions are made of."""

    seed: int
    noise: Path | None
    rooms: Path | None

    def noise_at(self, snr_db: float) -> Noise:
        return Noise(snr_db, colour="pink") if self.noise is None else Noise(snr_db, files=str(self.noise))

    @property
    def noise_told(self) -> str:
        return "generated pink noise" if self.noise is None else f"recorded noise ({self.noise.name})"


def parse_conditions(text: str, *, seed: int, noise: Path | None, rooms: Path | None) -> list[Condition]:
    """The conditions that `text` lists, clean first, which is always among them.

    text: names with commas between them, or "default" or "all". noise, rooms: folders of recordings; where there is
    none, pink noise and one room are generated. Raises UsageError on a name that is none, and a folder without audio.
    """
    names = [name.strip() for name in GROUPS.get(text.strip(), text).split(",") if name.strip()]
    if not names:
        raise UsageError("--conditions is empty; expected conditions such as clean,noise:10, or default: name one")
    material = _Material(seed, noise, rooms)
    found: dict[str, Condition] = {}
    for name in ["clean", *names]:
        condition = _condition(name, material)
        found.setdefault(condition.used.name, condition)
    return list(found.values())


def _condition(name: str, material: _Material) -> Condition:
    kind, has_number, number = name.partition(":")
    if has_number and kind in WITH_NUMBER:
        value = _number(name, kind, number)
        return _noisy(value, material) if kind == "noise" else _faster(value, material)
    if name not in PLAIN:
        raise _unknown(name)
    if name == "reverb":
        return _reverberant(material)
    if name == "noise-only":
        told = f"nothing is said: {material.noise_told} alone, {-NOISE_LEVEL_DB:g} dB below full scale"
        return NoiseOnly(ConditionUsed(name, told, speech=False), material.noise_at(0.0), material.seed)
    match name:
        case "clean":
            return Clean(ConditionUsed(name, "as the corpus has it"))
        case "silence":
            return Silence(ConditionUsed(name, "nothing is said: digital silence, as long as utterances", speech=False))
        case "empty":
            return Empty(ConditionUsed(name, "nothing is said: no samples at all", speech=False))
        case "telephone":
            told = "a fixed-line telephone: 300 to 3400 Hz, 8 kHz, 8-bit mu-law (ITU-T G.711)"
            return _corrupted(name, told, Telephone(), material)
        case _:
            told = f"peaks cut off flat {CLIPPED_DB:g} dB below the utterance's highest"
            return _corrupted(name, told, Clipping(CLIPPED_DB), material)


def _noisy(snr_db: float, material: _Material) -> Condition:
    used = ConditionUsed(
        f"noise:{snr_db:g}",
        f"{material.noise_told} added at {snr_db:g} dB, both measured over the whole utterance",
        snr_db=snr_db,
    )
    return Corrupted(used, Chain([material.noise_at(snr_db)]), material.seed, "noise")


def _faster(factor: float, material: _Material) -> Condition:
    told = f"played {factor:g} times as fast: duration, pitch and formants change together"
    return _corrupted(f"speed:{factor:g}", told, Speed(factor), material)


def _reverberant(material: _Material) -> Condition:
    if material.rooms is None:
        told = f"one generated room, reverberation time {RT60_SECONDS:g} s, as strong as the direct sound"
        return _corrupted("reverb", told, GeneratedRoom(), material)
    told = f"measured rooms ({material.rooms.name}), one drawn for each utterance"
    return _corrupted("reverb", told, Reverb(str(material.rooms)), material)


def _corrupted(name: str, told: str, augmentation: Augmentation, material: _Material) -> Condition:
    return Corrupted(ConditionUsed(name, told), Chain([augmentation]), material.seed, name)


def _number(name: str, kind: str, number: str) -> float:
    what, least, most = WITH_NUMBER[kind]
    try:
        value = float(number)
    except ValueError:
        value = math.nan
    if not least <= value <= most:
        raise UsageError(
            f"--conditions: {name!r} has no number that can be used; expected {kind}: and {what} from {least:g} to "
            f"{most:g}, as in {kind}:{10 if kind == 'noise' else 1.1:g}: mend it"
        )
    return value


def _unknown(name: str) -> UsageError:
    listed = [*PLAIN, "noise:10", "speed:1.1"]
    near = difflib.get_close_matches(name, [*listed, *WITH_NUMBER, *GROUPS], n=1, cutoff=0.5)
    if near and near[0] in GROUPS:
        meant = f"{near[0]} stands alone: name it alone"
    else:
        meant = f"did you mean {near[0]}?" if near else "choose one of them"
    return UsageError(f"--conditions: {name!r} is no condition; expected {', '.join(listed)}, default or all: {meant}")
