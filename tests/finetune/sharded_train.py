"""finetune/train.py with FSDP 2 on CPUs, which accelerate itself has for GPUs alone: its plug-in, over gloo.

Launched like the command, as a module. Everything but the choice of the device is what several GPUs run. After the run
its last checkpoint goes to first/ beside the run's folder, and the run is resumed from the one before.
"""

from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType, FullyShardedDataParallelPlugin

from finetune import checkpoint, run
from finetune.config import TrainConfig
from preprocessing.command import parse_command, run_command

make_accelerator = run._accelerator


def sharded(config: Any) -> Accelerator:
    accelerator = make_accelerator(config)
    accelerator.state.fsdp_plugin = FullyShardedDataParallelPlugin(
        fsdp_version=2, auto_wrap_policy="transformer_based_wrap", cpu_ram_efficient_loading=False
    )
    accelerator.state.distributed_type = DistributedType.FSDP
    return accelerator


def main() -> None:
    config = parse_command(TrainConfig, program="sharded_train", description="twice")
    run.train(config)
    torch.distributed.barrier()
    if torch.distributed.get_rank() == 0:
        last = checkpoint.latest(config.output / "checkpoints")
        assert last is not None
        last.rename(config.output.parent / "first")
    torch.distributed.barrier()
    run.train(config)


if __name__ == "__main__":
    run._accelerator = sharded
    run_command(main)
