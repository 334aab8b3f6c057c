"""Training on corpora that are read as a stream: nothing is listed first, and nothing kept beyond a buffer.

Utterances come one after another, from every corpus in turn; what cannot be trained on is set aside as it comes.
Batches are planned in the training process, by durations from the audio's headers; the audio is decoded where the
loader has it decoded. Every process reads the same stream and takes its own batches of it, so that several equal one
with the same global batch; the position in the data is the number of batches, as without streaming.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from finetune.config import DataConfig
from finetune.data.examples import Preparation, TrainingExamples, reason_against
from finetune.models.base import Example
from preprocessing.batching import BufferedBatches
from preprocessing.cli.errors import InputError
from preprocessing.corpus import Reject, Utterance, stream_corpus
from preprocessing.text import Profile


class Streamed(NamedTuple):
    """An utterance on its way, with its labels, in an epoch of training."""

    utterance: Utterance
    labels: tuple[int, ...]
    place: int  # in the epoch
    epoch: int


class StreamedExamples(TrainingExamples):
    """Streamed utterances decoded and prepared on demand.

    on_reject: told of everything that is set aside in the first epoch, in the process that reads the stream.
    """

    def __init__(
        self, config: DataConfig, prepare: Preparation, profile: Profile, on_reject: Callable[[Reject], None]
    ) -> None:
        self._config = config
        self._prepare = prepare
        self._profile = profile
        self._on_reject = on_reject

    def __getitem__(self, streamed: Streamed) -> "Example | Reject":
        return self._prepare(streamed.utterance, streamed.labels, index=streamed.place, epoch=streamed.epoch)

    def batches(self, max_seconds: float, start: int) -> Iterator[list[Streamed]]:
        """Of training, without end, from the `start`-th on; every process reads the same.

        Raises InputError where a corpus cannot be read on, an epoch holds nothing, or at a reject under `strict`.
        """
        order: BufferedBatches[Streamed] = BufferedBatches(
            self._epoch,
            lambda streamed: streamed.utterance.duration,
            max_seconds=max_seconds,
            buffer=self._config.shuffle_buffer,
            seed=self._prepare.seed,
        )
        return (batch for _, batch in order.stream(start))

    def _epoch(self, number: int) -> Iterator[Streamed]:
        for place, found in enumerate(in_turn(self._config.train)):
            reject = found if isinstance(found, Reject) else self._reject(found)
            if reject is None:
                assert isinstance(found, Utterance)
                labels = self._prepare.recogniser.encode(self._profile(found.text))
                yield Streamed(found, labels, place, number)
            elif self._config.strict:
                raise InputError(f"{reject.where}: {reject.reason}")
            elif number == 0:
                self._on_reject(reject)

    def _reject(self, utterance: Utterance) -> Reject | None:
        reason = reason_against(utterance, self._prepare.recogniser, self._profile, self._config)
        return None if reason is None else Reject(utterance.id, reason)


def in_turn(references: Sequence[str]) -> Iterator[Utterance | Reject]:
    """One of each corpus after the other, until the last has ended."""
    streams = [stream_corpus(reference) for reference in references]
    while streams:
        ended = []
        for stream in streams:
            found = next(stream, None)
            if found is None:
                ended.append(stream)
            else:
                yield found
        streams = [stream for stream in streams if stream not in ended]
