"""The training loop: steps, evaluations, the log and checkpoints in their order.

The data is one endless stream of batches, and a run's position in it is one number. A single step is in
`finetune.training.step`.
"""

import contextlib
import math
import os
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import Tensor, nn

from finetune.config import TrainConfig
from finetune.data.corpora import MAIN
from finetune.data.examples import TrainingExamples
from finetune.data.loading import load_batches
from finetune.metrics.error_rates import Metric
from finetune.models.base import Batch, TrainableRecogniser
from finetune.training import checkpoint, diagnosis
from finetune.training.averaging import BestWeights, MovingAverage
from finetune.training.checkpoint import Progress
from finetune.training.display import Display
from finetune.training.distributed import StepTotals, step_totals, sum_over_processes, weight_distribution
from finetune.training.evaluation import Evaluation, EvaluationInterruptedError, Evaluator
from finetune.training.log import BEST
from finetune.training.optimisation import make_optimiser, make_schedule
from finetune.training.run_folder import RunWriter
from finetune.training.step import LogInterval, Stepper, StepResult
from preprocessing.augment import seeded_generator
from preprocessing.errors import counted

STOPPING = (signal.SIGINT, signal.SIGTERM)  # Ctrl-C; what a cluster sends before it takes a machine back
STOPPING_NOTE = b"\nstopping after this step and saving; Ctrl-C again ends at once without saving\n"
STDERR = 2  # file descriptor


@dataclass(frozen=True)
class Best:
    """The saved weights: their error rate on the main validation set, as a fraction, and their step; several steps
    where they are the mean of these evaluations' weights. metric: which rate that is.
    """

    metric: Metric
    rate: float
    steps: tuple[int, ...]


class TrainingLoop:
    """Trains one recogniser; `run` goes on from `resume` until the last step, early stopping, Ctrl-C or SIGTERM.

    evaluators: by the name of their evaluation set, MAIN among them. fingerprint: the digest of the run's.
    """

    def __init__(
        self,
        config: TrainConfig,
        accelerator: Accelerator,
        recogniser: TrainableRecogniser,
        examples: TrainingExamples,
        evaluators: Mapping[str, Evaluator],
        writer: RunWriter,
        fingerprint: str,
    ) -> None:
        self._config = config
        self._accelerator = accelerator
        self._recogniser = recogniser
        self._examples = examples
        self._evaluators = evaluators
        self._writer = writer
        self._progress = Progress(fingerprint=fingerprint, validation=evaluators[MAIN].digest)
        self._optimiser: Any = make_optimiser(recogniser, config)
        self._schedule = make_schedule(self._optimiser, config)
        self._weights = weight_distribution(accelerator)
        self._average: MovingAverage | None = None
        self._best = BestWeights(writer.folder / "checkpoints" / "best")
        self._restored_average: dict[str, Tensor] | None = None
        self._interval = LogInterval()
        self._interrupted = False  # this process was asked to stop
        self._stopped = False  # a process was asked to stop, and all processes know
        self._mean: Best | None = None  # of the best evaluations' weights, where that is saved

    @property
    def best(self) -> Best | None:
        """The weights that are saved; None where nothing was evaluated since the validation set has changed."""
        if not self._progress.ranking:
            return None
        metric = self._evaluators[MAIN].metric
        best = self._progress.ranking[0]
        return self._mean or Best(metric, best.rate, (best.step,))

    @property
    def early_end(self) -> str | None:
        """Why the run is finished before its last step, in a sentence; None where it is not."""
        if not self._has_no_patience() or self._progress.step >= self._config.max_steps:
            return None
        evaluations = counted(self._progress.evaluations_since_best, "evaluation")
        return (
            f"stopped at step {self._progress.step} of {self._config.max_steps}: no better "
            f"{self._evaluators[MAIN].metric.upper()} in {evaluations} (--early_stopping_patience)"
        )

    def resume(self, folder: Path) -> Progress:
        """Restore the state of a checkpoint. Returns how far it is; without a ranking if the main set is another."""
        before = checkpoint.read_progress(folder)
        progress = before.ranked_over(self._evaluators[MAIN].digest)
        if before.ranking and not progress.ranking:
            self._accelerator.print(
                "the validation set has changed: the best weights are chosen anew from the next evaluation on"
            )
        self._restored_average = checkpoint.restore(
            folder,
            self._recogniser.module,
            self._schedule,
            lambda state: self._weights.restore_optimiser(self._optimiser, state),
            self._accelerator.process_index,
            self._accelerator.scaler,
        )
        self._progress = progress
        return progress

    def run(self) -> bool:
        """Train. Returns False if Ctrl-C or SIGTERM ended it early, with its state saved."""
        module, self._optimiser = self._weights.prepare(self._recogniser.module, self._optimiser)
        module.train()
        if self._config.ema_decay > 0:
            self._average = MovingAverage(self._recogniser.module, self._config.ema_decay)
            if self._restored_average is not None:
                self._average.load_state_dict(self._restored_average)
        with Display(self._config.max_steps, self._accelerator.is_main_process) as display:
            if self._progress.step == 0:
                self._evaluate(module, display)
            self._place_best()  # of a resumed run, which may have been killed after its checkpoint
            with self._catch_interrupt():
                self._train(module, display)
            if not self._stopped:
                self._average_best(module, display)
        return not self._stopped

    def _train(self, module: nn.Module, display: Display) -> None:
        """Make steps until the run is finished or stopped."""
        batches_of_steps = self._own_batches()
        stepper = Stepper(self._accelerator, self._recogniser, self._optimiser, self._schedule, self._config)
        place = self._accelerator.process_index, self._accelerator.num_processes
        self._interval = LogInterval.resumed(self._progress.interval, *place)
        display.show_step(self._progress.step)
        if self._progress.evaluation_due:
            self._evaluate_and_save(module, display)
        while not self._is_finished():
            began = time.perf_counter()
            batches = [] if self._interrupted else next(batches_of_steps)
            self._interval.waiting += time.perf_counter() - began
            totals = self._share_totals(batches)
            if totals.interrupted:
                break
            self._recogniser.train_head_only(self._progress.step < self._config.head_only_steps)
            result = stepper.step(module, batches, self._mask_generator, totals)
            if self._average is not None and totals.batches and not result.skipped:
                self._average.update()
            self._count(result)
            self._interval.add(result)
            step = self._progress.step
            display.show_step(step)
            if step % self._config.logging_steps == 0:
                self._log_training(display)
            if step % self._config.eval_steps == 0 or step == self._config.max_steps:
                self._progress = replace(self._progress, evaluation_due=True)
                self._evaluate_and_save(module, display)
        self._stopped = self._share_totals([]).interrupted > 0
        if self._stopped:
            self._save_checkpoint(module)

    def _is_finished(self) -> bool:
        """Whether all steps are made, or early stopping ends the run."""
        return self._has_no_patience() or self._progress.step >= self._config.max_steps

    def _has_no_patience(self) -> bool:
        patience = self._config.early_stopping_patience
        return patience is not None and self._progress.evaluations_since_best >= patience

    @property
    def _best_steps(self) -> tuple[int, ...]:
        """The steps of the best evaluations, the best first."""
        return tuple(one.step for one in self._progress.ranking)

    def _own_batches(self) -> Iterator[list[Batch]]:
        """This process's batches of each step from the run's position on, on the device."""
        config, device = self._config, self._accelerator.device
        keys = self._examples.batches(config.data.max_batch_seconds, self._progress.batches)
        own_keys = islice(keys, self._accelerator.process_index, None, self._accelerator.num_processes)
        workers = config.dataloader_num_workers or 0
        loaded = load_batches(self._examples, own_keys, device, workers=workers, seed=config.seed)
        while True:
            batches = []
            for item in islice(loaded, config.gradient_accumulation_steps):
                for reject in item.rejects:
                    self._writer.rejects.add(reject)
                if item.batch is not None:
                    batches.append(item.batch.to(device))
            yield batches

    def _share_totals(self, batches: Sequence[Batch]) -> StepTotals:
        """The totals of the next step over all processes, which also share their new rejects."""
        rejects, interrupted = self._writer.rejects, self._interrupted
        totals = step_totals(
            self._accelerator, self._recogniser, batches, new_rejects=rejects.n_pending, interrupted=interrupted
        )
        if totals.new_rejects:
            rejects.gather(self._accelerator)
        return totals

    def _mask_generator(self, batch_number: int) -> torch.Generator:
        """A generator that depends on seed, step and the batch's place in the step alone: a checkpoint need not hold
        it, and a batch has the same masks in whichever process it is.
        """
        place = batch_number * self._accelerator.num_processes + self._accelerator.process_index
        return seeded_generator(self._config.seed, self._progress.step, 0, place)

    def _count(self, result: StepResult) -> None:
        batches = self._config.gradient_accumulation_steps * self._accelerator.num_processes
        self._progress = replace(
            self._progress,
            step=self._progress.step + 1,
            batches=self._progress.batches + batches,
            audio_seconds=self._progress.audio_seconds + result.audio_seconds,
        )

    def _evaluate_and_save(self, module: nn.Module, display: Display) -> None:
        """Evaluate, and save a checkpoint; an evaluation that Ctrl-C or SIGTERM interrupts stays due."""
        began = time.perf_counter()
        try:
            self._evaluate(module, display)
        except EvaluationInterruptedError:
            return
        self._progress = replace(self._progress, evaluation_due=False)
        self._save_checkpoint(module)
        self._place_best()
        self._interval.paused += time.perf_counter() - began

    def _evaluate(self, module: nn.Module, display: Display) -> None:
        """Evaluate the weights, or their moving average, on every evaluation set, before anything of it is logged.

        Raises EvaluationInterruptedError where a process was asked to stop.
        """
        others = [name for name in self._evaluators if name != MAIN]
        averaged = self._average.swapped_in() if self._average is not None else contextlib.nullcontext()
        with averaged, self._weights.gathered(module) as gathered:
            evaluations = {
                name: self._evaluators[name].run(
                    self._accelerator, gathered, lambda: self._interrupted, partial(display.show_validating, name)
                )
                for name in (MAIN, *others)
            }
            self._report(evaluations[MAIN], display)
            self._rank(gathered, evaluations[MAIN])
        for name in others:
            self._log(f"{MAIN} {name}", _figures(evaluations[name]))
            display.show_evaluation(self._progress.step, evaluations[name], name)

    def _report(self, evaluation: Evaluation, display: Display) -> None:
        """Log and show an evaluation of the main set, what the log diagnoses, and the curve."""
        if self._accelerator.is_main_process:
            samples = [(transcript.reference, transcript.hypothesis) for transcript in evaluation.samples]
            self._log("validation", _figures(evaluation), samples=samples)
            display.show_evaluation(self._progress.step, evaluation)
            self._diagnose(display)
            self._writer.draw_curve()

    def _rank(self, module: nn.Module, evaluation: Evaluation) -> None:
        """Enter an evaluation of the main set into the ranking, and save the weights if they are the best so far, for
        `_place_best`.
        """
        self._progress = self._progress.with_evaluation(evaluation.rates, self._config.average_best)
        step, best_steps = self._progress.step, self._best_steps
        if self._accelerator.is_main_process:
            if self._config.average_best > 1 and step in best_steps:
                self._best.keep(self._accelerator.unwrap_model(module), step)
            if best_steps[0] == step:
                self._writer.save_model(self._recogniser, module, evaluation.transcripts, step)

    def _place_best(self) -> None:
        """Log that the run's folder has the model of the best evaluation, and put it there, if it has just been saved:
        after the checkpoint that has it in its ranking, so that a kill leaves no model that the log does not know.
        """
        if not self._accelerator.is_main_process or not self._progress.ranking:
            return
        best = self._progress.ranking[0]
        if self._writer.model_waits(best.step):
            logged = any(line["kind"] == BEST and line["steps"] == [best.step] for line in self._writer.read_log())
            if not logged:
                self._log_best(best.rates, (best.step,))
        self._writer.place_model(best.step)

    def _average_best(self, module: nn.Module, display: Display) -> None:
        """At the end, evaluate the mean of the best evaluations' weights, and save it if it is better."""
        self._accelerator.wait_for_everyone()
        if len(self._best_steps) < 2:
            return
        kept = gather_object([self._best.kept(self._best_steps)])  # another machine may not see all files
        steps = tuple(sorted(set(kept[0]).intersection(*kept)))
        lost = sorted({*self._best_steps} - {*steps})
        if lost:
            self._accelerator.print(
                f"weights of the best evaluations are missing, at step {', '.join(map(str, lost))}: the mean is without"
            )
        if len(steps) < 2:
            return
        self._best.mean_into(self._accelerator.unwrap_model(module), steps)
        evaluation = self._evaluators[MAIN].run(self._accelerator, module, show=partial(display.show_validating, MAIN))
        better = evaluation.rates < self._progress.ranking[0].rates
        self._mean = Best(evaluation.metric, evaluation.rates[0], steps) if better else None
        if self._accelerator.is_main_process:
            display.show_average(steps, evaluation, better)
            self._log("average", _figures(evaluation), steps=steps)
            if better:
                step = self._progress.step
                self._writer.save_model(self._recogniser, module, evaluation.transcripts, step)
                self._log_best(evaluation.rates, steps)
                self._writer.place_model(step)
                self._writer.draw_curve()

    def _diagnose(self, display: Display) -> None:
        """Show and log each problem that the log reveals, once."""
        config, pads_to_window = self._config, self._recogniser.window_seconds > 0.0
        settings = diagnosis.RunSettings(
            config.max_steps,
            config.dataloader_num_workers or 0,
            config.logging_steps,
            math.inf if pads_to_window else config.data.max_batch_seconds,
            gpu_memory_share(self._accelerator.device),
            pads_to_window,
            self._evaluators[MAIN].metric,
        )
        log = self._writer.read_log()
        for problem in diagnosis.not_yet_logged(log, diagnosis.diagnose(log, settings)):
            display.show_diagnosis(problem)
            self._writer.log(**diagnosis.log_line(problem, self._progress.step))

    def _log_training(self, display: Display) -> None:
        """Log and show the steps since the last line, and begin the next one."""
        interval, self._interval = self._interval, LogInterval()
        (interval.loss_sum,) = sum_over_processes(self._accelerator, [interval.loss_sum])
        learning_rate = max(float(rate) for rate in self._schedule.get_last_lr())
        values = {"learning_rate": learning_rate, **interval.values()}
        display.show_training(values)
        self._log("train", values)

    def _log(
        self,
        kind: str,
        values: Mapping[str, float | None],
        *,
        steps: Sequence[int] = (),
        **texts: Sequence[tuple[str, str]],
    ) -> None:
        """Write a line of log.jsonl, and the same to the tracker. steps: whose weights' mean it is about, in the line
        alone; texts: pairs of reference and hypothesis.
        """
        step, seconds = self._progress.step, round(self._progress.audio_seconds, 2)
        if self._accelerator.is_main_process:
            averaged = {"steps": steps} if steps else {}
            self._writer.log(kind=kind, step=step, audio_seconds=seconds, **averaged, **values, **texts)
        tracked: dict[str, Any] = {f"{kind}/{key}": value for key, value in values.items() if value is not None}
        for key, pairs in texts.items():
            tracked[f"{kind}/{key}"] = "\n\n".join(f"ref {reference}  \nhyp {text}" for reference, text in pairs)
        self._accelerator.log(tracked, step=step)

    def _log_best(self, rates: tuple[float, float], steps: Sequence[int]) -> None:
        """Write to log.jsonl that the folder has the model with these `Evaluation.rates`. steps: as of `Best`."""
        metric = self._evaluators[MAIN].metric
        wer, cer = rates if metric == "wer" else reversed(rates)
        self._writer.log(kind=BEST, step=self._progress.step, steps=steps, metric=metric, wer=wer, cer=cer)

    def _save_checkpoint(self, module: nn.Module) -> None:
        self._accelerator.wait_for_everyone()
        random_states = gather_object([checkpoint.random_states()])
        interval = self._interval.sums(gather_object([self._interval.loss_sum]))
        optimiser_state = self._weights.optimiser_state(module, self._optimiser)
        with self._weights.gathered(module) as gathered:
            if self._accelerator.is_main_process:
                self._writer.rejects.write()
                scaler = self._accelerator.scaler
                states = checkpoint.States(
                    optimiser_state,
                    self._schedule.state_dict(),
                    random_states,
                    {} if scaler is None else scaler.state_dict(),
                )
                weights = self._accelerator.unwrap_model(gathered)
                folder = self._writer.folder / "checkpoints"
                progress = replace(self._progress, interval=interval)
                checkpoint.save(folder, weights, states, progress, self._average, kept=self._config.save_total_limit)
                self._best.delete_others(checkpoint.ranked_steps(folder))

    @contextlib.contextmanager
    def _catch_interrupt(self) -> Iterator[None]:
        """The first Ctrl-C or SIGTERM ends the run after the present step or batch of an evaluation, and says so; a
        second one ends it at once.
        """
        before = {which: signal.getsignal(which) for which in STOPPING}
        own_process = os.getpid()  # those that load data get the handler, and a terminal's Ctrl-C, too

        def interrupt(*_: object) -> None:
            self._interrupted = True
            restore()
            if self._accelerator.is_main_process and os.getpid() == own_process:
                with contextlib.suppress(OSError):
                    os.write(STDERR, STOPPING_NOTE)  # print may be interrupted within itself

        def restore() -> None:
            for which, handler in before.items():
                signal.signal(which, handler)

        for which in STOPPING:
            signal.signal(which, interrupt)
        try:
            yield
        finally:
            restore()


def gpu_memory_share(device: torch.device) -> float | None:
    """The largest share of a GPU's memory that tensors have taken in this process; None on a CPU."""
    if device.type != "cuda":
        return None
    return torch.cuda.max_memory_allocated(device) / torch.cuda.get_device_properties(device).total_memory


def _figures(evaluation: Evaluation) -> dict[str, float | None]:
    """The fields of a line of kind "validation" in log.jsonl."""
    names = ("loss", "wer", "cer", "substitutions", "deletions", "insertions", "blank_ratio")
    return {name: getattr(evaluation, name) for name in names}
