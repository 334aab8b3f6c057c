"""Pages of studies: made of the results alone, and their sentences those that the results bear out."""

import importlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmark import __version__
from benchmark.results import ConditionUsed
from experiments import hours, language_models, robustness, seeds, units
from experiments.harness import study
from experiments.harness.comparing import Compared
from experiments.study_pages import hours as hours_page
from experiments.study_pages import robustness as robustness_page
from experiments.study_pages import seeds as seeds_page
from experiments.study_pages import units as units_page
from finetune.metrics import Rate
from preprocessing.errors import InputError
from tests.experiments.made_up import MINE, TESTED, drawn, written


def test_what_a_part_of_the_default_study_lacks_is_said() -> None:
    differences = study.differences_from_default
    config = units.Config(max_steps=20, seeds=1, recipe="mine/lstm.yaml", languages=["en"], units=["words", "bpe-9"])
    assert differences(config, "max_steps", "recipe", "seeds", "languages", "units") == (
        "20 steps instead of the recipe's own; recipe lstm instead of librispeech-mini-lstm; 1 seed instead of 3; "
        "without de; without characters, syllables, bpe-100, bpe-500, bpe-1000"
    )
    assert differences(units.Config(seeds=4), "max_steps", "recipe", "seeds", "languages") == ""
    fewer = hours.Config(minutes=[5.0, 15.0, 30.0, 60.0, 7.5], recipes=hours.Config().recipes[1:])
    assert differences(fewer, "recipes", "minutes", units={"minutes": "min"}) == (
        "without librispeech-mini-lstm; without 120 min, 300 min"
    )
    orders = language_models.Config(word_orders=[2], fusion_utterances=0)
    assert differences(orders, "word_orders", "fusion_utterances") == (
        "word_orders [2] instead of [2, 3, 4]; fusion_utterances 0 instead of 10"
    )


def test_seeds_and_augmentation_are_told_by_the_metric_of_the_results() -> None:
    spread = seeds.spread_of(drawn(3, 1, deviation=0.2), MINE, TESTED, "basic:ja", "CER")
    found = seeds_page.findings_of(seeds_page.Results([spread]))
    assert found.tables[0].headings[1] == "CER of the runs, %" and "the CER ranges from" in found.answers[0]
    both = seeds_page.findings_of(seeds_page.Results([spread, replace(spread, metric="WER")]))
    assert both.tables[0].headings[1] == "CER or WER of the runs, %"
    used = ConditionUsed("clean", "as it is")
    samples = {
        f"{kind}-seed-1": [written("1", "駅まで", "駅 まで"), written("2", "今日は", hypothesis)]
        for kind, hypothesis in ((robustness_page.PLAIN, "今日わ"), (robustness_page.AUGMENTED, "今日は"))
    }
    levels = robustness._levels([used], samples, "verbatim", "cer")
    assert levels[0].plain.value == pytest.approx(1 / 6) and levels[0].augmented.value == 0
    results = robustness_page.Results(
        recipe="mine", steps=3, runs=1, hours=0.1, augmentation=[], noises=0, test=TESTED, profile="basic:ja",
        levels=levels, metric="CER",
    )  # fmt: skip
    found = robustness_page.findings_of(results)
    said = " ".join([*found.tables[0].headings, *found.answers])
    assert "CER without, %" in said and "the CER of" in said and "WER" not in said


@pytest.mark.parametrize(
    ("name", "module"), [("hours-digits", hours_page), ("seeds", seeds_page), ("robustness", robustness_page)]
)
def test_results_of_before_cers_are_wers(name: str, module: Any) -> None:
    path = study.PAGES / f"{name}.json"
    _, found = study.read_results(path, name.partition("-")[0], module.Results)
    assert {one.metric for one in getattr(found, "spreads", [found])} == {"WER"}


def test_units_that_beat_the_best_of_validation_are_said_to() -> None:
    def beside(name: str, apart: Rate, p: float) -> Compared:
        return Compared(
            first=name, second="words", difference=apart, p_value=p, utterance_error=0.01, run_error=0.02, groups=6
        )

    def unit(name: str, apart: Rate, p: float) -> Any:
        wer = Rate(0.3, 0.2, 0.4)
        return units_page.Unit(
            name=name, size=9, runs=1, wer=wer, run_wers=[0.3], cer=wer, unseen=wer, validation_wer=0.3, converged=1,
            curve=[(1, 0.3)], parameters=1, rtfx=1.0, labels_per_frame=0.1, infeasible=0.0,
            beside_best=None if name == "words" else beside(name, apart, p), adjusted_p=p,
        )  # fmt: skip

    own = [
        unit("words", Rate(0.0, 0.0, 0.0), 1.0),
        unit("bpe-100", Rate(-0.1, -0.12, -0.08), 0.001),
        unit("syllables", Rate(0.1, 0.08, 0.12), 0.001),
        unit("characters", Rate(-0.1, -0.3, 0.1), 0.3),
    ]
    studied = units_page.Studied(
        language="de", recipe="r", family="lstm", corpus="c", hours=1.0, steps=9, frame_seconds=0.02, test=TESTED,
        profile="basic", unseen_words=0, units=own, compared=None,
    )  # fmt: skip
    said = units_page._answers(studied)
    assert "de: words is significantly better than syllables after correction." in said
    assert "de: bpe-100 is significantly better than words after correction." in said
    assert "de: no significant difference between words and characters." in said
    overfitted = replace(studied, units=[replace(own[0], converged=None)])
    assert units_page.findings_of(units_page.Results([overfitted])).tables[0].rows[0][5] == "never"


def test_a_page_is_made_of_the_results_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(study, "PAGES", tmp_path / "studies")
    spread = seeds.spread_of(drawn(5, 3, deviation=0.3), MINE, TESTED, "verbatim")
    about = study.About(
        study="seeds", date="2026-11-28", command="python -m experiments.seeds",
        machine={"processor": "P", "cores": "2"}, partial="4 steps",
    )  # fmt: skip
    study._write(tmp_path / "results.json", about, seeds_page.Results([spread]))
    arguments = ["--from_results", str(tmp_path / "results.json"), "--docs", "true"]
    seeds.main(arguments)
    page = (tmp_path / "studies" / "seeds.md").read_text()
    assert page.startswith("# How large is run-to-run variance")
    assert "Intervals and tests are of before version 0.3.0" in page
    assert study._about("seeds", [], "", None).version == __version__
    for part in ("**In part**: 4 steps", "python -m experiments.seeds", "2026-11-28", "| mine |", "(seeds.png)", "P"):
        assert part in page
    assert f"{100 * spread.deviation.value:.1f} [" in page
    assert max(map(len, page.splitlines())) < 400
    seeds.main(["--from_results", str(tmp_path / "studies" / "seeds.json"), "--docs", "true"])
    assert (tmp_path / "studies" / "seeds.md").read_text() == page
    with pytest.raises(InputError, match="no results of this study"):
        robustness.main(["--from_results", str(tmp_path / "results.json")])


@pytest.mark.parametrize("results", sorted(study.PAGES.glob("*.json")), ids=lambda one: one.stem)
def test_every_page_is_that_of_its_results(results: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A page that was edited by hand, or not made again after its sentences changed, differs."""
    monkeypatch.setattr(study, "PAGES", tmp_path)
    made_by = importlib.import_module(f"experiments.{json.loads(results.read_text())['about']['study']}")
    made_by.main(["--from_results", str(results), "--docs", "true"])
    assert (tmp_path / f"{results.stem}.md").read_text() == results.with_suffix(".md").read_text()


def test_a_page_of_another_name_stands_beside_the_studys(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    results = study.PAGES / "hours.json"
    monkeypatch.setattr(study, "PAGES", tmp_path)
    hours.main(["--from_results", str(results), "--docs", "true", "--page", "hours-german"])
    page = (tmp_path / "hours-german.md").read_text()
    assert page.splitlines()[0].endswith("Whisper? (german)")
    assert "](hours-german.png)" in page and (tmp_path / "hours-german.png").exists()
    assert "python -m experiments.hours --from_results docs/studies/hours-german.json --docs true" in page
    hours.main(["--from_results", str(tmp_path / "hours-german.json"), "--docs", "true"])
    assert (tmp_path / "hours-german.md").read_text() == page
    assert not (tmp_path / "hours.md").exists()


def test_a_command_names_no_folder_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASR_DATA_DIR", "/home/me/speech")
    monkeypatch.setenv("ASR_REAL_MODELS", "/home/me/models")
    line = "python -m experiments.x --test /home/me/speech/a/test.jsonl --best /home/me/runs/b --x /home/me/models/t.pt"
    assert study.without_machine(line) == (
        "python -m experiments.x --test $ASR_DATA_DIR/a/test.jsonl --best b --x $ASR_REAL_MODELS/t.pt"
    )
