"""The same command twice gives the same results on a CPU, apart from what is measured in seconds and bytes."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmark import session
from benchmark.config import BenchmarkConfig
from benchmark.results import read_samples
from finetune import training_run
from finetune.config import DataConfig, ModelConfig, TrainConfig
from tests.conftest import DEMO, absolute, write_manifest
from tests.finetune.runs import TINY

MEASURED = {
    "speed", "load_seconds", "first_call_seconds", "peak_memory_bytes", "memory_before_loading_bytes", "seconds",
    "created", "command",
}  # fmt: skip


def without_times(found: Any) -> Any:
    if isinstance(found, dict):
        return {key: without_times(value) for key, value in found.items() if key not in MEASURED}
    return [without_times(one) for one in found] if isinstance(found, list) else found


@pytest.mark.slow
def test_a_benchmark_twice_gives_the_same_samples_and_summary(tmp_path: Path) -> None:
    """Under noise, which is drawn by seed and utterance."""
    corpus = write_manifest(tmp_path / "six.jsonl", absolute(DEMO / "corpus" / "test.jsonl", 6))
    twice: list[tuple[list[Any], Any]] = []
    for name in ("first", "second"):
        config = BenchmarkConfig(
            models=f"wav2vec2={DEMO / 'wav2vec2'}", data=str(corpus), output_dir=tmp_path / name,
            conditions="clean,noise:10", rounds=1, latency_utterances=1, device="cpu",
        )  # fmt: skip
        session.benchmark(config)
        summary = json.loads((tmp_path / name / "summary.json").read_text(encoding="utf-8"))
        samples = [
            (one.system, one.condition, one.id, one.hypothesis)
            for one in read_samples(tmp_path / name / "samples.jsonl")
        ]
        twice.append((samples, without_times(summary)))
    assert len(twice[0][0]) == 2 * 6
    assert twice[0] == twice[1]


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU adds in an order of its own")
def test_a_training_twice_gives_the_same_weights_with_other_data_workers(tmp_path: Path) -> None:
    train = write_manifest(tmp_path / "train.jsonl", absolute(DEMO / "corpus" / "train.jsonl", 12))
    digests = []
    for workers in (0, 2):
        config = TrainConfig(
            output_dir=tmp_path / str(workers),
            model=ModelConfig(family="wav2vec2", scratch=TINY, freeze_feature_encoder=False),  # type: ignore[arg-type]
            data=DataConfig(
                train=[str(train)], validation_share=0.25, profile="librispeech", max_batch_seconds=12,
                augment=[{"name": "speed", "factors": [0.9, 1.1]}],
            ),
            max_steps=4, eval_steps=4, logging_steps=2, dataloader_num_workers=workers, report_to="none",
        )  # fmt: skip
        training_run.train(config)
        digests.append(hashlib.sha256((config.output_dir / "model.safetensors").read_bytes()).hexdigest())
    assert digests[0] == digests[1]
