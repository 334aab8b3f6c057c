"""The training loop, over accelerate: batches, updates, evaluations, the log and checkpoints in their order.

The data is one endless stream of batches; a run's position in it is one number. How an update is made is in
`finetune.training.step`.
"""

import contextlib
import os
import shutil
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import Tensor, nn

from finetune.config import TrainConfig
from finetune.data.corpora import MAIN
from finetune.data.examples import Collated, TrainingExamples
from finetune.data.loading import load_batches
from finetune.models.base import Batch, Recogniser
from finetune.preflight import diagnosis
from finetune.training import checkpoint
from finetune.training.agreement import Agreed, agree, summed
from finetune.training.averaging import BestWeights, MovingAverage
from finetune.training.checkpoint import Progress
from finetune.training.display import Display
from finetune.training.distributed import placement
from finetune.training.evaluation import Evaluation, Evaluator, write_transcripts
from finetune.training.optimisation import make_optimiser, make_schedule
from finetune.training.run_folder import Record
from finetune.training.step import Outcome, Stepper, Window
from preprocessing.augment import generator_from


class Loop:
    """One run: built from its parts, `run` trains until the last update or Ctrl-C, resuming where it can."""

    def __init__(
        self,
        config: TrainConfig,
        accelerator: Accelerator,
        recogniser: Recogniser,
        examples: TrainingExamples,
        evaluators: Mapping[str, Evaluator],
        record: Record,
        fingerprint: str,
    ) -> None:
        self._config = config
        self._accelerator = accelerator
        self._recogniser = recogniser
        self._examples = examples
        self._evaluators = evaluators
        self._record = record
        self._progress = Progress(fingerprint=fingerprint)
        self._optimiser: Any = make_optimiser(recogniser, config)
        self._schedule = make_schedule(self._optimiser, config)
        self._placement = placement(accelerator)
        self._average: MovingAverage | None = None
        self._best = BestWeights(record.folder / "checkpoints" / "best")
        self._restored_average: dict[str, Tensor] | None = None
        self._interrupted = False  # this process was asked to stop
        self._stopped = False  # one of them was, and all of them know

    def resume(self, folder: Path) -> Progress:
        """Restore the state of a checkpoint folder; returns how far it is."""
        progress = checkpoint.read_progress(folder)
        self._restored_average = checkpoint.restore(
            folder,
            self._recogniser.module,
            self._schedule,
            lambda state: self._placement.restore(self._optimiser, state),
            self._accelerator.process_index,
        )
        self._progress = progress
        return progress

    def run(self) -> bool:
        """Train. Returns False when Ctrl-C ended it early, its state saved."""
        module, self._optimiser = self._placement.prepare(self._recogniser.module, self._optimiser)
        module.train()
        if self._config.ema_decay > 0:
            self._average = MovingAverage(self._recogniser.module, self._config.ema_decay)
            if self._restored_average is not None:
                self._average.load_state_dict(self._restored_average)
        with Display(self._config.max_steps, self._accelerator.is_main_process) as display:
            if self._progress.update == 0:
                self._evaluate(module, display)
            with self._catch_interrupt():
                self._train(module, display)
            if not self._stopped:
                self._average_best(module, display)
        return not self._stopped

    def _finished(self) -> bool:
        """Whether every update is made, or the last evaluations brought nothing."""
        patience = self._config.early_stopping_patience
        since_best = self._progress.evaluations_since_best
        stopped = patience is not None and since_best >= patience
        return stopped or self._progress.update >= self._config.max_steps

    def _train(self, module: nn.Module, display: Display) -> None:
        updates = self._batches()
        stepper = Stepper(
            self._accelerator, self._recogniser, self._optimiser, self._schedule, self._config
        )
        window = Window()
        display.update(self._progress.update)
        while not self._finished():
            waiting = time.perf_counter()
            batches = [] if self._interrupted else next(updates)
            window.stalled += time.perf_counter() - waiting
            agreed = self._agree(batches)
            if agreed.interrupted:
                break
            self._recogniser.train_head_only(self._progress.update < self._config.head_only_steps)
            outcome = stepper.update(module, batches, self._generator, agreed)
            if self._average is not None and agreed.batches and not outcome.skipped:
                self._average.update()
            self._count(outcome)
            window.add(outcome)
            done = self._progress.update
            display.update(done)
            if done % self._config.logging_steps == 0:
                self._log(window, display)
                window = Window()
            if done % self._config.eval_steps == 0 or done == self._config.max_steps:
                paused = time.perf_counter()
                self._evaluate(module, display)
                self._save(module)
                window.paused += time.perf_counter() - paused
        self._stopped = self._agree([]).interrupted > 0
        if self._stopped:
            self._save(module)

    def _agree(self, batches: Sequence[Batch]) -> Agreed:
        """What all processes together have for the next update; what they set aside since the last one is shared."""
        noted, asked = self._record.rejects.noted, self._interrupted
        agreed = agree(self._accelerator, self._recogniser, batches, noted=noted, interrupted=asked)
        if agreed.noted:
            self._record.rejects.share(self._accelerator)
        return agreed

    def _count(self, outcome: Outcome) -> None:
        self._progress = replace(
            self._progress,
            update=self._progress.update + 1,
            batches=self._progress.batches + self._config.gradient_accumulation_steps * self._accelerator.num_processes,
            audio_seconds=self._progress.audio_seconds + outcome.audio_seconds,
        )

    def _generator(self, number: int) -> torch.Generator:
        """For masks: a function of seed, update, process and batch, so that nothing of it needs saving."""
        return generator_from(self._config.seed, self._progress.update, self._accelerator.process_index, number)

    def _batches(self) -> Iterator[list[Batch]]:
        """This process's batches of each update from the run's position on, on the device."""
        data = self._config.data
        accumulate = self._config.gradient_accumulation_steps
        stream = self._examples.batches(data.max_batch_seconds, self._progress.batches)
        mine = islice(stream, self._accelerator.process_index, None, self._accelerator.num_processes)
        device = self._accelerator.device
        workers, seed = self._config.dataloader_num_workers or 0, self._config.seed
        collated = load_batches(self._examples, mine, device, workers=workers, seed=seed)
        while True:
            yield [batch.to(device) for batch in self._usable(islice(collated, accumulate))]

    def _usable(self, collated: Iterator[Collated]) -> Iterator[Batch]:
        for item in collated:
            for reject in item.rejects:
                self._record.rejects.note(reject)
            if item.batch is not None:
                yield item.batch

    def _log(self, window: Window, display: Display) -> None:
        (window.loss,) = summed(self._accelerator, [window.loss])
        values = {"learning_rate": max(float(rate) for rate in self._schedule.get_last_lr()), **window.values()}
        display.trained(values)
        self._write("train", values)

    def _evaluate(self, module: nn.Module, display: Display) -> None:
        averaged = self._average.swapped_in() if self._average is not None else contextlib.nullcontext()
        with averaged, self._placement.whole(module) as whole:
            self._judge(whole, self._evaluators[MAIN].run(self._accelerator, whole), display)
            for name in [name for name in self._evaluators if name != MAIN]:
                evaluation = self._evaluators[name].run(self._accelerator, whole)
                self._write(f"{MAIN} {name}", _numbers(evaluation))
                display.evaluated(self._progress.update, evaluation, name)

    def _judge(self, module: nn.Module, evaluation: Evaluation, display: Display) -> None:
        """Log an evaluation of the module's weights as they are, and keep them where they are the best so far."""
        if self._accelerator.is_main_process:
            shown = [(transcript.reference, transcript.hypothesis) for transcript in evaluation.shown]
            self._write("validation", _numbers(evaluation), samples=shown)
            display.evaluated(self._progress.update, evaluation)
            self._diagnose(display)
            self._record.draw_curve()
        ranking = sorted([*self._progress.ranking, (evaluation.wer, evaluation.cer, self._progress.update)])
        better = ranking[0][2] == self._progress.update
        since = 0 if better else self._progress.evaluations_since_best + 1
        kept = tuple(ranking[: self._config.average_best])
        self._progress = replace(self._progress, ranking=kept, evaluations_since_best=since)
        if self._accelerator.is_main_process:
            if self._config.average_best > 1:
                self._best.keep(self._accelerator.unwrap_model(module), self._progress.update, kept)
            if better:
                self._save_best(module, evaluation)

    def _diagnose(self, display: Display) -> None:
        """Say and log what the log shows to go wrong, each thing once."""
        config = self._config
        setting = diagnosis.Setting(config.max_steps, config.dataloader_num_workers or 0, config.logging_steps)
        log = self._record.read_log()
        for found in diagnosis.not_yet_said(log, diagnosis.diagnose(log, setting)):
            display.diagnosed(found)
            self._record.log(**diagnosis.as_line(found, self._progress.update))

    def _average_best(self, module: nn.Module, display: Display) -> None:
        """At the end: the mean of the best evaluations' weights, which takes their place where it is better."""
        self._accelerator.wait_for_everyone()
        if len(self._progress.ranking) < 2:
            return
        self._best.mean_into(self._accelerator.unwrap_model(module), self._progress.ranking)
        evaluation = self._evaluators[MAIN].run(self._accelerator, module)
        better = (evaluation.wer, evaluation.cer) < self._progress.ranking[0][:2]
        if self._accelerator.is_main_process:
            display.averaged(len(self._progress.ranking), evaluation, better)
            self._write("average", _numbers(evaluation))
            if better:
                self._save_best(module, evaluation)

    def _write(self, kind: str, values: Mapping[str, float | None], **more: Sequence[tuple[str, str]]) -> None:
        """A line of log.jsonl, and the same to the trackers."""
        seconds = round(self._progress.audio_seconds, 2)
        if self._accelerator.is_main_process:
            self._record.log(kind=kind, step=self._progress.update, audio_seconds=seconds, **values, **more)
        logged: dict[str, Any] = {f"{kind}/{key}": value for key, value in values.items() if value is not None}
        for key, pairs in more.items():
            logged[f"{kind}/{key}"] = "\n\n".join(f"said {said}  \nheard {heard}" for said, heard in pairs)
        self._accelerator.log(logged, step=self._progress.update)

    def _save_best(self, module: nn.Module, evaluation: Evaluation) -> None:
        """Put the model into the run's folder, file by file, the weights last."""
        beside = self._record.folder / "best.partial"
        shutil.rmtree(beside, ignore_errors=True)
        self._recogniser.save(beside, module)
        write_transcripts(beside / "samples.jsonl", evaluation.transcripts)
        for path in sorted(beside.iterdir(), key=lambda path: path.stat().st_size):
            os.replace(path, self._record.folder / path.name)
        beside.rmdir()

    def _save(self, module: nn.Module) -> None:
        self._accelerator.wait_for_everyone()
        random = gather_object([checkpoint.random_states()])
        optimiser = self._placement.optimiser_state(module, self._optimiser)
        with self._placement.whole(module) as whole:
            if self._accelerator.is_main_process:
                self._record.rejects.write()
                states = checkpoint.States(optimiser, self._schedule.state_dict(), random)
                folder = self._record.folder / "checkpoints"
                checkpoint.save(folder, self._accelerator.unwrap_model(whole), states, self._progress, self._average)

    @contextlib.contextmanager
    def _catch_interrupt(self) -> Iterator[None]:
        """The first Ctrl-C ends the run after the update at hand; a second one ends it at once."""

        def note(*_: object) -> None:
            self._interrupted = True
            signal.signal(signal.SIGINT, before)

        before = signal.signal(signal.SIGINT, note)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)


def _numbers(evaluation: Evaluation) -> dict[str, float | None]:
    names = ("loss", "wer", "cer", "substitutions", "deletions", "insertions", "blank_ratio")
    return {name: getattr(evaluation, name) for name in names}
