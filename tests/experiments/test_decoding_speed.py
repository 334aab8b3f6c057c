"""The beam search beside pyctcdecode: what is compared, what falls short, what is refused."""

import importlib.util
import json
from pathlib import Path

import pytest

from experiments.decoding_speed import PEER, Config, SearchJob, compare_word_errors, main, ours
from experiments.decoding_speed import run as run_experiment
from finetune.decoding.beam import BeamSettings
from finetune.language_model.kneser_ney import estimate
from finetune.language_model.ngram import write_arpa
from preprocessing.errors import UsageError
from preprocessing.units import Vocabulary
from tests.commands import run
from tests.conftest import DEMO
from tests.finetune.decoding.test_beam import misheard

THERE = importlib.util.find_spec("pyctcdecode") is not None and importlib.util.find_spec("kenlm") is not None


def test_our_side_searches_with_the_file(tmp_path: Path) -> None:
    vocabulary = Vocabulary.of_characters(["THE CAT SAT"])
    vocabulary.save(tmp_path)
    arpa = tmp_path / "words.arpa"
    with arpa.open("w") as file:
        write_arpa(estimate([["THE", "CAT", "SAT"]] * 4, 2), file)
    job = SearchJob(str(tmp_path), arpa, (misheard(vocabulary),), BeamSettings())
    assert ours(job)() == ["THE CAT SAT"]


@pytest.mark.parametrize(
    ("mine", "points", "holds"), [("A B C D", 25.0, True), ("A B X D", 0.0, True), ("A", -50.0, False)]
)
def test_more_word_errors_than_the_peer_fall_short(mine: str, points: float, holds: bool) -> None:
    found = compare_word_errors([mine], ["A B C X"], ["A B C D"])
    assert found.advantage == pytest.approx(points)
    assert found.holds is holds


@pytest.mark.slow
@pytest.mark.skipif(THERE, reason="pyctcdecode is installed")
def test_a_peer_that_is_not_there_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = tmp_path / "found.json"
    main(["--utterances", "1", "--rounds", "1", "--json", str(found)])
    assert "pyctcdecode is missing: install it with" in capsys.readouterr().out
    assert json.loads(found.read_text())["missing"][0]["peer"] == PEER


@pytest.mark.skipif(not THERE, reason="pyctcdecode and kenlm are not installed")
def test_beside_pyctcdecode(tmp_path: Path) -> None:
    found = tmp_path / "found.json"
    result = run("-m", "experiments.decoding_speed", "--utterances", "20", "--rounds", "1", "--json", found)
    assert "Traceback" not in result.stderr
    searched, words = json.loads(found.read_text())["figures"]
    assert words["holds"]
    assert searched["ours"] > 0


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (Config(data=str(DEMO / "corpus" / "train.jsonl")), "without --lm; expected a language model"),
        (Config(model="whisper=base.en", lm=Path("words.arpa")), "name a CTC model"),
        (Config(beam_width=0), "--beam_width is 0; expected 1 or more"),
    ],
)
def test_what_cannot_be_compared_is_refused(config: Config, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        run_experiment(config)
