"""The profile of a training step: what does not fit into memory is said, the rest is kept; options that are wrong."""

from pathlib import Path
from typing import Any

import pytest
import torch

from experiments import training_profile
from experiments.harness import fine_tuning
from experiments.training_profile import KINDS, OTHER, Config, Profile
from preprocessing.errors import UsageError


class SmallGPU:
    """Instead of a trained model: one that batches of over 100 s are too large for."""

    def __init__(self, *_: Any, compiled: bool) -> None:
        self.compiled = compiled
        self.forgot = 0

    def profile(self, batch_seconds: float, steps: int) -> Profile:
        if batch_seconds > 100:
            raise torch.OutOfMemoryError
        busy = dict.fromkeys((*KINDS, OTHER), 0.01)
        return Profile("compiled" if self.compiled else "plain", batch_seconds, 0.1, busy, 10**9)

    def forget(self) -> None:
        self.forgot += 1


def test_batches_that_do_not_fit_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(training_profile, "Trained", SmallGPU)
    monkeypatch.setattr(fine_tuning, "prepare", lambda *_, **__: None)
    found = training_profile.run(Config(batch_seconds=[80.0, 200.0], device="cpu"))
    assert [row[:4] for row in found.tables[0].rows] == [
        ("plain", "80", "100.0", "800"),
        ("compiled", "80", "100.0", "800"),
    ]
    assert "batches of 200 s do not fit into memory; batches of 200 s compiled do not" in found.settings


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"steps": 0}, "--steps is 0; expected 1 or more"),
        ({"batch_seconds": []}, r"--batch_seconds is \[\]; expected numbers above 0"),
        ({"batch_seconds": [80.0, 0.0]}, r"--batch_seconds is \[80.0, 0.0\]; expected numbers above 0"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        training_profile.run(Config(device="cpu", **options))
