"""An update that two processes share is the one that a process makes alone, and takes little of the network."""

import json
from typing import Any

import pytest

from tests.commands import run_ranks

SECONDS = 200  # a process that waits for another for ever fails the test, and is ended
EVEN = [[[0, 1], [2, 3]], [[2], [1]]]  # of each update, of each process, the batches
UNEVEN = [[[0, 1], []], [[], []], [[], [2, 3]], [[1], [0, 3]], [[2], []]]
PLANS: dict[str, Any] = {
    "even wav2vec2": ["wav2vec2", EVEN],
    "even lstm": ["lstm", EVEN],
    "uneven wav2vec2": ["wav2vec2", UNEVEN],
    "uneven lstm": ["lstm", UNEVEN],
    "uneven whisper-ctc": ["whisper-ctc", UNEVEN],
    "sharded wav2vec2": ["wav2vec2", UNEVEN],  # the last: whatever comes after shards is in shards
}


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """What came of the plans with one process, and with two."""
    folder = tmp_path_factory.mktemp("updates")
    told = []
    for processes in (1, 2):
        path = folder / str(processes)
        words = ("-m", "tests.finetune.training.shared_updates", path, json.dumps(PLANS))
        result = run_ranks(*words, processes=processes, timeout=SECONDS)
        assert result.returncode == 0, result.stderr
        told.append(json.loads(path.read_text()))
    return told


@pytest.mark.slow
@pytest.mark.parametrize("plan", list(PLANS))
def test_two_processes_make_the_update_of_one(found: list[Any], plan: str) -> None:
    alone, shared = (of_all[plan] for of_all in found)
    for mine, theirs in zip(alone["updates"], shared["updates"], strict=True):
        assert theirs["loss"] == pytest.approx(mine["loss"], rel=1e-5)
        assert theirs["norm"] == pytest.approx(mine["norm"], rel=1e-4)
        assert [theirs[name] for name in ("labels", "skipped")] == [mine[name] for name in ("labels", "skipped")]
        assert theirs["seconds"] == pytest.approx(mine["seconds"])
    assert shared["weights"] == pytest.approx(alone["weights"], rel=1e-4, abs=1e-6)


@pytest.mark.slow
def test_an_update_asks_the_network_once_beside_its_gradients(found: list[Any]) -> None:
    for update in found[1]["even wav2vec2"]["updates"]:
        assert update["collectives"] == {"all_reduce": 1}
