"""LSTM language models of words or characters, asked by the beam search or for its n best texts.

Graves 2013 (arXiv 1308.0850); the output layer is the embedding's transpose (Press & Wolf 2017). A folder holds
lstm.safetensors and lstm.json. With `--lm FOLDER` the search in plain Python asks it at every end of a word, or at
every character (shallow fusion, Gulcehre et al. 2015); with `--rescore FOLDER` it scores the n best texts of a search
without it or with n-grams, in one batch, which is many times faster.
"""

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, log_softmax

from finetune.language_model.ngram import BEGIN, END, UNKNOWN
from preprocessing.errors import InputError, first_line
from preprocessing.storage.atomic_write import atomic_file, write_text_atomically

WEIGHTS, DESCRIPTION = "lstm.safetensors", "lstm.json"
SPECIAL = (BEGIN, END, UNKNOWN)
TOKENS_AT_ONCE = 8192  # when sentences are scored
LOGITS_AT_ONCE = 1 << 23  # of tokens times units, 34 MB: more need memory and are no faster


@dataclass(frozen=True)
class LstmShape:
    """units: words or characters after the special ones. hidden_size: also of the embedding."""

    units: tuple[str, ...]
    is_of_characters: bool
    hidden_size: int
    num_layers: int
    dropout: float


@dataclass(eq=False, slots=True)
class LstmState:
    """The place after some units. `hidden` and `logps` [units] are computed when a score is asked for."""

    before: "LstmState | None"
    unit: int
    hidden: tuple[Tensor, Tensor] | None = None
    logps: list[float] | None = None


class LstmModel(nn.Module):
    """An LSTM language model; it has the methods of `NgramModel` that a search asks for."""

    def __init__(self, shape: LstmShape) -> None:
        super().__init__()
        self.shape = shape
        self._ids = {unit: number for number, unit in enumerate((*SPECIAL, *shape.units))}
        self.embedding = nn.Embedding(len(self._ids), shape.hidden_size)
        between = shape.dropout if shape.num_layers > 1 else 0.0
        self.lstm = nn.LSTM(shape.hidden_size, shape.hidden_size, shape.num_layers, batch_first=True, dropout=between)
        self.dropout = nn.Dropout(shape.dropout)
        self.bias = nn.Parameter(torch.zeros(len(self._ids)))
        nn.init.normal_(self.embedding.weight, std=shape.hidden_size**-0.5)

    def forward(self, ids: Tensor, hidden: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Logits [sentences, steps, units] of what follows each unit of ids [sentences, steps]; the hidden state."""
        outputs, hidden = self._outputs(ids, hidden)
        return self._logits(outputs), hidden

    def _outputs(self, ids: Tensor, hidden: tuple[Tensor, Tensor] | None) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """What the logits are made of [sentences, steps, hidden_size]; the hidden state."""
        outputs, hidden = self.lstm(self.dropout(self.embedding(ids)), hidden)
        return self.dropout(outputs), hidden

    def _logits(self, outputs: Tensor) -> Tensor:
        """[..., hidden_size] -> [..., units]."""
        return outputs @ self.embedding.weight.T + self.bias

    @property
    def is_of_characters(self) -> bool:
        """Whether its units are characters, with BOUNDARY for the space."""
        return self.shape.is_of_characters

    @property
    def words(self) -> Iterator[str]:
        """The known words or characters."""
        return iter(self.shape.units)

    def __contains__(self, word: str) -> bool:
        return word in self._ids

    def begin(self) -> LstmState:
        """The state before a sentence."""
        return LstmState(None, self._ids[BEGIN])

    @torch.inference_mode()
    def score(self, state: LstmState, word: str) -> tuple[float, LstmState]:
        """(ln P(word | state), the state after it). A word that is not known is scored as <unk>."""
        if state.logps is None:
            before = None if state.before is None else state.before.hidden
            logits, state.hidden = self(torch.tensor([[state.unit]]), before)
            state.logps = log_softmax(logits[0, 0], dim=0).tolist()
            state.before = None
        unit = self._ids.get(word, self._ids[UNKNOWN])
        return state.logps[unit], LstmState(state, unit)

    def end(self, state: LstmState) -> float:
        """ln P(the sentence ends | state)."""
        return self.score(state, END)[0]

    @torch.inference_mode()
    def score_sentences(self, sentences: Sequence[Sequence[str]]) -> list[float]:
        """ln P of each sentence, a sequence of units, its end included."""
        encoded = [self.encode(sentence) for sentence in sentences]
        order = sorted(range(len(encoded)), key=lambda index: len(encoded[index]))
        scores = [0.0] * len(encoded)
        while order:
            n = max(1, TOKENS_AT_ONCE // len(encoded[order[-1]]))
            batch, order = order[-n:], order[:-n]
            for index, loss in zip(batch, self.losses([encoded[i] for i in batch]).tolist(), strict=True):
                scores[index] = -loss
        return scores

    def encode(self, sentence: Sequence[str]) -> list[int]:
        """Numbers of a sentence's units, BEGIN and END included."""
        unknown = self._ids[UNKNOWN]
        return [self._ids[BEGIN], *(self._ids.get(unit, unknown) for unit in sentence), self._ids[END]]

    @torch.inference_mode()
    def perplexity(self, sentences: Sequence[Sequence[str]]) -> tuple[float, int, int]:
        """(perplexity, number of units, number of unknown ones), as `kneser_ney.perplexity` has them of n-grams: over
        known units and the sentences' ends.
        """
        encoded = [self.encode(sentence) for sentence in sentences]
        batches = batches_of(encoded, TOKENS_AT_ONCE)
        total = sum(float(self.losses(batch, of_unknown=False).sum()) for batch in batches)
        n_units = sum(map(len, sentences))
        n_unknown = sum(one.count(self._ids[UNKNOWN]) for one in encoded)
        return math.exp(total / (n_units - n_unknown + len(encoded))), n_units, n_unknown

    def losses(self, encoded: Sequence[Sequence[int]], *, of_unknown: bool = True) -> Tensor:
        """-ln P of each encoded sentence [sentences]. of_unknown: whether that of unknown units is added.

        The logits of at most LOGITS_AT_ONCE are computed together, however many units there are.
        """
        device = self.bias.device
        rows = [torch.tensor(one) for one in encoded]
        ids = nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=-1).to(device)
        outputs, _ = self._outputs(ids[:, :-1].clamp(min=0), None)
        targets = ids[:, 1:] if of_unknown else ids[:, 1:].masked_fill(ids[:, 1:] == self._ids[UNKNOWN], -1)
        n_tokens = max(1, LOGITS_AT_ONCE // len(self._ids))
        parts = zip(torch.split(outputs.flatten(0, 1), n_tokens), torch.split(targets.flatten(), n_tokens), strict=True)
        losses = [cross_entropy(self._logits(some), own, ignore_index=-1, reduction="none") for some, own in parts]
        return torch.cat(losses).view_as(targets).sum(dim=1)

    def save(self, folder: Path) -> None:
        """Write lstm.safetensors and lstm.json."""
        folder.mkdir(parents=True, exist_ok=True)
        with atomic_file(folder / WEIGHTS) as temporary:
            save_file({name: value.cpu().contiguous() for name, value in self.state_dict().items()}, temporary)
        shape = self.shape
        kind = "characters" if shape.is_of_characters else "words"
        values: dict[str, Any] = {"kind": kind, "hidden_size": shape.hidden_size, "num_layers": shape.num_layers}
        values |= {"dropout": shape.dropout, "units": list(shape.units)}
        write_text_atomically(folder / DESCRIPTION, json.dumps(values, ensure_ascii=False))

    @classmethod
    def load(cls, folder: Path) -> "LstmModel":
        """The model of a folder, in evaluation mode. Raises InputError where it cannot be read."""
        try:
            values = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
            shape = LstmShape(
                tuple(values["units"]),
                values["kind"] == "characters",
                values["hidden_size"],
                values["num_layers"],
                values["dropout"],
            )
            weights = load_file(folder / WEIGHTS)
            if shape.num_layers > len(weights):
                raise ValueError(f"{DESCRIPTION} states {shape.num_layers} layers, {WEIGHTS} contains fewer")
            with torch.device("meta"):  # takes no memory, however large the description says the model is
                model = cls(shape)
            model.load_state_dict(weights, assign=True)
        except Exception as error:  # safetensors has errors of its own
            reason = first_line(error)
            raise InputError(
                f"{folder}: no LSTM language model ({reason}); expected {DESCRIPTION} and {WEIGHTS} as "
                "`python -m finetune.language_model train` writes them: train it again"
            ) from None
        return model.eval()


def batches_of(encoded: Sequence[list[int]], batch_tokens: int) -> list[list[list[int]]]:
    """Sentences of like length together."""
    batches: list[list[list[int]]] = []
    for one in sorted(encoded, key=len):
        if not batches or (len(batches[-1]) + 1) * len(one) > batch_tokens:
            batches.append([])
        batches[-1].append(one)
    return batches
