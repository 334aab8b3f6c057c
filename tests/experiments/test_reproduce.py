"""`python -m experiments.reproduce`: ours beside the published, what is off flagged, what is done not done again."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import jiwer
import pytest
import yaml

from benchmark import session
from benchmark.results import read_samples
from experiments.harness.figures import FallsShortError
from experiments.reproduce import Config, Published, Reproduced, main, reproduce
from finetune.metrics import Rate
from preprocessing.cli.options import parse_command
from preprocessing.errors import UsageError
from preprocessing.text import profile
from tests.conftest import DEMO, ROOT, absolute, write_manifest

MODELS = {f"wav2vec2={DEMO / 'wav2vec2'}": "librispeech", f"whisper={DEMO / 'whisper'}": "whisper-english"}


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> tuple[Config, dict[str, float]]:
    """Two demo models on three utterances, already reproduced, and their WERs in percent as jiwer counts them."""
    folder = tmp_path_factory.mktemp("reproduce")
    corpus = write_manifest(folder / "demo.jsonl", absolute(DEMO / "corpus" / "test.jsonl", 3))
    published = [Published(model, {"demo": 50.0}, name, "made up") for model, name in MODELS.items()]
    config = Config(published, {"demo": str(corpus)}, output_dir=folder / "out", device="cpu")
    reproduce(config)
    samples = list(read_samples(folder / "out" / "demo" / "samples.jsonl"))
    wers = {}
    for (model, name), system in zip(MODELS.items(), ("wav2vec2 demo", "whisper demo"), strict=True):
        normalised = profile(name)
        pairs = [(normalised(one.reference), normalised(one.hypothesis)) for one in samples if one.system == system]
        assert len(pairs) == 3
        wers[model] = 100.0 * jiwer.wer([said for said, _ in pairs], [heard for _, heard in pairs])
    return config, wers


@pytest.fixture
def no_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(config: object) -> None:
        raise AssertionError("measured again")

    monkeypatch.setattr(session, "benchmark", refuse)


def written(path: Path, config: Config, off: dict[str, float]) -> list[str]:
    """The configuration as a file, its published figures `off` points below what was measured; options that name it."""
    published = [
        {"model": model, "wer_percent": {"demo": wer}, "profile": MODELS[model], "source": f"made up for {model[:5]}"}
        for model, wer in off.items()
    ]
    content = {"published": published, "subsets": config.subsets, "output_dir": str(config.output_dir), "device": "cpu"}
    path.write_text(yaml.safe_dump(content))
    return ["--config", str(path)]


@pytest.mark.slow
@pytest.mark.usefixtures("no_run")
def test_one_within_the_tolerance_and_one_flagged(
    tmp_path: Path,
    measured: tuple[Config, dict[str, float]],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    config, wers = measured
    near, far = MODELS
    options = written(tmp_path / "published.yaml", config, {near: wers[near] - 0.29, far: wers[far] + 0.31})
    with pytest.raises(FallsShortError, match=r"^1 of 2 figures are not within 0\.3 points") as raised:
        main(options)
    assert far in str(raised.value) and near not in str(raised.value)
    printed = capsys.readouterr().out
    near_row, far_row = (line for line in printed.splitlines() if line.strip().startswith("demo "))
    assert f" {wers[near]:.2f} " in near_row and near_row.rstrip().endswith("+0.29")
    assert f" {wers[far]:.2f} " in far_row and far_row.rstrip().split()[-2:] == ["-0.31", "DIFFERS"]
    assert f"{near}, counted under librispeech; published: made up for wav2v" in printed
    main(written(tmp_path / "published.yaml", config, {near: wers[near], far: wers[far] + 0.3}))


@pytest.mark.slow
@pytest.mark.usefixtures("no_run")
def test_results_of_other_data_are_refused(measured: tuple[Config, dict[str, float]]) -> None:
    with pytest.raises(UsageError, match=r"out/demo holds results with --limit default; expected 2"):
        reproduce(replace(measured[0], limit=2))


def test_a_model_that_fails_is_no_agreement() -> None:
    failed = Reproduced("whisper=tiny.en", "test-clean", 5.6, None)
    assert failed.difference is None and not failed.agrees(100.0)
    assert Reproduced("m", "s", 5.6, Rate(0.059, 0.05, 0.06)).agrees(0.3)
    assert not Reproduced("m", "s", 5.6, Rate(0.0529, 0.05, 0.06)).agrees(0.3)


GOOD = Config([Published("whisper=base.en", {"clean": 4.2}, "whisper-english", "s")], {"clean": "x.jsonl"})


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda good: replace(good, published=[]), "is empty"),
        (lambda good: replace(good, tolerance_points=0.0), "--tolerance_points is 0"),
        (lambda good: replace(good, subsets=good.subsets | {"other": "y.jsonl"}), "nothing is published of 'other'"),
        (lambda good: replace(good, published=[replace(good.published[0], model="whisper")]), "names no checkpoint"),
        (
            lambda good: replace(
                good, published=[*good.published, Published("a=b", {"clena": 1.0}, "librispeech", "s")]
            ),
            "a=b has a WER on 'clena'; expected one of the subsets clean",
        ),
    ],
)
def test_figures_that_do_not_go_together(change: Callable[[Config], Config], told: str) -> None:
    GOOD.check()
    with pytest.raises(UsageError, match=told):
        change(GOOD).check()


def test_the_published_figures_of_librispeech_can_be_read() -> None:
    path = ROOT / "configs" / "benchmark" / "reproduce-librispeech.yaml"
    config = parse_command(Config, program="p", description="d", arguments=["--config", str(path)])
    config.check()
    assert {profile(one.profile).name for one in config.published} == set(MODELS.values())
    assert [set(one.wer_percent) for one in config.published] == [{"test-clean", "test-other"}] * 5


def test_the_former_name_of_the_output_folder_is_refused_with_the_new_one() -> None:
    with pytest.raises(UsageError, match="--output is now --output_dir"):
        parse_command(Config, program="reproduce", description="", arguments=["--output", "runs/mine"])
