"""What every CTC family shares: the loss, whether an utterance fits, how labels are checked, greedy hearing.

The encoder, from waveforms to the hidden frames below the output layer, is each family's own.
"""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import extract_model_from_parallel
from torch import Tensor, nn

from finetune.config import ModelConfig
from finetune.decoding.greedy import collapse
from finetune.models.base import Batch, Heard, Judged, Recogniser
from preprocessing.audio import SAMPLE_RATE
from preprocessing.cli.errors import UsageError
from preprocessing.units import Vocabulary, frames_needed
from preprocessing.units import build as build_units
from preprocessing.units.syllables import read_cmudict

HEAD_DEVIATION = 0.02  # of fresh weights, as transformers draws an output layer's


class CTCPass(nn.Module, ABC):
    """The training pass: a batch -> summed CTC loss in float32.

    model: a transformers model with `dropout` and `lm_head` above its encoder.
    head_only: while set, no gradient flows below `lm_head`.
    """

    def __init__(self, model: Any, *, blank: int) -> None:
        super().__init__()
        self.model = model
        self.blank = blank
        self.head_only = False

    @abstractmethod
    def hidden(self, batch: Batch, generator: torch.Generator | None) -> Tensor:
        """The encoder's output [batch, frames, channels]; the generator draws masks, None hides nothing."""

    @abstractmethod
    def frames(self, n_samples: Tensor) -> Tensor:
        """Valid frames of each utterance [batch] from its samples [batch]."""

    def log_probs(self, batch: Batch, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """Returns log-probabilities [batch, frames, units] in float32 and, on the CPU, valid frames [batch].

        generator: draws masks; None hides nothing.
        """
        with torch.no_grad() if self.head_only else nullcontext():
            hidden = self.hidden(batch, generator)
        logits = self.model.lm_head(self.model.dropout(hidden))
        return logits.float().log_softmax(dim=-1), self.frames(torch.tensor(batch.n_samples))

    def forward(self, batch: Batch, generator: torch.Generator | None) -> Tensor:
        """Sum of the CTC losses of the batch; while training, masks are drawn from the generator."""
        return self.loss(batch, *self.log_probs(batch, generator if self.training else None))

    def loss(self, batch: Batch, log_probs: Tensor, frames: Tensor) -> Tensor:
        """Sum of the CTC losses, of what `log_probs` returned for the batch."""
        targets = batch.labels.clamp(min=0)
        return nn.functional.ctc_loss(
            log_probs.transpose(0, 1), targets, frames, batch.label_lengths, blank=self.blank, reduction="sum"
        )


class CTCRecogniser(Recogniser):
    """A CTC model with its vocabulary; what a family's input is, it says itself in `prepare`."""

    module: CTCPass

    def __init__(self, module: CTCPass, vocabulary: Vocabulary) -> None:
        self.module = module
        self.vocabulary = vocabulary
        self._shortest = next(n for n in range(1, SAMPLE_RATE) if self._n_frames(n) > 0)

    def _n_frames(self, n_samples: int) -> int:
        return int(self.module.frames(torch.tensor([n_samples])))

    def encode(self, text: str) -> tuple[int, ...]:
        return tuple(self.vocabulary.encode(text))

    def fits(self, n_samples: int, labels: Sequence[int]) -> bool:
        return n_samples >= self._shortest and self._n_frames(n_samples) >= frames_needed(labels)

    def unusable(self, n_samples: int, text: str) -> str | None:
        if n_samples < self._shortest:
            return f"{n_samples} samples; expected {self._shortest} or more, the model's receptive field: leave it out"
        if not text:
            return "an empty label; expected text: transcribe it or leave it out"
        if self.vocabulary.unknown is None and self.vocabulary.outside([text]):
            return f"characters outside the vocabulary: {_counted(self.vocabulary.outside([text]))}"
        labels = self.encode(text)
        frames, needed = self._n_frames(n_samples), frames_needed(labels)
        if frames < needed:
            return (
                f"{frames} frames for {len(labels)} {self.vocabulary.kind} that need {needed}; CTC cannot fit them: "
                "check that the text belongs to the audio"
            )
        return None

    def train_head_only(self, only: bool) -> None:
        self.module.head_only = only

    def check_labels(self, texts: Sequence[str]) -> None:
        outside = self.vocabulary.outside(texts)
        whole_words = self.vocabulary.unknown is not None
        labels = sum(len(text.split()) if whole_words else len(text.replace(" ", "")) for text in texts)
        if labels and outside.total() > 0.5 * labels:
            example = next(text for text in texts if self.vocabulary.outside([text]))
            swapped = [text.swapcase() for text in texts]
            if 2 * self.vocabulary.outside(swapped).total() < outside.total():
                remedy = (
                    "the letters are there in the other case: take the profile ctc:MODEL, which follows the model's"
                )
            else:
                remedy = (
                    "expected the same case and script: choose another profile, or --model.vocabulary extend or new"
                )
            raise UsageError(
                f"--data.profile gives labels that the model's vocabulary does not hold ({_counted(outside)}; as in "
                f"{example[:60]!r}); {remedy}"
            )

    def outside(self, texts: Sequence[str]) -> Counter[str]:
        return self.vocabulary.outside(texts)

    def describe_labels(self, texts: Sequence[str]) -> str:
        told = f"{self.vocabulary.size} units: {self.vocabulary.kind}"
        if self.vocabulary.unknown is None:
            return told
        unknown, words = self.vocabulary.outside(texts).total(), sum(len(text.split()) for text in texts)
        return f"{told}; {unknown} of {words} words of the labels are {self.vocabulary.unknown_unit}"

    @torch.inference_mode()
    def judge(self, module: nn.Module, batch: Batch) -> Judged:
        bare = self._bare(module)
        log_probs, frames = bare.log_probs(batch)
        paths = log_probs.argmax(dim=-1).cpu()
        heard = [self._heard(path[:n]) for path, n in zip(paths, frames.tolist(), strict=True)]
        return Judged(float(bare.loss(batch, log_probs, frames)), heard)

    @staticmethod
    def _bare(module: nn.Module) -> CTCPass:
        bare = extract_model_from_parallel(module)
        assert isinstance(bare, CTCPass)
        return bare

    def _heard(self, path: Tensor) -> Heard:
        blank = self.vocabulary.blank
        text = self.vocabulary.decode(collapse(path, blank))
        return Heard(text, int((path == blank).sum()) / max(len(path), 1))

    def save(self, folder: Path, module: nn.Module) -> None:
        self._bare(module).model.save_pretrained(folder)
        self.vocabulary.save(folder)


def new_vocabulary(config: ModelConfig, labels: Sequence[str]) -> Vocabulary:
    """The units that a configuration asks for, made of the normalised training texts."""
    counts = None if config.units_dictionary is None else read_cmudict(Path(config.units_dictionary))
    return build_units(
        config.units,
        labels,
        size=config.units_size,
        language=config.units_language,
        syllable_counts=counts,
        flag="--model.units_size",
    )


def base_vocabulary(config: ModelConfig, labels: Sequence[str]) -> Vocabulary:
    """The base's own units, with the labels' further characters where the configuration extends them."""
    assert config.base is not None
    vocabulary = Vocabulary.load(config.base)
    return vocabulary.extended(labels) if config.vocabulary == "extend" else vocabulary


def extend_head(model: Any, n_units: int) -> None:
    """Give the model's output layer rows for further units, drawn as fresh ones are; the old ones keep theirs."""
    old = model.lm_head
    if n_units == old.out_features:
        return
    new = nn.Linear(old.in_features, n_units)
    nn.init.normal_(new.weight, std=HEAD_DEVIATION)
    nn.init.zeros_(new.bias)
    with torch.no_grad():
        new.weight[: old.out_features] = old.weight
        new.bias[: old.out_features] = old.bias
    model.lm_head = new
    model.config.vocab_size = n_units


def vocabulary_sizes(vocabulary: Vocabulary) -> dict[str, int]:
    """What a CTC model's configuration says of its vocabulary; the padding token is the blank."""
    return {"vocab_size": len(vocabulary.units), "pad_token_id": vocabulary.blank}


def _counted(characters: Counter[str]) -> str:
    most = ", ".join(f"{character!r} {n} times" for character, n in characters.most_common(8))
    return most + (", ..." if len(characters) > 8 else "")
