"""How long the audio of utterances is by its files: headers, read several at a time, or all of it decoded."""

import math
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import islice

from preprocessing.audio import SAMPLE_RATE, StoredAudio, probe, stream
from preprocessing.cli.notes import is_first_process
from preprocessing.cli.progress import Steps
from preprocessing.corpus.readers.times import TOLERANCE_SECONDS
from preprocessing.corpus.utterance import Reject, Utterance
from preprocessing.errors import InputError

THREADS = 8  # headers are small: the wait for a disk or a network is what there is to share
FEWEST_FOR_THREADS = 8
HEADERS_AT_ONCE = 2048
QUIET_FILES = 2000  # fewer are read before a progress bar would be seen


def parts_beyond_end(utterances: Sequence[Utterance]) -> list[Reject]:
    """A Reject for each utterance that stops after the end of its audio. The header of each file is read once; of one
    that is too short by its header, all is decoded to be sure.

    `open_corpus` does not look at audio where start and stop state a duration; this is the check to make before using
    it. A file that cannot be decoded is passed over.
    """
    ends: dict[StoredAudio, float] = {}
    for utterance in utterances:
        if utterance.stop is not None:
            ends[utterance.audio] = max(ends.get(utterance.audio, 0.0), utterance.stop)
    too_short: dict[StoredAudio, float] = {}
    for source, seconds in zip(ends, audio_lengths([(source, None) for source in ends]), strict=True):
        if isinstance(seconds, float) and ends[source] > seconds + TOLERANCE_SECONDS:
            with suppress(InputError):
                too_short[source] = _decoded_seconds(source)
    return [
        Reject(
            part.id, f"stop {part.stop:g} s lies beyond the audio's end at {too_short[part.audio]:.2f} s: correct stop"
        )
        for part in utterances
        if part.stop is not None and part.stop > too_short.get(part.audio, math.inf) + TOLERANCE_SECONDS
    ]


def audio_lengths(
    sources: Sequence[tuple[StoredAudio, Utterance | None]],
) -> Iterator[float | InputError]:
    """Seconds of each source in order, from their headers, several read at a time; of many parts of one file once.

    sources: each with the utterance whose duration it should have; where it does not, the source is decoded to be sure.
    The error instead where it is no audio. A long reading shows its progress on stderr.
    """
    different: list[tuple[StoredAudio, Utterance | None]] = []
    places: dict[tuple[str, float | None], int] = {}
    order: list[int] = []
    for source, utterance in sources:
        place = len(different)
        if not isinstance(source, bytes):
            stated = None if utterance is None else utterance.duration
            place = places.setdefault((os.fspath(source), stated), place)
        if place == len(different):
            different.append((source, utterance))
        order.append(place)
    lengths = list(_lengths_in_order(different))
    yield from (lengths[place] for place in order)


def _lengths_in_order(sources: Sequence[tuple[StoredAudio, Utterance | None]]) -> Iterator[float | InputError]:
    total = len(sources)
    if total < FEWEST_FOR_THREADS:
        yield from map(_audio_length, sources)
        return
    from rich.console import Console

    waiting = iter(sources)
    is_quiet = total < QUIET_FILES or not is_first_process()
    steps = Steps(Console(stderr=True, quiet=is_quiet), 1, "files")
    with steps.step("reading audio headers", total) as advance, ThreadPoolExecutor(THREADS) as pool:
        while chunk := list(islice(waiting, HEADERS_AT_ONCE)):
            yield from pool.map(_audio_length, chunk)
            advance(len(chunk))


def _audio_length(wanted: tuple[StoredAudio, Utterance | None]) -> float | InputError:
    source, utterance = wanted
    try:
        seconds = probe(source).duration
        if utterance is not None and not utterance.has_duration(seconds):  # some headers hold an estimate
            return _decoded_seconds(source)
        return seconds
    except InputError as error:
        return error


def _decoded_seconds(source: StoredAudio) -> float:
    return sum(map(len, stream(source))) / SAMPLE_RATE
