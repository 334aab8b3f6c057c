"""How fast is waveform augmentation compared with real time and with torchaudio?

Exit code 1 if a figure misses its target.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from experiments.harness.command import progress, run_experiment
from experiments.harness.figures import Comparison, Findings, speed_up
from experiments.harness.rounds import one_thread, processor_seconds
from experiments.harness.speech import SpeechOptions, SpeechSamples, load_samples
from preprocessing.cli.options import run_command

if TYPE_CHECKING:
    from torch import Tensor

    from preprocessing.augment import Augmentation

DURATION = "half a minute"
MINIMUM_TIMES_REAL_TIME = 200.0
EPOCHS = 3
WARM_UP_CALLS = 40  # so that each noise and room has been decoded, as after the first minute of training
PAIRED_UTTERANCES = 6  # beside torchaudio; the first warms up


@dataclass(frozen=True)
class Config(SpeechOptions):
    """What is augmented."""


def run(config: Config) -> Findings:
    """Time the augmentations. Raises UsageError where speech, noise or rooms are not there."""
    samples = load_samples(config.data_dir, config.count)
    with one_thread():
        comparisons = [time_whole_chain(samples), *compare_with_torchaudio(samples)]
    settings = f"{len(samples.waveforms)} utterances, {len(samples.noises)} noises, one thread, processor time"
    return Findings("Waveform augmentation", settings, comparisons)


def time_whole_chain(samples: SpeechSamples) -> Comparison:
    """Nine augmentations and two kinds of noise with random parameters, beside the duration of the audio."""
    from preprocessing.audio import SAMPLE_RATE
    from preprocessing.augment import from_config, seeded_generator

    chain = from_config(
        [
            {"name": "time_shift"},
            {"name": "speed", "factors": [0.9, 1.1]},
            {"name": "tempo"},
            {"name": "pitch"},
            {"name": "reverb", "files": str(samples.rooms)},
            {"name": "noise", "files": [str(path) for path in samples.noises]},
            {"name": "noise", "colour": "pink"},
            {"name": "gain"},
            {"name": "clipping"},
            {"name": "telephone"},
        ]
    )
    ours, real = [], []
    with progress("whole chain", WARM_UP_CALLS + EPOCHS * len(samples.waveforms), "calls") as advance:
        for call in range(WARM_UP_CALLS):
            chain(samples.waveforms[0], seeded_generator(0, 0, str(call)))
            advance(1)
        for epoch in range(EPOCHS):
            for number, waveform in enumerate(samples.waveforms):
                ours.append(processor_seconds(chain, waveform, seeded_generator(1, epoch, str(number)))[0])
                real.append(waveform.numel() / SAMPLE_RATE)
                advance(1)
    return speed_up("whole chain", "real time", ours, real, MINIMUM_TIMES_REAL_TIME)


def compare_with_torchaudio(samples: SpeechSamples) -> list[Comparison]:
    """Speed, reverb and white noise, each beside torchaudio's function for the same job."""
    import torch
    from torchaudio import functional

    from preprocessing.audio import SAMPLE_RATE
    from preprocessing.augment import Noise, Reverb, Speed, seeded_generator
    from preprocessing.augment.reverb import read_response

    room = sorted(samples.rooms.glob("*.wav"))[0]
    response = torch.from_numpy(read_response(room))
    pairs: list[tuple[str, Augmentation, Callable[[Tensor], object]]] = [
        ("speed 1.1", Speed(factors=[1.1]), lambda waveform: functional.speed(waveform, SAMPLE_RATE, 1.1)),
        ("reverb", Reverb(files=room), lambda waveform: functional.fftconvolve(waveform, response)),
        (
            "white noise",
            Noise(snr_db=10.0, colour="white"),
            lambda waveform: functional.add_noise(waveform, torch.randn_like(waveform), torch.tensor(10.0)),
        ),
    ]
    comparisons = []
    for quantity, ours, theirs in pairs:
        our_seconds, their_seconds = [], []
        for number, waveform in enumerate(samples.waveforms[:PAIRED_UTTERANCES]):
            own = processor_seconds(ours, waveform, seeded_generator(0, 0, str(number)))[0]
            peer = processor_seconds(theirs, waveform)[0]
            if number > 0:
                our_seconds.append(own)
                their_seconds.append(peer)
        comparisons.append(speed_up(quantity, "torchaudio", our_seconds, their_seconds, None))
    return comparisons


def main(arguments: Sequence[str] | None = None) -> None:
    run_experiment(Config, run, __doc__, __file__, arguments)


if __name__ == "__main__":
    run_command(main)
