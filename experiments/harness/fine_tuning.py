"""One fine-tuning job, done by this project's command and by transformers' Trainer as its CTC example sets it up.

`prepare` writes the model, the manifests and a `TrainingJob`; `ours` and `theirs` are the two implementations of it for
`experiments.harness.rounds`. Each round trains from the same weights and returns a `Trained`.
"""

import shutil
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from experiments.harness.rounds import report_step
from experiments.harness.speech import TRAIN_MANIFEST, data_folder, read_utterances
from finetune.training.log import read_log
from preprocessing import audio
from preprocessing.audio import SAMPLE_RATE
from preprocessing.batching import DurationBatches, evenly_spaced
from preprocessing.cli.progress import hide_loading_bars
from preprocessing.corpus import Utterance, open_corpus
from preprocessing.errors import UsageError
from preprocessing.storage.atomic_write import write_json_lines

SEED = 0
PEAK_LEARNING_RATE = 3e-4
COMMAND = Path(__file__).resolve().parents[2] / "finetune" / "train.py"
WARM_UP_UPDATES = {"cpu": 1, "cuda": 5}  # of every round, not measured: compilation, and a GPU's first shapes
PROFILE = "librispeech"
MAX_SECONDS = {"cpu": 10.0, "cuda": 20.0}
HELD_OUT = 4  # utterances whose loss both sides are compared by
TINY: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "conv_dim": [16] * 7,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
}


@dataclass(frozen=True)
class TrainingJob:
    """A round: which weights and utterances, how many updates of which size."""

    folder: Path  # holds model/, train.jsonl and validation.jsonl; each side works in a folder of its own beside them
    device: str  # "cpu" or "cuda"
    utterances_per_batch: int  # of the peer
    gradient_accumulation_steps: int  # batches in an update of the peer
    batch_seconds: float  # cap on a batch of ours, padding included: as much audio as the peer's mean batch
    updates: int  # measured ones
    corpus_seconds: tuple[float, ...]  # the duration of every utterance that could have been chosen
    warm_up: int  # updates in which the learning rate rises to PEAK_LEARNING_RATE
    regularised: bool  # with dropout and masks at each side's defaults; False: without either

    @property
    def all_updates(self) -> int:
        """Updates of a round, with those that warm up."""
        return WARM_UP_UPDATES[self.device] + self.updates


@dataclass(frozen=True)
class Update:
    """One update of the weights. `loss` is for each label, `seconds` are wall-clock."""

    loss: float
    audio_seconds: float
    padded_seconds: float
    seconds: float


@dataclass(frozen=True)
class Trained:
    """A round, update by update from the first one, and what it took to prepare the input beforehand."""

    updates: tuple[Update, ...]
    warm_up_updates: int  # of them, which come first and are not measured
    held_out_loss: float  # for each label, after the last update, over the same utterances for all sides
    preparation_seconds: float = 0.0
    preparation_bytes: int = 0  # on the disk

    @property
    def rate(self) -> float:
        """Seconds of audio, padding left out, trained on in a second, over the measured updates."""
        measured = self.updates[self.warm_up_updates :]
        return sum(update.audio_seconds for update in measured) / sum(update.seconds for update in measured)


def prepare(
    folder: Path,
    device: str,
    *,
    data: Path | None = None,
    utterances: int | None = None,
    max_seconds: float | None = None,
    batch: int | None = None,
    updates: int = 7,
    warm_up: int = 500,
    tiny: bool = False,
) -> TrainingJob:
    """Write the model and the manifests of a job to `folder`; returns the job.

    device: "cpu" or "cuda", which decides what None means. data: folder with librispeech/train.jsonl. utterances: how
    many, spread over the manifest; None takes what a round's updates hold. tiny: a very small model, without dropout
    or masks. The other options are those of `experiments.training_speed`. Raises UsageError where there is no such
    speech.
    """
    size, accumulate = (batch or 4, 1) if device == "cpu" else (batch or 16, 2)
    listed = _short_utterances(data, utterances, MAX_SECONDS[device] if max_seconds is None else max_seconds)
    wanted = size * accumulate * (WARM_UP_UPDATES[device] + updates) if utterances is None else utterances
    chosen = evenly_spaced(listed, wanted)
    names = {utterance.id for utterance in chosen}
    held_out = [utterance for utterance in listed if utterance.id not in names][:HELD_OUT] or chosen[:1]
    from transformers import Wav2Vec2Config, Wav2Vec2FeatureExtractor, Wav2Vec2ForCTC, set_seed

    from finetune.models.ctc import vocabulary_sizes
    from preprocessing.text import profile
    from preprocessing.units import Vocabulary

    normalise = profile(PROFILE)
    for name, rows_of in (("train", chosen), ("validation", held_out)):
        rows = [
            {"id": u.id, "audio": str(Path(str(u.audio)).resolve()), "text": normalise(u.text), "duration": u.duration}
            for u in rows_of
        ]
        write_json_lines(folder / f"{name}.jsonl", rows)

    vocabulary = Vocabulary.of_characters(normalise(u.text) for u in [*chosen, *held_out])
    hide_loading_bars()
    set_seed(SEED)
    shape = TINY if tiny else {}
    model = Wav2Vec2ForCTC(Wav2Vec2Config(**shape, **vocabulary_sizes(vocabulary)))
    model.save_pretrained(folder / "model")
    vocabulary.save(folder / "model")
    Wav2Vec2FeatureExtractor(return_attention_mask=False).save_pretrained(folder / "model")

    return TrainingJob(
        folder=folder,
        device=device,
        utterances_per_batch=size,
        gradient_accumulation_steps=accumulate,
        batch_seconds=_cap_for([u.duration for u in chosen], size),
        updates=updates,
        corpus_seconds=tuple(u.duration for u in listed),
        warm_up=warm_up,
        regularised=not tiny,
    )


def _cap_for(durations: Sequence[float], size: int) -> float:
    """The cap on a batch of ours with which its batches hold as much audio on average as `size` utterances do."""
    wanted = min(size, len(durations)) * sum(durations) / len(durations)
    cap = max(wanted, max(durations))
    while sum(durations) / len(DurationBatches(durations, max_seconds=cap, seed=SEED).epoch(0)) < wanted:
        cap *= 1.02
    return cap


def _short_utterances(data: Path | None, utterances: int | None, max_seconds: float) -> list[Utterance]:
    """The training utterances of up to `max_seconds`. Raises UsageError where there are none, or none are wanted."""
    manifest = data_folder(data) / TRAIN_MANIFEST
    listed = [utterance for utterance in read_utterances(manifest) if utterance.duration <= max_seconds]
    if not listed or (utterances is not None and utterances < 1):
        raise UsageError(
            f"{manifest} holds {len(listed)} utterances of up to {max_seconds:g} s and --utterances is "
            f"{utterances}; expected 1 or more: raise --max_seconds or --utterances"
        )
    return listed


def ours(
    job: TrainingJob, mixed_precision: str, dropout: float | None = None, *, whole: bool = False
) -> Callable[[], Trained]:
    """finetune/train.py: a round is one run of the command, which decodes audio while it trains.

    mixed_precision: "auto", "bf16" or "no". dropout: None for the model's default. whole: an update is one batch, and
    the transformer is compiled.
    """
    import yaml

    from finetune.config import DataConfig, ModelConfig, TrainConfig
    from finetune.training.run_folder import plain

    output = job.folder / f"ours {mixed_precision} {dropout} {whole}"
    n_batches = 1 if whole else job.gradient_accumulation_steps
    batch_seconds = job.batch_seconds * job.gradient_accumulation_steps / n_batches
    regularisation = {} if job.regularised else {"mask_time_prob": 0.0, "dropout": 0.0}
    regularisation |= {} if dropout is None else {"dropout": dropout}
    config = TrainConfig(
        output_dir=output,
        model=ModelConfig(base=str(job.folder / "model"), **regularisation),  # type: ignore[arg-type]
        data=DataConfig(
            train=[str(job.folder / "train.jsonl")],
            validation=str(job.folder / "validation.jsonl"),
            profile=PROFILE,
            max_batch_seconds=batch_seconds,
            max_seconds=batch_seconds,
        ),
        max_steps=job.all_updates,
        # a run that ends within the warm-up ends below the peak
        learning_rate=PEAK_LEARNING_RATE * min(job.all_updates / max(job.warm_up, 1), 1.0),
        lr_scheduler_type="linear",
        warmup_ratio=min(job.warm_up / job.all_updates, 1.0),
        hold_ratio=0.0,
        gradient_accumulation_steps=n_batches,
        torch_compile=whole,
        seed=SEED,
        mixed_precision=mixed_precision,  # type: ignore[arg-type]
        eval_steps=job.all_updates,
        logging_steps=1,
        overwrite=True,
    )
    config.check()

    settings = job.folder / f"{output.name}.yaml"
    settings.write_text(yaml.safe_dump(plain(config)), encoding="utf-8")

    def one_round() -> Trained:
        _run_command([sys.executable, str(COMMAND), "--config", str(settings)], lambda: _trained_updates(output))
        updates = []
        before, held_out_loss = 0.0, float("nan")
        for line in read_log(output):
            if line["kind"] == "train":
                audio_seconds, before = line["audio_seconds"] - before, line["audio_seconds"]
                seconds = audio_seconds / line["audio_seconds_per_second"]
                padded = audio_seconds / (1.0 - line["padding_share"])
                updates.append(Update(_loss(line), audio_seconds, padded, seconds))
            elif line["kind"] == "validation":
                held_out_loss = _loss(line)
        shutil.rmtree(output)
        return Trained(tuple(updates), WARM_UP_UPDATES[job.device], held_out_loss)

    return one_round


def _loss(line: Mapping[str, Any]) -> float:
    """The loss of a line of a log, where a loss that is not finite is null."""
    return float("nan") if line["loss"] is None else float(line["loss"])


def _run_command(command: Sequence[str], count_updates: Callable[[], int]) -> None:
    """Run a command that trains and report its updates as steps; RuntimeError with its last words where it fails.

    The command is stopped when this process is told to end.
    """
    reported = 0
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            while True:
                try:
                    stdout, stderr = process.communicate(timeout=1.0)
                    break
                except subprocess.TimeoutExpired:
                    done = count_updates()
                    report_step(done - reported)
                    reported = done
        except BaseException:
            process.kill()
            raise
    if process.returncode != 0:
        raise RuntimeError((stderr or stdout).strip() or f"exit code {process.returncode}")


def _trained_updates(output: Path) -> int:
    """How many updates the run in a folder has logged so far."""
    return sum(line["kind"] == "train" for line in read_log(output))


@dataclass
class PaddingCollator:
    """The example's DataCollatorCTCWithPadding: inputs and labels padded to the longest, padded labels set to -100.

    `seen` collects the valid and the padded seconds of each batch.
    """

    processor: Any
    seen: list[tuple[float, float]] = field(default_factory=list)

    def __call__(self, features: Sequence[Mapping[str, Any]]) -> Any:
        inputs = [{"input_values": feature["input_values"]} for feature in features]
        labels = [{"input_ids": feature["labels"]} for feature in features]
        batch = self.processor.feature_extractor.pad(inputs, padding="longest", return_tensors="pt")
        padded = self.processor.tokenizer.pad(labels, padding="longest", return_tensors="pt")
        batch["labels"] = padded["input_ids"].masked_fill(padded.attention_mask.ne(1), -100)
        lengths = [len(feature["input_values"]) for feature in features]
        self.seen.append((sum(lengths) / SAMPLE_RATE, len(lengths) * max(lengths) / SAMPLE_RATE))
        return batch


def theirs(job: TrainingJob) -> Callable[[], Trained]:
    """transformers' Trainer: the input is prepared once, and a round is one training run."""
    from transformers import AutoModelForCTC, Trainer, TrainingArguments, Wav2Vec2Processor
    from transformers.utils import logging

    warnings.filterwarnings("ignore", category=FutureWarning)
    logging.set_verbosity_error()
    hide_loading_bars()
    processor = Wav2Vec2Processor.from_pretrained(job.folder / "model")
    began = time.perf_counter()
    prepared = _prepare_rows(job, processor)
    preparation_seconds = time.perf_counter() - began
    n_bytes = sum(path.stat().st_size for path in (job.folder / "theirs").glob("*.arrow"))
    arguments = TrainingArguments(
        output_dir=str(job.folder / "theirs"),
        max_steps=job.all_updates,
        per_device_train_batch_size=job.utterances_per_batch,
        gradient_accumulation_steps=job.gradient_accumulation_steps,
        learning_rate=PEAK_LEARNING_RATE,
        warmup_steps=job.warm_up,
        train_sampling_strategy="group_by_length",  # --group_by_length up to transformers 4
        length_column_name="input_length",
        fp16=job.device == "cuda",
        use_cpu=job.device == "cpu",
        gradient_checkpointing=True,
        seed=SEED,
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )
    regularisation = {
        "mask_time_prob": 0.05 if job.regularised else 0.0,
        "attention_dropout": 0.0,
        "hidden_dropout": 0.0,
        "activation_dropout": 0.0,
        "feat_proj_dropout": 0.0,
        "final_dropout": 0.0,
        "layerdrop": 0.0,
    }

    def one_round() -> Trained:
        model = AutoModelForCTC.from_pretrained(job.folder / "model", ctc_loss_reduction="mean", **regularisation)
        model.freeze_feature_encoder()
        collator, clock = PaddingCollator(processor), _clock(job.device)
        trainer = Trainer(
            model=model,
            args=arguments,
            data_collator=collator,
            train_dataset=prepared,
            processing_class=processor,
            callbacks=[clock],
        )
        trainer.remove_callback(_printer())
        trainer.train()
        updates = []
        # Trainer takes a model with further keywords for one that divides by the batches of an update; this does not
        summed = job.gradient_accumulation_steps if trainer.model_accepts_loss_kwargs else 1
        for number, (loss, seconds) in enumerate(zip(clock.losses, clock.seconds, strict=True)):
            seen = collator.seen[
                number * job.gradient_accumulation_steps : (number + 1) * job.gradient_accumulation_steps
            ]
            updates.append(
                Update(loss / summed, sum(valid for valid, _ in seen), sum(padded for _, padded in seen), seconds)
            )
        loss = _held_out_loss(model, job, processor)
        return Trained(tuple(updates), WARM_UP_UPDATES[job.device], loss, preparation_seconds, n_bytes)

    return one_round


def _prepare_rows(job: TrainingJob, processor: Any) -> Any:
    """The rows of the manifest as float arrays and labels, in an Arrow file: what the example's first part makes."""
    from datasets import Dataset, disable_progress_bars

    disable_progress_bars()
    utterances = open_corpus(str(job.folder / "train.jsonl")).utterances
    rows = Dataset.from_dict({"audio": [str(u.audio) for u in utterances], "text": [u.text for u in utterances]})

    def prepare(row: dict[str, Any]) -> dict[str, Any]:
        values, labels = _example(row["audio"], row["text"], processor)
        return {"input_values": values, "input_length": len(values), "labels": labels}

    (job.folder / "theirs").mkdir(exist_ok=True)
    cache = str(job.folder / "theirs" / "prepared.arrow")
    return rows.map(prepare, remove_columns=rows.column_names, cache_file_name=cache)


def _example(path: str, text: str, processor: Any) -> tuple[Any, list[int]]:
    values = processor.feature_extractor(audio.load(path).numpy(), sampling_rate=SAMPLE_RATE).input_values[0]
    return values, processor.tokenizer(text).input_ids


def _held_out_loss(model: Any, job: TrainingJob, processor: Any) -> float:
    """The CTC loss for each label over the held-out utterances, one by one, without dropout, in float32."""
    import torch

    model.eval()
    model.config.ctc_loss_reduction = "sum"
    total, n_labels = 0.0, 0
    for utterance in open_corpus(str(job.folder / "validation.jsonl")).utterances:
        values, labels = _example(str(utterance.audio), utterance.text, processor)
        example = {"input_values": values, "labels": labels}
        with torch.inference_mode():
            batch = {key: torch.as_tensor(value, device=model.device)[None] for key, value in example.items()}
            total += float(model(**batch).loss)
        n_labels += len(labels)
    return total / n_labels


def _clock(device: str) -> Any:
    """A callback that keeps the seconds and the loss of each update."""
    import torch
    from transformers import TrainerCallback

    class Clock(TrainerCallback):  # type: ignore[misc]
        def __init__(self) -> None:
            self.losses: list[float] = []
            self.seconds: list[float] = []
            self._since = 0.0

        def on_train_begin(self, *_: Any, **__: Any) -> None:
            self._since = time.perf_counter()

        def on_step_end(self, *_: Any, **__: Any) -> None:
            if device == "cuda":
                torch.cuda.synchronize()
            now = time.perf_counter()
            self.seconds.append(now - self._since)
            report_step()
            self._since = time.perf_counter()

        def on_log(self, *_: Any, logs: Mapping[str, Any], **__: Any) -> None:
            if "loss" in logs:
                self.losses.append(float(logs["loss"]))

    return Clock()


def _printer() -> Any:
    """The callback that prints each line of the log, to be removed."""
    from transformers import PrinterCallback

    return PrinterCallback
