"""The peer: transformers' Trainer as the README of its CTC example sets it up.

Source: examples/pytorch/speech-recognition/run_speech_recognition_ctc.py and its README, "Single GPU CTC" (16
utterances a batch, two batches an update) and "Multi GPU CTC" (4 a batch, which is taken on a CPU). Kept: the input as
float arrays through datasets.map beforehand, batches grouped by length, its collator, fp16 on a GPU, gradient
checkpointing, the frozen feature encoder, AdamW at 3e-4 after 500 updates of warm-up, its probabilities of masks and no
dropout. Left out: evaluation, saving and pushing. Audio is decoded by our own reader, before the clock starts.
"""

import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmark.peers.training_job import PEAK_LEARNING_RATE, SEED, Trained, TrainingJob, Update
from preprocessing import audio
from preprocessing.audio import SAMPLE_RATE
from preprocessing.corpus import open_corpus


@dataclass
class PaddingCollator:
    """DataCollatorCTCWithPadding: inputs and labels padded to the longest, the padding of labels ignored by the loss.

    `seen` grows by the valid and the padded seconds of each batch.
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
    """The input is prepared once; a round is a run of Trainer from the same weights."""
    from transformers import AutoModelForCTC, Trainer, TrainingArguments, Wav2Vec2Processor
    from transformers.utils import logging

    warnings.filterwarnings("ignore", category=FutureWarning)
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    processor = Wav2Vec2Processor.from_pretrained(job.folder / "model")
    began = time.perf_counter()
    prepared = _prepared(job, processor)
    preparation_seconds = time.perf_counter() - began
    n_bytes = sum(path.stat().st_size for path in (job.folder / "theirs").glob("*.arrow"))
    arguments = TrainingArguments(
        output_dir=str(job.folder / "theirs"),
        max_steps=job.all_updates,
        per_device_train_batch_size=job.utterances_per_batch,
        gradient_accumulation_steps=job.accumulate,
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
    chance = {
        "mask_time_prob": 0.05 if job.by_chance else 0.0,
        "attention_dropout": 0.0,
        "hidden_dropout": 0.0,
        "activation_dropout": 0.0,
        "feat_proj_dropout": 0.0,
        "final_dropout": 0.0,
        "layerdrop": 0.0,
    }

    def one_round() -> Trained:
        model = AutoModelForCTC.from_pretrained(job.folder / "model", ctc_loss_reduction="mean", **chance)
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
        # a model that takes further keywords is believed to divide by the batches of an update; this one does not
        summed = job.accumulate if trainer.model_accepts_loss_kwargs else 1
        for number, (loss, seconds) in enumerate(zip(clock.losses, clock.seconds, strict=True)):
            seen = collator.seen[number * job.accumulate : (number + 1) * job.accumulate]
            updates.append(
                Update(loss / summed, sum(valid for valid, _ in seen), sum(padded for _, padded in seen), seconds)
            )
        loss = _held_out_loss(model, job, processor)
        return Trained(tuple(updates), loss, preparation_seconds, n_bytes)

    return one_round


def _prepared(job: TrainingJob, processor: Any) -> Any:
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
        told = {"input_values": values, "labels": labels}
        with torch.inference_mode():
            batch = {key: torch.as_tensor(value, device=model.device)[None] for key, value in told.items()}
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
            self._since = now

        def on_log(self, *_: Any, logs: Mapping[str, Any], **__: Any) -> None:
            if "loss" in logs:
                self.losses.append(float(logs["loss"]))

    return Clock()


def _printer() -> Any:
    """What would print each line of the log."""
    from transformers import PrinterCallback

    return PrinterCallback
