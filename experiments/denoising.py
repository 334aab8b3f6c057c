"""`python -m experiments.denoising [--json FILE]`: noise removal beside noisereduce, quality and speed in one run."""

from collections.abc import Callable

import torch
from torch import Tensor

from experiments.harness.figures import Figure, Missing, gain_in_db, one_thread, processor_seconds, report, speed_up
from experiments.harness.speech import Material, PeersConfig, find_material
from preprocessing.audio import SAMPLE_RATE
from preprocessing.augment import Chain, Noise, generator_for
from preprocessing.augment.denoise import SpectralGate
from preprocessing.cli.options import parse_command, run_command

DESCRIPTION = "Noise removal beside noisereduce: SI-SDR improvement and time. Exit 1 where a figure falls short."


def main() -> None:
    config = parse_command(PeersConfig, program="python -m experiments.denoising", description=DESCRIPTION)

    measure(config)


SNRS_DB = (0.0, 5.0, 10.0, 20.0)
TIMES_AS_FAST = 3.0
OURS, NOTHING = "SpectralGate", "doing nothing"

Method = Callable[[Tensor], Tensor]


def si_sdr(estimate: Tensor, reference: Tensor) -> float:
    """Scale-invariant signal-to-distortion ratio in dB, both [samples] with their means removed."""
    estimate, reference = (signal.double() - signal.double().mean() for signal in (estimate, reference))
    target = (estimate @ reference) / (reference @ reference) * reference
    return float(10.0 * torch.log10(target.square().sum() / (estimate - target).square().sum()))


def mixture(material: Material, index: int, snr_db: float) -> Tensor:
    """An utterance with the noise that belongs to it: the same excerpt at every level."""
    path = material.noises[index * len(material.noises) // len(material.utterances) % len(material.noises)]
    chain = Chain([Noise(snr_db=snr_db, files=path)])
    return chain.forward(material.utterances[index], generator_for(0, 0, str(index)))


def peers() -> tuple[dict[str, Method], list[Missing]]:
    """noisereduce's two modes at their defaults, which its users get."""
    try:
        import noisereduce
    except ImportError:
        return {}, [Missing("noisereduce", "install it with `pip install noisereduce`")]

    def mode(stationary: bool) -> Method:
        def reduce(noisy: Tensor) -> Tensor:
            reduced = noisereduce.reduce_noise(noisy.numpy(), SAMPLE_RATE, stationary=stationary)
            return torch.from_numpy(reduced)

        return reduce

    return {"noisereduce, stationary": mode(True), "noisereduce, default": mode(False)}, []


@one_thread()
def compare(material: Material, theirs: dict[str, Method]) -> list[Figure]:
    """Improvements and times of every method on every mixture."""
    methods: dict[str, Method] = {OURS: SpectralGate(), NOTHING: torch.clone, **theirs}
    for method in methods.values():
        method(mixture(material, 0, 0.0))
    improved: dict[tuple[str, float], list[float]] = {(name, snr): [] for name in methods for snr in SNRS_DB}
    seconds: dict[str, list[float]] = {name: [] for name in methods}
    for snr_db in SNRS_DB:
        for index, clean in enumerate(material.utterances):
            noisy = mixture(material, index, snr_db)
            before = si_sdr(noisy, clean)
            for name, method in methods.items():
                taken, denoised = processor_seconds(method, noisy)
                seconds[name].append(taken)
                improved[name, snr_db].append(si_sdr(denoised, clean) - before)
    figures = [
        gain_in_db(f"SI-SDR, {snr:g} dB", name, improved[OURS, snr], improved[name, snr], floor)
        for name, floor in [(NOTHING, None), *((name, 0.0) for name in theirs)]
        for snr in SNRS_DB
    ]
    return figures + [speed_up("time", name, seconds[OURS], seconds[name], TIMES_AS_FAST) for name in theirs]


def measure(config: PeersConfig) -> None:
    """Find the material, compare, report. Raises FallsShortError where a figure does."""
    material = find_material(config.data, config.utterances)
    theirs, missing = peers()
    lengths = [waveform.numel() / SAMPLE_RATE for waveform in material.utterances]
    settings = (
        f"{len(lengths)} utterances of {min(lengths):.1f} to {max(lengths):.1f} s, {len(material.noises)} noises, "
        "one thread, processor time"
    )
    report("Noise removal", compare(material, theirs), missing, settings, config.json)


if __name__ == "__main__":
    run_command(main)
