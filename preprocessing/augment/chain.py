"""Augmentations one after another, built from a configuration, and the random generator of each utterance."""

import hashlib
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from preprocessing.audio import PCM_STEPS, quantise
from preprocessing.augment.base import Augmentation, nearest, parameters, required_parameters
from preprocessing.augment.channel import Clipping, Gain, Telephone
from preprocessing.augment.duration import Pitch, Speed, Tempo, TimeShift
from preprocessing.augment.noise import Noise
from preprocessing.augment.reverb import Reverb
from preprocessing.errors import UsageError

AUGMENTATIONS: dict[str, type[Augmentation]] = {
    kind.name: kind for kind in (TimeShift, Speed, Tempo, Pitch, Reverb, Noise, Gain, Clipping, Telephone)
}


class Chain(nn.Module):
    """Augmentations in their order, then rounding to 16-bit PCM within full scale, as the waveform contract requires.

    Between augmentations a waveform may exceed full scale. One that still does at the end is scaled so that its peak is
    the highest 16-bit value: only `clipping` clips, and no SNR changes.
    """

    def __init__(self, augmentations: Sequence[Augmentation]) -> None:
        super().__init__()
        self.augmentations = nn.ModuleList(augmentations)

    def forward(self, waveform: Tensor, generator: torch.Generator) -> Tensor:
        """The augmented waveform [samples'], every value k / 32768, of float32 [samples] at 16 kHz, one or more.

        The same generator state gives the same bits, whatever the number of threads or processes. Raises ValueError
        on another shape or type.
        """
        if waveform.ndim != 1 or waveform.dtype != torch.float32 or waveform.numel() == 0:
            raise ValueError(f"a waveform {list(waveform.shape)} of {waveform.dtype}; expected float32 [samples > 0]")
        for augmentation in self.augmentations:
            waveform = augmentation(waveform, generator)
        low, high = (bound.item() for bound in waveform.aminmax())
        highest = (PCM_STEPS - 1) / PCM_STEPS
        if high > highest or low < -1.0:
            waveform = waveform * (highest / max(high, -low))
        return quantise(waveform)

    def keeping_duration(self) -> "Chain":
        """The chain without the augmentations that change a waveform's duration."""
        members = cast(list[Augmentation], self.augmentations)
        return Chain([augmentation for augmentation in members if not augmentation.changes_duration])


def from_config(entries: object) -> Chain:
    """The chain of a configuration: a list of mappings, each with `name` and that augmentation's parameters.

    Raises UsageError on an unknown name or key, with the nearest known one, and on a value out of range.

    >>> chain = from_config([{"name": "speed", "factors": [0.9, 1.0, 1.1]}, {"name": "gain", "gain_db": [-6, 6]}])
    >>> chain(torch.zeros(9), seeded_generator(0, 0, "utterance 1")).shape in {(8,), (9,), (10,)}
    True
    """
    if not isinstance(entries, (list, tuple)):
        raise UsageError(f"augmentation: found {type(entries).__name__}; expected a list of entries: begin each with -")
    return Chain([_augmentation(entry) for entry in entries])


def seeded_generator(*parts: int | str) -> torch.Generator:
    """A CPU generator whose seed is a hash (BLAKE2b) of the parts in their order, in any process and Python release.

    With the run's seed, epoch and utterance id as parts, an augmentation does not depend on worker, order or batch.

    >>> seeded_generator(0, 1, "a").initial_seed() == seeded_generator(0, 1, "a").initial_seed()
    True
    """
    digest = hashlib.blake2b("\0".join(map(str, parts)).encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "little") >> 1)


def _augmentation(entry: object) -> Augmentation:
    if not isinstance(entry, dict) or "name" not in entry:
        raise UsageError(f"augmentation: entry {entry!r} has no name; expected one: {nearest('', list(AUGMENTATIONS))}")
    name = entry["name"]
    kind = AUGMENTATIONS.get(name) if isinstance(name, str) else None
    if kind is None:
        raise UsageError(f"augmentation: unknown name {name!r}; {nearest(name, list(AUGMENTATIONS))}")
    given = {key: value for key, value in entry.items() if key != "name"}
    for key in given:
        if key not in parameters(kind):
            raise UsageError(f"augmentation {name}: unknown key {key!r}; {nearest(key, parameters(kind))}")
    for key in required_parameters(kind):
        if key not in given:
            raise UsageError(f"augmentation {name}: no {key}; expected it in the entry: add it")
    return kind(**given)
