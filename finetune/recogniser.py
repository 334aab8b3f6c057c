"""A recogniser for Python programs: a model loaded once, then arrays and files transcribed again and again.

    from finetune.recogniser import load

    recogniser = load("runs/yours")
    transcript = recogniser.transcribe(waveform, 16_000)
    print(transcript.text, transcript.confidence)

Models, options and texts are those of `python -m finetune.transcribe`, which writes files and goes on after an
interruption.
"""

import io
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray
from torch import Tensor

from finetune.systems.base import System
from finetune.systems.registry import load_system
from finetune.systems.transcript import Transcript, joined
from finetune.transcribe import TranscribeConfig, resolve
from finetune.transcription.run import as_it_is, in_pieces
from preprocessing.audio import MAX_SAMPLE_RATE, AudioError, AudioSource
from preprocessing.augment.denoise import SpectralGate
from preprocessing.cli.notes import note_once

SUBTYPES = {"float32": "FLOAT", "float64": "DOUBLE", "int16": "PCM_16", "int32": "PCM_32"}  # of WAV, by dtype
MAX_CHANNELS = 64  # a second axis that is longer is that of the samples


class Recogniser:
    """A loaded model.

    system: of `load_system`. language: of transcripts whose system does not say it. denoise: remove stationary noise
    first, as in the model's training.
    """

    def __init__(self, system: System, *, language: str | None = None, denoise: bool = False) -> None:
        self.system = system
        self._language = language
        self._clean = SpectralGate() if denoise else as_it_is

    def transcribe(
        self,
        recording: "NDArray[Any] | Tensor | AudioSource",
        sample_rate: int | None = None,
        *,
        words: bool = True,
        channel: int | None = None,
    ) -> Transcript:
        """The transcript of a recording of any length.

        recording: an array or tensor [samples] or [samples, channels], of floats with full scale 1 or of 16- or 32-bit
        integers, or an audio file: its path, bytes or an open file. sample_rate: of an array, in Hz; it is resampled
        as a file is. words: whether times and confidence are wanted. channel: the one to take, from 0; None is the
        mean of all.

        Raises AudioError on an array of another kind and like `preprocessing.audio.load`, and what the system raises.
        """
        if isinstance(recording, np.ndarray | Tensor):
            if sample_rate is None:
                raise AudioError("an array without sample_rate; expected its samples per second: add it")
            source: AudioSource = _wav_of(recording, sample_rate)
        elif sample_rate is not None:
            raise AudioError(
                "sample_rate beside a file, which has its own; expected it with an array alone: leave it out"
            )
        else:
            source = recording
        parts = [part for _, part in in_pieces(self.system, source, channel, clean=self._clean, words=words)]
        whole = parts[0] if len(parts) == 1 else joined(parts)
        return Transcript(whole.text, whole.segments, whole.language or self._language)


def load(model: str, **options: Any) -> Recogniser:
    """The model, loaded.

    model: as for `python -m finetune.transcribe`: a run's folder, an export, a Hub id, a size of Whisper, a .pt file.
    options: those of TranscribeConfig that concern the model, such as language, lm, hotwords, device and precision.

    Raises UserError on an unknown model, options that do not go with it, and a model that cannot be loaded.
    """
    config = TranscribeConfig(model=model, recordings=[], **options)
    config.check()
    spec, loading = resolve(config)
    if spec.notice is not None:
        note_once(spec.name, spec.notice)
    return Recogniser(load_system(spec, loading), language=config.language, denoise=loading.denoise)


def _wav_of(array: "NDArray[Any] | Tensor", sample_rate: int) -> bytes:
    """A WAV file that holds every sample of an array, so that it goes the way of a file."""
    samples = array.detach().cpu().numpy() if isinstance(array, Tensor) else array
    subtype = SUBTYPES.get(samples.dtype.name)
    if subtype is None:
        raise AudioError(f"an array of {samples.dtype}; expected one of {', '.join(SUBTYPES)}: convert it")
    if samples.ndim not in (1, 2) or (samples.ndim == 2 and samples.shape[1] > MAX_CHANNELS):
        raise AudioError(
            f"an array of shape {samples.shape}; expected [samples] or [samples, channels]: transpose it or take one "
            "recording"
        )
    if not samples.size:
        raise AudioError("an array without samples; expected one at least: leave it out")
    if not 1 <= sample_rate <= MAX_SAMPLE_RATE:
        raise AudioError(f"sample_rate {sample_rate}; expected 1 to {MAX_SAMPLE_RATE} Hz: correct it")
    file = io.BytesIO()
    soundfile.write(file, samples, int(sample_rate), format="WAV", subtype=subtype)
    return file.getvalue()
