"""What several tests of finetune share."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from preprocessing.cli import cores
from tests.loopback_hub import TOKEN, Hub, serve


@pytest.fixture(autouse=True)
def fresh_accelerate() -> Iterator[None]:
    """accelerate keeps one state per process: an Accelerator of another precision than the first is refused."""
    yield
    if "accelerate.state" in sys.modules:
        from accelerate.state import AcceleratorState, GradientState

        AcceleratorState._reset_state(reset_partial_state=True)
        GradientState._reset_state()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run of a tiny model."""
    from tests.finetune.runs import tiny_run

    return tiny_run(tmp_path_factory.mktemp("runs") / "mine")


@pytest.fixture
def hub() -> Iterator[Hub]:
    """A Hub on the loopback interface, to which TOKEN may write."""
    with serve(Hub(tokens={TOKEN: "write"}, large_from=50_000)) as hub:
        yield hub


@pytest.fixture
def no_batches() -> None:
    """Echo has transcribed nothing yet."""
    from tests.finetune.transcription.transcribing import Echo

    Echo.batches.clear()


@pytest.fixture
def threads_under_quota(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """What torch.set_num_threads is called with, where the default is 4 and the quota of the container one core."""
    numbers = list[int]()
    monkeypatch.setattr(cores, "_quota", lambda root: 1.0)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    monkeypatch.setattr(torch, "set_num_threads", numbers.append)
    return numbers
