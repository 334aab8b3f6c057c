"""A few hundred mutated files in each run of the tests; `python -m tests.attack --only files` tries more."""

from pathlib import Path

import pytest

from tests.attack.bombs import bombs
from tests.attack.mutations import Mutations, run


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["audio", "manifest"])
def test_mutated_files_are_read_or_refused(tmp_path: Path, kind: str) -> None:
    ends = run(Mutations(300, tmp_path, kind))
    assert set(ends) == {"accepted", "refused"} and sum(ends.values()) == 300


def test_ten_hours_that_a_header_announces_are_not_believed(tmp_path: Path) -> None:
    ends = run(Mutations(len(bombs()), tmp_path, "bomb"))
    assert ends["refused"] >= 5 and sum(ends.values()) == ends["accepted"] + ends["refused"] == len(bombs())
