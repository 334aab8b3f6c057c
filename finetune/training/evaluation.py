"""WER, CER, loss and blank ratio of a recogniser over a validation corpus, every utterance exactly once."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import nn

from finetune.data.examples import Collated, Examples, Visit
from finetune.data.loading import load_batches
from finetune.metrics.error_rates import ErrorRates
from finetune.models.base import Recogniser
from preprocessing.batching import DurationBatches
from preprocessing.text import Profile

SAMPLES_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Transcript:
    """What was heard in one validation utterance; texts are normalised."""

    id: str
    reference: str
    hypothesis: str
    blank_ratio: float | None
    speaker: str | None = None


@dataclass(frozen=True, slots=True)
class Evaluation:
    """`loss` is summed over labels and divided by their number; `blank_ratio` is the mean over utterances."""

    loss: float
    wer: float
    cer: float
    substitutions: int
    deletions: int
    insertions: int
    blank_ratio: float | None
    transcripts: tuple[Transcript, ...]

    @property
    def shown(self) -> tuple[Transcript, ...]:
        """The few that a log has room for, the same utterances at every evaluation."""
        step = max(len(self.transcripts) // SAMPLES_SHOWN, 1)
        return self.transcripts[::step][:SAMPLES_SHOWN]


class Evaluator:
    """Holds a validation corpus and what it should read; `run` measures a model on it."""

    def __init__(
        self,
        examples: Examples,
        profile: Profile,
        recogniser: Recogniser,
        *,
        max_batch_seconds: float,
        workers: int = 0,
    ) -> None:
        self._examples = examples
        self._references = {utterance.id: profile(utterance.text) for utterance in examples.utterances}
        self._speakers = {utterance.id: utterance.speaker for utterance in examples.utterances}
        self._profile = profile
        self._recogniser = recogniser
        self._workers = workers
        durations = [utterance.duration for utterance in examples.utterances]
        self._batches = DurationBatches(durations, max_seconds=max_batch_seconds).in_order()

    def run(self, accelerator: Accelerator, module: nn.Module) -> Evaluation:
        """Measure `module`, sharing batches out over processes; every process gets the same Evaluation."""
        module.eval()
        heard: list[Transcript] = []
        sums: list[tuple[float, int]] = []
        mine = self._batches[accelerator.process_index :: accelerator.num_processes]
        visits = ([Visit(index) for index in indices] for indices in mine)
        for collated in load_batches(self._examples, visits, accelerator.device, workers=self._workers):
            transcripts, loss, n_labels = self._batch(accelerator, module, collated)
            heard += transcripts
            sums.append((loss, n_labels))
        module.train()
        heard = sorted(gather_object(heard), key=lambda transcript: transcript.id)
        sums = gather_object(sums)
        rates = ErrorRates().compute(
            predictions=[transcript.hypothesis for transcript in heard],
            references=[transcript.reference for transcript in heard],
        )
        blanks = [transcript.blank_ratio for transcript in heard if transcript.blank_ratio is not None]
        rates.pop("words")
        return Evaluation(
            loss=sum(loss for loss, _ in sums) / max(sum(n for _, n in sums), 1),
            blank_ratio=sum(blanks) / len(blanks) if blanks else None,
            transcripts=tuple(heard),
            **rates,
        )

    def _batch(
        self, accelerator: Accelerator, module: nn.Module, collated: Collated
    ) -> tuple[list[Transcript], float, int]:
        failed = [self._transcript(reject.where, "") for reject in collated.rejects]
        if collated.batch is None:
            return failed, 0.0, 0
        batch = collated.batch.to(accelerator.device)
        with torch.inference_mode(), accelerator.autocast():
            output = self._recogniser.evaluate(module, batch)
        heard = [
            self._transcript(self._examples.utterances[index].id, hypothesis.text, hypothesis.blank_ratio)
            for index, hypothesis in zip(batch.indices, output.hypotheses, strict=True)
        ]
        return heard + failed, output.loss, self._recogniser.count_labels(batch)

    def _transcript(self, utterance_id: str, text: str, blank_ratio: float | None = None) -> Transcript:
        reference, speaker = self._references[utterance_id], self._speakers[utterance_id]
        return Transcript(utterance_id, reference, self._profile(text), blank_ratio, speaker)


def write_transcripts(path: Path, transcripts: Sequence[Transcript]) -> None:
    lines = (json.dumps(asdict(transcript), ensure_ascii=False) + "\n" for transcript in transcripts)
    path.write_text("".join(lines), encoding="utf-8")
