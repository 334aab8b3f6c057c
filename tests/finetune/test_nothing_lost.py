"""A run killed at random moments, saving included, ends with the same weights; a full disk leaves what was saved."""

import resource
import signal
from pathlib import Path

import pytest
import torch
from torch import nn

from finetune.training import checkpoint
from finetune.training.checkpoint import Progress, States
from preprocessing.cli.errors import InputError
from tests.kill import kill_often


@pytest.mark.timeout(1800)
def test_killed_at_five_random_moments_it_ends_with_the_same_weights(tmp_path: Path) -> None:
    count, killed, whole = kill_often(tmp_path, times=5, updates=14, seed=1)
    assert count >= 3  # a quiet machine may be done before the fifth
    assert killed == whole


@pytest.fixture
def parts() -> tuple[nn.Module, torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    module = nn.Linear(300, 300)
    optimiser = torch.optim.AdamW(module.parameters())
    return module, optimiser, torch.optim.lr_scheduler.LambdaLR(optimiser, lambda _: 1.0)


def test_a_full_disk_leaves_the_last_checkpoint_and_says_so(
    parts: tuple[nn.Module, torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler], tmp_path: Path
) -> None:
    """A limit on the size of files stands for the disk: the kernel refuses the write in the same way."""
    module, optimiser, schedule = parts
    states = States(optimiser.state_dict(), schedule.state_dict(), [checkpoint.random_states()])
    whole = checkpoint.save(tmp_path, module, states, Progress(step=1))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(InputError, match=r"step-00000002: cannot be written.*step-00000001 is complete"):
            checkpoint.save(tmp_path, module, states, Progress(step=2))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, ignored)
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000001"]
    before = module.weight.detach().clone()
    nn.init.zeros_(module.weight)
    checkpoint.restore(whole, module, schedule, optimiser.load_state_dict)
    assert torch.equal(module.weight, before)
