"""A recording through every system, one after the other, and their words compared. Nothing is drawn here.

Stages are timed as in the benchmark. An exception of a system becomes the error of its transcription; the other systems
go on.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from benchmark.results import StageSeconds
from benchmark.worker.stage_clock import DeviceClock, LoadedWaveform, transcribe_batch
from finetune.metrics.word_alignment import Alignment, align
from finetune.models.companion_files import trained_on_denoised
from finetune.systems.base import LoadOptions, System, SystemSpec
from finetune.systems.registry import device_of, load_system
from preprocessing import audio
from preprocessing.audio import SAMPLE_RATE
from preprocessing.augment.denoise import SpectralGate
from preprocessing.cli.device import resolve_device
from preprocessing.cli.options import what_ran_out
from preprocessing.errors import InputError, UserError, described


@dataclass(frozen=True, slots=True)
class Recording:
    """A waveform [samples], 16 kHz mono, and the seconds that reading it took.

    file_seconds: duration of the file where only its beginning was read; None where all of it was.
    """

    name: str
    waveform: Tensor
    decode_seconds: float
    file_seconds: float | None

    @property
    def seconds(self) -> float:
        """Duration of the waveform."""
        return len(self.waveform) / SAMPLE_RATE


@dataclass(frozen=True, slots=True)
class Transcription:
    """One system's hypothesis of a recording of `audio_seconds`, empty where there is an `error`."""

    system: str
    hypothesis: str
    error: str | None
    seconds: StageSeconds
    audio_seconds: float

    @property
    def rtfx(self) -> float:
        """Seconds of audio transcribed in one second, decoding of the file included, as in the benchmark."""
        return self.audio_seconds / self.seconds.total


@dataclass(frozen=True, slots=True)
class Comparison:
    """Every transcription aligned with one reference.

    alignments: in the order of the transcriptions; None for the reference itself, and where either side failed.
    reference: its raw text; None where its system failed or is not done. reference_system: the system whose hypothesis
    is the reference; None where the reference was typed in.
    """

    alignments: tuple[Alignment | None, ...]
    reference: str | None
    reference_system: str | None


class Systems:
    """The loaded systems, in the order of their specs. Not for two threads at once: a model has state while it runs."""

    def __init__(
        self, specs: Sequence[SystemSpec], options: LoadOptions, report: Callable[[str], None] = lambda _: None
    ) -> None:
        """options: for each of them; its device may also be auto. report: is called with progress lines.

        Raises InputError where no system can be loaded, UsageError for cuda without a GPU.
        """
        self._clock = DeviceClock(resolve_device(options.device))
        self._loaded: dict[str, System] = {}
        self._noise_removal: dict[str, SpectralGate] = {}  # of systems that were trained so
        for spec in specs:
            report(spec.notice or f"loading {spec.name} ...")
            began = time.perf_counter()
            try:
                if trained_on_denoised(spec.checkpoint):
                    self._noise_removal[spec.name] = SpectralGate()
                system = load_system(spec, replace(options, device=device_of(spec.family, options.device)))
            except UserError as error:
                report(f"left out: {error}")
                continue
            except Exception as error:  # a class of the user's own may raise anything
                report(f"left out: {spec.name}: {what_ran_out(error) or described(error)}")
                continue
            self._loaded[spec.name] = system
            self._transcribe_with(spec.name, Recording("silence", torch.zeros(SAMPLE_RATE), 0.0, None))  # warm-up
            noise = "; noise is removed first, as in its training" if spec.name in self._noise_removal else ""
            report(f"loaded {spec.name} in {time.perf_counter() - began:.1f} s{noise}")
        if not self._loaded:
            raise InputError(
                f"--models: none of {', '.join(spec.name for spec in specs)} can be loaded; expected one or more: see "
                "the reasons above"
            )

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the systems that were loaded."""
        return tuple(self._loaded)

    @property
    def notices(self) -> tuple[str, ...]:
        """What a reader must know of a system, such as that it stands in for another."""
        return tuple(system.facts.notice for system in self._loaded.values() if system.facts.notice)

    def transcribe(self, recording: Recording) -> Iterator[Transcription]:
        """Yields each system's transcription as soon as it is done."""
        for name in self._loaded:
            yield self._transcribe_with(name, recording)

    def _transcribe_with(self, name: str, recording: Recording) -> Transcription:
        waveform, decode_seconds = recording.waveform, recording.decode_seconds
        if name in self._noise_removal:
            began = time.perf_counter()
            waveform = self._noise_removal[name](waveform)
            decode_seconds += time.perf_counter() - began
        loaded = LoadedWaveform(waveform, decode_seconds)
        done = transcribe_batch(self._loaded[name], ((0, 0),), [loaded], self._clock)
        (hypothesis,) = done.hypotheses
        return Transcription(name, hypothesis.text, hypothesis.error, done.seconds, recording.seconds)


def read_recording(path: Path, max_seconds: float) -> Recording:
    """The beginning of a file, up to `max_seconds`. Raises AudioError naming the file without its folder."""
    began = time.perf_counter()
    try:
        waveform = audio.load(path, stop=max_seconds + 0.1)
        max_samples = round(max_seconds * SAMPLE_RATE)
        file_seconds = None
        if len(waveform) > max_samples:
            waveform = waveform[:max_samples].clone()
            file_seconds = max(audio.probe(path).duration, max_seconds)
    except audio.AudioError as error:
        raise audio.AudioError(str(error).replace(audio.describe_source(path), path.name)) from None
    return Recording(path.name, waveform, time.perf_counter() - began, file_seconds)


def compare(
    transcriptions: Sequence[Transcription],
    typed_reference: str,
    reference_system: str,
    normalise: Callable[[str], str],
) -> Comparison:
    """Align with `typed_reference`; where `normalise` leaves no words of it, with what `reference_system` wrote."""
    if normalise(typed_reference).strip():
        alignments = tuple(_aligned(typed_reference, one, normalise) for one in transcriptions)
        return Comparison(alignments, typed_reference.strip(), None)
    reference = next(
        (one.hypothesis for one in transcriptions if one.system == reference_system and one.error is None), None
    )
    return Comparison(
        tuple(
            None if reference is None or one.system == reference_system else _aligned(reference, one, normalise)
            for one in transcriptions
        ),
        reference,
        reference_system,
    )


def _aligned(reference: str, transcription: Transcription, normalise: Callable[[str], str]) -> Alignment | None:
    return None if transcription.error is not None else align(reference, transcription.hypothesis, normalise)
