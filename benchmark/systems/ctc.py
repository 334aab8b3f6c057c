"""What CTC systems share: greedy decoding or a beam search, and grouping utterances of similar length into batches.

How a waveform becomes log-probabilities belongs to each family's own module.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from benchmark.systems.base import LM_SUFFIX, LanguageModelOptions, LoadOptions, System, SystemSpec
from finetune.decoding.beam import BeamSearch
from finetune.decoding.beam_reference import ReferenceSearch, make_search
from finetune.decoding.greedy import collapse
from finetune.language_model.folder import TUNED, check_spelling, find_language_model, load_language_model
from finetune.language_model.lstm import LstmModel, RescoringSearch
from preprocessing.cli.errors import InputError
from preprocessing.units import Vocabulary

PASS_COST_SECONDS = {"cpu": 5.0, "cuda": 100.0}  # of audio: what a forward pass costs beside the audio that is in it
MAX_PASS_SECONDS = {"cpu": 60.0, "cuda": 480.0}  # of audio in a forward pass, padding included

NO_FRAMES = torch.empty(0, dtype=torch.long)


class CTCSystem(System):
    """Greedy decoding, or a beam search with a language model where the family's name ends in +lm.

    What `forward` returns is a list with a tensor for each recording, on the CPU: the best unit of each frame [frames],
    or log-probabilities [frames, units] for a search.
    """

    batched = True
    longest_in_batch_seconds = 30.0
    _vocabulary: Vocabulary
    _search: BeamSearch | ReferenceSearch | RescoringSearch | None = None

    def text(self, outcome: Any) -> list[str]:
        """The hypothesis of each recording."""
        if self._search is None:
            return [self._vocabulary.decode(collapse(path, self._vocabulary.blank)) for path in outcome]
        found = iter(self._search.best_of_all([log_probs for log_probs in outcome if len(log_probs)]))
        return [next(found).text if len(log_probs) else "" for log_probs in outcome]

    def _prepare_decoding(self, spec: SystemSpec, options: LoadOptions) -> str:
        """Make the search, where there is one; `_vocabulary` must be set. Returns the decoding in words for the report.

        Raises InputError for a language model that is missing or does not fit the vocabulary.
        """
        if not spec.family.endswith(LM_SUFFIX):
            return "greedy CTC, no language model"
        given = options.language_model or LanguageModelOptions(None, as_stored=TUNED)
        files = find_language_model(given.path or spec.checkpoint)
        if files is None:
            raise InputError(
                f"{spec.name}: {given.path or spec.checkpoint} holds no language model; expected an ARPA file: name "
                "one with --lm"
            )
        settings = files.settings(given.search, given.as_stored)
        self._search = make_search(self._vocabulary, load_language_model(spec.name, files, self._vocabulary), settings)
        rescored = ""
        if given.rescore is not None:
            lstm = LstmModel.load(given.rescore)
            check_spelling(spec.name, given.rescore, lstm, self._vocabulary)
            self._search = RescoringSearch(self._search, lstm, given.rescore_weight)
            rescored = f", n best rescored with {given.rescore.name}, weight {given.rescore_weight:g}"
        hot = f", {len(settings.hot)} hot words of weight {settings.hotword_weight:g}" if settings.hot else ""
        return (
            f"beam search with {files.path.name}: beam_width {settings.beam_width}, alpha {settings.alpha:g}, beta "
            f"{settings.beta:g}, unk_score_offset {settings.unk_score_offset:g}{hot}{rescored}"
        )

    def _frames_to_decode(self, logits: Tensor) -> Tensor:
        """Logits [batch, frames, units] -> best units [batch, frames], or log-probabilities for a search, on the same
        device.
        """
        return logits.argmax(dim=-1) if self._search is None else logits.float().log_softmax(dim=-1)


def optimal_batches(lengths: Sequence[int], *, pass_cost: float, maximum: float) -> list[list[int]]:
    """Indices of utterances in the batches that cost least in all, longest first.

    A batch costs its padded length and `pass_cost`, and holds at most `maximum`, padding included, or one utterance;
    all in the unit of lengths. Dynamic programming over the sorted lengths: time grows with the square of their number.

    >>> optimal_batches([100, 30, 96, 29], pass_cost=10, maximum=1000)
    [[0, 2], [1, 3]]
    """
    order = sorted(range(len(lengths)), key=lambda index: -lengths[index])
    costs, begins = [0.0], [0]  # of the cheapest batches of the first so many, and where the last of them begins
    for end in range(1, len(order) + 1):
        found = []
        for begin in range(end - 1, -1, -1):
            padded = lengths[order[begin]] * (end - begin)
            if padded > maximum and begin < end - 1:
                break
            found.append((costs[begin] + pass_cost + padded, begin))
        cost, begin = min(found)
        costs.append(cost)
        begins.append(begin)
    batches = []
    while order:
        begin = begins[len(order)]
        batches.append(order[begin:])
        order = order[:begin]
    return batches[::-1]


def split_batch(frames: Tensor, n_frames: Sequence[int]) -> list[Tensor]:
    """A batch [batch, frames, ...] on any device -> each utterance's own frames without padding, on the CPU."""
    return [one[:n] for one, n in zip(frames.cpu(), n_frames, strict=True)]
