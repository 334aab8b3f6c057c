"""Our side of the comparison: the fine-tuning command's own run, read back from its log."""

import contextlib
import io
import shutil
from collections.abc import Callable

from benchmark.peers.training_job import PEAK_LEARNING_RATE, PROFILE, SEED, Trained, TrainingJob, Update


def ours(job: TrainingJob, mixed_precision: str) -> Callable[[], Trained]:
    """A round is a run from the same weights; it decodes audio as it goes and prepares nothing beforehand."""
    from finetune.config import DataConfig, ModelConfig, OptimisationConfig, TrainConfig
    from finetune.record import Record
    from finetune.run import train

    output = job.folder / f"ours {mixed_precision}"
    chance = {} if job.by_chance else {"mask_time_probability": 0.0, "dropout": 0.0}
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

    def one_round() -> Trained:
        with contextlib.redirect_stdout(io.StringIO()):
            train(config)
        updates = []
        heard = 0.0
        for line in Record(output).read_log():
            if line["kind"] == "train":
                audio_seconds, heard = line["audio_seconds"] - heard, line["audio_seconds"]
                seconds = audio_seconds / line["audio_seconds_per_second"]
                padded = audio_seconds / (1.0 - line["padding_share"])
                updates.append(Update(line["loss"], audio_seconds, padded, seconds))
        shutil.rmtree(output)
        return Trained(tuple(updates))

    return one_round
