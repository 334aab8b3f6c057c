"""The command `python -m finetune.language_model train`: from a text to an LSTM in a folder.

A checkpoint in the folder is written every CHECKPOINT_SECONDS and deleted at the end; the command repeated goes on
from it, to the same model.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from rich.console import Console

from finetune.language_model.text import (
    check_one_profile,
    note_if_unspaced,
    open_text,
    perplexity_sentence,
    sentences_of,
    sentences_to_evaluate,
)
from preprocessing.cli.cores import keep_threads_to_quota
from preprocessing.cli.device import resolve_device
from preprocessing.cli.options import check_counts, check_ranges, check_shares
from preprocessing.cli.progress import Steps
from preprocessing.errors import InputError, UsageError, first_line
from preprocessing.storage.atomic_write import atomic_file
from preprocessing.storage.folder_lock import only_writer

if TYPE_CHECKING:
    from finetune.language_model.lstm import LstmModel
    from finetune.language_model.lstm_training import LstmTraining

CHECKPOINT = "checkpoint.pt"
CHECKPOINT_SECONDS = 60.0
FEW_BATCHES = 200  # of the demo's 2,000 words, 4 batches leave a perplexity of 88, 52 one of 9, and 260 one of 2.4


@dataclass(frozen=True)
class TrainLstmConfig:
    """Options of `train`."""

    renamed: ClassVar[Mapping[str, str]] = {"most_words": "units_size", "output": "output_dir"}

    text: str
    """Text file (.txt or .txt.gz) with one utterance per line, or a corpus, whose texts are used."""

    output_dir: Path
    """Folder of the language model."""

    units: Literal["words", "characters"] = "characters"
    """Units that the LSTM predicts."""

    units_size: int = 20_000
    """Vocabulary size for words, the most frequent ones; characters are all kept."""

    hidden_size: int = 384
    """Width of the LSTM and of the embedding."""

    num_layers: int = 1
    """Number of LSTM layers."""

    dropout: float = 0.2
    """Dropout probability."""

    num_train_epochs: int = 4
    """Epochs; the one with the lowest perplexity on 2 % held-out text is kept."""

    learning_rate: float = 0.004
    """Peak learning rate of a one-cycle schedule."""

    batch_tokens: int = 4096
    """Units in a batch, with padding."""

    profile: str | None = None
    """Text normalisation profile of the lines; it must be that of the recogniser's labels, so that the words match.
    Default: that of --model; else, of a corpus, basic:LANGUAGE of the language that all utterances name, basic of
    several; librispeech of English, of none and of text files."""

    model: str | None = None
    """The recogniser, a run or a Hub id: takes the text profile of its labels, in place of --profile."""

    evaluate: str | None = None
    """Text or corpus to measure perplexity on; not the training text."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Device that the LSTM is trained on; auto takes a GPU if there is one."""

    seed: int = 0
    """Seed of weights, order and dropout."""

    def check(self) -> None:
        """Raises UsageError on a value that cannot be used."""
        counts = ("units_size", "hidden_size", "num_layers", "num_train_epochs", "batch_tokens")
        check_counts(*((f"--{name}", getattr(self, name), 1) for name in counts))
        check_shares(("--dropout", self.dropout))
        check_ranges(("--learning_rate", self.learning_rate, "above 0", self.learning_rate > 0))
        check_one_profile(self.profile, self.model)
        if self.output_dir.is_file():
            raise UsageError(f"{self.output_dir} is a file; expected a folder: name one")


@dataclass(frozen=True)
class TrainedLstm:
    """The best model of a training. seconds: how long it took, before an interruption too."""

    model: "LstmModel"
    seconds: float


def train_language_model(config: TrainLstmConfig) -> TrainedLstm:
    """Trains an LSTM language model, and writes it after each epoch that is better than those before.

    A training that was interrupted is gone on with. Raises UserError where the text cannot be read, the options cannot
    be used, or the folder has the checkpoint of another training.
    """
    from finetune.language_model.lstm import LstmShape
    from finetune.language_model.lstm_training import LstmTraining, hold_out, known_units

    config.check()
    assert config.model is None, "with_profile_of_model of the command puts its profile in its place"
    keep_threads_to_quota()
    device = resolve_device(config.device)
    console = Console(highlight=False, soft_wrap=True)
    normalise, text = open_text(config.text, config.profile, console)
    sentences = sentences_of(text, normalise, config.units)
    to_evaluate = sentences_to_evaluate(config.evaluate, normalise, config.units)
    note_if_unspaced(config.text, sentences, config.units, console)
    training_sentences, held_out = hold_out(sentences, config.seed)
    units = known_units(training_sentences, config.units_size if config.units == "words" else None)
    of_characters = config.units == "characters"
    shape = LstmShape(units, of_characters, config.hidden_size, config.num_layers, config.dropout)
    n_units = sum(map(len, sentences))
    console.print(
        f"{len(sentences):,} sentences, {n_units:,} {config.units}; {len(units):,} different ones of "
        f"{len(training_sentences):,} sentences are known, {len(held_out):,} are held out"
    )
    with only_writer(config.output_dir, "--output_dir"):
        training = LstmTraining(
            training_sentences,
            held_out,
            shape,
            epochs=config.num_train_epochs,
            learning_rate=config.learning_rate,
            batch_tokens=config.batch_tokens,
            seed=config.seed,
            device=device,
        )
        if training.n_batches < FEW_BATCHES:
            console.print(
                f"[bold yellow]NOTE[/] {training.n_batches:,} batches in all are too few to learn much from; raise "
                "--num_train_epochs, or lower --batch_tokens"
            )
        model = _train(training, config, console)
    if to_evaluate:
        figures = model.perplexity(to_evaluate)
        console.print(f"{config.evaluate}: {perplexity_sentence(*figures, config.units)}")
    return TrainedLstm(model, training.seconds)


def _train(training: "LstmTraining", config: TrainLstmConfig, console: Console) -> "LstmModel":
    """The best model, which is in the folder too; what is printed, and the checkpoint, on the way."""
    checkpoint = config.output_dir / CHECKPOINT
    if checkpoint.is_file():
        _resume(training, checkpoint)
        console.print(f"going on from {checkpoint}, batch {training.batches_done:,} of {training.n_batches:,}")
    unit, written = config.units.removesuffix("s"), time.monotonic()
    steps = Steps(console, 1, "batches")
    with steps.step("training", training.n_batches, before=training.batches_done) as advance:
        for epoch in training.run():
            advance(1)
            if epoch is not None:
                console.print(
                    f"epoch {epoch.number} of {config.num_train_epochs}: perplexity {epoch.perplexity:.2f} per {unit}, "
                    "unknown ones as <unk>"
                )
                if epoch.is_best:
                    training.best_model.save(config.output_dir)
            if time.monotonic() - written > CHECKPOINT_SECONDS:
                _write(training, checkpoint)
                written = time.monotonic()
    checkpoint.unlink(missing_ok=True)
    return training.best_model


def _write(training: "LstmTraining", checkpoint: Path) -> None:
    import torch

    with atomic_file(checkpoint) as temporary:
        torch.save(training.state_dict(), temporary)


def _resume(training: "LstmTraining", checkpoint: Path) -> None:
    """Raises InputError where the checkpoint cannot be read or is of another training."""
    import torch

    remedy = f"delete {checkpoint.name} to train anew, or choose another folder"
    try:
        state = torch.load(checkpoint, map_location="cpu", weights_only=True)
        is_same = state["fingerprint"] == training.fingerprint
    except Exception as error:  # pickle and zip have errors of their own
        raise InputError(
            f"{checkpoint}: cannot be read ({first_line(error)}); expected the checkpoint of a training that was "
            f"interrupted: {remedy}"
        ) from None
    if not is_same:
        raise InputError(
            f"{checkpoint}: of a training with another text or other options, which was interrupted; expected the same "
            f"to go on with: repeat its command, or {remedy}"
        )
    training.load_state_dict(state)
