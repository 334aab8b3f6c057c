"""Mel-frequency cepstra as librosa computes them. Source: librosa 0.11 `feature.mfcc`, its defaults."""

import math

import torch
from torch import Tensor

from preprocessing.features.base import Count, FeatureExtractor, keep_dynamic_range
from preprocessing.features.whisper import slaney_filters

FLOOR_POWER = 1e-10
DYNAMIC_RANGE = 8.0  # decades (80 dB) kept below an utterance's loudest bin


class LibrosaMfcc(FeatureExtractor):
    """Mel-frequency cepstra in librosa's convention: librosa.feature.mfcc(y=waveform, sr=16_000).

    Power of a Hann window, zeros before and after the waveform so that frame t is centred on sample t * hop_length;
    Slaney mel filters from 0 to 8 kHz; decibels, 80 kept below the utterance's maximum; orthonormal DCT-II, no lifter.

    n_fft, hop_length: samples; librosa's defaults, at 16 kHz, are windows of 128 ms each 32 ms.
    """

    cosines: Tensor  # [n_mfcc, n_mels]

    def __init__(self, n_mfcc: int = 20, n_mels: int = 128, *, n_fft: int = 2048, hop_length: int = 512) -> None:
        if n_mfcc > n_mels:
            raise ValueError(f"{n_mfcc} coefficients of {n_mels} filters; expected n_mfcc <= n_mels: raise n_mels")
        super().__init__(
            torch.hann_window(n_fft),
            slaney_filters(n_fft, n_mels),
            n_bins=n_mfcc,
            hop_length=hop_length,
            n_fft=n_fft,
            shortest=1,
        )
        # In double precision: torchaudio's create_dct, in single, is off by 5e-7: of 128 levels of -100 dB, 1e-3.
        angles = torch.outer(torch.arange(n_mfcc), torch.arange(n_mels) + 0.5).double() * (math.pi / n_mels)
        cosines = angles.cos() * math.sqrt(2.0 / n_mels)
        cosines[0] /= math.sqrt(2.0)
        self.register_buffer("cosines", cosines.float(), persistent=False)

    def n_frames(self, n_samples: Count) -> Count:
        return n_samples // self.hop_length + 1

    def _with_edges(self, waveforms: Tensor, n_samples: Tensor | None) -> Tensor:
        if n_samples is not None:
            padding = torch.arange(waveforms.shape[-1], device=waveforms.device) >= n_samples[:, None]
            waveforms = waveforms.masked_fill(padding, 0.0)
        return torch.nn.functional.pad(waveforms, (self.n_fft // 2, self.n_fft // 2))

    def _finish(self, energies: Tensor, valid: Tensor | None) -> Tensor:
        return self.cosines @ (10.0 * keep_dynamic_range(energies, FLOOR_POWER, DYNAMIC_RANGE, valid).log10())
