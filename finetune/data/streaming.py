"""Examples of streamed corpora: utterances are neither listed before training nor stored beyond a shuffle buffer.

Corpora take turns, one utterance each. Batches are planned in the training process, by durations from audio headers;
audio is decoded where the loader does it. Every process reads the whole stream and trains on its own batches, so that
several processes equal one with the same global batch; the position in the data is a number of batches, as without
streaming.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from finetune.config import DataConfig
from finetune.data.corpora import in_stream, rejection_reason
from finetune.data.examples import Preparation, TrainingExamples
from finetune.models.base import Example
from preprocessing.batching import BufferedBatches
from preprocessing.corpus import Reject, Utterance, stream_corpus
from preprocessing.errors import InputError
from preprocessing.text import Profile


class StreamedUtterance(NamedTuple):
    """A key of StreamedExamples: an utterance with its labels and its position in an epoch of training."""

    utterance: Utterance
    labels: tuple[int, ...]
    position: int
    epoch: int


class StreamedExamples(TrainingExamples):
    """Examples of streamed utterances.

    on_reject: called with every reject of the first epoch, in the process that reads the stream.
    """

    def __init__(
        self, config: DataConfig, prepare: Preparation, profile: Profile, on_reject: Callable[[Reject], None]
    ) -> None:
        self._config = config
        self._prepare = prepare
        self._profile = profile
        self._on_reject = on_reject

    def __getitem__(self, key: StreamedUtterance) -> "Example | Reject":
        return self._prepare(key.utterance, key.labels, index=key.position, epoch=key.epoch)

    def batches(self, max_seconds: float, start: int) -> Iterator[list[StreamedUtterance]]:
        """As in TrainingExamples. Raises InputError if a corpus cannot be read further, an epoch holds nothing usable,
        and at the first reject if `strict` is true.
        """
        order: BufferedBatches[StreamedUtterance] = BufferedBatches(
            self._epoch,
            lambda key: key.utterance.duration,
            max_seconds=max_seconds,
            buffer=self._config.shuffle_buffer,
            seed=self._prepare.seed,
        )
        return (batch for _, batch in order.stream(start))

    def _epoch(self, epoch: int) -> Iterator[StreamedUtterance]:
        """The usable utterances of one pass over the corpora."""
        for position, item in enumerate(interleave(self._config.train)):
            reject = item if isinstance(item, Reject) else self._reject(item)
            if reject is None:
                assert isinstance(item, Utterance)
                labels = self._prepare.recogniser.encode(self._profile(item.text))
                yield StreamedUtterance(item, labels, position, epoch)
            elif self._config.strict:
                raise InputError(f"{reject.where}: {reject.reason}")
            elif epoch == 0:
                self._on_reject(reject)

    def _reject(self, utterance: Utterance) -> Reject | None:
        reason = rejection_reason(utterance, self._prepare.recogniser, self._profile, self._config)
        return None if reason is None else Reject(utterance.id, reason)


def interleave(references: Sequence[str]) -> Iterator[Utterance | Reject]:
    """The utterances of streamed corpora, one of each in turn, until the last corpus has ended; ids by `in_stream`."""
    streams = [_stream(reference, place) for place, reference in enumerate(references, start=1)]
    while streams:
        ended = []
        for stream in streams:
            item = next(stream, None)
            if item is None:
                ended.append(stream)
            else:
                yield item
        streams = [stream for stream in streams if stream not in ended]


def _stream(reference: str, place: int) -> Iterator[Utterance | Reject]:
    for item in stream_corpus(reference, check_durations=True):
        yield in_stream(item, place) if isinstance(item, Utterance) else item
