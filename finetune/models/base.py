"""The interface of a model family to the training loop, and the batches and results that travel between the two.

Whoever adds a family reads `TrainableRecogniser` below: what each method is given, what it returns and when it is
called.
"""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from preprocessing.audio import SAMPLE_RATE
from preprocessing.errors import UsageError

OUTSIDE = "characters outside the vocabulary"  # begins the reason for which `rejection_reason` gives them
IGNORED_LABEL = -100  # fills label rows after their end, as in transformers and torch's cross-entropy


@dataclass(frozen=True, slots=True)
class Example:
    """One utterance as the model takes it.

    index: of the utterance in its corpus.
    inputs: the model's input: a waveform [samples], or features [n_mels, frames]; float32.
    labels: ids of the output units.
    n_samples: length of the waveform that `inputs` was made of, at 16 kHz.
    window_samples: length that the model pads each waveform to, whatever its batch; 0: to the longest of the batch.
    """

    index: int
    inputs: Tensor
    labels: tuple[int, ...]
    n_samples: int
    window_samples: int = 0


@dataclass(frozen=True, slots=True)
class Batch:
    """Examples padded to one shape, in the order given.

    inputs: [batch, ...], zeros after each utterance's length along the last axis.
    lengths: valid length of each input along its last axis [batch].
    labels: [batch, longest], IGNORED_LABEL after each utterance's own.
    label_lengths: number of labels of each utterance [batch].
    n_samples: length of each waveform, at 16 kHz. window_samples: as of Example.
    """

    indices: tuple[int, ...]
    inputs: Tensor
    lengths: Tensor
    labels: Tensor
    label_lengths: Tensor
    n_samples: tuple[int, ...]
    window_samples: int = 0

    def to(self, device: torch.device) -> "Batch":
        """The batch with its tensors on `device`, except `label_lengths`: torch's CTC loss wants these on the CPU."""
        tensors = (self.inputs, self.lengths, self.labels)
        inputs, lengths, labels = (tensor.to(device, non_blocking=True) for tensor in tensors)
        return replace(self, inputs=inputs, lengths=lengths, labels=labels)

    def pin_memory(self) -> "Batch":
        """The batch in page-locked memory, for `to`; torch's DataLoader calls this."""
        inputs, lengths, labels = (tensor.pin_memory() for tensor in (self.inputs, self.lengths, self.labels))
        return replace(self, inputs=inputs, lengths=lengths, labels=labels)

    @property
    def seconds(self) -> tuple[float, float]:
        """Seconds of audio without padding, and with it: what the model computes on."""
        longest = max(*self.n_samples, self.window_samples)
        return sum(self.n_samples) / SAMPLE_RATE, len(self.n_samples) * longest / SAMPLE_RATE

    def split(self, parts: int) -> list["Batch"]:
        """At most `parts` batches of neighbouring rows in the same padded shape; together they hold every row once."""
        rows = -(-len(self.indices) // parts)
        starts = range(0, len(self.indices), rows)
        return [self._rows(slice(start, start + rows)) for start in starts] if parts > 1 else [self]

    def _rows(self, rows: slice) -> "Batch":
        return Batch(
            self.indices[rows],
            self.inputs[rows],
            self.lengths[rows],
            self.labels[rows],
            self.label_lengths[rows],
            self.n_samples[rows],
            self.window_samples,
        )


def pad_batch(examples: Sequence[Example]) -> Batch:
    """Examples as one Batch: inputs padded with zeros along their last axis, labels with IGNORED_LABEL."""
    lengths = torch.tensor([example.inputs.shape[-1] for example in examples])
    inputs = examples[0].inputs.new_zeros((len(examples), *examples[0].inputs.shape[:-1], int(lengths.max())))
    label_lengths = torch.tensor([len(example.labels) for example in examples])
    labels = torch.full((len(examples), max(int(label_lengths.max()), 1)), IGNORED_LABEL)
    for row, example in enumerate(examples):
        inputs[row, ..., : lengths[row]] = example.inputs
        labels[row, : label_lengths[row]] = torch.tensor(example.labels, dtype=torch.long)
    indices = tuple(example.index for example in examples)
    n_samples = tuple(example.n_samples for example in examples)
    return Batch(indices, inputs, lengths, labels, label_lengths, n_samples, examples[0].window_samples)


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """A model's transcript of one utterance, not normalised.

    blank_ratio: share of the utterance's frames whose best unit is the CTC blank; None for models without CTC.
    """

    text: str
    blank_ratio: float | None


@dataclass(frozen=True, slots=True)
class EvaluationOutput:
    """A validation batch under a model: the loss, summed over all labels, and a hypothesis for each row."""

    loss: float
    hypotheses: list[Hypothesis]


@dataclass(frozen=True, slots=True)
class Publication:
    """What the Hugging Face Hub and the model card say of a family's models.

    title: heading of the card's section on the model.
    library: the Hub's `library_name`, whose way to load a model it shows: transformers where that loads it without this
    package. tags: the Hub's tags besides the task and the architecture.
    files: glob patterns of the model's files in a run's folder; a folder without a match of the first is no model.
    model_input: what the model takes, in one phrase.
    settings: keys of ModelConfig that the card's recipe lists, where the run set them.
    usage: Python that loads the model; REPO stands for the repository's id, LANGUAGE for the code of its language.
    """

    title: str
    library: str
    tags: tuple[str, ...]
    files: tuple[str, ...]
    model_input: str
    settings: tuple[str, ...]
    usage: str


class TrainableRecogniser(ABC):
    """A trainable speech recogniser: a torch module with the text and audio conventions of its family.

    A family is a module `finetune/models/NAME.py` with a subclass of this class and

    - `build(config: ModelConfig, labels: Sequence[str], seed: int) -> TrainableRecogniser`: the model that a
      configuration describes, on the CPU in float32. `labels` are the normalised texts of the training corpus, for
      families that make their units from them. Raises UserError where the checkpoint or the configuration cannot be
      used.
    - `PUBLICATION: Publication`: what the Hub is told of it.

    NAME then joins the names in `finetune.config.ModelConfig.family`, and gets a record in `finetune.config.families`
    of what the family has, which decides the options that it takes.

    A run calls, in this order: `gradient_checkpointing_enable` and `compile` where asked for; `check_labels` and
    `describe_units` on all training texts; `rejection_reason` for each utterance, whose usable ones are encoded
    (`encode`); `fit_statistics` once; then `fits` and `prepare` in worker processes for each visit of an utterance,
    `module` and `count_labels` for each batch, and at each evaluation `evaluate` for each validation batch and `save`.

    module: its `forward(batch, generator)` is the training pass. It returns the losses summed over all labels of the
    batch, a float32 scalar with a gradient, so that the loop can weight by labels over any number of batches and
    processes. `generator` (CPU) draws all masks of the pass; with None, and in evaluation mode, nothing is masked. An
    utterance's loss must not depend on what it is padded to.
    window_seconds: what the model pads each utterance to, as `Example.window_samples`; 0, the default: to the longest
    of its batch.
    """

    module: nn.Module
    window_seconds: float = 0.0

    def computed_seconds(self, duration: float) -> float:
        """Seconds of audio that the model computes on for each utterance of a batch whose longest has a duration."""
        return max(duration, self.window_seconds)

    @abstractmethod
    def prepare(self, index: int, waveform: Tensor, labels: tuple[int, ...]) -> Example:
        """The Example of one utterance, from its waveform [samples] (16 kHz, float32 in [-1, 1)) and its labels.

        Called in the data loader's processes, after augmentation, so it must not change the recogniser.
        """

    @abstractmethod
    def encode(self, text: str) -> tuple[int, ...]:
        """Label ids of a normalised text."""

    @abstractmethod
    def fits(self, n_samples: int, labels: Sequence[int]) -> bool:
        """Whether a waveform of `n_samples` can be trained on with these labels: neither too short nor too long.

        Called after an augmentation changed the waveform's length; where it does not fit, the augmentations that keep
        the length are applied alone.
        """

    @abstractmethod
    def rejection_reason(self, n_samples: int, text: str, *, is_silence: bool = False) -> str | None:
        """None where an utterance of `n_samples` with this normalised text can be trained on, else why not, in one
        sentence with what to do: it is written to rejects.jsonl.

        is_silence: the corpus itself gives an empty text, as for silence or noise. A text that is empty otherwise is
        one of which the profile leaves nothing, and there a mark may stand for speech.
        """

    def writable(self, text: str) -> str:
        """A normalised text without the characters that the output units lack: what of it an evaluation's loss is of.

        The text itself by default: for families whose units write every text.
        """
        return text

    @abstractmethod
    def check_labels(self, texts: Sequence[str]) -> None:
        """Raises UsageError where the output units cannot write most of the normalised training texts, naming the
        characters and their counts. Single texts that they cannot write are for `rejection_reason`.
        """

    def out_of_vocabulary(self, texts: Sequence[str]) -> Counter[str]:
        """What the output units cannot write of normalised texts (characters, or words), with counts.

        Empty by default: for families whose units write every text.
        """
        return Counter()

    def describe_units(self, texts: Sequence[str]) -> str:
        """The output units in one line for the terminal: how many, of what kind, and how many words of `texts` they
        cannot write. Empty by default: for families whose units are always the same.
        """
        return ""

    def fit_statistics(self, examples: Iterable[Example]) -> None:
        """Fits what the model keeps of its training audio other than by gradients, such as feature means.

        Called once before the first update of a new run, with training examples without augmentation, made when
        iterated over. Does nothing by default.
        """
        return

    @abstractmethod
    def evaluate(self, module: nn.Module, batch: Batch) -> EvaluationOutput:
        """The loss of a validation batch, without masks, and greedy hypotheses of its rows, from one encoder pass.

        module: this recogniser's `module` in evaluation mode, perhaps wrapped by accelerate for several devices; batch:
        on its device. Called under autocast and without gradients.
        """

    @abstractmethod
    def save(self, folder: Path, module: nn.Module) -> None:
        """Writes the weights of `module` (as in `evaluate`) to `folder` in the format of the family's own library,
        which loads it without this project, with all that decoding needs.
        """

    def gradient_checkpointing_enable(self) -> None:
        """From now on, recompute activations in the backward pass instead of storing them.

        Raises UsageError for a family that cannot.
        """
        raise UsageError(
            "--gradient_checkpointing is true, but this family does not support it; expected wav2vec2, whisper or "
            "whisper-ctc: leave it out"
        )

    def compile(self) -> None:
        """From now on, run the transformer through torch.compile. Raises UsageError for a family that cannot."""
        raise UsageError(
            "--torch_compile is true, but this family does not support it; expected wav2vec2: leave it out"
        )

    def layers_above(self, parameter: str) -> int:
        """Number of layers between a parameter, by its name in `module`, and the output: the exponent of
        --layer_decay in its learning rate. 0 for every parameter by default.
        """
        return 0

    def train_head_only(self, only: bool) -> None:
        """From now on, trains the head above the encoder alone (`only`), or everything that the configuration trains.

        Called before each update: `only` is true for the first --head_only_steps of them. By default, for families
        without an output layer of their own, raises UsageError where it is true.
        """
        if only:
            raise UsageError(
                "--head_only_steps is set, but this family has no output layer of its own; expected 0: "
                "set --layer_decay below 1 to keep lower layers near what they were"
            )

    def idle_batch(self) -> Batch:
        """A batch of one utterance that is in no corpus, on the CPU: a second of faint noise without a text.

        A process without a usable utterance of its own computes it with weight 0 while the others train, so that all
        processes take part in the same collectives.
        """
        noise = 0.01 * torch.randn(SAMPLE_RATE, generator=torch.Generator().manual_seed(0))
        return pad_batch([self.prepare(0, noise, self.encode(""))])

    def count_labels(self, batch: Batch) -> int:
        """Number of labels that the loss of a batch is a sum over.

        An utterance without any counts as one, as in the mean of torch's CTC loss: a batch of silence weighs no more.
        """
        return int(batch.label_lengths.clamp(min=1).sum())
