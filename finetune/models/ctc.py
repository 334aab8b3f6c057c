"""The base of every CTC family: loss, length and label checks, greedy decoding, and output layers of any size.

CTC is Graves et al. 2006, "Connectionist Temporal Classification". A family adds its encoder, from waveforms to the
hidden frames below the output layer, and `prepare`.
"""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import extract_model_from_parallel
from huggingface_hub.errors import StrictDataclassError
from torch import Tensor, nn
from transformers import AutoConfig

from finetune.config import ModelConfig
from finetune.decoding.greedy import collapse
from finetune.models.base import OUTSIDE, Batch, EvaluationOutput, Hypothesis, Publication, TrainableRecogniser
from finetune.models.checkpoint_checks import check_scratch, checked_loading
from finetune.models.language_adapters import languages_of
from preprocessing.audio import SAMPLE_RATE
from preprocessing.cli.notes import note_once
from preprocessing.errors import InputError, UsageError
from preprocessing.storage.model_file import loading_reason
from preprocessing.units import Vocabulary, frames_needed
from preprocessing.units import build as build_units
from preprocessing.units.syllables import read_cmudict

HEAD_INIT_STD = 0.02  # standard deviation of new output weights: transformers' initializer_range
GRID_SAMPLES = SAMPLE_RATE // 10  # lengths for which frames are computed once


class CTCModule(nn.Module, ABC):
    """The training pass of a CTC model: a batch -> the CTC losses summed over it, a float32 scalar.

    model: a transformers model with `dropout` and `lm_head` above its encoder.
    blank: id of the CTC blank.
    head_only: while true, no gradient flows below the head, into the encoder.
    """

    def __init__(self, model: Any, *, blank: int) -> None:
        super().__init__()
        self.model = model
        self.blank = blank
        self.head_only = False

    @abstractmethod
    def hidden(self, batch: Batch, generator: torch.Generator | None) -> Tensor:
        """The encoder's output [batch, frames, channels]. `generator` draws the masks; None masks nothing."""

    def head(self, hidden: Tensor, batch: Batch) -> Tensor:
        """The frames [batch, frames, size] that the output layer reads, from the encoder's output: the layers of the
        head below it. By default there are none.
        """
        return hidden

    @abstractmethod
    def frames(self, n_samples: Tensor) -> Tensor:
        """Valid output frames of each utterance [batch], from its samples [batch]."""

    def log_probs(self, batch: Batch, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """Natural log-probabilities [batch, frames, units] in float32, and valid frames [batch] on the CPU.

        generator: draws the masks; None masks nothing.
        """
        with torch.no_grad() if self.head_only else nullcontext():
            hidden = self.hidden(batch, generator)
        logits = self.model.lm_head(self.model.dropout(self.head(hidden, batch)))
        return logits.float().log_softmax(dim=-1), self.frames(torch.tensor(batch.n_samples))

    def forward(self, batch: Batch, generator: torch.Generator | None) -> Tensor:
        """The CTC losses summed over the batch, in nats; in training mode masked by the generator's draws."""
        return self.loss(batch, *self.log_probs(batch, generator if self.training else None))

    def loss(self, batch: Batch, log_probs: Tensor, frames: Tensor) -> Tensor:
        """The same from what `log_probs` returned for the batch."""
        targets = batch.labels.clamp(min=0)
        return nn.functional.ctc_loss(
            log_probs.transpose(0, 1), targets, frames, batch.label_lengths, blank=self.blank, reduction="sum"
        )


class CTCRecogniser(TrainableRecogniser):
    """A CTC model with its vocabulary. Families add `prepare`: the model's input is theirs."""

    module: CTCModule

    def __init__(self, module: CTCModule, vocabulary: Vocabulary) -> None:
        self.module = module
        self.vocabulary = vocabulary
        self._frames_on_grid: dict[int, int] = {}
        self._shortest = next(n for n in range(1, SAMPLE_RATE) if self._n_frames(n) > 0)

    def _n_frames(self, n_samples: int) -> int:
        return int(self.module.frames(torch.tensor([n_samples])))

    def _has_frames(self, n_samples: int, needed: int) -> bool:
        """Whether an utterance has so many frames. A longer one never has fewer: few lengths are computed for many."""
        shorter = n_samples // GRID_SAMPLES * GRID_SAMPLES
        if shorter not in self._frames_on_grid:
            self._frames_on_grid[shorter] = self._n_frames(shorter) if shorter >= self._shortest else 0
        return self._frames_on_grid[shorter] >= needed or self._n_frames(n_samples) >= needed

    def encode(self, text: str) -> tuple[int, ...]:
        return tuple(self.vocabulary.encode(text))

    def fits(self, n_samples: int, labels: Sequence[int]) -> bool:
        return n_samples >= self._shortest and self._has_frames(n_samples, frames_needed(labels))

    def rejection_reason(self, n_samples: int, text: str, *, is_silence: bool = False) -> str | None:
        if n_samples < self._shortest:
            return f"{n_samples} samples; expected {self._shortest} or more, the model's receptive field: leave it out"
        if not text and not is_silence:
            return "an empty label under the profile; expected text: transcribe it, or leave it out"
        if self.vocabulary.unknown is None and (outside := self.vocabulary.outside([text])):
            return f"{OUTSIDE}: {_counted(outside)}"
        labels = self.encode(text)
        needed = frames_needed(labels)
        if not self._has_frames(n_samples, needed):
            return (
                f"{self._n_frames(n_samples)} frames for {len(labels)} {self.vocabulary.kind} that need {needed}; CTC "
                "cannot fit them: check that the text belongs to the audio"
            )
        return None

    def writable(self, text: str) -> str:
        if self.vocabulary.unknown is not None or not (outside := self.vocabulary.outside([text])):
            return text
        return " ".join("".join(character for character in text if character not in outside).split())

    def train_head_only(self, only: bool) -> None:
        self.module.head_only = only

    def check_labels(self, texts: Sequence[str]) -> None:
        outside = self.vocabulary.outside(texts)
        whole_words = self.vocabulary.unknown is not None
        labels = sum(len(text.split()) if whole_words else len(text.replace(" ", "")) for text in texts)
        if labels and outside.total() > 0.5 * labels:
            example = next(text for text in texts if self.vocabulary.outside([text]))
            swapped = [text.swapcase() for text in texts]
            remedy = "expected the same case and script: choose another profile, or --model.vocabulary extend or new"
            lacking = self.vocabulary.outside(swapped)
            if 2 * lacking.total() < outside.total():
                remedy = (
                    "the letters are there in the other case: use the profile ctc:MODEL, which has the model's case"
                )
                if lacking:
                    remedy += f"; {_counted(lacking)} are in neither case, and need --model.vocabulary extend or new"
            raise UsageError(
                f"--data.profile gives labels with characters outside the model's vocabulary ({_counted(outside)}; as "
                f"in {example[:60]!r}); {remedy}"
            )

    def out_of_vocabulary(self, texts: Sequence[str]) -> Counter[str]:
        return self.vocabulary.outside(texts)

    def describe_units(self, texts: Sequence[str]) -> str:
        units = f"{self.vocabulary.size} units: {self.vocabulary.kind}"
        if self.vocabulary.unknown is None:
            return units
        unknown, words = self.vocabulary.outside(texts).total(), sum(len(text.split()) for text in texts)
        return f"{units}; {unknown} of {words} words of the labels are {self.vocabulary.unknown_unit}"

    @torch.inference_mode()
    def evaluate(self, module: nn.Module, batch: Batch) -> EvaluationOutput:
        unwrapped: CTCModule = extract_model_from_parallel(module)
        log_probs, frames = unwrapped.log_probs(batch)
        paths = log_probs.argmax(dim=-1).cpu()
        hypotheses = [self._hypothesis(path[:n]) for path, n in zip(paths, frames.tolist(), strict=True)]
        return EvaluationOutput(float(unwrapped.loss(batch, log_probs, frames)), hypotheses)

    def _hypothesis(self, path: Tensor) -> Hypothesis:
        blank = self.vocabulary.blank
        text = self.vocabulary.decode(collapse(path, blank))
        return Hypothesis(text, int((path == blank).sum()) / max(len(path), 1))

    def save(self, folder: Path, module: nn.Module) -> None:
        extract_model_from_parallel(module).model.save_pretrained(folder)
        self.vocabulary.save(folder)


def new_vocabulary(config: ModelConfig, labels: Sequence[str]) -> Vocabulary:
    """A vocabulary of the configuration's kind of units, made from the normalised training texts."""
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
    """The vocabulary of the base checkpoint, with the characters that only `labels` have where --model.vocabulary is
    extend.
    """
    assert config.base is not None
    # a run that trained one adapter has its vocabulary alone, not one for each language
    vocabulary = Vocabulary.load(config.base, config.language if languages_of(config.base) else None)
    return vocabulary.extended(labels) if config.vocabulary == "extend" else vocabulary


def extend_head(model: Any, n_units: int) -> None:
    """Enlarges the model's output layer to `n_units`, in place: the first rows keep their weights, new ones are drawn
    from a normal distribution of HEAD_INIT_STD, with zero biases. A larger one stays.
    """
    old = model.lm_head
    if n_units <= old.out_features:
        return
    new = nn.Linear(old.in_features, n_units)
    nn.init.normal_(new.weight, std=HEAD_INIT_STD)
    nn.init.zeros_(new.bias)
    with torch.no_grad():
        new.weight[: old.out_features] = old.weight
        new.bias[: old.out_features] = old.bias
    model.lm_head = new
    model.config.vocab_size = n_units


def renew_head(model: Any, base: str, vocabulary: Vocabulary) -> None:
    """Gives the output layer of a model that was loaded from `base` for a new vocabulary new weights, in place, drawn
    as those of `extend_head`, unless the base has the same units in the same order.

    transformers draws new weights where the number of units differs, and keeps the base's where it is the same: each
    unit would start as another one.
    """
    rows = getattr(AutoConfig.from_pretrained(base), "vocab_size", None)
    if rows != len(vocabulary.units):
        return
    if vocabulary == _vocabulary_or_none(base):
        note_once(
            f"output layer of {base}", f"the new vocabulary is that of {base}: the weights of its output layer are kept"
        )
        return
    nn.init.normal_(model.lm_head.weight, std=HEAD_INIT_STD)
    nn.init.zeros_(model.lm_head.bias)


def _vocabulary_or_none(base: str) -> Vocabulary | None:
    try:
        return Vocabulary.load(base)
    except InputError:  # a model that was pretrained only has none
        return None


def ctc_publication(
    module: str, *, title: str, tags: tuple[str, ...], model_input: str, settings: tuple[str, ...]
) -> Publication:
    """The Publication of a family whose architecture this package defines, in the module of this name."""
    return Publication(
        title=title,
        library="speech-on-your-own",
        tags=tags,
        files=(
            "model*.safetensors",
            "config.json",
            "vocab.json",
            "units.json",
            "tokenizer.json",
            "tokenizer_config.json",
        ),
        model_input=model_input,
        settings=settings,
        usage=f"""\
# in a checkout of speech-on-your-own: pip install . && python -m finetune.transcribe REPO speech.wav
import {module}  # of that package: registers the architecture with transformers
from transformers import AutoModelForCTC

model = AutoModelForCTC.from_pretrained("REPO")  # waveforms in, CTC logits out""",
    )


def load_checkpoint(model_class: Any, family: str, reference: str, **changes: Any) -> Any:
    """A model of this project's own architecture, in float32 on the CPU, from the folder of a run or a Hub id.

    changes: keys of its configuration; with another `vocab_size` the output layer gets random weights, with the same
    one `renew_head` gives it them. Raises InputError where there is no such model.
    """
    expected = model_class.config_class
    try:
        with checked_loading(reference):
            config = AutoConfig.from_pretrained(reference)
            if not isinstance(config, expected):
                raise ValueError(f"its model_type is {config.model_type}, not {expected.model_type}")
            return model_class.from_pretrained(
                reference, dtype=torch.float32, ignore_mismatched_sizes="vocab_size" in changes, **changes
            )
    except (OSError, ValueError, RuntimeError, StrictDataclassError) as error:
        raise InputError(
            f"{reference}: cannot be loaded as a model of the family {family} ({loading_reason(error)}); "
            f"expected the folder of a run with --model.family {family}, or a Hub id of one: check the name and the "
            "network"
        ) from error


def load_base(load: Callable[..., Any], config: ModelConfig, labels: Sequence[str]) -> tuple[Any, Vocabulary]:
    """The base of a configuration, a model of this project's own architecture, with its vocabulary, or with the
    extended or new one that --model.vocabulary asks for.

    load: the family's, on top of `load_checkpoint`. labels: the normalised texts of training.
    """
    assert config.base is not None
    if config.vocabulary == "new":
        vocabulary = new_vocabulary(config, labels)
        model = load(config.base, dropout=config.dropout, **vocabulary_sizes(vocabulary))
        renew_head(model, config.base, vocabulary)
    else:
        vocabulary = base_vocabulary(config, labels)
        model = load(config.base, dropout=config.dropout)
        extend_head(model, len(vocabulary.units))
    return model, vocabulary


def new_model(model_class: Any, flag: str, keys: dict[str, Any], fixed: dict[str, Any]) -> Any:
    """A model of a transformers class with random weights.

    keys: of its configuration, as the option `flag` gives them; fixed: those that other options set. Raises UsageError
    on keys or values that it does not have.
    """
    config_class = model_class.config_class
    own_keys = [field.name for field in fields(config_class) if field.name in config_class.__annotations__]
    free = [name for name in own_keys if name not in fixed]
    unknown = sorted(set(keys) - set(free))
    if unknown:
        raise UsageError(
            f"{flag} holds {', '.join(unknown)}; expected keys of {config_class.__name__} that no other option sets: "
            f"choose among {', '.join(free)}"
        )
    try:
        settings = config_class(**keys, **fixed)
        check_scratch(settings.to_dict(), flag)
        return model_class(settings)
    except (StrictDataclassError, KeyError, TypeError, ValueError) as error:
        raise UsageError(f"{flag} cannot be used: {str(error).strip().splitlines()[-1].strip()}") from None


def vocabulary_sizes(vocabulary: Vocabulary) -> dict[str, int]:
    """The keys of a transformers CTC configuration that depend on the vocabulary; `pad_token_id` is the blank."""
    return {"vocab_size": len(vocabulary.units), "pad_token_id": vocabulary.blank}


def _counted(characters: Counter[str]) -> str:
    commonest = ", ".join(f"{character!r} {n} times" for character, n in characters.most_common(8))
    return commonest + (", ..." if len(characters) > 8 else "")
