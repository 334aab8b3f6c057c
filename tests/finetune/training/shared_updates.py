"""`accelerate launch --module tests.finetune.training.shared_updates FILE`: updates that processes make together.

The main process writes what came of them as JSON. By itself it is the one process that they are compared with.
"""

import json
import sys
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import distributed

from finetune import models
from finetune.config import ModelConfig, OptimisationConfig
from finetune.models.base import Batch, TrainableRecogniser, pad_batch
from finetune.training.distributed import sum_over_processes, weight_distribution
from finetune.training.optimisation import make_schedule
from finetune.training.step import Stepper
from tests.finetune.runs import TINY
from tests.finetune.training.sharded_train import shard

TEXTS = ("stop", "go", "yes", "no") * 2
SIZES: dict[str, dict[str, Any]] = {
    "wav2vec2": TINY,
    "lstm": {"n_mels": 8, "hidden_size": 8, "num_layers": 1, "conv_channels": 2},
    "whisper-ctc": {
        "d_model": 16,
        "encoder_layers": 2,
        "encoder_attention_heads": 2,
        "encoder_ffn_dim": 16,
        "head": "linear",
    },
}


def recogniser_of(family: str) -> TrainableRecogniser:
    chance: dict[str, Any] = {"dropout": 0.0, "mask_time_prob": 0.0}
    return models.build(ModelConfig(family=family, scratch=SIZES[family], **chance), list(TEXTS), seed=0)  # type: ignore[arg-type]


def batches_of(recogniser: TrainableRecogniser) -> list[Batch]:
    """Four of two utterances."""
    generator = torch.Generator().manual_seed(0)
    heard = [
        recogniser.prepare(n, 0.1 * torch.randn(8000 + 900 * n, generator=generator), recogniser.encode(text))
        for n, text in enumerate(TEXTS)
    ]
    return [pad_batch(heard[low:high]) for low, high in pairwise(range(0, 9, 2))]


def counted() -> dict[str, int]:
    """Lets every collective that Python code asks for be counted, from here on, by its name."""
    counts = dict.fromkeys(("all_reduce", "all_gather_object", "all_gather", "broadcast", "barrier"), 0)
    for name in counts:
        setattr(distributed, name, _counting(counts, name, getattr(distributed, name)))
    return counts


def _counting(counts: dict[str, int], name: str, collective: Any) -> Any:
    def count(*arguments: Any, **options: Any) -> Any:
        counts[name] += 1
        return collective(*arguments, **options)

    return count


def updated(
    accelerator: Accelerator, counts: dict[str, int], family: str, shares: list[list[list[int]]]
) -> dict[str, Any]:
    """Updates over batches that are dealt out, each with the collectives that it took.

    shares: of each update, of each process, the batches.
    """
    recogniser = recogniser_of(family)
    batches = batches_of(recogniser)
    settings = OptimisationConfig(max_steps=10, gradient_accumulation_steps=2)
    # With lr=1.0 the lstm is so badly conditioned that rounding alone moves the fifth loss by 5e-5 on AVX2.
    optimiser: Any = torch.optim.SGD(recogniser.module.parameters(), lr=0.1)
    schedule = make_schedule(optimiser, settings)
    place = weight_distribution(accelerator)
    module, optimiser = place.prepare(recogniser.module, optimiser)
    stepper = Stepper(accelerator, recogniser, optimiser, schedule, settings)
    found: list[dict[str, Any]] = []
    for share in shares:
        mine = [batches[number] for number in share[accelerator.process_index]]
        before = dict(counts)
        outcome = stepper.step(module, mine, lambda number: torch.Generator().manual_seed(number))
        collectives = {name: count - before[name] for name, count in counts.items() if count > before[name]}
        (loss,) = sum_over_processes(accelerator, [outcome.loss_sum])
        found.append(
            {
                "loss": loss,
                "labels": outcome.n_labels,
                "norm": outcome.grad_norm,
                "seconds": [outcome.audio_seconds, outcome.padded_seconds],
                "skipped": outcome.skipped,
                "collectives": collectives,
            }
        )
    with place.gathered(module) as whole:
        weights = torch.nn.utils.parameters_to_vector(accelerator.unwrap_model(whole).parameters()).detach()
    accelerator.free_memory()
    return {"updates": found, "weights": weights.double().tolist()}


def main() -> None:
    accelerator = Accelerator(cpu=True)
    counts = counted()
    together = {}
    for name, (family, shares) in json.loads(sys.argv[2]).items():
        if name.startswith("sharded") and accelerator.num_processes > 1:
            shard(accelerator)
        dealt = [[list(chain(*share))] for share in shares] if accelerator.num_processes == 1 else shares
        together[name] = updated(accelerator, counts, family, dealt)
    if accelerator.is_main_process:
        Path(sys.argv[1]).write_text(json.dumps(together))
    accelerator.end_training()


if __name__ == "__main__":
    main()
