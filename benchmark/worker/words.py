"""The words of one batch with their times and probabilities: the pass of --word_timestamps, which nothing times.

A batch that raises is done again one utterance at a time, as in `stage_clock`.
"""

from collections.abc import Sequence
from dataclasses import replace
from math import isfinite
from typing import TYPE_CHECKING

from benchmark.results import NO_SECONDS
from benchmark.worker.protocol import Batch, BatchDone, Hypothesis
from benchmark.worker.stage_clock import LoadedWaveform, free_device_memory
from finetune.systems.base import System
from finetune.systems.transcript import Transcript, Word
from preprocessing.errors import described

if TYPE_CHECKING:
    from torch import Tensor

SECONDS_DECIMALS, PROBABILITY_DECIMALS = 3, 4  # as Transcript.as_dict writes them


def recognise_words(system: System, batch: Batch, waveforms: Sequence[LoadedWaveform]) -> BatchDone:
    """The batch's hypotheses with their words; nothing is raised here, and no seconds are counted."""
    hypotheses = [Hypothesis("", loaded.error) for loaded in waveforms]
    decoded = {place: loaded.waveform for place, loaded in enumerate(waveforms) if loaded.waveform is not None}
    found = _transcribed(system, list(decoded.values())) if decoded else []
    split = isinstance(found, str) and len(decoded) > 1
    if split:
        free_device_memory()
    for number, (place, waveform) in enumerate(decoded.items()):
        own = _transcribed(system, [waveform]) if split else found
        if isinstance(own, str):
            hypotheses[place] = Hypothesis("", own)
        else:
            hypotheses[place] = own[0 if split else number]
    return BatchDone(batch, tuple(hypotheses), NO_SECONDS, split)


def rounded_words(transcript: Transcript) -> tuple[Word, ...]:
    """All words of a transcript, rounded. A segment with a text and without words has none of its own.

    Raises ValueError where a time is not a number or a probability is not of 0 to 1.
    """
    words = []
    for segment in transcript.segments:
        for word in segment.words or ():
            probability = word.probability
            if not (isfinite(word.start) and isfinite(word.end)):
                raise ValueError(f"the word {word.word!r} lasts from {word.start} to {word.end}; expected seconds")
            if probability is not None and not 0.0 <= probability <= 1.0:
                raise ValueError(f"the word {word.word!r} has the probability {probability}; expected 0 to 1")
            words.append(
                replace(
                    word,
                    start=round(float(word.start), SECONDS_DECIMALS),
                    end=round(float(word.end), SECONDS_DECIMALS),
                    probability=None if probability is None else round(float(probability), PROBABILITY_DECIMALS),
                )
            )
    return tuple(words)


def _transcribed(system: System, waveforms: "list[Tensor]") -> list[Hypothesis] | str:
    """The hypotheses, or the error as text."""
    try:
        transcripts = system.transcribe(waveforms, words=True)
        if len(transcripts) != len(waveforms):
            raise TypeError(f"transcribe() returned {len(transcripts)} transcripts for {len(waveforms)} recordings")
        return [Hypothesis(one.text, None, rounded_words(one)) for one in transcripts]
    except Exception as error:  # a system of the user's own may raise anything
        return described(error)
