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
from tests.attack import jobs
from tests.attack.interruptions import interrupted
from tests.attack.trials import Setting


@pytest.mark.timeout(1800)
def test_stopped_at_four_random_moments_it_ends_with_the_same_weights(tmp_path: Path) -> None:
    """`python -m tests.attack --only interruptions` does so more often, to every command."""
    setting = Setting(rounds=2, seed=1, folder=tmp_path, say=print)
    trials = list(interrupted(jobs.train(tmp_path), setting, (signal.SIGKILL, signal.SIGINT)))
    jobs.close_forkers()
    assert sum(trial.times for trial in trials) == 4
    assert [trial.lost for trial in trials if trial.lost is not None] == []


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
