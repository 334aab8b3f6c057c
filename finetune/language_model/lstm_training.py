"""The training of an LSTM language model, which can be written down after any batch and gone on from exactly."""

import hashlib
import math
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from finetune.language_model.lstm import SPECIAL, LstmModel, LstmShape, batches_of
from finetune.language_model.ngram import UNKNOWN
from preprocessing.augment import seeded_generator
from preprocessing.errors import InputError

HELD_OUT_SHARE = 0.02  # of the sentences: decides which epoch is kept
UNKNOWN_SHARE = 0.5  # of the times that a unit which occurs once in the text is read: <unk> takes its place
MAX_GRADIENT_NORM = 1.0


@dataclass(frozen=True)
class Epoch:
    """Of one pass over the text. perplexity: per unit of the sentences held out, <unk> and ends included."""

    number: int
    perplexity: float
    is_best: bool


def hold_out(sentences: Sequence[Sequence[str]], seed: int) -> tuple[Sequence[Sequence[str]], Sequence[Sequence[str]]]:
    """The sentences to train on, and the HELD_OUT_SHARE that decides which epoch is kept; one alone is both."""
    shuffled = torch.randperm(len(sentences), generator=torch.Generator().manual_seed(seed)).tolist()
    n_held_out = max(1, round(HELD_OUT_SHARE * len(sentences)))
    held_out = [sentences[i] for i in shuffled[:n_held_out]]
    return [sentences[i] for i in shuffled[n_held_out:]] or held_out, held_out


def known_units(sentences: Sequence[Sequence[str]], most: int | None) -> tuple[str, ...]:
    """The units of sentences, the most frequent first; at most so many, where given."""
    counts = Counter(unit for sentence in sentences for unit in sentence if unit not in SPECIAL)
    return tuple(unit for unit, _ in counts.most_common(most))


class LstmTraining:
    """A training, batch by batch; all chance comes from the seed and the number of the batch or epoch.

    sentences, held_out: of units, as `hold_out` parts them; `shape` has the `known_units` of the first alone. In each
    epoch, UNKNOWN_SHARE of the units that occur once in them are <unk>, so that the model knows where unknown ones
    stand. batch_tokens: units in a batch, padding included.
    """

    def __init__(
        self, sentences: Sequence[Sequence[str]], held_out: Sequence[Sequence[str]], shape: LstmShape, *, epochs: int,
        learning_rate: float, batch_tokens: int, seed: int, device: str,
    ) -> None:  # fmt: skip
        self._seed = seed
        self._cuda = [torch.device(device)] if device != "cpu" else []
        with self._seeded("weights", 0):
            self._model = LstmModel(shape).to(device)
        encoded = [self._model.encode(sentence) for sentence in sentences]
        encoded_held_out = [self._model.encode(sentence) for sentence in held_out]
        self._batches = batches_of(encoded, batch_tokens)
        self._held_out = batches_of(encoded_held_out, batch_tokens)
        self._n_held_out = sum(len(one) - 1 for one in encoded_held_out)
        counts = Counter(chain.from_iterable(encoded))
        self._once = {unit for unit, count in counts.items() if count == 1 and unit >= len(SPECIAL)}
        self._unknown = self._model.encode([UNKNOWN])[1]
        self.n_batches = epochs * len(self._batches)
        self.batches_done = 0
        self.seconds = 0.0
        """Of all batches done and epochs evaluated, before an interruption too."""
        self._optimizer = torch.optim.AdamW(self._model.parameters(), lr=learning_rate)
        self._schedule = torch.optim.lr_scheduler.OneCycleLR(self._optimizer, learning_rate, self.n_batches)
        self._best_perplexity = math.inf
        self._best_weights: dict[str, Tensor] = {}
        digest = hashlib.sha256(repr((shape, epochs, learning_rate, batch_tokens, seed)).encode())
        for one in chain(encoded, encoded_held_out):
            digest.update(repr(one).encode())
        self.fingerprint = digest.hexdigest()
        """Of the sentences and of all options but the device."""

    def run(self) -> Iterator[Epoch | None]:
        """Trains from `batches_done` on: yields after each batch, the epoch where it was an epoch's last one.

        Raises InputError where the first epoch's perplexity is not finite.
        """
        while self.batches_done < self.n_batches:
            epoch = self.batches_done // len(self._batches)
            order = torch.randperm(len(self._batches), generator=seeded_generator(self._seed, "order", epoch)).tolist()
            for place in order[self.batches_done % len(self._batches) :]:
                began = time.monotonic()
                self._train_on(self._batches[place])
                self.batches_done += 1
                evaluated = self._evaluate(epoch + 1) if self.batches_done % len(self._batches) == 0 else None
                self.seconds += time.monotonic() - began
                yield evaluated

    @property
    def best_model(self) -> LstmModel:
        """The model with the weights of the best epoch so far, in evaluation mode; it shares them."""
        with torch.device("meta"):
            model = LstmModel(self._model.shape)
        model.load_state_dict(self._best_weights, assign=True)
        return model.eval()

    def state_dict(self) -> dict[str, Any]:
        """What `load_state_dict` goes on from: tensors and plain values, of the present, not copied."""
        return {
            "fingerprint": self.fingerprint,
            "batches_done": self.batches_done,
            "seconds": self.seconds,
            "model": self._model.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "schedule": self._schedule.state_dict(),
            "best_perplexity": self._best_perplexity,
            "best_weights": self._best_weights,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where a training with the same `fingerprint` was."""
        self.batches_done, self.seconds = state["batches_done"], state["seconds"]
        self._model.load_state_dict(state["model"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._schedule.load_state_dict(state["schedule"])
        self._best_perplexity = state["best_perplexity"]
        self._best_weights = {name: value.to(self._model.bias.device) for name, value in state["best_weights"].items()}

    def _train_on(self, batch: list[list[int]]) -> None:
        generator = seeded_generator(self._seed, "unknown", self.batches_done)
        batch = _with_unknown(batch, self._once, self._unknown, generator)
        self._model.train()
        with self._seeded("dropout", self.batches_done):
            loss = self._model.losses(batch).sum() / sum(len(one) - 1 for one in batch)
        self._optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self._model.parameters(), MAX_GRADIENT_NORM)
        self._optimizer.step()
        self._schedule.step()

    def _evaluate(self, number: int) -> Epoch:
        self._model.eval()
        with torch.inference_mode():
            total = sum(float(self._model.losses(batch).sum()) for batch in self._held_out)
        try:
            perplexity = math.exp(total / self._n_held_out)
        except OverflowError:
            perplexity = math.inf
        is_best = perplexity < self._best_perplexity
        if is_best:
            self._best_perplexity = perplexity
            self._best_weights = {name: value.clone() for name, value in self._model.state_dict().items()}
        if not self._best_weights:
            raise InputError(
                f"epoch {number}: the perplexity of the held-out sentences is not finite; expected the loss to fall: "
                "lower --learning_rate"
            )
        return Epoch(number, perplexity, is_best)

    @contextmanager
    def _seeded(self, purpose: str, number: int) -> Iterator[None]:
        """Torch's own chance from a seed within the block, and as before after it."""
        with torch.random.fork_rng(self._cuda):
            torch.manual_seed(seeded_generator(self._seed, purpose, number).initial_seed())
            yield


def _with_unknown(batch: list[list[int]], once: set[int], unknown: int, generator: torch.Generator) -> list[list[int]]:
    """The batch with UNKNOWN_SHARE of the units of `once` replaced, drawn anew for each."""
    places = [(row, place) for row, one in enumerate(batch) for place, unit in enumerate(one) if unit in once]
    if not places:
        return batch
    replaced = [list(one) for one in batch]
    for (row, place), draw in zip(places, torch.rand(len(places), generator=generator).tolist(), strict=True):
        if draw < UNKNOWN_SHARE:
            replaced[row][place] = unknown
    return replaced
