"""5,000 utterances score in seconds and little memory; the study that measures 100,000 is the same."""

import pytest

from experiments.scoring_scale import Config, main, measure
from preprocessing.errors import UsageError
from tests.commands import run


@pytest.mark.slow
def test_5000_utterances() -> None:
    """2 s of processor and 350 MB when quiet, most of it imports; ten times slower is a defect."""
    found = measure(Config(profiles=["librispeech"]), 5000)
    assert found.cpu_seconds < 20
    assert found.peak_bytes < 1.5e9
    assert 0.09 <= found.wer < 0.11


def test_scoring_imports_no_library_that_it_does_not_count_with() -> None:
    """evaluate, datasets and transformers: seconds, and more memory than 100,000 utterances take."""
    heavy = run(
        "-c", "import benchmark.scoring, sys; print({'evaluate', 'datasets', 'transformers'} & set(sys.modules))"
    )
    assert heavy.stdout.strip() == "set()", heavy.stderr


@pytest.mark.parametrize(("flag", "value"), [("utterances", "0"), ("words", "0"), ("wer", "10")])
def test_numbers_out_of_range_are_wrong_usage(flag: str, value: str) -> None:
    with pytest.raises(UsageError, match=f"--{flag} is {value}; expected"):
        main([f"--{flag}", value])
