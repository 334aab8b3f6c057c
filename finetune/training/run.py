"""A fine-tuning run put together: corpora, recogniser, loop; begun anew or resumed."""

import logging
import os
import shutil
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs, broadcast_object_list, set_seed
from rich.console import Console

from finetune import models
from finetune.config import TrainConfig, check_config_file
from finetune.data.corpora import MAIN, RunData, choose, open_data
from finetune.data.examples import Examples, Preparation, TrainingExamples, Visit
from finetune.data.loading import default_workers
from finetune.data.streaming import StreamedExamples
from finetune.hub.card import CardOptions
from finetune.hub.push import Target, publish, refusal, said
from finetune.models.base import Example, Recogniser
from finetune.preflight.diagnosis import as_line, look_at
from finetune.preflight.dry_run import dry_run
from finetune.preflight.overfit import overfit, without_chance
from finetune.training import about, checkpoint, precision
from finetune.training import fingerprint as identity
from finetune.training import run_folder as trackers
from finetune.training.display import print_diagnosis
from finetune.training.distributed import check_launch, check_placement
from finetune.training.evaluation import Evaluator
from finetune.training.loop import Loop
from finetune.training.run_folder import Record, plain
from preprocessing.augment import Chain, from_config
from preprocessing.augment.denoise import SpectralGate
from preprocessing.cli.errors import InputError, UsageError
from preprocessing.corpus import Reject, Utterance
from preprocessing.text import Profile, profile


def train(config: TrainConfig) -> None:
    """Train as configured. Raises UserError where the configuration or the data cannot be used."""
    _quieten()
    config = without_chance(config) if config.overfit_batch else config
    found = _checkpoint_to_resume(config)
    config = replace(config, mixed_precision=precision.resolve(config, begun=found is not None))
    accelerator = _accelerator(config)
    config = _with_workers(config, accelerator)
    if accelerator.device.type == "cpu":
        torch.set_num_threads(max(len(os.sched_getaffinity(0)) // int(os.environ.get("LOCAL_WORLD_SIZE", 1)), 1))
    check_placement(accelerator, config)
    text_profile = profile(config.data.profile)
    augment = _augment(config)
    _ask_hub(config, accelerator)
    opened = open_data(config.data)
    set_seed(config.seed)
    labels = opened.labels(text_profile)
    recogniser = models.build(config.model, labels, config.seed)
    if config.gradient_checkpointing:
        recogniser.gradient_checkpointing_enable()
    if config.torch_compile:
        recogniser.compile()
    recogniser.check_labels(labels)
    data = choose(opened, recogniser, text_profile, config.data)
    accelerator.print(_description(config, data, recogniser, labels))

    record = Record(config.output_dir)
    denoise = SpectralGate() if config.data.denoise else None
    held_out = {
        name: Examples(utterances, _labels(utterances, recogniser, text_profile), recogniser, denoise)
        for name, utterances in data.validation.items()
    }
    train_labels = _labels(data.train, recogniser, text_profile)
    examples = Examples(data.train, train_labels, recogniser, denoise, augment, config.seed, data.repeats)
    if config.overfit_batch:
        overfit(config, accelerator, recogniser, examples, text_profile)
        return
    start = look_at(data.train, data.validation[MAIN], labels, data.rejects, text_profile, config.model)
    if config.dry_run:
        dry_run(config, accelerator, recogniser, examples, held_out[MAIN], text_profile, start)
        return
    evaluators = {
        name: Evaluator(
            chosen,
            text_profile,
            recogniser,
            max_batch_seconds=config.data.max_batch_seconds,
            workers=config.dataloader_num_workers or 0,
        )
        for name, chosen in held_out.items()
    }
    over = identity.fingerprint_of(plain(config), data.train, examples.labels)
    trained_on: TrainingExamples = examples
    if config.data.streaming:
        trained_on = StreamedExamples(
            config.data,
            Preparation(recogniser, denoise, augment, config.seed),
            text_profile,
            record.rejects.note if accelerator.is_main_process else _dropped,
        )
    loop = Loop(config, accelerator, recogniser, trained_on, evaluators, record, over.digest)
    update = 0
    if found is not None:
        progress = checkpoint.read_progress(found)
        if progress.fingerprint != over.digest:
            raise UsageError(
                f"{config.output_dir} holds a run over other data or another model: "
                f"{identity.difference(config.output_dir, over)}; expected the same to resume: choose another "
                "--output_dir, or --overwrite true"
            )
        update = loop.resume(found).update
        accelerator.print(f"resumed at update {update} of {config.max_steps}")
    else:
        recogniser.fit_statistics(_unchanged(examples))
    if accelerator.is_main_process:
        if found is None:
            _clear(config.output_dir)
            over.write(config.output_dir / "checkpoints")
        made_of = about.describe(
            config,
            parameters=sum(parameter.numel() for parameter in recogniser.module.parameters()),
            training=data.train,
            validation=data.validation[MAIN],
            text_profile=text_profile,
        )
        record.begin(config, made_of, data.rejects, update=update)
        for found_before in start.diagnoses if found is None else ():
            print_diagnosis(Console(highlight=False, soft_wrap=True), found_before)
            record.log(**as_line(found_before, 0))
    accelerator.wait_for_everyone()
    trackers.begin(accelerator, config)
    del opened, data, examples, start  # of a stream, these hold audio
    finished = loop.run()
    accelerator.end_training()
    if finished:
        if accelerator.is_main_process and (config.data.streaming or record.rejects.found):
            accelerator.print(f"{len(record.rejects)} utterances set aside: {config.output_dir / 'rejects.jsonl'}")
        accelerator.print(f"done: the best model, its log and curve.png are in {config.output_dir}")
        _push(config, accelerator)
    else:
        accelerator.print(f"stopped and saved in {config.output_dir}; run the same command again to go on")


def _accelerator(config: TrainConfig) -> Accelerator:
    """Where no GPU is, accelerate must be told so: otherwise several processes would not find each other, and each
    would train alone into the same folder.
    """
    check_launch(os.environ, on_cpu=not torch.accelerator.is_available())
    frozen_at_first = config.head_only_steps > 0
    if config.mixed_precision == "fp16" and not torch.accelerator.is_available():
        raise UsageError("--mixed_precision is fp16, but there is no GPU; expected bf16 or no on a CPU: choose one")
    return Accelerator(
        cpu=not torch.accelerator.is_available(),
        mixed_precision=config.mixed_precision,
        log_with=None if config.report_to == "none" else config.report_to,
        project_dir=str(config.output_dir),
        kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)] if frozen_at_first else [],
    )


def _with_workers(config: TrainConfig, accelerator: Accelerator) -> TrainConfig:
    """The configuration with as many workers as it asks for, or as there are by default."""
    workers = config.dataloader_num_workers
    return replace(
        config, dataloader_num_workers=default_workers(accelerator.device) if workers is None else workers
    )


def _ask_hub(config: TrainConfig, accelerator: Accelerator) -> None:
    """Raises InputError, in every process, where a push at the end would be refused: now, not after hours."""
    if not config.push_to_hub:
        return
    refused, note = broadcast_object_list(list(refusal(config)) if accelerator.is_main_process else [None, None])
    if refused is not None:
        raise InputError(refused)
    if note is not None:
        accelerator.print(note)


def _push(config: TrainConfig, accelerator: Accelerator) -> None:
    """Raises InputError in the main process where the Hub does not take the run; nothing of it is lost then."""
    if config.push_to_hub and config.hub_model_id is not None and accelerator.is_main_process:
        target = Target(config.hub_model_id, config.hub_private_repo)
        accelerator.print(said(publish(config.output_dir, target, CardOptions(target.repo_id))))


def _dropped(_: Reject) -> None:
    """The main process writes it down."""


def _checkpoint_to_resume(config: TrainConfig) -> Path | None:
    if config.output_dir.is_file():
        raise UsageError(f"--output_dir {config.output_dir} is a file; expected a folder: choose another name")
    if not config.overwrite:
        check_config_file(config.output_dir / "config.yaml")
    return None if config.overwrite else checkpoint.latest(config.output_dir / "checkpoints")


def _clear(folder: Path) -> None:
    """What an earlier run left in the folder that this one would take for its own."""
    for left in ("checkpoints", "tensorboard"):
        shutil.rmtree(folder / left, ignore_errors=True)


def _labels(utterances: Sequence[Utterance], recogniser: Recogniser, text_profile: Profile) -> list[tuple[int, ...]]:
    return [recogniser.encode(text_profile(utterance.text)) for utterance in utterances]


def _unchanged(examples: Examples) -> Iterator[Example]:
    """Training utterances as they are, without augmentation, in an order that is no corpus's own."""
    places = torch.randperm(len(examples), generator=torch.Generator().manual_seed(0)).tolist()
    found = (examples[Visit(place)] for place in places)
    return (example for example in found if isinstance(example, Example))


def _augment(config: TrainConfig) -> Chain | None:
    try:
        return from_config(config.data.augment) if config.data.augment else None
    except UsageError as error:
        raise UsageError(f"--data.augment: {error}") from None


def _description(config: TrainConfig, data: RunData, recogniser: Recogniser, labels: Sequence[str]) -> str:
    parameters = sum(p.numel() for p in recogniser.module.parameters())
    trained = sum(p.numel() for p in recogniser.module.parameters() if p.requires_grad)
    hours = sum(u.duration for u in data.train) / 3600
    lines = [
        f"{config.model.family}: {parameters / 1e6:.1f} M parameters, {trained / 1e6:.1f} M trained, "
        f"from {config.model.base or 'random weights'}",
        f"{'streamed, of which the first ' * config.data.streaming}{len(data.train)} utterances, {hours:.2f} h "
        f"{'are known' if config.data.streaming else 'to train on'}; "
        f"{', '.join(f'{len(chosen)} of {name}' for name, chosen in data.validation.items())}; "
        f"{len(data.rejects)} set aside",
    ]
    lines += [units] if (units := recogniser.describe_units(labels)) else []
    lines += [f"  {reject.where}: {reject.reason}" for reject in data.rejects[:5]]
    if len(data.rejects) > 5:
        lines.append(f"  ... all in {config.output_dir / 'rejects.jsonl'}")
    return "\n".join(lines)


def _quieten() -> None:
    """Leave out what libraries say of themselves at every start; what is wrong is still said, by us."""
    from transformers.utils import logging as transformers_logging

    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    for library in ("datasets", "huggingface_hub"):
        logging.getLogger(library).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", category=FutureWarning)
