"""A few hundred mutated files in each run of the tests; `python -m tests.fuzz --cases 10000` tries more."""

from pathlib import Path

from tests.fuzz import FuzzConfig, run


def test_mutated_audio_is_heard_or_refused(tmp_path: Path) -> None:
    ends = run(FuzzConfig(cases=300, seed=0, output=tmp_path))
    assert set(ends) == {"accepted", "refused"} and sum(ends.values()) == 300


def test_mutated_manifests_are_read_or_refused(tmp_path: Path) -> None:
    ends = run(FuzzConfig(cases=300, seed=0, kind="manifest", output=tmp_path))
    assert set(ends) == {"accepted", "refused"} and sum(ends.values()) == 300
