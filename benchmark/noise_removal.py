"""Which systems get audio with stationary noise removed: those that were trained so, or all or none by --denoise.

A model that was trained on such audio (--data.denoise) has its removal as a part of its features; any other model gets
the audio as it is. Terminal and report say what each system was given, and where that is unlike its training.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from finetune.models.companion_files import training_preprocessing
from finetune.systems.base import SystemSpec


@dataclass(frozen=True, slots=True)
class NoiseRemoval:
    """applied: to the audio of a system. trained: to that of its training; None where that is not recorded."""

    applied: bool
    trained: bool | None


def resolve_noise_removal(requested: bool | None, specs: Sequence[SystemSpec]) -> dict[str, NoiseRemoval]:
    """What each system gets, by its name. requested: --denoise; None: each as it was trained.

    Raises InputError where what a model records of its training cannot be used.
    """
    found = {}
    for spec in specs:
        recorded = training_preprocessing(spec.checkpoint)
        trained = None if recorded is None else recorded.denoise
        found[spec.name] = NoiseRemoval(bool(trained) if requested is None else requested, trained)
    return found


def noise_removal_notices(requested: bool | None, systems: Mapping[str, NoiseRemoval]) -> list[str]:
    """Sentences on systems that are not given the same audio, or not such as they were trained on."""
    found = []
    applied = [name for name, one in systems.items() if one.applied]
    if requested is None and applied:
        others = " the other systems get the audio as it is;" if len(applied) < len(systems) else ""
        found.append(
            f"Trained on audio without stationary noise: {', '.join(applied)}. So the noise is removed from what "
            f"{'they get' if len(applied) > 1 else 'it gets'} here, which counts as decoding;{others} --denoise true "
            "or false treats all systems alike."
        )
    unlike = [name for name, one in systems.items() if one.trained is not None and one.trained != one.applied]
    if unlike:
        here, there = ("removed", "with it") if requested else ("not removed", "without it")
        found.append(
            f"Stationary noise is {here} here (--denoise {str(requested).lower()}), and {', '.join(unlike)} "
            f"{'were' if len(unlike) > 1 else 'was'} trained on audio {there}: errors may be more than in use, where "
            "audio is as in training. Leave --denoise out to give each system what it was trained on."
        )
    return found
