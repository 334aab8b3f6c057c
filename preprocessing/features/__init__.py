"""Spectral features of speech in the two conventions that models are trained on.

`LogMel` is Whisper's, `KaldiFbank` and `KaldiMfcc` are Kaldi's; `Deltas`, `UtteranceNorm` and `GlobalNorm` work on any
of them. Each is an nn.Module that runs on the device of its buffers and lets gradients through.

An extractor called on waveforms of one length returns a tensor [..., bins, frames]; its `batch` takes a padded batch
with the number of samples of each utterance and returns `Features`, where each utterance has the values it has alone:

>>> import torch
>>> waveforms, n_samples = torch.randn(2, 16_000), torch.tensor([16_000, 8_000])
>>> features = Deltas(order=2)(KaldiMfcc().batch(waveforms, n_samples))
>>> features.values.shape, features.n_frames.tolist()
(torch.Size([2, 39, 98]), [98, 48])

Cutting audio is in `preprocessing.segment`, masking features in `preprocessing.augment.spec_augment`, a picture of
features in `preprocessing.features.plot`.
"""

from preprocessing.features.base import FeatureExtractor, Features
from preprocessing.features.kaldi import KaldiFbank, KaldiMfcc
from preprocessing.features.transforms import Deltas, GlobalNorm, UtteranceNorm, normalise_waveform
from preprocessing.features.whisper import LogMel, slaney_mels

__all__ = [
    "Deltas",
    "FeatureExtractor",
    "Features",
    "GlobalNorm",
    "KaldiFbank",
    "KaldiMfcc",
    "LogMel",
    "UtteranceNorm",
    "normalise_waveform",
    "slaney_mels",
]
