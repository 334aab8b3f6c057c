"""A recording through every system, one after the other: what the page is told. Nothing is shown or compared here.

Stages are timed as the benchmark times them; whatever a system raises is said in its place, and the others go on.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from benchmark.results import StageSeconds
from benchmark.systems import load_system
from benchmark.systems.base import LoadOptions, System, SystemSpec
from benchmark.worker.stage_clock import Clock, Sound, transcribe
from finetune.metrics.word_alignment import Alignment, align
from preprocessing import audio
from preprocessing.audio import SAMPLE_RATE
from preprocessing.cli.errors import InputError, UserError


@dataclass(frozen=True, slots=True)
class Recording:
    """A waveform [samples] under the waveform contract, and what getting it took."""

    name: str
    waveform: Tensor
    decode_seconds: float
    whole_seconds: float | None  # of the file where only its beginning is heard; None where all of it is

    @property
    def seconds(self) -> float:
        """Of what is heard."""
        return len(self.waveform) / SAMPLE_RATE


@dataclass(frozen=True, slots=True)
class Hearing:
    """What one system made of a recording of `audio_seconds`; with an `error` the hypothesis is empty."""

    system: str
    hypothesis: str
    error: str | None
    seconds: StageSeconds
    audio_seconds: float

    @property
    def rtfx(self) -> float:
        """Seconds of audio done in one second, decoding included, as in the benchmark."""
        return self.audio_seconds / self.seconds.total


def read(path: Path, max_seconds: float) -> Recording:
    """The beginning of a file, up to `max_seconds`. Raises AudioError naming the file without its folder."""
    began = time.perf_counter()
    try:
        waveform = audio.load(path, stop=max_seconds + 0.1)
        most = round(max_seconds * SAMPLE_RATE)
        whole_seconds = None
        if len(waveform) > most:
            waveform = waveform[:most].clone()
            whole_seconds = max(audio.probe(path).duration, max_seconds)
    except audio.AudioError as error:
        raise audio.AudioError(str(error).replace(audio.describe_source(path), path.name)) from None
    return Recording(path.name, waveform, time.perf_counter() - began, whole_seconds)


class Systems:
    """Loaded systems in the order they were named. Not for two threads at once: a model holds state while it runs."""

    def __init__(
        self, specs: Sequence[SystemSpec], options: LoadOptions, tell: Callable[[str], None] = lambda _: None
    ) -> None:
        """tell: is given a line about each system. Raises InputError where none can be loaded."""
        self._clock = Clock(options.device)
        self._loaded: dict[str, System] = {}
        for spec in specs:
            tell(spec.notice or f"loading {spec.name} ...")
            began = time.perf_counter()
            try:
                system = load_system(spec, options)
            except UserError as error:
                tell(f"left out: {error}")
                continue
            except Exception as error:  # a class of the user's own may raise anything
                tell(f"left out: {spec.name}: {type(error).__name__}: {error}")
                continue
            self._loaded[spec.name] = system
            self._hear_one(spec.name, Recording("silence", torch.zeros(SAMPLE_RATE), 0.0, None))  # the first is slower
            tell(f"loaded {spec.name} in {time.perf_counter() - began:.1f} s")
        if not self._loaded:
            raise InputError(
                f"--models: none of {', '.join(spec.name for spec in specs)} can be loaded; expected one or more: see "
                "the reasons above"
            )

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._loaded)

    @property
    def notices(self) -> tuple[str, ...]:
        """What a reader must know of a system, such as that it stands in for another."""
        return tuple(system.facts.notice for system in self._loaded.values() if system.facts.notice)

    def hear(self, recording: Recording) -> Iterator[Hearing]:
        """One after the other, each as soon as it is done."""
        for name in self._loaded:
            yield self._hear_one(name, recording)

    def _hear_one(self, name: str, recording: Recording) -> Hearing:
        sound = Sound(recording.waveform, recording.decode_seconds)
        done = transcribe(self._loaded[name], ((0, 0),), [sound], self._clock)
        (heard,) = done.heard
        return Hearing(name, heard.hypothesis, heard.error, done.seconds, recording.seconds)


@dataclass(frozen=True, slots=True)
class Comparison:
    """alignments: of each hearing, in their order; None for the reference itself, and where either side failed.

    reference: the raw text; None where its system failed or is not done. reference_system: whose it is; None where it
    was typed in.
    """

    alignments: tuple[Alignment | None, ...]
    reference: str | None
    reference_system: str | None


def compare(
    hearings: Sequence[Hearing], said: str, reference_system: str, normalise: Callable[[str], str]
) -> Comparison:
    """Against `said`; where `normalise` leaves nothing of that, against what `reference_system` heard."""
    if normalise(said).strip():
        return Comparison(tuple(_aligned(said, one, normalise) for one in hearings), said.strip(), None)
    text = next((one.hypothesis for one in hearings if one.system == reference_system and one.error is None), None)
    alignments = tuple(
        None if text is None or one.system == reference_system else _aligned(text, one, normalise) for one in hearings
    )
    return Comparison(alignments, text, reference_system)


def _aligned(reference: str, hearing: Hearing, normalise: Callable[[str], str]) -> Alignment | None:
    return None if hearing.error is not None else align(reference, hearing.hypothesis, normalise)
