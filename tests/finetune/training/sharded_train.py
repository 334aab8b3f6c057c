"""finetune/train.py with FSDP 2 on CPUs, which accelerate itself has for GPUs alone: its plug-in, over gloo.

Launched like the command, as a module. Everything but the choice of the device is what several GPUs run.
"""

from typing import Any

from accelerate import Accelerator
from accelerate.utils import DistributedType, FullyShardedDataParallelPlugin

from finetune import training_run
from finetune.train import main
from preprocessing.cli.options import run_command

make_accelerator = training_run.make_accelerator


def sharded(config: Any) -> Accelerator:
    return shard(make_accelerator(config))


def shard(accelerator: Accelerator) -> Accelerator:
    """Lets it prepare what follows in shards."""
    accelerator.state.fsdp_plugin = FullyShardedDataParallelPlugin(
        fsdp_version=2, auto_wrap_policy="transformer_based_wrap", cpu_ram_efficient_loading=False
    )
    accelerator.state.distributed_type = DistributedType.FSDP
    return accelerator


if __name__ == "__main__":
    training_run.make_accelerator = sharded
    run_command(main)
