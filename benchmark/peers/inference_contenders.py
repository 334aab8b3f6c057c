"""The ways to transcribe that are compared: each loads its model and returns a round that gives every hypothesis.

transformers' pipeline asks the ffmpeg program for files, so that all are given waveforms, decoded before.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from preprocessing.audio import SAMPLE_RATE

AT_ONCE = 64  # utterances given to a system together; it orders them by itself

Round = Callable[[], list[str]]


@dataclass(frozen=True)
class TranscribingJob:
    """A round: which checkpoint, which files, where."""

    checkpoint: str
    paths: tuple[Path, ...]
    device: str  # "cpu" or "cuda"


def waveforms_of(job: TranscribingJob) -> list[Tensor]:
    from preprocessing import audio

    return [audio.load(path) for path in job.paths]


def pipeline_as_it_comes(job: TranscribingJob) -> Round:
    """One utterance at a time, in the checkpoint's precision."""
    return _pipeline(job)


def pipeline_batch_of_16(job: TranscribingJob) -> Round:
    """batch_size=16; on a GPU in bfloat16."""
    options: dict[str, Any] = {"dtype": torch.bfloat16} if job.device == "cuda" else {}
    return _pipeline(job, batch_size=16, **options)


def _pipeline(job: TranscribingJob, **options: Any) -> Round:
    from transformers import pipeline

    recognise: Any = pipeline("automatic-speech-recognition", model=job.checkpoint, device=job.device, **options)
    arrays = [waveform.numpy() for waveform in waveforms_of(job)]
    return lambda: [found["text"] for found in recognise([array.copy() for array in arrays])]


def plain_call(job: TranscribingJob) -> Round:
    """Wav2Vec2ForCTC and its processor called by hand, one utterance at a time."""
    from transformers import AutoModelForCTC, AutoProcessor

    processor = AutoProcessor.from_pretrained(job.checkpoint)
    model = AutoModelForCTC.from_pretrained(job.checkpoint).eval().to(job.device)
    arrays = [waveform.numpy() for waveform in waveforms_of(job)]

    @torch.inference_mode()
    def one_round() -> list[str]:
        texts = []
        for array in arrays:
            inputs = processor(array, sampling_rate=SAMPLE_RATE, return_tensors="pt").input_values
            texts += processor.batch_decode(model(inputs.to(job.device)).logits.argmax(dim=-1))
        return texts

    return one_round


def ours(job: TranscribingJob) -> Round:
    """The benchmark's system at its defaults."""
    return _system(job, "wav2vec2")


def our_whisper(job: TranscribingJob) -> Round:
    """The benchmark's Whisper at its defaults."""
    return _system(job, "whisper")


def _system(job: TranscribingJob, family: str) -> Round:
    from benchmark.systems import load_system
    from benchmark.systems.base import LoadOptions, SystemSpec

    system = load_system(SystemSpec(family, family, job.checkpoint), LoadOptions(job.device, "en"))
    waveforms = waveforms_of(job)

    def one_round() -> list[str]:
        texts = [""] * len(waveforms)
        for indices in _calls(waveforms, system.longest_in_batch_seconds, AT_ONCE if system.batched else 1):
            heard = system.text(system.forward(system.features([waveforms[index] for index in indices])))
            for index, text in zip(indices, heard, strict=True):
                texts[index] = text
        return texts

    return one_round


def _calls(waveforms: Sequence[Tensor], longest_seconds: float, at_once: int) -> list[list[int]]:
    """Indices of the waveforms that a system is given in each call."""
    short = [index for index, waveform in enumerate(waveforms) if len(waveform) <= longest_seconds * SAMPLE_RATE]
    alone = [[index] for index in range(len(waveforms)) if index not in short]
    return [short[first : first + at_once] for first in range(0, len(short), at_once)] + alone


def openai_whisper(job: TranscribingJob) -> Round:
    """log_mel_spectrogram, pad_or_trim and decode as its README has them; greedy, without timestamps, as ours."""
    import whisper

    path = Path(job.checkpoint)
    model = whisper.load_model(str(path / "whisper.pt" if path.is_dir() else path), device=job.device)
    waveforms = waveforms_of(job)
    options = whisper.DecodingOptions(
        language="en", temperature=0.0, without_timestamps=True, fp16=job.device == "cuda"
    )

    def one_round() -> list[str]:
        texts = []
        for waveform in waveforms:
            window = whisper.pad_or_trim(waveform)
            mel = whisper.log_mel_spectrogram(window, model.dims.n_mels).to(job.device)
            texts.append(whisper.decode(model, mel, options).text.strip())
        return texts

    return one_round
