"""Our side of the comparison: the fine-tuning command's own run, read back from its log."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import yaml

from benchmark.peers.training_job import PEAK_LEARNING_RATE, PROFILE, SEED, Trained, TrainingJob, Update

COMMAND = Path(__file__).resolve().parents[2] / "finetune" / "train.py"


def ours(job: TrainingJob, mixed_precision: str, dropout: float | None = None) -> Callable[[], Trained]:
    """A round is a run from the same weights; it decodes audio as it goes and prepares nothing beforehand.

    dropout: None for our default.
    """
    from finetune.config import DataConfig, ModelConfig, OptimisationConfig, TrainConfig
    from finetune.record import Record, plain

    output = job.folder / f"ours {mixed_precision} {dropout}"
    chance = {} if job.by_chance else {"mask_time_probability": 0.0, "dropout": 0.0}
    chance |= {} if dropout is None else {"dropout": dropout}
    config = TrainConfig(
        output=output,
        model=ModelConfig(base=str(job.folder / "model"), **chance),  # type: ignore[arg-type]
        data=DataConfig(
            train=[str(job.folder / "train.jsonl")],
            validation=str(job.folder / "validation.jsonl"),
            profile=PROFILE,
            max_batch_seconds=job.batch_seconds,
            max_seconds=job.batch_seconds,
        ),
        optimisation=OptimisationConfig(
            updates=job.all_updates,
            # a run that ends within the rise ends below the peak
            learning_rate=PEAK_LEARNING_RATE * min(job.all_updates / max(job.warm_up, 1), 1.0),
            schedule="linear",
            rise=min(job.warm_up / job.all_updates, 1.0),
            hold=0.0,
            accumulate=job.accumulate,
        ),
        seed=SEED,
        mixed_precision=mixed_precision,  # type: ignore[arg-type]
        evaluate_every=job.all_updates,
        log_every=1,
        overwrite=True,
    )
    config.check()

    told = job.folder / f"{output.name}.yaml"
    told.write_text(yaml.safe_dump(plain(config)), encoding="utf-8")

    def one_round() -> Trained:
        command = [sys.executable, str(COMMAND), "--config", str(told)]
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
        if ended.returncode != 0:
            raise RuntimeError((ended.stderr or ended.stdout).strip() or f"exit code {ended.returncode}")
        updates = []
        heard, held_out_loss = 0.0, float("nan")
        for line in Record(output).read_log():
            if line["kind"] == "train":
                audio_seconds, heard = line["audio_seconds"] - heard, line["audio_seconds"]
                seconds = audio_seconds / line["audio_seconds_per_second"]
                padded = audio_seconds / (1.0 - line["padding_share"])
                updates.append(Update(line["loss"], audio_seconds, padded, seconds))
            elif line["kind"] == "validation":
                held_out_loss = line["loss"]
        shutil.rmtree(output)
        return Trained(tuple(updates), held_out_loss)

    return one_round
