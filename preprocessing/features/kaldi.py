"""Kaldi's filter-bank features and cepstra. Source: Kaldi `feat/feature-fbank.h`, `feature-mfcc.h`, dither off.

Frames of 25 ms each 10 ms, those that reach past the end left out (snip_edges); from each frame its mean is removed,
then from each sample 0.97 times the one before (the first stands before itself), then Povey's window, a 512-point power
spectrum, triangular filters on the mel scale 1127 ln(1 + f / 700), the natural logarithm of at least 1.19e-7.
"""

import math

import torch
from torch import Tensor
from torchaudio.compliance.kaldi import get_mel_banks
from torchaudio.functional import create_dct

from preprocessing.audio import SAMPLE_RATE
from preprocessing.features.base import Count, FeatureExtractor

WIN_LENGTH = 400  # samples: 25 ms
HOP_LENGTH = 160  # samples: 10 ms
N_FFT = 512  # samples: the window's length rounded up to a power of two
PREEMPHASIS = 0.97
FLOOR_ENERGY = torch.finfo(torch.float32).eps  # 2**-23: mel energy below which the logarithm stops


class KaldiFbank(FeatureExtractor):
    """Log-mel filter-bank energies in Kaldi's convention, as torchaudio.compliance.kaldi.fbank gives them.

    low_hz, high_hz: where the lowest filter begins and the highest ends.
    full_scale: what a sample of 1.0 counts as. Kaldi's programs read 16-bit integers: 32_768 gives their values (every
        energy 20.79 higher, the floor 90 dB lower in the signal), 1 what torchaudio gives for the same waveform.
    """

    def __init__(
        self, n_mels: int = 80, *, low_hz: float = 20.0, high_hz: float = SAMPLE_RATE / 2, full_scale: float = 1.0
    ) -> None:
        if not 0.0 <= low_hz < high_hz <= SAMPLE_RATE / 2:
            raise ValueError(f"filters from {low_hz:g} to {high_hz:g} Hz; expected 0 <= low_hz < high_hz <= 8000")
        filters, _ = get_mel_banks(n_mels, N_FFT, SAMPLE_RATE, low_hz, high_hz, 100.0, -500.0, 1.0)  # the last: no VTLN
        super().__init__(
            full_scale * torch.hann_window(WIN_LENGTH, periodic=False).pow(0.85),  # Povey's window
            torch.nn.functional.pad(filters, (0, 1)),  # the bin at 8 kHz is in no filter
            n_bins=n_mels,
            hop_length=HOP_LENGTH,
            n_fft=N_FFT,
            shortest=WIN_LENGTH,
        )

    def n_frames(self, n_samples: Count) -> Count:
        return (n_samples - WIN_LENGTH) // HOP_LENGTH + 1

    def _with_edges(self, waveforms: Tensor, n_samples: Tensor | None) -> Tensor:
        return waveforms  # no frame reaches past its utterance

    def _shaped(self, frames: Tensor) -> Tensor:
        centred = frames - frames.mean(dim=-1, keepdim=True)
        before = torch.cat([centred[..., :1], centred[..., :-1]], dim=-1)
        return (centred - PREEMPHASIS * before) * self.window

    def _finish(self, energies: Tensor, valid: Tensor | None) -> Tensor:
        return energies.clamp(min=FLOOR_ENERGY).log()


class KaldiMfcc(KaldiFbank):
    """Mel-frequency cepstra in Kaldi's convention, as torchaudio.compliance.kaldi.mfcc gives them (use_energy false).

    Orthonormal DCT-II of the filter-bank features, coefficient i lifted by 1 + Q / 2 sin(pi i / Q).

    n_mfcc: coefficients, the 0th (the level) included; n_mels: filters, no fewer than coefficients; lifter: Q, 0 for
        none; the rest as for KaldiFbank.
    """

    cosines: Tensor  # [n_mfcc, n_mels]

    def __init__(
        self,
        n_mfcc: int = 13,
        n_mels: int = 23,
        *,
        lifter: float = 22.0,
        low_hz: float = 20.0,
        high_hz: float = SAMPLE_RATE / 2,
        full_scale: float = 1.0,
    ) -> None:
        if n_mfcc > n_mels:
            raise ValueError(f"{n_mfcc} coefficients of {n_mels} filters; expected n_mfcc <= n_mels: raise n_mels")
        super().__init__(n_mels, low_hz=low_hz, high_hz=high_hz, full_scale=full_scale)
        self.n_bins = n_mfcc
        lift = 1.0 + lifter / 2.0 * torch.sin(math.pi * torch.arange(n_mfcc) / lifter) if lifter else torch.ones(n_mfcc)
        self.register_buffer("cosines", lift[:, None] * create_dct(n_mfcc, n_mels, "ortho").T, persistent=False)

    def _finish(self, energies: Tensor, valid: Tensor | None) -> Tensor:
        return self.cosines @ super()._finish(energies, valid)
