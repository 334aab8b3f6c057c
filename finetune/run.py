"""A fine-tuning run put together: corpora, recogniser, loop; begun anew or resumed."""

import logging
import os
import shutil
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs, set_seed
from rich.console import Console

from finetune import checkpoint, identity, models, trackers
from finetune.config import TrainConfig
from finetune.diagnosis import as_line
from finetune.display import print_diagnosis
from finetune.dry_run import dry_run
from finetune.evaluation import Evaluator
from finetune.examples import Examples, Visit, hold_out, usable
from finetune.loop import Loop
from finetune.models.base import Example, Recogniser
from finetune.overfit import overfit, without_chance
from finetune.record import Record, plain
from finetune.start import look_at
from preprocessing.augment import Chain, from_config
from preprocessing.corpus import Corpus, Reject, Utterance, open_corpus
from preprocessing.denoise import SpectralGate
from preprocessing.errors import UsageError
from preprocessing.text import Profile, profile


def train(config: TrainConfig) -> None:
    """Train as configured. Raises UserError where the configuration or the data cannot be used."""
    _quieten()
    config = without_chance(config) if config.overfit_batch else config
    accelerator = _accelerator(config)
    if accelerator.device.type == "cpu":
        torch.set_num_threads(max(len(os.sched_getaffinity(0)) // int(os.environ.get("LOCAL_WORLD_SIZE", 1)), 1))
    text_profile = profile(config.data.profile)
    augment = _augment(config)
    found = _checkpoint_to_resume(config)
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
    accelerator.print(_description(config, utterances, validation, rejects, recogniser, labels))

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
    if config.overfit_batch:
        overfit(config, accelerator, recogniser, examples, text_profile)
        return
    start = look_at(utterances, validation, labels, rejects, text_profile)
    if config.dry_run:
        held_out = Examples(validation, _labels(validation, recogniser, text_profile), recogniser, denoise)
        dry_run(config, accelerator, recogniser, examples, held_out, text_profile, start)
        return
    over = identity.identify(plain(config), utterances, examples.labels)
    loop = Loop(config, accelerator, recogniser, examples, evaluator, record, over.fingerprint)
    update = 0
    if found is not None:
        progress = checkpoint.read_progress(found)
        if progress.fingerprint != over.fingerprint:
            raise UsageError(
                f"{config.output} holds a run over other data or another model: "
                f"{identity.difference(config.output, over)}; expected the same to resume: choose another --output, or "
                "--overwrite true"
            )
        update = loop.resume(found).update
        accelerator.print(f"resumed at update {update} of {config.optimisation.updates}")
    else:
        recogniser.fit_statistics(_unchanged(examples))
    if accelerator.is_main_process:
        if found is None:
            _clear(config.output)
            over.write(config.output / "checkpoints")
        record.begin(config, rejects, update=update)
        for found_before in start.diagnoses if found is None else ():
            print_diagnosis(Console(highlight=False, soft_wrap=True), found_before)
            record.log(**as_line(found_before, 0))
    accelerator.wait_for_everyone()
    trackers.begin(accelerator, config)
    finished = loop.run()
    accelerator.end_training()
    if finished:
        accelerator.print(f"done: the best model, its log and curve.png are in {config.output}")
    else:
        accelerator.print(f"stopped and saved in {config.output}; run the same command again to go on")


def _accelerator(config: TrainConfig) -> Accelerator:
    """Where no GPU is, accelerate must be told so: otherwise several processes would not find each other, and each
    would train alone into the same folder.
    """
    frozen_at_first = config.optimisation.head_only_updates > 0
    if config.mixed_precision == "fp16" and not torch.accelerator.is_available():
        raise UsageError("--mixed_precision is fp16, but there is no GPU; expected bf16 or no on a CPU: choose one")
    return Accelerator(
        cpu=not torch.accelerator.is_available(),
        mixed_precision=config.mixed_precision,
        log_with=None if config.tracker == "none" else config.tracker,
        project_dir=str(config.output),
        kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)] if frozen_at_first else [],
    )


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


def _description(
    config: TrainConfig,
    utterances: Sequence[Utterance],
    validation: Sequence[Utterance],
    rejects: Sequence[Reject],
    recogniser: Recogniser,
    labels: Sequence[str],
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
    lines += [units] if (units := recogniser.describe_labels(labels)) else []
    lines += [f"  {reject.where}: {reject.reason}" for reject in rejects[:5]]
    if len(rejects) > 5:
        lines.append(f"  ... all in {config.output / 'rejects.jsonl'}")
    return "\n".join(lines)


def _quieten() -> None:
    """Leave out what libraries say of themselves at every start; what is wrong is still said, by us."""
    from transformers.utils import logging as transformers_logging

    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    logging.getLogger("datasets").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", category=FutureWarning)
