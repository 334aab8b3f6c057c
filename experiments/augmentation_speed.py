"""`python -m experiments.augmentation_speed [--json FILE]`: how fast augmentation is, beside real time and torchaudio."""

from collections.abc import Callable

import torch
import torchaudio.functional
from torch import Tensor

from experiments.harness.figures import Figure, one_thread, processor_seconds, report, speed_up
from experiments.harness.speech import Material, PeersConfig, find_material
from preprocessing.audio import SAMPLE_RATE
from preprocessing.augment import Augmentation, Noise, Reverb, Speed, from_config, generator_for
from preprocessing.augment.reverb import read_response
from preprocessing.cli.options import parse_command, run_command

DESCRIPTION = "The speed of waveform augmentation beside real time and torchaudio. Exit 1 where a figure falls short."


def main() -> None:
    config = parse_command(PeersConfig, program="python -m experiments.augmentation_speed", description=DESCRIPTION)

    measure(config)


TIMES_REAL_TIME = 200.0
WARM_UP_CALLS = 40  # so that each noise and room has been decoded, as after the first minute of training


def whole_chain(material: Material) -> Figure:
    """Nine augmentations and two kinds of noise, whatever they draw."""
    files = [str(path) for path in material.noises]
    chain = from_config(
        [
            {"name": "time_shift"},
            {"name": "speed", "factors": [0.9, 1.1]},
            {"name": "tempo"},
            {"name": "pitch"},
            {"name": "reverb", "files": str(material.rooms)},
            {"name": "noise", "files": files},
            {"name": "noise", "colour": "pink"},
            {"name": "gain"},
            {"name": "clipping"},
            {"name": "telephone"},
        ]
    )
    for call in range(WARM_UP_CALLS):
        chain(material.utterances[0], generator_for(0, 0, str(call)))
    ours, real = [], []
    for epoch in range(3):
        for number, waveform in enumerate(material.utterances):
            ours.append(processor_seconds(chain, waveform, generator_for(1, epoch, str(number)))[0])
            real.append(waveform.numel() / SAMPLE_RATE)
    return speed_up("whole chain", "real time", ours, real, TIMES_REAL_TIME)


def beside_torchaudio(material: Material) -> list[Figure]:
    """Pairs of calls that do the same job."""
    functional = torchaudio.functional
    room = sorted(material.rooms.glob("*.wav"))[0]
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
    figures = []
    for what, ours, theirs in pairs:
        seconds: tuple[list[float], list[float]] = ([], [])
        for number, waveform in enumerate(material.utterances[:6]):
            own = processor_seconds(ours, waveform, generator_for(0, 0, str(number)))[0]
            peer = processor_seconds(theirs, waveform)[0]
            if number > 0:  # the first is a warm-up
                seconds[0].append(own)
                seconds[1].append(peer)
        figures.append(speed_up(what, "torchaudio", *seconds, None))
    return figures


def measure(config: PeersConfig) -> None:
    """Find the material, compare, report. Raises FallsShortError where a figure does."""
    material = find_material(config.data, config.utterances)
    with one_thread():
        figures = [whole_chain(material), *beside_torchaudio(material)]
    settings = f"{len(material.utterances)} utterances, {len(material.noises)} noises, one thread, processor time"
    report("Waveform augmentation", figures, [], settings, config.json)


if __name__ == "__main__":
    run_command(main)
