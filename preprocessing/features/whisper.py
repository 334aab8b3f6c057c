"""The log-mel spectrogram that Whisper is trained on. Source: openai-whisper `audio.py`."""

import math

import torch
from torch import Tensor
from torchaudio.functional import melscale_fbanks

from preprocessing.audio import SAMPLE_RATE
from preprocessing.features.base import Count, FeatureExtractor, keep_dynamic_range

N_FFT = 400  # samples: a 25 ms window
HOP_LENGTH = 160  # samples: a frame each 10 ms
REFLECTED = N_FFT // 2  # samples mirrored at either end, so that frame t is centred on sample 160 t
FLOOR_POWER = 1e-10  # power below which the logarithm stops
DYNAMIC_RANGE = 8.0  # decades (80 dB) kept below an utterance's loudest bin


class LogMel(FeatureExtractor):
    """Log-mel spectrogram in Whisper's convention (Radford et al. 2022, section 2.2).

    Power of a 400-sample Hann window each 160 samples (reflected at both ends, the last frame dropped), Slaney mel
    filters from 0 to 8 kHz, log10, 8 decades kept below the utterance's maximum, then (x + 4) / 4.

    n_mels: 80, or 128 for Whisper large-v3.
    """

    def __init__(self, n_mels: int = 80) -> None:
        super().__init__(
            torch.hann_window(N_FFT),
            slaney_filters(N_FFT, n_mels),
            n_bins=n_mels,
            hop_length=HOP_LENGTH,
            n_fft=N_FFT,
            shortest=REFLECTED + 1,
        )

    def n_frames(self, n_samples: Count) -> Count:
        return n_samples // HOP_LENGTH

    def _with_edges(self, waveforms: Tensor, n_samples: Tensor | None) -> Tensor:
        before = waveforms[:, 1 : REFLECTED + 1].flip(-1)
        if n_samples is None:
            return torch.cat([before, waveforms, waveforms[:, -REFLECTED - 1 : -1].flip(-1)], dim=-1)
        steps = torch.arange(REFLECTED, device=waveforms.device)
        after = waveforms.gather(-1, n_samples[:, None] - 2 - steps)
        padded = torch.cat([before, waveforms, torch.zeros_like(before)], dim=-1)
        return padded.scatter(-1, REFLECTED + n_samples[:, None] + steps, after)

    def _finish(self, energies: Tensor, valid: Tensor | None) -> Tensor:
        log_mel = keep_dynamic_range(energies, FLOOR_POWER, DYNAMIC_RANGE, valid).log10()
        return log_mel.add_(4.0).div_(4.0)


def slaney_filters(n_fft: int, n_mels: int) -> Tensor:
    """Triangles of equal area, spaced evenly on Slaney's mel scale from 0 to 8 kHz: [n_mels, n_fft // 2 + 1]."""
    filters: Tensor = melscale_fbanks(
        n_fft // 2 + 1, 0.0, SAMPLE_RATE / 2, n_mels, SAMPLE_RATE, norm="slaney", mel_scale="slaney"
    )
    return filters.T


def slaney_mels(frequency_hz: float) -> float:
    """Slaney's mel scale (Auditory Toolbox): linear to 1 kHz, logarithmic above; 27 mels are a factor of 6.4.

    >>> slaney_mels(1_000.0), slaney_mels(6_400.0)
    (15.0, 42.0)
    """
    if frequency_hz < 1_000.0:
        return 3.0 * frequency_hz / 200.0
    return 15.0 + 27.0 * math.log(frequency_hz / 1_000.0) / math.log(6.4)
