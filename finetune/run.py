"""A fine-tuning run put together: corpora, recogniser, loop; begun anew or resumed."""

import hashlib
import json
import logging
import os
import shutil
import warnings
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list, set_seed

from finetune import about, checkpoint, models
from finetune.config import TrainConfig
from finetune.evaluation import Evaluator
from finetune.examples import Examples, hold_out, usable
from finetune.hub.card import CardOptions
from finetune.hub.publish import publish, refusal, said
from finetune.hub.push import Target
from finetune.loop import Loop
from finetune.models.base import Recogniser
from finetune.record import Record
from preprocessing.augment import Chain, from_config
from preprocessing.corpus import Corpus, Reject, Utterance, open_corpus
from preprocessing.denoise import SpectralGate
from preprocessing.errors import InputError, UsageError
from preprocessing.text import Profile, profile


def train(config: TrainConfig) -> None:
    """Train as configured. Raises UserError where the configuration or the data cannot be used."""
    _quieten()
    accelerator = Accelerator(
        mixed_precision=config.mixed_precision, log_with="tensorboard", project_dir=str(config.output)
    )
    if accelerator.device.type == "cpu":
        torch.set_num_threads(max(len(os.sched_getaffinity(0)) // int(os.environ.get("LOCAL_WORLD_SIZE", 1)), 1))
    text_profile = profile(config.data.profile)
    augment = _augment(config)
    found = _checkpoint_to_resume(config)
    _ask_hub(config, accelerator)
    train_corpora = [open_corpus(reference) for reference in config.data.train]
    validation_corpus = open_corpus(config.data.validation) if config.data.validation is not None else None
    set_seed(config.seed)
    labels = [text_profile(u.text) for corpus in train_corpora for u in corpus.utterances]
    recogniser = models.build(config.model, labels, config.seed)
    recogniser.check_labels(labels)
    utterances, rejects = _usable(train_corpora, recogniser, text_profile, config)
    if validation_corpus is None:
        utterances, validation = hold_out(utterances, config.data.validation_share)
    else:
        validation, rejected = usable(validation_corpus, recogniser, text_profile, config.data)
        rejects += rejected
    accelerator.print(_description(config, utterances, validation, rejects, recogniser))

    record = Record(config.output)
    denoise = SpectralGate() if config.data.denoise else None
    evaluator = Evaluator(
        Examples(validation, _labels(validation, recogniser, text_profile), recogniser, denoise),
        text_profile,
        recogniser,
        max_batch_seconds=config.data.max_batch_seconds,
    )
    examples = Examples(
        utterances, _labels(utterances, recogniser, text_profile), recogniser, denoise, augment, config.seed
    )
    fingerprint = _fingerprint(config, utterances)
    loop = Loop(config, accelerator, recogniser, examples, evaluator, record, fingerprint)
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
    if accelerator.is_main_process:
        if found is None:
            _clear(config.output)
        made_of = about.describe(
            config,
            parameters=sum(parameter.numel() for parameter in recogniser.module.parameters()),
            training=utterances,
            validation=validation,
            text_profile=text_profile,
        )
        record.begin(config, made_of, rejects, update=update)
    accelerator.wait_for_everyone()
    accelerator.init_trackers("tensorboard")
    finished = loop.run()
    accelerator.end_training()
    if finished:
        accelerator.print(f"done: the best model, its log and curve.png are in {config.output}")
        _push(config, accelerator)
    else:
        accelerator.print(f"stopped and saved in {config.output}; run the same command again to go on")


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


def _usable(
    corpora: Sequence[Corpus], recogniser: Recogniser, text_profile: Profile, config: TrainConfig
) -> tuple[list[Utterance], list[Reject]]:
    kept: list[Utterance] = []
    rejects: list[Reject] = []
    for corpus in corpora:
        utterances, rejected = usable(corpus, recogniser, text_profile, config.data)
        kept += utterances
        rejects += rejected
    return kept, rejects


def _labels(utterances: Sequence[Utterance], recogniser: Recogniser, text_profile: Profile) -> list[tuple[int, ...]]:
    return [recogniser.encode(text_profile(utterance.text)) for utterance in utterances]


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
    content = json.dumps([told, [(u.id, round(u.duration, 4), u.text) for u in utterances]], default=str)
    return hashlib.sha256(content.encode()).hexdigest()[:12]


def _description(
    config: TrainConfig,
    utterances: Sequence[Utterance],
    validation: Sequence[Utterance],
    rejects: Sequence[Reject],
    recogniser: Recogniser,
) -> str:
    parameters = sum(p.numel() for p in recogniser.module.parameters())
    trained = sum(p.numel() for p in recogniser.module.parameters() if p.requires_grad)
    hours = sum(u.duration for u in utterances) / 3600
    lines = [
        f"{config.model.family}: {parameters / 1e6:.1f} M parameters, {trained / 1e6:.1f} M trained, "
        f"from {config.model.base or 'random weights'}",
        f"{len(utterances)} utterances, {hours:.2f} h to train on; {len(validation)} to validate on; "
        f"{len(rejects)} set aside",
    ]
    lines += [f"  {reject.where}: {reject.reason}" for reject in rejects[:5]]
    if len(rejects) > 5:
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
