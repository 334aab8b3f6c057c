"""Make a larger corpus of general English, read by the demo's training speakers, to train the demo's models on.

    python -m demo.make.sentences TEXT OUT --hours H [--seed 2] [--workers 2]

TEXT is a file of sentences, one a line, gzipped or not. An utterance is a span of 1 to 12 words of a line, or, for
`DRILL_SHARE` of them, a few words of the commands' vocabulary in any order, so that its rare words are heard. The last
2 % of OUT become `dev.jsonl`, the rest `train.jsonl`. On one machine, the same seed gives the same bytes for any number
of workers.
"""

import argparse
import gzip
import itertools
import math
import multiprocessing
import random
import re
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from demo.make import commands

if TYPE_CHECKING:
    from demo.make.recording import Utterance

WORDS_PER_UTTERANCE = (1, 12)
DRILL_SHARE = 0.15
WORDS_PER_DRILL = (1, 6)
WORDS_PER_MINUTE = (120, 220)
SNR_DB = (10.0, 40.0)
TELEPHONE_SHARE = 0.25
DEV_SHARE = 0.02
BATCH = 256  # utterances handed to the workers at once

_WORD = re.compile(r"[a-z]+(?:'[a-z]+)*'?")
_sentences: list[list[str]] = []  # of this worker process


def read_sentences(path: Path) -> list[list[str]]:
    """The lines of a text file as lower-case words; lines with anything but letters and apostrophes are left out.

    Raises ValueError when no line remains.
    """
    with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as lines:
        split = (line.lower().split() for line in lines)
        sentences = [words for words in split if words and all(map(_WORD.fullmatch, words))]
    if not sentences:
        raise ValueError(f"{path} has no line that consists of words alone.")
    return sentences


def draw_text(sentences: Sequence[Sequence[str]], rng: random.Random) -> tuple[str, str]:
    """A domain, `sentences` or `drill`, and the words to read."""
    if rng.random() < DRILL_SHARE:
        return "drill", " ".join(rng.choices(commands.vocabulary(), k=rng.randint(*WORDS_PER_DRILL)))
    words = rng.choice(sentences)
    n_words = min(rng.randint(*WORDS_PER_UTTERANCE), len(words))
    start = rng.randint(0, len(words) - n_words)
    return "sentences", " ".join(words[start : start + n_words])


def make_utterance(index: int, seed: int) -> tuple["Utterance", bytes]:
    """The manifest line of utterance `index` and its FLAC file, from (seed, index) alone. Runs in a worker."""
    from demo.make import espeak, recording, voices

    rng = random.Random(f"{seed} sentences {index}")
    domain, text = draw_text(_sentences, rng)
    speaker, voice = voices.draw_voice(voices.TRAIN, WORDS_PER_MINUTE, rng)
    conditions = recording.draw_conditions(rng, SNR_DB, TELEPHONE_SHARE)
    waveform = recording.record(espeak.synthesise(text, voice), espeak.SAMPLE_RATE, conditions)
    utterance_id = f"sentences-{index:06d}"
    audio = f"audio/{index // 1000:03d}/{utterance_id}.flac"
    seconds = round(len(waveform) / recording.SAMPLE_RATE, 3)
    utterance = recording.Utterance(utterance_id, audio, text, speaker.id, speaker.sex, "en", domain, seconds)
    return utterance, recording.encode(waveform, ".flac")


def _start_worker(text: Path) -> None:
    _sentences[:] = read_sentences(text)


def make_utterances(text: Path, seed: int, workers: int) -> Iterator[tuple["Utterance", bytes]]:
    """Utterances 0, 1, 2, ... with their files, in order and without end."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(workers, _start_worker, (text,)) as pool:
        for first in itertools.count(0, BATCH):
            yield from pool.imap(partial(make_utterance, seed=seed), range(first, first + BATCH), chunksize=16)


def write_corpus(text: Path, out: Path, hours: float, seed: int, workers: int) -> None:
    """Fill `out` with at least `hours` of audio, showing progress on the terminal."""
    from rich.progress import Progress, TextColumn, TimeRemainingColumn

    from demo.make import recording

    read_sentences(text)  # here as well, so that a bad file is one error and not one a worker
    utterances: list[Utterance] = []
    made_seconds = 0.0
    columns = (*Progress.get_default_columns()[:-1], TextColumn("{task.completed:.2f} h"), TimeRemainingColumn())
    with recording.new_corpus(out) as folder, Progress(*columns) as progress:
        task = progress.add_task("Speaking", total=hours)
        for utterance, file in make_utterances(text, seed, workers):
            path = folder / utterance.audio
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(file)
            utterances.append(utterance)
            made_seconds += utterance.duration
            progress.update(task, completed=made_seconds / 3600)
            if made_seconds >= hours * 3600:
                break
        n_train = len(utterances) - math.ceil(DEV_SHARE * len(utterances))
        recording.write_manifest(folder / "train.jsonl", utterances[:n_train])
        recording.write_manifest(folder / "dev.jsonl", utterances[n_train:])
    print(f"{out}: {n_train} training and {len(utterances) - n_train} development utterances")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m demo.make.sentences", description=__doc__.split("\n\n")[0])
    parser.add_argument("text", metavar="TEXT", type=Path, help="sentences, one a line, plain or .gz")
    parser.add_argument("out", metavar="OUT", type=Path, help="folder to make")
    parser.add_argument("--hours", type=float, required=True, help="how much audio")
    parser.add_argument("--seed", type=int, default=2, help="default %(default)s")
    parser.add_argument("--workers", type=int, default=2, help="processes, default %(default)s")
    options = parser.parse_args(arguments)
    if options.hours <= 0 or options.workers < 1:
        parser.error("--hours must be more than 0 and --workers at least 1")

    from demo.make.espeak import EspeakError

    try:
        write_corpus(options.text, options.out, options.hours, options.seed, options.workers)
    except (EspeakError, OSError, ValueError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
