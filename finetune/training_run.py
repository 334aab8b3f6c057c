"""A fine-tuning run: its configuration resolved, trained, saved; resumed if output_dir holds a checkpoint.

What it is made of is in `finetune.training.setup`.
"""

import logging
import os
import shlex
import shutil
import warnings
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import torch
import yaml
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs, broadcast_object_list, gather_object
from rich.console import Console

from finetune.config import TrainConfig, check_config_file
from finetune.data.corpora import MAIN
from finetune.data.examples import ExampleKey, Examples, Preparation, TrainingExamples
from finetune.data.loading import default_workers
from finetune.data.streaming import StreamedExamples
from finetune.decoding.language_model_folder import FILES as LANGUAGE_MODEL_FILES
from finetune.decoding.language_model_folder import FOLDER as LANGUAGE_MODEL
from finetune.hub.card import CardOptions
from finetune.hub.folder import TRANSCRIPTS, is_upload
from finetune.hub.push import Target, check_access, publish, push_summary
from finetune.models import about
from finetune.models.availability import check_checkpoint
from finetune.models.base import Example
from finetune.models.companion_files import trained_languages
from finetune.preflight.dry_run import dry_run
from finetune.preflight.overfit import overfit, overfit_config
from finetune.training import checkpoint, precision
from finetune.training.diagnosis import DataInspection, log_line
from finetune.training.display import print_diagnosis
from finetune.training.distributed import check_launch, check_sharding, lost_process_is_said, threads_per_process
from finetune.training.evaluation import Evaluator
from finetune.training.fingerprint import WEIGHT_FILES, check_batches_per_step, check_same_run, fingerprint_of
from finetune.training.log import BEST, LOG, read_log
from finetune.training.loop import Best, TrainingLoop
from finetune.training.run_folder import RunWriter, plain, start_tracker
from finetune.training.setup import RunSetup, augmentation, set_up
from finetune.tune_language_model import TUNING_FILES
from preprocessing.cli.cores import usable_cores
from preprocessing.corpus import Reject
from preprocessing.errors import InputError, UsageError, counted
from preprocessing.storage.folder_lock import only_writer
from preprocessing.text.languages import language_code


def train(config: TrainConfig) -> None:
    """Train, evaluate and save as configured; with dry_run or overfit_batch report on the run instead.

    Raises UserError if the configuration, the model or the data cannot be used, or another process trains into the
    same folder.
    """
    _quiet_libraries()
    writes = not (config.dry_run or config.overfit_batch) and os.environ.get("RANK", "0") == "0"
    with only_writer(config.output_dir, "--output_dir") if writes else nullcontext():
        _train(config)


def _train(config: TrainConfig) -> None:
    config, resume_from = _resolve(config)
    accelerator = make_accelerator(config)
    _check_same_checkpoint(config.output_dir, resume_from)
    config = _with_workers(config, accelerator)
    _check_environment(config, accelerator)
    setup = set_up(config, accelerator)
    config = setup.config
    if config.overfit_batch:
        overfit(setup)
        return
    inspection = setup.inspect()
    if config.dry_run:
        dry_run(setup, inspection)
        return
    writer = RunWriter(config.output_dir)
    loop = _make_loop(setup, writer, inspection, resume_from)
    del setup, inspection  # of streamed corpora, these hold audio
    start_tracker(accelerator, config)
    with lost_process_is_said(accelerator, config.output_dir):
        finished = loop.run()
    accelerator.end_training()
    _report_end(config, accelerator, writer, loop, finished=finished)
    if finished:
        _push_to_hub(config, accelerator)


def _resolve(config: TrainConfig) -> tuple[TrainConfig, Path | None]:
    """The configuration with what depends on family, mode, folder and device, and the checkpoint to resume from."""
    config = replace(config, model=config.model.with_origin())
    if config.overfit_batch:  # of which epochs have no length
        steps = config.max_steps if config.num_train_epochs is None else TrainConfig.max_steps
        config = overfit_config(replace(config, max_steps=steps, num_train_epochs=None))
    if config.output_dir.is_file():
        raise UsageError(f"--output_dir {config.output_dir} is a file; expected a folder: choose another name")
    base = config.model.base
    if config.overwrite and base and Path(base).resolve().is_relative_to(config.output_dir.resolve()):
        raise UsageError(
            f"--model.base {base} lies in --output_dir {config.output_dir}, whose model --overwrite true deletes; "
            "expected another folder: choose another --output_dir"
        )
    resume_from = None
    if not config.overwrite:
        check_config_file(config.output_dir / "config.yaml")
        resume_from = checkpoint.newest_intact(config.output_dir / "checkpoints", note=_print_once)
    if resume_from is not None:
        config = _with_division_of(config.output_dir, config)
    elif not (config.overwrite or config.dry_run or config.overfit_batch):
        _check_replaces_no_model(config.output_dir)
    return replace(config, mixed_precision=precision.resolve(config, begun=resume_from is not None)), resume_from


def _check_replaces_no_model(output_dir: Path) -> None:
    """Raises UsageError if a new run would replace a model, other than the untrained one of a run that was killed
    before its first checkpoint.
    """
    weights = sorted(path.name for pattern in WEIGHT_FILES for path in output_dir.glob(pattern))
    is_trained = any(line["kind"] == BEST and line["step"] > 0 for line in read_log(output_dir))
    if weights and (is_trained or not (output_dir / LOG).exists()):
        raise UsageError(
            f"--output_dir {output_dir} holds a model ({', '.join(weights)}) without a checkpoint to resume, and a new "
            "run would replace it; expected a new folder: choose another, or delete that model with --overwrite true"
        )


def _print_once(message: str) -> None:
    """Print in the first process alone, before accelerate knows which that is."""
    if os.environ.get("RANK", "0") == "0":
        print(message)


def _check_same_checkpoint(output_dir: Path, resume_from: Path | None) -> None:
    """Raises InputError, in all processes, where they have found different checkpoints: as each looks for itself, one
    of them may fail to read a file, or be on a machine that has none of the run's.
    """
    found = gather_object(["none" if resume_from is None else resume_from.name])
    if len(set(found)) > 1:
        raise InputError(
            f"{output_dir}: the processes found different checkpoints to resume from ({', '.join(found)}); expected "
            "one folder that all of them can read: put it where all machines see it, and run the same command again"
        )


def _with_division_of(run: Path, config: TrainConfig) -> TrainConfig:
    """The configuration with the run's own `data.validation_by` where none is set: a resumed run keeps what it holds
    out. Runs of versions without that key held out utterances.
    """
    if config.data.validation_share == 0.0 or config.data.validation_by is not None:
        return config
    try:
        before = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))["data"]
    except (OSError, yaml.YAMLError, UnicodeDecodeError, KeyError, TypeError):
        return config
    return replace(config, data=replace(config.data, validation_by=before.get("validation_by", "utterance")))


def make_accelerator(config: TrainConfig) -> Accelerator:
    """accelerate on the present device. Raises UsageError if the launch or the precision is not supported there.

    Without a GPU, accelerate must be told to use the CPU: otherwise several processes would not find each other, and
    each would train alone into the same folder.
    """
    on_cpu = not torch.accelerator.is_available()
    check_launch(os.environ, on_cpu=on_cpu)
    if config.mixed_precision == "fp16" and on_cpu:
        raise UsageError("--mixed_precision is fp16, but there is no GPU; expected bf16 or no on a CPU: choose one")
    if (
        config.mixed_precision == "bf16"
        and on_cpu
        and config.model.traits.is_recurrent
        and not precision.lstm_computes_bfloat16_on_cpu()
    ):
        raise UsageError(
            "--mixed_precision is bf16, which the LSTM kernels of this processor do not support; expected no or auto "
            f"for the family {config.model.family}: choose one"
        )
    unused = [DistributedDataParallelKwargs(find_unused_parameters=True)] if config.head_only_steps > 0 else []
    return Accelerator(
        cpu=on_cpu,
        mixed_precision=config.mixed_precision,
        log_with=None if config.report_to == "none" else config.report_to,
        project_dir=str(config.output_dir),
        kwargs_handlers=unused,
    )


def _with_workers(config: TrainConfig, accelerator: Accelerator) -> TrainConfig:
    """The configuration with the default number of workers where none is set."""
    if config.dataloader_num_workers is not None:
        return config
    return replace(config, dataloader_num_workers=default_workers(accelerator.device))


def _check_environment(config: TrainConfig, accelerator: Accelerator) -> None:
    """Set torch's threads, and raise UserError for what would fail after hours: checkpoint, sharding, augmentation,
    the Hub.
    """
    if accelerator.device.type == "cpu":
        torch.set_num_threads(threads_per_process(os.environ, usable_cores()))
    if config.model.base is not None:
        check_checkpoint(config.model.base, "--model.base ")
    check_sharding(accelerator, config)
    augmentation(config.data)
    if config.push_to_hub:
        writes_nothing = config.dry_run or config.overfit_batch
        main = accelerator.is_main_process
        answer = list(check_access(config, only_check=writes_nothing)) if main else [None, None]
        refused, note = broadcast_object_list(answer)
        if refused is not None:
            raise InputError(refused)
        if note is not None:
            accelerator.print(note)


def _make_loop(
    setup: RunSetup, writer: RunWriter, inspection: DataInspection, resume_from: Path | None
) -> TrainingLoop:  # fmt: skip
    """The loop of a new or resumed run, whose folder is written."""
    config, accelerator, recogniser = setup.config, setup.accelerator, setup.recogniser
    evaluators = {
        name: Evaluator(
            examples,
            setup.profile,
            recogniser,
            max_batch_seconds=config.data.max_batch_seconds,
            workers=config.dataloader_num_workers or 0,
        )
        for name, examples in setup.validation.items()
    }
    fingerprint = fingerprint_of(plain(config), setup.data.train, setup.train.labels)
    examples = _training_examples(setup, writer)
    loop = TrainingLoop(config, accelerator, recogniser, examples, evaluators, writer, fingerprint.digest)
    step = 0
    if resume_from is None:
        recogniser.fit_statistics(_statistics_examples(setup.train))
    else:
        progress = checkpoint.read_progress(resume_from)
        check_batches_per_step(config, progress, accelerator.num_processes)
        check_same_run(config, progress, fingerprint, accelerator.num_processes)
        step = loop.resume(resume_from).step
        accelerator.print(f"resumed at step {step} of {config.max_steps}")
    accelerator.wait_for_everyone()  # a process may still be reading what is cleared
    if accelerator.is_main_process:
        if resume_from is None:
            _clear(config.output_dir, overwrite=config.overwrite)
            fingerprint.write(config.output_dir / "checkpoints")
        writer.begin(config, _about(setup), setup.data.rejects, step=step)
        for diagnosis in inspection.diagnoses if step == 0 else ():  # where the log begins
            print_diagnosis(Console(highlight=False, soft_wrap=True), diagnosis)
            writer.log(**log_line(diagnosis, 0))
    accelerator.wait_for_everyone()
    return loop


def _training_examples(setup: RunSetup, writer: RunWriter) -> TrainingExamples:
    """The listed examples, or those of a stream, whose rejects the main process records."""
    if not setup.config.data.streaming:
        return setup.train

    def ignore(_: Reject) -> None:
        """Every process reads the whole stream; one is enough to record its rejects."""

    return StreamedExamples(
        setup.config.data,
        Preparation(setup.recogniser, setup.denoise, setup.augment, setup.config.seed),
        setup.profile,
        writer.rejects.add if setup.accelerator.is_main_process else ignore,
    )


def _statistics_examples(examples: Examples) -> Iterator[Example]:
    """Training examples without augmentation, in a random order that is always the same."""
    order = torch.randperm(len(examples), generator=torch.Generator().manual_seed(0)).tolist()
    prepared = (examples[ExampleKey(index)] for index in order)
    return (example for example in prepared if isinstance(example, Example))


def _clear(output_dir: Path, *, overwrite: bool) -> None:
    """Delete what an earlier run left in the folder and this one would take for its own; with `overwrite` also its
    model, of whatever family, and what belongs to that. Files of other names stay.
    """
    for name in ("checkpoints", "tensorboard"):
        shutil.rmtree(output_dir / name, ignore_errors=True)
    if not overwrite or not output_dir.is_dir():
        return
    for path in output_dir.iterdir():
        if path.is_file() and (is_upload(path.name) or path.name in (TRANSCRIPTS, *TUNING_FILES)):
            path.unlink()
    for name in LANGUAGE_MODEL_FILES:
        (output_dir / LANGUAGE_MODEL / name).unlink(missing_ok=True)


def _about(setup: RunSetup) -> about.About:
    return about.describe(
        setup.config,
        parameters=sum(parameter.numel() for parameter in setup.recogniser.module.parameters()),
        training=setup.data.train,
        validation=setup.data.validation[MAIN],
        text_profile=setup.profile,
    )


def _report_end(
    config: TrainConfig, accelerator: Accelerator, writer: RunWriter, loop: TrainingLoop, *, finished: bool
) -> None:  # fmt: skip
    """Print why training ended and where the result is, or how to go on."""
    if not finished:
        accelerator.print(f"stopped and saved in {config.output_dir}; run the same command again to resume")
        return
    if accelerator.is_main_process and (config.data.streaming or writer.rejects.n_in_training):
        rejected = counted(len(writer.rejects), "utterance")
        accelerator.print(f"{rejected} rejected: {config.output_dir / 'rejects.jsonl'}")
    if loop.early_end is not None:
        accelerator.print(loop.early_end)
    accelerator.print(f"done: the best model, its log and curve.png are in {config.output_dir}")
    if loop.best is not None:
        accelerator.print(described(loop.best))
    if loop.best is None or loop.best.steps != (0,):
        for command in next_commands(config):
            accelerator.print(f"next: {command}")


def next_commands(config: TrainConfig) -> list[str]:
    """What is done with a trained model next, as commands with FILE and YOUR_TEST to fill in: transcription, and a
    benchmark beside a Whisper that knows the languages of the training data. Where these are not named, texts under
    the profile librispeech are English.

    >>> next_commands(TrainConfig(output_dir=Path("my runs/1")))[1]
    "python benchmark/run.py --models 'wav2vec2=my runs/1,whisper' --data YOUR_TEST"
    """
    run, given = config.output_dir, config.model.language
    languages = {language_code(name) for name in (*trained_languages(str(run)), *([given] if given else []))}
    is_english = languages == {"en"} if languages else config.data.profile.split(":")[0] == "librispeech"
    rival = "whisper" if is_english else "whisper=base"  # the default, base.en, knows only English
    models = shlex.quote(f"{config.model.family}={run},{rival}")
    return [
        f"python -m finetune.transcribe {shlex.quote(str(run))} FILE",
        f"python benchmark/run.py --models {models} --data YOUR_TEST",
    ]


def described(best: Best) -> str:
    """Which weights the saved model has, and whether training has improved on those that it began with."""
    rate = f"{best.metric.upper()} {100 * best.rate:.1f} % on validation"
    if len(best.steps) > 1:
        return f"best: the mean of the weights at steps {', '.join(map(str, best.steps))}, {rate}"
    if best.steps == (0,):
        return (
            f"best: step 0, {rate}: no evaluation of the trained model was better than the one before training, so the "
            "saved model is the one that training began with; lower --learning_rate, or train for more --max_steps"
        )
    return f"best: step {best.steps[0]}, {rate}"


def _push_to_hub(config: TrainConfig, accelerator: Accelerator) -> None:
    """Publish the run if configured. Raises InputError in the main process if the Hub refuses it; the run stays."""
    if config.push_to_hub and config.hub_model_id is not None and accelerator.is_main_process:
        target = Target(config.hub_model_id, config.hub_private_repo)
        accelerator.print(push_summary(publish(config.output_dir, target, CardOptions(target.repo_id))))


def _quiet_libraries() -> None:
    """Silence the notices of libraries at every start; errors are reported by this project itself."""
    from transformers.utils import logging as transformers_logging

    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    for library in ("datasets", "huggingface_hub"):
        logging.getLogger(library).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", category=FutureWarning)
