"""What CTC systems share: greedy text or a beam search, and utterances of like length through the model together.

What makes frames of waveforms is each family's own.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmark.systems.base import WITH_LM, LoadOptions, System, SystemSpec
from finetune.decoding.beam import BeamSearch
from finetune.decoding.greedy import collapse
from finetune.language_model.ngram import read_arpa
from preprocessing.cli.errors import InputError
from preprocessing.units import Vocabulary

A_PASS_COSTS = {"cpu": 5.0, "cuda": 100.0}  # seconds of audio, however little is in it
AT_ONCE_SECONDS = {"cpu": 60.0, "cuda": 480.0}  # of audio and padding in a pass

NO_FRAMES = torch.empty(0, dtype=torch.long)


class CTCSystem(System):
    """Greedy, or with a language model where the family ends in +lm.

    An outcome is a list of what decoding needs of each recording, on the CPU: the best unit of each frame [frames], or
    for a search log-probabilities [frames, units].
    """

    batched = True
    longest_in_batch_seconds = 30.0
    _vocabulary: Vocabulary
    _search: BeamSearch | None = None

    def _prepare_decoding(self, spec: SystemSpec, options: LoadOptions) -> str:
        """Once the vocabulary is there. Returns what decoding is, for the report; raises InputError."""
        if not spec.family.endswith(WITH_LM):
            return "greedy CTC, no language model"
        told = options.language_model
        if told is None:
            raise InputError(f"{spec.name}: no language model; expected an ARPA file: name one with --lm")
        model = read_arpa(told.path)
        _check_words(spec.name, told.path, list(model.words), self._vocabulary)
        self._search = BeamSearch(self._vocabulary, model, told.search)
        return told.told()

    def _kept(self, logits: Tensor) -> Tensor:
        """[batch, frames, units] -> what decoding needs of each frame, on the same device."""
        return logits.argmax(dim=-1) if self._search is None else logits.float().log_softmax(dim=-1)

    def text(self, outcome: Any) -> list[str]:
        if self._search is None:
            return [self._vocabulary.decode(collapse(path, self._vocabulary.blank)) for path in outcome]
        return [self._search.best(log_probs).text if len(log_probs) else "" for log_probs in outcome]


def alike(lengths: Sequence[int], *, a_pass_costs: float, most: float) -> list[list[int]]:
    """Indices of utterances that go together, longest first: the division that costs least of all.

    A pass costs what it pads its utterances to and `a_pass_costs`, and holds no more than `most`, padding included, or
    one utterance; all in the unit of lengths. Takes time with the square of their number.

    >>> alike([100, 30, 96, 29], a_pass_costs=10, most=1000)
    [[0, 2], [1, 3]]
    """
    order = sorted(range(len(lengths)), key=lambda index: -lengths[index])
    costs, begins = [0.0], [0]  # of the best division of the first so many, and where its last pass begins
    for end in range(1, len(order) + 1):
        found = []
        for begin in range(end - 1, -1, -1):
            padded = lengths[order[begin]] * (end - begin)
            if padded > most and begin < end - 1:
                break
            found.append((costs[begin] + a_pass_costs + padded, begin))
        cost, begin = min(found)
        costs.append(cost)
        begins.append(begin)
    passes = []
    while order:
        begin = begins[len(order)]
        passes.append(order[begin:])
        order = order[:begin]
    return passes[::-1]


def valid_frames(kept: Tensor, n_frames: Sequence[int]) -> list[Tensor]:
    """What is kept of each frame [batch, frames, ...] on any device -> each utterance's own, on the CPU."""
    return [frames[:n] for frames, n in zip(kept.cpu(), n_frames, strict=True)]


def _check_words(name: str, path: Path, words: Sequence[str], vocabulary: Vocabulary) -> None:
    """Raises InputError where the model's units cannot write most words of the language model."""
    looked_at = words[:: max(len(words) // 1000, 1)]
    outside = [word for word in looked_at if vocabulary.outside([word])]
    if 2 * len(outside) > len(looked_at):
        swapped = sum(not vocabulary.outside([word.swapcase()]) for word in outside)
        remedy = "make it under the profile of the model's labels"
        if 2 * swapped > len(outside):
            remedy = "the letters are there in the other case: " + remedy
        raise InputError(
            f"{name}: its units cannot write most words of {path}, such as {outside[0]!r}; expected a language model "
            f"of its words: {remedy} (`python -m finetune.language_model --profile`)"
        )
