"""What several tests of preprocessing share."""

from pathlib import Path

import pytest
import torch

from preprocessing import audio
from tests.conftest import read_manifest


@pytest.fixture(scope="session")
def utterances(speech: Path) -> list[torch.Tensor]:
    """Three real voices, 4 s each."""
    rows = {row["speaker"]: row for row in read_manifest(speech / "librispeech" / "test-other.jsonl")}
    return [audio.load(speech / "librispeech" / row["audio"], start=0.5, stop=4.5) for row in list(rows.values())[:3]]
