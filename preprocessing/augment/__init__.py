"""Waveform augmentation: time shift, speed, tempo, pitch, gain, noise, reverberation, telephone, clipping.

Each is an nn.Module whose parameters are physical quantities and whose randomness comes from the torch.Generator that
it is given; `Chain` applies them in order. As YAML:

    - {name: speed, factors: [0.9, 1.0, 1.1]}
    - {name: reverb, files: rooms/, probability: 0.3}
    - {name: noise, files: noises/, snr_db: [5, 20], probability: 0.5}
    - {name: telephone, probability: 0.1}

Masks over features are in `preprocessing.augment.spec_augment`, noise removal in `preprocessing.augment.denoise`.
"""

from preprocessing.augment.base import Augmentation
from preprocessing.augment.chain import AUGMENTATIONS, Chain, from_config, seeded_generator
from preprocessing.augment.channel import Clipping, Gain, Telephone
from preprocessing.augment.duration import Pitch, Speed, Tempo, TimeShift, scaled_length
from preprocessing.augment.noise import Noise
from preprocessing.augment.reverb import Reverb

__all__ = [
    "AUGMENTATIONS",
    "Augmentation",
    "Chain",
    "Clipping",
    "Gain",
    "Noise",
    "Pitch",
    "Reverb",
    "Speed",
    "Telephone",
    "Tempo",
    "TimeShift",
    "from_config",
    "scaled_length",
    "seeded_generator",
]
