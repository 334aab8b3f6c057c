"""The durations that a corpus does not state, read from the audio's headers, several files at a time."""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

from preprocessing.audio import StoredAudio, probe
from preprocessing.errors import InputError

THREADS = 8  # headers are small: the wait for a disk or a network is what there is to share
AT_ONCE = 2048
QUIET_FILES = 2000  # fewer are read before a progress bar would be seen


def lengths(sources: Iterable[StoredAudio], total: int) -> Iterator[float | InputError]:
    """Seconds of each source in order, 0 where its container does not say; the error instead where it is no audio.

    A long reading shows its progress on stderr.
    """
    if total < 8:
        yield from map(_length, sources)
        return
    from rich.console import Console
    from rich.progress import Progress

    waiting = iter(sources)
    quiet = total < QUIET_FILES
    with (
        Progress(console=Console(stderr=True), transient=True, disable=quiet) as bar,
        ThreadPoolExecutor(THREADS) as pool,
    ):
        task = bar.add_task("reading audio headers", total=total)
        while chunk := list(islice(waiting, AT_ONCE)):
            yield from pool.map(_length, chunk)
            bar.advance(task, len(chunk))


def _length(source: StoredAudio) -> float | InputError:
    try:
        return probe(source).duration
    except InputError as error:
        return error
