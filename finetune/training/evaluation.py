"""WER, CER, loss and blank ratio of a recogniser over an evaluation set, with every utterance counted exactly once."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import nn

from finetune.data.examples import ExampleKey, Examples
from finetune.data.loading import LoadedBatch, load_batches
from finetune.metrics.error_rates import Metric, primary_metric
from finetune.metrics.evaluate_metric import ErrorRates
from finetune.models.base import Batch, EvaluationOutput, TrainableRecogniser
from finetune.training.distributed import sum_over_processes
from preprocessing.batching import DurationBatches
from preprocessing.errors import InputError, counted
from preprocessing.storage.atomic_write import write_json_lines
from preprocessing.text import Profile
from preprocessing.text.languages import common_language

N_SAMPLES = 3


@dataclass(frozen=True, slots=True)
class ValidationSample:
    """An utterance's reference and hypothesis, both normalised. blank_ratio: share of its frames that are blank."""

    id: str
    reference: str
    hypothesis: str
    blank_ratio: float | None
    speaker: str | None = None


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Figures over an evaluation set.

    loss: per label. wer, cer: as fractions; where the CER decides, it is of characters without spaces, as in the
    benchmark. substitutions, deletions, insertions: of words. blank_ratio: mean over utterances, None for models
    without CTC. transcripts: of every utterance, by id. metric: the rate that decides which evaluation is the best.
    """

    loss: float
    wer: float
    cer: float
    substitutions: int
    deletions: int
    insertions: int
    blank_ratio: float | None
    transcripts: tuple[ValidationSample, ...]
    metric: Metric = "wer"

    @property
    def rates(self) -> tuple[float, float]:
        """WER and CER, the one that decides first: of two evaluations, the lower is the better."""
        return (self.wer, self.cer) if self.metric == "wer" else (self.cer, self.wer)

    @property
    def samples(self) -> tuple[ValidationSample, ...]:
        """N_SAMPLES transcripts, of the same utterances at every evaluation."""
        stride = max(len(self.transcripts) // N_SAMPLES, 1)
        return self.transcripts[::stride][:N_SAMPLES]


class EvaluationInterruptedError(Exception):
    """An evaluation was broken off, in all processes."""


class Evaluator:
    """Evaluates models on one evaluation set."""

    def __init__(
        self,
        examples: Examples,
        profile: Profile,
        recogniser: TrainableRecogniser,
        *,
        max_batch_seconds: float,
        workers: int = 0,
    ) -> None:
        self._examples = examples
        self._references = {utterance.id: profile(utterance.text) for utterance in examples.utterances}
        languages = (utterance.language for utterance in examples.utterances)
        self.metric = primary_metric(common_language(None, [profile.name], languages), self._references.values())
        self._speakers = {utterance.id: utterance.speaker for utterance in examples.utterances}
        self._profile = profile
        self._recogniser = recogniser
        self._workers = workers
        durations = [utterance.duration for utterance in examples.utterances]
        self._batches = DurationBatches(durations, max_seconds=max_batch_seconds).in_order()
        self._parts = 1  # into how many a batch is cut to fit into memory

    @property
    def digest(self) -> str:
        """12 hexadecimal digits, equal if the evaluation set has the same utterances with the same references, and the
        same rate decides.
        """
        content = json.dumps(sorted(self._references.items())).encode("utf-8", "surrogatepass")
        by_characters = b"cer without spaces" if self.metric == "cer" else b""  # as before CERs decided, where WERs do
        return hashlib.sha256(content + by_characters).hexdigest()[:12]

    def run(
        self,
        accelerator: Accelerator,
        module: nn.Module,
        is_interrupted: Callable[[], bool] = lambda: False,
        show: Callable[[int, int], object] = lambda done, total: None,
    ) -> Evaluation:
        """Evaluate `module`, each process on its share of the batches; all processes get the same Evaluation.

        An utterance that cannot be decoded counts with an empty hypothesis. is_interrupted: asked before each batch;
        where it is true in any process, all raise EvaluationInterruptedError, the others at the end of their share.
        show: called after each batch with how many of this process's batches are done, and how many there are.
        """
        module.eval()
        transcripts: list[ValidationSample] = []
        losses: list[tuple[float, int]] = []
        own_batches = self._batches[accelerator.process_index :: accelerator.num_processes]
        keys = ([ExampleKey(index) for index in indices] for indices in own_batches)
        broken_off = False
        for loaded in load_batches(self._examples, keys, accelerator.device, workers=self._workers):
            broken_off = is_interrupted()
            if broken_off:
                break
            of_batch, loss, n_labels = self._evaluate_batch(accelerator, module, loaded)
            transcripts += of_batch
            losses.append((loss, n_labels))
            show(len(losses), len(own_batches))
        module.train()
        if any(sum_over_processes(accelerator, [broken_off])):
            raise EvaluationInterruptedError
        transcripts = sorted(gather_object(transcripts), key=lambda transcript: transcript.id)
        losses = gather_object(losses)
        rates = ErrorRates().compute(
            predictions=[transcript.hypothesis for transcript in transcripts],
            references=[transcript.reference for transcript in transcripts],
            spaces=self.metric == "wer",
        )
        rates.pop("words")
        blanks = [transcript.blank_ratio for transcript in transcripts if transcript.blank_ratio is not None]
        return Evaluation(
            loss=sum(loss for loss, _ in losses) / max(sum(n for _, n in losses), 1),
            blank_ratio=sum(blanks) / len(blanks) if blanks else None,
            transcripts=tuple(transcripts),
            metric=self.metric,
            **rates,
        )

    def _evaluate_batch(
        self, accelerator: Accelerator, module: nn.Module, loaded: LoadedBatch
    ) -> tuple[list[ValidationSample], float, int]:
        """Transcripts of a batch and its rejects, the loss summed over labels, and the number of labels."""
        rejected = [self._transcript(reject.where, "") for reject in loaded.rejects]
        if loaded.batch is None:
            return rejected, 0.0, 0
        batch = loaded.batch.to(accelerator.device)
        output = self._evaluate_in_parts(accelerator, module, batch)
        transcripts = [
            self._transcript(self._examples.utterances[index].id, hypothesis.text, hypothesis.blank_ratio)
            for index, hypothesis in zip(batch.indices, output.hypotheses, strict=True)
        ]
        return transcripts + rejected, output.loss, self._recogniser.count_labels(batch)

    def _evaluate_in_parts(self, accelerator: Accelerator, module: nn.Module, batch: Batch) -> EvaluationOutput:
        """The recogniser's output for a batch on the device. After one that does not fit into memory, this and later
        batches are cut into twice as many parts. Raises InputError if there is nothing to cut.
        """
        while True:
            try:
                with torch.inference_mode(), accelerator.autocast():
                    outputs = [self._recogniser.evaluate(module, part) for part in batch.split(self._parts)]
                break
            except torch.OutOfMemoryError:
                if self._parts >= len(batch.indices):
                    raise InputError(
                        f"a validation batch of {counted(len(batch.indices), 'utterance')}, {batch.seconds[1]:.0f} s "
                        "with padding, does not fit into the device's memory; expected a smaller one: begin a new run "
                        "with a lower --data.max_batch_seconds or --data.max_seconds"
                    ) from None
                self._parts *= 2
                torch.cuda.empty_cache()  # blocks of the training step's shapes; nothing without CUDA
                accelerator.print(
                    f"out of memory: from here on, validation batches are computed in {self._parts} parts, with the "
                    "same result; a lower --data.max_batch_seconds would be faster"
                )
        return EvaluationOutput(
            sum(output.loss for output in outputs),
            [hypothesis for output in outputs for hypothesis in output.hypotheses],
        )

    def _transcript(self, utterance_id: str, text: str, blank_ratio: float | None = None) -> ValidationSample:
        reference, speaker = self._references[utterance_id], self._speakers[utterance_id]
        return ValidationSample(utterance_id, reference, self._profile(text), blank_ratio, speaker)


def write_transcripts(path: Path, transcripts: Sequence[ValidationSample]) -> None:
    """Write samples.jsonl, a line for each transcript."""
    write_json_lines(path, map(asdict, transcripts))
