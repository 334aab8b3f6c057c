"""What models eat: a log-mel spectrogram in Whisper's convention, and wav2vec 2.0's normalised waveform.

Both take a batch of padded waveforms with their lengths and stay exact for each utterance: padding never reaches a
valid value. Sources: openai-whisper `audio.py`; transformers `Wav2Vec2FeatureExtractor`.
"""

import torch
from torch import Tensor, nn
from torchaudio.functional import melscale_fbanks

from preprocessing.audio import SAMPLE_RATE

N_FFT = 400  # samples: a 25 ms window
HOP_LENGTH = 160  # samples: a frame each 10 ms
FLOOR_POWER = 1e-10  # power below which the logarithm stops
DYNAMIC_RANGE = 8.0  # decades (80 dB) kept below an utterance's loudest bin


class LogMel(nn.Module):
    """Log-mel spectrogram in Whisper's convention (Radford et al. 2022, section 2.2).

    Power of a 400-sample Hann window each 160 samples (reflected at both ends, the last frame dropped), Slaney mel
    filters from 0 to 8 kHz, log10, 8 decades kept below the utterance's maximum, then (x + 4) / 4.

    n_mels: 80, or 128 for Whisper large-v3.
    """

    def __init__(self, n_mels: int = 80) -> None:
        super().__init__()
        filters = melscale_fbanks(
            N_FFT // 2 + 1, 0.0, SAMPLE_RATE / 2, n_mels, SAMPLE_RATE, norm="slaney", mel_scale="slaney"
        )
        self.register_buffer("filters", filters.T.contiguous(), persistent=False)
        self.register_buffer("window", torch.hann_window(N_FFT), persistent=False)

    filters: Tensor  # [n_mels, n_fft // 2 + 1]
    window: Tensor  # [n_fft]

    def forward(self, waveform: Tensor) -> Tensor:
        """waveform: [..., samples] at 16 kHz, at least 201 samples. Returns [..., n_mels, samples // 160]."""
        if waveform.shape[-1] <= N_FFT // 2:
            raise ValueError(
                f"{waveform.shape[-1]} samples; a reflected window needs {N_FFT // 2 + 1}: pad the waveform"
            )
        spectrum = torch.stft(waveform, N_FFT, HOP_LENGTH, window=self.window, return_complex=True)
        power = spectrum[..., :-1].abs().square()
        log_mel = (self.filters @ power).clamp(min=FLOOR_POWER).log10()
        loudest = log_mel.amax(dim=(-2, -1), keepdim=True)
        return (torch.maximum(log_mel, loudest - DYNAMIC_RANGE) + 4.0) / 4.0


def normalise_waveform(waveform: Tensor) -> Tensor:
    """Zero mean and unit variance over one utterance, as Wav2Vec2FeatureExtractor's `do_normalize` (epsilon 1e-7).

    waveform: [samples]; variance is the population's. Returns the same shape.
    """
    centred = waveform - waveform.mean()
    return centred / (centred.square().mean() + 1e-7).sqrt()
