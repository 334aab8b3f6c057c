"""The training loop, over accelerate: step, accumulate, clip, schedule, evaluate, log, checkpoint.

The loss of an update is the sum over all its batches and processes, divided by the number of their labels, so that
neither accumulation nor the number of processes changes what is optimised. The data is one endless stream of batches;
a run's position in it is one number.
"""

import contextlib
import os
import shutil
import signal
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import Tensor, nn
from torch.utils.data import DataLoader

from finetune import checkpoint
from finetune.checkpoint import Progress
from finetune.config import TrainConfig
from finetune.display import Display
from finetune.evaluation import Evaluation, Evaluator, write_transcripts
from finetune.examples import Collated, Examples, Visit, collate
from finetune.models.base import Batch, Recogniser
from finetune.optimisation import make_optimiser, make_schedule
from finetune.record import Record
from preprocessing.audio import SAMPLE_RATE
from preprocessing.batching import DurationBatches


@dataclass(slots=True)
class Window:
    """Running sums since the last line of the log."""

    loss: float = 0.0
    labels: int = 0
    audio_seconds: float = 0.0
    padded_seconds: float = 0.0
    stalled: float = 0.0  # seconds waited for data
    since: float = 0.0


class Loop:
    """One run: built from its parts, `run` trains until the last update or Ctrl-C, resuming where it can."""

    def __init__(
        self,
        config: TrainConfig,
        accelerator: Accelerator,
        recogniser: Recogniser,
        examples: Examples,
        evaluator: Evaluator,
        record: Record,
        fingerprint: str,
    ) -> None:
        self._config = config
        self._accelerator = accelerator
        self._recogniser = recogniser
        self._examples = examples
        self._evaluator = evaluator
        self._record = record
        self._progress = Progress(fingerprint=fingerprint)
        self._optimiser: Any = make_optimiser(recogniser.module, config.optimisation)
        self._schedule = make_schedule(self._optimiser, config.optimisation)
        self._interrupted = False

    def resume(self, folder: Path) -> Progress:
        """Restore the state of a checkpoint folder; returns how far it is."""
        progress = checkpoint.read_progress(folder)
        checkpoint.restore(folder, self._recogniser.module, self._optimiser, self._schedule)
        self._progress = progress
        return progress

    def run(self) -> bool:
        """Train. Returns False when Ctrl-C ended it early, its state saved."""
        module, self._optimiser = self._accelerator.prepare(self._recogniser.module, self._optimiser)
        module.train()
        with Display(self._config.optimisation.updates, self._accelerator.is_main_process) as display:
            if self._progress.update == 0:
                self._evaluate(module, display)
            with self._catch_interrupt():
                self._train(module, display)
        return not self._interrupted

    def _train(self, module: nn.Module, display: Display) -> None:
        updates = self._batches()
        window = Window(since=time.perf_counter())
        display.update(self._progress.update)
        while self._progress.update < self._config.optimisation.updates and not self._interrupted:
            waiting = time.perf_counter()
            batches = next(updates)
            window.stalled += time.perf_counter() - waiting
            gradient_norm = self._update(module, batches, window)
            done = self._progress.update
            display.update(done)
            if done % self._config.log_every == 0:
                window = self._log(window, gradient_norm, display)
            if done % self._config.evaluate_every == 0 or done == self._config.optimisation.updates:
                paused = time.perf_counter()
                self._evaluate(module, display)
                self._save(module)
                window.since += time.perf_counter() - paused
            self._share_interrupt()
        if self._interrupted:
            self._save(module)

    def _update(self, module: nn.Module, batches: list[Batch], window: Window) -> float:
        """One optimiser step over this process's batches. Returns the gradient norm before clipping."""
        processes = self._accelerator.num_processes
        counted = [self._recogniser.count_labels(batch) for batch in batches]
        n_labels = max(sum(gather_object([sum(counted)])), 1)
        loss_sum = 0.0
        for number, batch in enumerate(batches):
            last = number == len(batches) - 1
            with contextlib.nullcontext() if last else self._accelerator.no_sync(module):
                with self._accelerator.autocast():
                    loss: Tensor = module(batch, self._generator(number))
                # gradients are averaged over processes: undo that, so that they are summed
                self._accelerator.backward(loss * (processes / n_labels))
            loss_sum += loss.item()
        norm = self._accelerator.clip_grad_norm_(module.parameters(), self._config.optimisation.max_gradient_norm)
        self._optimiser.step()
        self._schedule.step()
        self._optimiser.zero_grad()
        seconds = [self._seconds(batch) for batch in batches]
        totals = gather_object([(loss_sum, sum(s for s, _ in seconds), sum(p for _, p in seconds))])
        window.loss += sum(total[0] for total in totals)
        window.labels += n_labels
        window.audio_seconds += sum(total[1] for total in totals)
        window.padded_seconds += sum(total[2] for total in totals)
        self._progress = replace(
            self._progress,
            update=self._progress.update + 1,
            batches=self._progress.batches + self._config.optimisation.accumulate * processes,
            audio_seconds=self._progress.audio_seconds + sum(total[1] for total in totals),
        )
        return float(norm)

    def _seconds(self, batch: Batch) -> tuple[float, float]:
        """Seconds of audio in a batch as it was heard, and seconds with padding."""
        return sum(batch.n_samples) / SAMPLE_RATE, len(batch.n_samples) * max(batch.n_samples) / SAMPLE_RATE

    def _generator(self, number: int) -> torch.Generator:
        """For masks: a function of seed, update, process and batch, so that nothing of it needs saving."""
        parts = (self._config.seed, self._progress.update, self._accelerator.process_index, number)
        return torch.Generator().manual_seed(hash(parts) % 2**63)

    def _batches(self) -> Iterator[list[Batch]]:
        """This process's batches of each update from the run's position on, on the device."""
        data = self._config.data
        accumulate = self._config.optimisation.accumulate
        durations = [utterance.duration for utterance in self._examples.utterances]
        order = DurationBatches(durations, max_seconds=data.max_batch_seconds, seed=self._config.seed)
        stream = ([Visit(index, epoch) for index in batch] for epoch, batch in order.stream(self._progress.batches))
        mine = islice(stream, self._accelerator.process_index, None, self._accelerator.num_processes)
        loader: DataLoader[Any] = DataLoader(
            self._examples,
            batch_sampler=_Stream(mine),
            collate_fn=collate,
            num_workers=data.workers,
            prefetch_factor=4 if data.workers else None,
            # its own: otherwise it draws from the state that dropout draws from, and no run resumes exactly
            generator=torch.Generator().manual_seed(self._config.seed),
        )
        collated = iter(loader)
        while True:
            yield [batch.to(self._accelerator.device) for batch in self._usable(islice(collated, accumulate))]

    def _usable(self, collated: Iterator[Collated]) -> Iterator[Batch]:
        for item in collated:
            for reject in item.rejects:
                self._record.reject(reject)
            if item.batch is not None:
                yield item.batch

    def _log(self, window: Window, gradient_norm: float, display: Display) -> Window:
        """Write a line of the log and begin a new window."""
        elapsed = time.perf_counter() - window.since
        loss, speed = window.loss / max(window.labels, 1), window.audio_seconds / elapsed
        values: dict[str, float | None] = {
            "loss": loss,
            "learning_rate": float(self._schedule.get_last_lr()[0]),
            "gradient_norm": gradient_norm,
            "audio_seconds_per_second": speed,
            "padding_share": 1.0 - window.audio_seconds / max(window.padded_seconds, 1e-9),
            "stall_share": window.stalled / elapsed,
        }
        display.trained(loss, speed)
        self._write("train", values)
        return Window(since=time.perf_counter())

    def _evaluate(self, module: nn.Module, display: Display) -> None:
        evaluation = self._evaluator.run(self._accelerator, module)
        if self._accelerator.is_main_process:
            shown = [(transcript.reference, transcript.hypothesis) for transcript in evaluation.shown]
            self._write("validation", _numbers(evaluation), samples=shown)
            display.evaluated(self._progress.update, evaluation)
            self._record.draw_curve()
        reached = (evaluation.wer, evaluation.cer)
        if self._progress.best is None or reached < self._progress.best:
            self._progress = replace(self._progress, best=reached)
            if self._accelerator.is_main_process:
                self._save_best(module, evaluation)

    def _write(self, kind: str, values: dict[str, float | None], **more: Sequence[tuple[str, str]]) -> None:
        """A line of log.jsonl, and the same to the trackers."""
        seconds = round(self._progress.audio_seconds, 2)
        if self._accelerator.is_main_process:
            self._record.log(kind=kind, update=self._progress.update, audio_seconds=seconds, **values, **more)
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
        if self._accelerator.is_main_process:
            bare = self._accelerator.unwrap_model(module)
            checkpoint.save(self._record.folder / "checkpoints", bare, self._optimiser, self._schedule, self._progress)

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

    def _share_interrupt(self) -> None:
        self._interrupted = any(gather_object([self._interrupted]))


class _Stream:
    """An iterator that DataLoader takes as a batch sampler."""

    def __init__(self, batches: Iterator[list[Visit]]) -> None:
        self._batches = batches

    def __iter__(self) -> Iterator[list[Visit]]:
        return self._batches


def _numbers(evaluation: Evaluation) -> dict[str, float | None]:
    names = ("loss", "wer", "cer", "substitutions", "deletions", "insertions", "blank_ratio")
    return {name: getattr(evaluation, name) for name in names}
