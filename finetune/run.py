"""A fine-tuning run put together: corpora, recogniser, loop; begun anew or resumed."""

import hashlib
import json
import logging
import os
import shutil
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs, broadcast_object_list, set_seed

from finetune import about, checkpoint, models
from finetune.config import TrainConfig
from finetune.data import MAIN, RunData, choose, open_data
from finetune.evaluation import Evaluator
from finetune.examples import Examples, Visit
from finetune.hub.card import CardOptions
from finetune.hub.publish import publish, refusal, said
from finetune.hub.push import Target
from finetune.loop import Loop
from finetune.models.base import Example, Recogniser
from finetune.record import Record
from preprocessing.augment import Chain, from_config
from preprocessing.corpus import Utterance
from preprocessing.denoise import SpectralGate
from preprocessing.errors import InputError, UsageError
from preprocessing.text import Profile, profile


def train(config: TrainConfig) -> None:
    """Train as configured. Raises UserError where the configuration or the data cannot be used."""
    _quieten()
    accelerator = _accelerator(config)
    if accelerator.device.type == "cpu":
        torch.set_num_threads(max(len(os.sched_getaffinity(0)) // int(os.environ.get("LOCAL_WORLD_SIZE", 1)), 1))
    text_profile = profile(config.data.profile)
    augment = _augment(config)
    found = _checkpoint_to_resume(config)
    _ask_hub(config, accelerator)
    opened = open_data(config.data)
    set_seed(config.seed)
    labels = opened.labels(text_profile)
    recogniser = models.build(config.model, labels, config.seed)
    recogniser.check_labels(labels)
    data = choose(opened, recogniser, text_profile, config.data)
    accelerator.print(_description(config, data, recogniser, labels))

    record = Record(config.output)
    denoise = SpectralGate() if config.data.denoise else None
    evaluators = {
        name: Evaluator(
            Examples(utterances, _labels(utterances, recogniser, text_profile), recogniser, denoise),
            text_profile,
            recogniser,
            max_batch_seconds=config.data.max_batch_seconds,
        )
        for name, utterances in data.validation.items()
    }
    train_labels = _labels(data.train, recogniser, text_profile)
    examples = Examples(data.train, train_labels, recogniser, denoise, augment, config.seed, data.repeats)
    fingerprint = _fingerprint(config, data.train)
    loop = Loop(config, accelerator, recogniser, examples, evaluators, record, fingerprint)
    update = 0
    if found is not None:
        progress = checkpoint.read_progress(found)
        if progress.fingerprint != fingerprint:
            raise UsageError(
                f"{config.output} holds a run over other data or another model ({progress.fingerprint}, now "
                f"{fingerprint}); expected the same to resume: choose another --output, or --overwrite true"
            )
        update = loop.resume(found).update
        accelerator.print(f"resumed at update {update} of {config.optimisation.updates}")
    else:
        recogniser.fit_statistics(_unchanged(examples))
    if accelerator.is_main_process:
        if found is None:
            _clear(config.output)
        made_of = about.describe(
            config,
            parameters=sum(parameter.numel() for parameter in recogniser.module.parameters()),
            training=data.train,
            validation=data.validation[MAIN],
            text_profile=text_profile,
        )
        record.begin(config, made_of, data.rejects, update=update)
    accelerator.wait_for_everyone()
    accelerator.init_trackers("tensorboard")
    finished = loop.run()
    accelerator.end_training()
    if finished:
        accelerator.print(f"done: the best model, its log and curve.png are in {config.output}")
        _push(config, accelerator)
    else:
        accelerator.print(f"stopped and saved in {config.output}; run the same command again to go on")


def _accelerator(config: TrainConfig) -> Accelerator:
    """Where no GPU is, accelerate must be told so: otherwise several processes would not find each other, and each
    would train alone into the same folder.
    """
    frozen_at_first = config.optimisation.head_only_updates > 0
    return Accelerator(
        cpu=not torch.accelerator.is_available(),
        mixed_precision=config.mixed_precision,
        log_with="tensorboard",
        project_dir=str(config.output),
        kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)] if frozen_at_first else [],
    )


def _ask_hub(config: TrainConfig, accelerator: Accelerator) -> None:
    """Raises InputError, in every process, where a push at the end would be refused: now, not after hours."""
    if not config.hub.push:
        return
    refused, note = broadcast_object_list(list(refusal(config.hub)) if accelerator.is_main_process else [None, None])
    if refused is not None:
        raise InputError(refused)
    if note is not None:
        accelerator.print(note)


def _push(config: TrainConfig, accelerator: Accelerator) -> None:
    """Raises InputError in the main process where the Hub does not take the run; nothing of it is lost then."""
    if config.hub.push and config.hub.repo_id is not None and accelerator.is_main_process:
        target = Target(config.hub.repo_id, config.hub.private)
        accelerator.print(said(publish(config.output, target, CardOptions(target.repo_id))))


def _checkpoint_to_resume(config: TrainConfig) -> Path | None:
    if config.output.is_file():
        raise UsageError(f"--output {config.output} is a file; expected a folder: choose another name")
    return None if config.overwrite else checkpoint.latest(config.output / "checkpoints")


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


def _fingerprint(config: TrainConfig, utterances: Sequence[Utterance]) -> str:
    """Of all that an exact resume depends on."""
    told = asdict(config)
    for free in ("output", "overwrite", "evaluate_every", "log_every", "hub"):
        told.pop(free)
    told["data"].pop("workers")
    told["data"].pop("validation")
    told["data"].pop("also_validation")
    content = json.dumps([told, [(u.id, round(u.duration, 4), u.text) for u in utterances]], default=str)
    return hashlib.sha256(content.encode()).hexdigest()[:12]


def _description(config: TrainConfig, data: RunData, recogniser: Recogniser, labels: Sequence[str]) -> str:
    parameters = sum(p.numel() for p in recogniser.module.parameters())
    trained = sum(p.numel() for p in recogniser.module.parameters() if p.requires_grad)
    hours = sum(u.duration for u in data.train) / 3600
    lines = [
        f"{config.model.family}: {parameters / 1e6:.1f} M parameters, {trained / 1e6:.1f} M trained, "
        f"from {config.model.base or 'random weights'}",
        f"{len(data.train)} utterances, {hours:.2f} h to train on; "
        f"{', '.join(f'{len(chosen)} of {name}' for name, chosen in data.validation.items())}; "
        f"{len(data.rejects)} set aside",
    ]
    lines += [units] if (units := recogniser.describe_labels(labels)) else []
    lines += [f"  {reject.where}: {reject.reason}" for reject in data.rejects[:5]]
    if len(data.rejects) > 5:
        lines.append(f"  ... all in {config.output / 'rejects.jsonl'}")
    return "\n".join(lines)


def _quieten() -> None:
    """Leave out what libraries say of themselves at every start; what is wrong is still said, by us."""
    from transformers.utils import logging as transformers_logging

    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    for library in ("datasets", "huggingface_hub"):
        logging.getLogger(library).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", category=FutureWarning)
