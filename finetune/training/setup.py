"""A run before its first step: what its configuration is resolved to, opened and built (`RunSetup`).

Training, dry run, overfitting a batch and the measurement of costs all begin with it. Nothing is written.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed

from finetune import models
from finetune.config import DataConfig, TrainConfig
from finetune.data.corpora import MAIN, RunData, open_corpora, select_utterances
from finetune.data.examples import Examples
from finetune.models.base import TrainableRecogniser
from finetune.training.diagnosis import DataInspection, inspect_data
from preprocessing.augment import Chain, from_config
from preprocessing.augment.denoise import SpectralGate
from preprocessing.corpus import Utterance
from preprocessing.errors import UsageError, counted, printable
from preprocessing.text import Profile, profile

REJECTS_SHOWN = 5
FAR_ABOVE_BOUND = 10.0  # times data.max_batch_seconds that windows make of the largest batch before it is said


@dataclass(frozen=True)
class RunSetup:
    """What a run is made of.

    config: with the language of the corpora, and max_steps in place of num_train_epochs. labels: normalised texts of
    all training utterances, usable or not. validation: sets by name, MAIN among them.
    """

    config: TrainConfig
    accelerator: Accelerator
    profile: Profile
    recogniser: TrainableRecogniser
    labels: list[str]
    data: RunData
    train: Examples  # of streamed corpora the first ones
    validation: dict[str, Examples]
    denoise: SpectralGate | None
    augment: Chain | None

    def inspect(self) -> DataInspection:
        """What the corpora say before training, problems among it."""
        data = self.data
        return inspect_data(
            data.train, data.validation[MAIN], self.labels, data.rejects, self.profile, self.config.model
        )  # fmt: skip


def set_up(config: TrainConfig, accelerator: Accelerator) -> RunSetup:
    """Open the corpora, build the recogniser, and select the utterances that it can use."""
    text_profile = profile(config.data.profile)
    corpora = open_corpora(config.data)
    config = replace(config, model=config.model.with_language(corpora.language()))
    set_seed(config.seed)
    labels = corpora.labels(text_profile)
    writes_nothing = config.dry_run or config.overfit_batch
    model = replace(config.model, feature_cache_gib=0.0) if writes_nothing else config.model
    recogniser = models.build(model, labels, config.seed)
    if accelerator.process_index > 0:  # each process drops units of its own
        torch.manual_seed(config.seed + accelerator.process_index)
    if config.gradient_checkpointing:
        recogniser.gradient_checkpointing_enable()
    if config.torch_compile:
        recogniser.compile()
    recogniser.check_labels(labels)
    data = select_utterances(corpora, recogniser, text_profile, config.data)
    accelerator.print(_description(config, data, recogniser, labels))

    def encode(utterances: Sequence[Utterance]) -> list[tuple[int, ...]]:
        return [recogniser.encode(recogniser.writable(text_profile(utterance.text))) for utterance in utterances]

    denoise, augment = SpectralGate() if config.data.denoise else None, augmentation(config.data)
    train = Examples(data.train, encode(data.train), recogniser, denoise, augment, config.seed, data.repeats)
    if not config.overfit_batch and (note := windows_note(train, config.data.max_batch_seconds)):
        accelerator.print(note)
    config = with_steps(config, train, accelerator)
    return RunSetup(
        config,
        accelerator,
        text_profile,
        recogniser,
        labels,
        data,
        train=train,
        validation={
            name: Examples(utterances, encode(utterances), recogniser, denoise)
            for name, utterances in data.validation.items()
        },
        denoise=denoise,
        augment=augment,
    )


def augmentation(config: DataConfig) -> Chain | None:
    """The augmentations of `config.augment`, None without any. Raises UsageError if one cannot be used."""
    try:
        return from_config(config.augment) if config.augment else None
    except UsageError as error:
        raise UsageError(f"--data.augment: {error}") from None


def with_steps(config: TrainConfig, examples: Examples, accelerator: Accelerator) -> TrainConfig:
    """The configuration with max_steps in place of num_train_epochs. Raises UsageError if the head alone would be
    trained in all of them.
    """
    if config.num_train_epochs is None:
        return config
    epoch = len(examples.first_epoch(config.data.max_batch_seconds))
    batches_per_step = config.gradient_accumulation_steps * accelerator.num_processes
    steps = math.ceil(config.num_train_epochs * epoch / batches_per_step)
    epochs = f"{config.num_train_epochs:g} epoch{'' if config.num_train_epochs == 1 else 's'}"
    accelerator.print(
        f"{counted(steps, 'step')} for {epochs} of {counted(epoch, 'batch', 'batches')}, "
        f"{counted(batches_per_step, 'batch', 'batches')} a step"
    )
    config = replace(config, max_steps=steps, num_train_epochs=None)
    config.check_head_only_steps()
    return config


def _description(config: TrainConfig, data: RunData, recogniser: TrainableRecogniser, labels: Sequence[str]) -> str:
    """What is trained on what, in a few lines."""
    parameters = sum(p.numel() for p in recogniser.module.parameters())
    trained = sum(p.numel() for p in recogniser.module.parameters() if p.requires_grad)
    hours = sum(u.duration for u in data.train) / 3600
    training = f"{counted(len(data.train), 'utterance')}, {hours:.2f} h"
    lines = [
        f"{config.model.family}: {parameters / 1e6:.1f} M parameters, {trained / 1e6:.1f} M trained, "
        f"from {config.model.base or 'random weights'}",
        f"{f'a stream that begins with {training}' if config.data.streaming else f'{training} to train on'}; "
        f"{', '.join(f'{len(utterances)} of {name}' for name, utterances in data.validation.items())}; "
        f"{len(data.rejects)} rejected",
    ]
    silent = sum(not utterance.text.strip() for utterance in data.train)
    lines += (
        [f"{counted(silent, 'utterance')} to train on without a text: taken for silence or noise"] if silent else []
    )
    lines += [
        f"the error rate of {name} is that of {len(data.validation[name])} of its {len(data.validation[name]) + n} "
        f"utterances, without {n} rejected; a benchmark counts all of them"
        for name, n in data.unevaluated.items()
        if n
    ]
    lines += [f"{MAIN} {data.division}"] if data.division else []
    lines += [units] if (units := recogniser.describe_units(labels)) else []
    lines += [printable(f"  {reject.where}: {reject.reason}") for reject in data.rejects[:REJECTS_SHOWN]]
    if len(data.rejects) > REJECTS_SHOWN:
        lines.append(f"  ... all in {config.output_dir / 'rejects.jsonl'}")
    return "\n".join(lines)


def windows_note(examples: Examples, max_batch_seconds: float) -> str | None:
    """How large the largest batch is in a model's windows where that is far above its bound, which is of speech."""
    window = examples.recogniser.window_seconds
    if not window:
        return None
    largest = max(map(len, examples.first_epoch(max_batch_seconds)))
    if largest * window <= FAR_ABOVE_BOUND * max_batch_seconds:
        return None
    return (
        f"NOTE: the largest batch has {counted(largest, 'window')} of {window:g} s, {largest * window:,.0f} s to "
        f"compute on, as --data.max_batch_seconds {max_batch_seconds:g} counts speech alone; a lower one takes less "
        "memory"
    )
