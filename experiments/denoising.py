"""Does this project's noise removal improve SI-SDR more than noisereduce, and in less time?

Speech is mixed with recorded noise at several levels. Exit code 1 if a figure misses its target.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from experiments.harness.command import progress, run_experiment
from experiments.harness.figures import Comparison, Findings, gain_in_db, speed_up
from experiments.harness.rounds import one_thread, processor_seconds
from experiments.harness.speech import SpeechOptions, SpeechSamples, load_samples
from preprocessing.cli.options import run_command

if TYPE_CHECKING:
    from torch import Tensor

DURATION = "half a minute"
SNRS_DB = (0.0, 5.0, 10.0, 20.0)
MINIMUM_TIMES_AS_FAST = 3.0
OURS, NO_REMOVAL = "SpectralGate", "no noise removal"

Method: TypeAlias = "Callable[[Tensor], Tensor]"


@dataclass(frozen=True)
class Config(SpeechOptions):
    """What is mixed with noise."""


def run(config: Config) -> Findings:
    """Remove the noise with every method. Raises UsageError where speech, noise or rooms are not there."""
    from preprocessing.audio import SAMPLE_RATE

    samples = load_samples(config.data_dir, config.count)
    peers, missing = load_peers()
    lengths = [waveform.numel() / SAMPLE_RATE for waveform in samples.waveforms]
    settings = (
        f"{len(lengths)} utterances of {min(lengths):.1f} to {max(lengths):.1f} s, {len(samples.noises)} noises, "
        "one thread, processor time"
    )
    return Findings("Noise removal", settings, compare(samples, peers), missing)


def load_peers() -> tuple[dict[str, Method], dict[str, str]]:
    """noisereduce's two modes at their defaults, and why they are missing where it is not installed."""
    try:
        import noisereduce
    except ImportError:
        return {}, {"noisereduce": "install it with `pip install noisereduce`"}
    import torch

    from preprocessing.audio import SAMPLE_RATE

    def mode(stationary: bool) -> Method:
        def reduce(noisy: "Tensor") -> "Tensor":
            reduced = noisereduce.reduce_noise(noisy.numpy(), SAMPLE_RATE, stationary=stationary)
            return torch.from_numpy(reduced)

        return reduce

    return {"noisereduce, stationary": mode(True), "noisereduce, default": mode(False)}, {}


def compare(samples: SpeechSamples, peers: dict[str, Method]) -> list[Comparison]:
    """SI-SDR improvement and processor time of every method on every mixture."""
    import torch

    from preprocessing.augment.denoise import SpectralGate

    methods: dict[str, Method] = {OURS: SpectralGate(), NO_REMOVAL: torch.clone, **peers}
    improved: dict[tuple[str, float], list[float]] = {(name, snr): [] for name in methods for snr in SNRS_DB}
    seconds: dict[str, list[float]] = {name: [] for name in methods}
    with one_thread(), progress("noise removal", len(SNRS_DB) * len(samples.waveforms), "mixtures") as advance:
        for method in methods.values():  # the first call warms up
            method(mix(samples, 0, 0.0))
        for snr_db in SNRS_DB:
            for index, clean in enumerate(samples.waveforms):
                noisy = mix(samples, index, snr_db)
                before = si_sdr(noisy, clean)
                for name, method in methods.items():
                    taken, denoised = processor_seconds(method, noisy)
                    seconds[name].append(taken)
                    improved[name, snr_db].append(si_sdr(denoised, clean) - before)
                advance(1)
    comparisons = [
        gain_in_db(f"SI-SDR, {snr:g} dB", name, improved[OURS, snr], improved[name, snr], minimum)
        for name, minimum in [(NO_REMOVAL, None), *((name, 0.0) for name in peers)]
        for snr in SNRS_DB
    ]
    return comparisons + [speed_up("time", name, seconds[OURS], seconds[name], MINIMUM_TIMES_AS_FAST) for name in peers]


def mix(samples: SpeechSamples, index: int, snr_db: float) -> "Tensor":
    """Utterance number `index` [samples] with its own noise: the same excerpt at every level."""
    from preprocessing.augment import Chain, Noise, seeded_generator

    path = samples.noises[index * len(samples.noises) // len(samples.waveforms) % len(samples.noises)]
    chain = Chain([Noise(snr_db=snr_db, files=path)])
    return chain.forward(samples.waveforms[index], seeded_generator(0, 0, str(index)))


def si_sdr(estimate: "Tensor", reference: "Tensor") -> float:
    """Scale-invariant signal-to-distortion ratio in dB (Le Roux et al. 2019), means removed, both [samples]."""
    import torch

    estimate, reference = (signal.double() - signal.double().mean() for signal in (estimate, reference))
    target = (estimate @ reference) / (reference @ reference) * reference
    return float(10.0 * torch.log10(target.square().sum() / (estimate - target).square().sum()))


def main(arguments: Sequence[str] | None = None) -> None:
    run_experiment(Config, run, __doc__, __file__, arguments)


if __name__ == "__main__":
    run_command(main)
