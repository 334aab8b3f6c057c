"""A recogniser for Python programs: a model loaded once, then arrays and files transcribed again and again.

    from finetune.recogniser import load

    recogniser = load("runs/yours")
    transcript = recogniser.transcribe(waveform, 16_000)
    print(transcript.text, transcript.confidence)

Models, options and texts are those of `python -m finetune.transcribe`, which writes files and goes on after an
interruption.
"""

import io
import math
from pathlib import Path
from threading import Lock
from typing import Any, Literal, get_args, get_origin, get_type_hints

import numpy as np
import soundfile
from numpy.typing import NDArray
from torch import Tensor

from finetune.systems.base import System
from finetune.systems.registry import load_system
from finetune.systems.transcript import Transcript, joined
from finetune.transcription.notes import language_note
from finetune.transcription.options import LOADING, TranscribeConfig, resolve
from finetune.transcription.run import as_it_is, transcribe_pieces
from preprocessing.audio import MAX_SAMPLE_RATE, AudioError, AudioSource
from preprocessing.augment.denoise import SpectralGate
from preprocessing.cli.notes import note_once
from preprocessing.errors import UsageError

SUBTYPES = {"float32": "FLOAT", "float64": "DOUBLE", "int16": "PCM_16", "int32": "PCM_32"}  # of WAV, by dtype
MAX_CHANNELS = 64  # a second axis that is longer is that of the samples
OF_A_CALL = {"channel": "channel", "word_timestamps": "words"}  # the command's options that `transcribe` takes


class Recogniser:
    """A loaded model.

    system: of `load_system`. language: of transcripts whose system does not say it. denoise: remove stationary noise
    first, as in the model's training.

    Calls from several threads wait for each other: a system holds what it computes.
    """

    def __init__(self, system: System, *, language: str | None = None, denoise: bool = False) -> None:
        self.system = system
        self._language = language
        self._clean = SpectralGate() if denoise else as_it_is
        self._lock = Lock()

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
        elif isinstance(recording, list | tuple):
            raise AudioError(f"a {type(recording).__name__}; expected an array, a tensor or an audio file: convert it")
        elif sample_rate is not None:
            raise AudioError(
                "sample_rate beside a file, which has its own; expected it with an array alone: leave it out"
            )
        else:
            source = recording
        with self._lock:
            parts = [
                part for _, part in transcribe_pieces(self.system, source, channel, clean=self._clean, words=words)
            ]
        whole = parts[0] if len(parts) == 1 else joined(parts)
        return Transcript(whole.text, whole.segments, whole.language or self._language)


def load(model: str | Path, **options: Any) -> Recogniser:
    """The model, loaded.

    model: as for `python -m finetune.transcribe`: a run's folder, an export, a Hub id, a size of Whisper, a .pt file.
    options: those of TranscribeConfig that concern the model, such as language, lm, hotwords, device and precision.

    Raises UserError on an unknown model, options that do not go with it, and a model that cannot be loaded.
    """
    hints = get_type_hints(TranscribeConfig)
    for name, value in options.items():
        if name in OF_A_CALL:
            raise UsageError(
                f"load has no option {name!r}, which is chosen for each recording; expected "
                f"transcribe({OF_A_CALL[name]}=...): move it there"
            )
        if name not in LOADING:
            raise UsageError(f"load has no option {name!r}; expected some of {', '.join(LOADING)}: leave it out")
        values = get_args(hints[name])
        if get_origin(hints[name]) is Literal and value not in values:
            raise UsageError(f"{name} is {value!r}; expected one of {', '.join(values)}: change it")
        if isinstance(value, str) and Path in values:
            options[name] = Path(value)
        if isinstance(value, str) and get_origin(hints[name]) is list:
            options[name] = [value]
    config = TranscribeConfig(model=str(model), recordings=[], **options)
    config.check()
    spec, loading = resolve(config)
    if spec.notice is not None:
        note_once(spec.name, spec.notice)
    system = load_system(spec, loading)
    if note := language_note(system, config.language):
        note_once(note, note)
    return Recogniser(system, language=config.language, denoise=loading.denoise)


def _wav_of(array: "NDArray[Any] | Tensor", sample_rate: int) -> bytes:
    """A WAV file that holds every sample of an array, so that it goes the way of a file."""
    kind = str(array.dtype).removeprefix("torch.") if isinstance(array, Tensor) else array.dtype.name
    subtype = SUBTYPES.get(kind)
    if subtype is None:
        raise AudioError(f"an array of {kind}; expected one of {', '.join(SUBTYPES)}: convert it")
    samples = array.detach().cpu().numpy() if isinstance(array, Tensor) else array
    samples = samples.astype(samples.dtype.newbyteorder("="), copy=False)  # soundfile writes the bytes as they are
    if samples.ndim not in (1, 2) or (samples.ndim == 2 and samples.shape[1] > MAX_CHANNELS):
        raise AudioError(
            f"an array of shape {samples.shape}; expected [samples] or [samples, channels]: transpose it or take one "
            "recording"
        )
    if not samples.size:
        raise AudioError("an array without samples; expected one at least: leave it out")
    is_number = isinstance(sample_rate, int | float | np.number) and math.isfinite(sample_rate)
    is_whole = is_number and sample_rate == int(sample_rate)
    if not is_whole or not 1 <= sample_rate <= MAX_SAMPLE_RATE:
        raise AudioError(
            f"sample_rate {sample_rate!r}; expected a whole number from 1 to {MAX_SAMPLE_RATE}, in Hz, not kHz: "
            "correct it"
        )
    file = io.BytesIO()
    soundfile.write(file, samples, int(sample_rate), format="WAV", subtype=subtype)
    return file.getvalue()
