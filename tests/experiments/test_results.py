"""`python -m experiments.results`: its parts are commands that the parsers take, what is done is not done again, and
the pages hold the figures of the results.
"""

import json
import os
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jiwer
import pytest

from benchmark.config import BenchmarkConfig
from benchmark.results import NO_SECONDS, Sample, read_samples, read_summary
from benchmark.results.store import write_samples, write_summary
from benchmark.session import benchmark
from experiments.harness.trainings import is_finished_run
from experiments.result_parts import headline, pages, running
from experiments.result_parts.corpora import digit_profiles
from experiments.result_parts.headline import HEADLINE, TIMED, Result, read_results, save_headline
from experiments.result_parts.kinds import LANGUAGE_MODEL, Command, Folders, Measured, Training
from experiments.result_parts.pages import BEGIN, END, replace_block, results_page
from experiments.result_parts.parts import PARTS, select
from experiments.result_parts.running import run_parts
from experiments.result_parts.systems import ON_DIGITS, ON_ENGLISH, SYSTEMS
from experiments.results import main
from finetune.config import TrainConfig
from finetune.metrics import Rate
from finetune.systems import identity
from finetune.systems.registry import check_system_options, parse_models
from preprocessing.cli.options import parse_command
from preprocessing.errors import InputError, UsageError
from tests.conftest import DEMO, ROOT, absolute, write_manifest

SMALL = Measured(
    "digits",
    "Small",
    1,
    "digits/test.jsonl",
    ("wav2vec2-digits",),
    conditions="clean,telephone",
    condition_utterances=2,
)
LARGER = replace(SMALL, systems=("whisper-tiny-en", "wav2vec2-digits"))


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Folders:
    """All runs are the demo's wav2vec2, all Whispers the demo's; the digits are three commands of the demo."""
    folder = tmp_path_factory.mktemp("results")
    (folder / "data" / "digits").mkdir(parents=True)
    for name in ("runs", "whisper"):
        (folder / name).mkdir()
    for run in {system.checkpoint for system in SYSTEMS.values() if system.trained_here}:
        shutil.copytree(DEMO / "wav2vec2", folder / "runs" / run, copy_function=os.symlink)
        (folder / "runs" / run / LANGUAGE_MODEL).mkdir()
    for size in ("tiny.en", "base"):
        (folder / "whisper" / f"{size}.pt").symlink_to(DEMO / "whisper" / "whisper.pt")
    write_manifest(folder / "data" / "digits" / "test.jsonl", absolute(DEMO / "corpus" / "test.jsonl", 3))
    return Folders(folder / "data", folder / "runs", folder / "whisper", folder / "out")


def measure_here(words: list[str], **_: Any) -> "subprocess.CompletedProcess[str]":
    """The benchmark of a command line in this process, which has imported everything."""
    benchmark(parse_command(BenchmarkConfig, program="run.py", description="", arguments=words[2:]))
    return subprocess.CompletedProcess(words, 0)


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Benchmarks run in this process; the command lines that were run."""
    run: list[list[str]] = []

    def measure(words: list[str], **_: Any) -> "subprocess.CompletedProcess[str]":
        run.append(words)
        return measure_here(words)

    monkeypatch.setattr(running, "subprocess", SimpleNamespace(run=measure))
    return run


@pytest.fixture(scope="module")
def measured(folders: Folders) -> Folders:
    """The small part, measured."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(running, "subprocess", SimpleNamespace(run=measure_here))
        (outcome,) = run_parts([SMALL], folders, overwrite=False)
    assert outcome.status == "done"
    return folders


def as_measured_in(measured: Folders, folder: Path) -> Folders:
    """A copy of the results in another folder, as if they had been measured there."""
    copied = replace(measured, output=Path(shutil.copytree(measured.output, folder / "out")))
    state = running.state_of(SMALL, copied)
    assert state is not None
    running.write_state(copied.result(SMALL) / running.STATE, replace(state, command=SMALL.command(copied)))
    return copied


def test_parts_are_known_and_short() -> None:
    assert len({part.name for part in PARTS}) == len(PARTS)
    assert all(0 < part.minutes < 30 for part in PARTS)
    assert {name for part in PARTS if isinstance(part, Measured) for name in part.systems} == set(SYSTEMS)
    assert [part.name for part in select(["test-other", "conditions"])] == [
        "test-other",
        "conditions-digits",
        "conditions-test-other",
    ]
    with pytest.raises(UsageError, match=r"'digit' is not a part; expected train-digits, .*: choose one"):
        main(["digit"])


def test_the_command_above_the_table_makes_every_row() -> None:
    """Each corpus is measured, each model of a row is trained, and the duration is that of the parts."""
    line = re.search(r'make results PARTS="([^"]*)" *# about (\d+) h (\d+) min', (ROOT / "README.md").read_text())
    assert line is not None
    parts = select(line[1].replace("\\", " ").split())
    assert {name for name, _ in (*HEADLINE, *TIMED)} == {part.name for part in parts if isinstance(part, Measured)}
    trained = {part.folder for part in parts if isinstance(part, Training)}
    assert {SYSTEMS[name].checkpoint for name in ("wav2vec2-librispeech", *ON_DIGITS, *ON_ENGLISH)} == trained
    assert any(part.makes.endswith(LANGUAGE_MODEL) for part in parts if isinstance(part, Command))
    assert abs(sum(part.minutes for part in parts) - 60 * int(line[2]) - int(line[3])) <= 5


@pytest.mark.parametrize("part", [part for part in PARTS if isinstance(part, Measured)], ids=lambda part: part.name)
@pytest.mark.parametrize("own_weights", [True, False])
def test_every_benchmark_command_is_valid(part: Measured, own_weights: bool, folders: Folders) -> None:
    used = folders if own_weights else replace(folders, whisper=None)
    words = part.command(used)
    config = parse_command(BenchmarkConfig, program="run.py", description="", arguments=words[2:])
    config.check()
    specs = parse_models(config.models)
    check_system_options(specs, config.system_options)
    assert [spec.name for spec in specs] == list(part.systems)
    checkpoints = {spec.name: spec.checkpoint for spec in specs}
    if "whisper-base" in part.systems:
        assert checkpoints["whisper-base"] == (str(folders.whisper / "base.pt") if own_weights else "base")
    assert not any("demo" in checkpoint for checkpoint in checkpoints.values())


@pytest.mark.parametrize("part", [part for part in PARTS if isinstance(part, Training)], ids=lambda part: part.name)
@pytest.mark.parametrize("quick", [False, True])
def test_every_training_command_is_valid(part: Training, quick: bool, folders: Folders) -> None:
    folders = replace(folders, quick=quick)
    words = part.command(folders)
    config = parse_command(TrainConfig, program="train.py", description="", arguments=words[5:])
    config.check()
    assert config.output_dir == folders.training(part.folder)
    assert config.data.train[0] == str(folders.manifest(part.corpora[0]))
    assert config.data.validation == (None if part.validation is None else str(folders.manifest(part.validation)))
    if part.base is not None:
        assert config.model.base == str(folders.whisper / f"{part.base}.pt")


def test_a_run_is_finished_when_its_log_has_all_steps(tmp_path: Path) -> None:
    assert not is_finished_run(tmp_path)
    (tmp_path / "model.safetensors").touch()  # the best so far is there from the first evaluation on
    (tmp_path / "config.yaml").write_text("max_steps: 20\nearly_stopping_patience: null\n")
    log = [{"kind": "validation", "step": 0}, {"kind": "train", "step": 20}]
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in log))
    assert not is_finished_run(tmp_path)
    log.append({"kind": "validation", "step": 20, "text": "a\u2028b"})
    lines = [json.dumps(line, ensure_ascii=False) + "\n" for line in log]
    (tmp_path / "log.jsonl").write_text("".join([*lines, '{"kind": "tr']), encoding="utf-8")  # torn by a kill
    assert is_finished_run(tmp_path)


@pytest.mark.parametrize(
    ("wers", "is_finished"),
    [([0.9], False), ([0.9, 0.8, 0.8, 0.9], False), ([0.9, 0.8, 0.8, 0.9, 0.8], True)],
)
def test_a_run_with_patience_is_finished_where_that_is_exhausted(
    tmp_path: Path, wers: list[float], is_finished: bool
) -> None:
    (tmp_path / "model.safetensors").touch()
    (tmp_path / "config.yaml").write_text("max_steps: 1000\nearly_stopping_patience: 3\n")
    lines: list[dict[str, Any]] = []
    for place, wer in enumerate(wers):
        lines.append({"kind": "validation", "step": 10 * place, "wer": wer})
        if wer < min(wers[:place], default=1.0):
            lines.append({"kind": "best", "step": 10 * place, "steps": [10 * place], "wer": wer})
    if is_finished:  # the mean of several evaluations' weights comes after the end
        lines += [{"kind": "average", "step": 40}, {"kind": "best", "step": 40, "steps": [10, 20], "wer": 0.7}]
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert is_finished_run(tmp_path) == is_finished


@pytest.mark.slow
def test_what_is_done_is_not_done_again(measured: Folders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copied = as_measured_in(measured, tmp_path)
    run: list[list[str]] = []

    def fail(words: list[str], **_: Any) -> "subprocess.CompletedProcess[str]":
        run.append(words)
        return subprocess.CompletedProcess(words, 1)

    monkeypatch.setattr(running, "subprocess", SimpleNamespace(run=fail))
    assert [one.status for one in run_parts([SMALL], copied, overwrite=False)] == ["done before"] and not run
    (outcome,) = run_parts([replace(SMALL, language="de")], copied, overwrite=False)
    assert outcome.status == "failed" and run[0][-2:] == ["--overwrite", "true"]
    copied = as_measured_in(measured, tmp_path / "again")
    run_parts([SMALL], copied, overwrite=True)
    assert run[1][-2:] == ["--overwrite", "true"]


def test_weights_that_the_benchmark_fetches_do_not_make_it_run_again(
    folders: Folders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched, run = tmp_path / "tiny.en.pt", 0
    monkeypatch.setattr(identity, "whisper_cache_file", lambda size: fetched if fetched.is_file() else None)
    part = replace(SMALL, systems=("whisper-tiny-en",))
    without = replace(folders, whisper=None, output=tmp_path / "out")

    def fetch(words: list[str], **_: Any) -> "subprocess.CompletedProcess[str]":
        nonlocal run
        run += 1
        fetched.write_bytes(b"weights")
        (without.result(part) / "summary.json").touch()
        return subprocess.CompletedProcess(words, 0)

    monkeypatch.setattr(running, "subprocess", SimpleNamespace(run=fetch))
    assert [run_parts([part], without, overwrite=False)[0].status for _ in range(2)] == ["done", "done before"]
    fetched.write_bytes(b"other weights")
    assert run_parts([part], without, overwrite=False)[0].status == "done" and run == 2


def test_a_training_that_was_begun_by_hand_goes_on(
    folders: Folders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (part,) = select(["train-digits"])
    (tmp_path / "digits").mkdir()
    write_manifest(tmp_path / "digits" / "train.jsonl", [])
    own = replace(folders, data=tmp_path, runs=tmp_path / "runs", output=tmp_path / "out")
    run: list[list[str]] = []

    def stop(words: list[str], **_: Any) -> "subprocess.CompletedProcess[str]":
        run.append(words)
        return subprocess.CompletedProcess(words, 1)

    monkeypatch.setattr(running, "subprocess", SimpleNamespace(run=stop))
    run_parts([part], own, overwrite=False)
    run_parts([part], own, overwrite=False)
    run_parts([part], own, overwrite=True)
    assert ["--overwrite" in words for words in run] == [False, False, True]


def test_only_unchanged_systems_are_kept(measured: Folders) -> None:
    state = running.state_of(SMALL, measured)
    assert state is not None and running.kept_systems(state, state) == ["wav2vec2-digits"]
    assert running.kept_systems(state, replace(state, systems={"wav2vec2-digits": "other weights", "new": ""})) == []
    assert running.kept_systems(state, replace(state, inputs={next(iter(state.inputs)): "another manifest"})) == []
    assert running.kept_systems(state, replace(state, command=[*state.command, "--seed", "1"])) == []
    options = ["--models", "a,b", "--system_options.a.beam_size", "5", *state.command[4:]]
    assert running.kept_systems(state, replace(state, command=[*state.command[:2], *options])) == ["wav2vec2-digits"]


@pytest.mark.slow
def test_a_further_system_leaves_the_transcripts_of_the_others(
    measured: Folders, in_process: list[list[str]], tmp_path: Path
) -> None:
    copied = as_measured_in(measured, tmp_path)
    folder = copied.result(SMALL)
    before = list(read_samples(folder / "samples.jsonl"))
    (outcome,) = run_parts([LARGER], copied, overwrite=False)
    assert outcome.status == "done" and len(in_process) == 1 and "--overwrite" not in in_process[0]
    after = list(read_samples(folder / "samples.jsonl"))
    assert [one for one in after if one.system == "wav2vec2-digits"] == before  # seconds included
    summary = read_summary(folder / "summary.json")
    assert [one.facts.name for one in summary.systems] == list(LARGER.systems) and len(after) == 2 * len(before)


def test_a_part_whose_runs_are_not_there_says_so(folders: Folders, tmp_path: Path) -> None:
    elsewhere = replace(folders, runs=tmp_path, output=tmp_path / "out")
    (outcome,) = run_parts([SMALL], elsewhere, overwrite=False)
    assert outcome.status == "not measured" and list(outcome.missing) == ["wav2vec2-digits (digits)"]
    (outcome,) = run_parts([replace(SMALL, data="nowhere.jsonl")], folders, overwrite=False)
    assert outcome.status == "failed" and "nowhere.jsonl: no such file" in outcome.reason


def test_pages_hold_the_figures_of_the_results(
    measured: Folders, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(headline, "PARTS", (replace(SMALL, conditions="clean"),))
    results = read_results(measured)
    text = results_page(results, measured)
    samples = read_samples(measured.result(SMALL) / "samples.jsonl")
    pairs = [(one.reference, one.hypothesis) for one in samples if one.condition == "clean"]
    words = [[digit_profiles()[0](side) for side in pair] for pair in pairs]
    wer = 100 * jiwer.wer([reference for reference, _ in words], [hypothesis for _, hypothesis in words])
    (row,) = (line for line in text.splitlines() if line.startswith("| wav2vec2-digits | ") and "[" in line)
    assert f"{wer:.1f}" in row
    assert "$ASR_DATA_DIR/digits/test.jsonl" in text and str(measured.data) not in text
    own = read_summary(measured.result(SMALL) / "summary.json").systems[0]
    in_conditions = replace(results["digits"], part=SMALL)
    clean = own.clean_of_conditions or own.scores["basic:en"]  # of the recordings that the telephone has
    assert _cells(in_conditions)[0] == [
        "wav2vec2-digits",
        *(f"{100 * one.wer.value:.1f}" for one in (clean, own.conditions["telephone"]["basic:en"])),
    ]
    timed = replace(results["digits"], part=replace(SMALL, timed=True))
    assert own.speed is not None and f"{1000 * own.speed.p50:.0f}" == _cells(timed)[0][1]
    table = headline.headline({"digits": results["digits"], "latency-digits": timed}, picture="").splitlines()
    assert (
        f"time for a digit of {3600 * timed.summary.corpus.hours / timed.summary.corpus.utterances:.1f} s" in table[0]
    )
    assert table[2].endswith(f" | {1000 * own.speed.p50:.0f} |")
    page = tmp_path / "README.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    for _ in range(2):
        replace_block(page, headline.headline(results, picture="docs/p.png"))
    assert page.read_text().startswith(f"before\n{BEGIN}\n\n![WER") and page.read_text().endswith(f"{END}\nafter\n")
    assert f"{wer:.1f}" in page.read_text() and "old" not in page.read_text()
    save_headline(results, tmp_path / "picture.png")
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")
    page.write_text("no block\n")
    with pytest.raises(InputError, match="has no block of results"):
        replace_block(page, "text")


def test_digits_without_loops_are_counted_as_those_with_them(
    measured: Folders, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Figures are read one by one there, too: "48" is right, and under basic:en it would be two words wrong."""
    part = replace(SMALL, conditions="clean")
    monkeypatch.setattr(headline, "PARTS", (part,))
    copied = as_measured_in(measured, tmp_path)
    summary = read_summary(copied.result(part) / "summary.json")
    own = summary.systems[0]
    answers = {"looping": "nine " * 20, "right": "48", "wrong": "6 one"}
    samples = [
        Sample(own.facts.name, name, "four eight", text, 1.0, NO_SECONDS, speaker=name)
        for name, text in answers.items()
    ]
    write_samples(copied.result(part) / "samples.jsonl", samples)
    looping = replace(own, loops=["looping"], without_loops=Rate(0.99, 0.9, 1.0))
    write_summary(copied.result(part) / "summary.json", replace(summary, systems=[looping]))
    (result,) = read_results(copied).values()
    right = 100 * jiwer.wer(["four eight"] * 2, ["four eight", "six one"])
    section = "\n".join(pages.section(result, copied))
    assert re.search(rf"\| {right:.1f} \[\S+, \S+\] \(1 left out\) \|", section), section
    assert headline.sentence_of_loops(result) == (
        f"One system falls into repetition loops, on 1 of 3 recordings; on the others, its WER is {right:.1f} %."
    )
    everywhere = replace(looping, loops=list(answers))
    write_summary(copied.result(part) / "summary.json", replace(summary, systems=[everywhere]))
    (result,) = read_results(copied).values()
    assert not result.without_loops and headline.sentence_of_loops(result) == ""


def test_the_duration_of_a_training_in_the_readme_is_the_measured_one() -> None:
    stated = re.search(r"fine-tuned in (\d+) minutes", (ROOT / "README.md").read_text(encoding="utf-8"))
    page = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
    took = re.search(r"^\| wav2vec2-digits \|.*; took (\d+) min \|$", page, re.MULTILINE)
    assert stated is not None and took is not None and stated[1] == took[1]


def test_a_page_keeps_the_sections_of_parts_that_were_measured_elsewhere(
    measured: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = replace(SMALL, conditions="clean")
    elsewhere = next(part for part in PARTS if part.name == "ljspeech")
    monkeypatch.setattr(headline, "PARTS", (here,))
    monkeypatch.setattr(pages, "PARTS", (here, elsewhere))
    results = read_results(measured)
    section = f"### {elsewhere.title}, 2026-01-02\n\n| whisper-base | **3.3** |\n\n<details>\n\nweights\n\n</details>"
    old = "### Small, 2026-01-02\n\n| wav2vec2-digits | 99.9 |\n\n<details>\n\n</details>"
    table = "| whisper-base | Whisper base | 71.8 M |  |\n| no-such-system | Another | 1 M |  |"
    text = results_page(results, measured, earlier=f"{table}\n\n{old}\n\n{section}\n")
    assert section in text and "99.9" not in text and "Not measured" not in text
    assert "| whisper-base | Whisper base | 71.8 M |" in text and "no-such-system" not in text
    assert text.index("### Small") < text.index(section), "the order of PARTS"
    (weights,) = (line for line in text.splitlines() if line.startswith("wav2vec2-digits: model.safetensors, "))
    assert identity.sha256_of(DEMO / "wav2vec2" / "model.safetensors")[:12] in weights
    assert results_page(results, measured, earlier=text) == text, "written again, the page is the same"
    assert f"Not measured: {elsewhere.name}." in results_page(results, measured)


def _cells(result: Result) -> list[list[str]]:
    """The first word of each cell of the part's table, row by row."""
    section = pages.section(result, Folders(Path("data"), Path("runs"), None, Path("out")))
    rows = [line for line in section if line.startswith("| ")][2:]
    return [
        [cell.split()[0] if cell.strip() else "" for cell in row.removeprefix("| ").removesuffix(" |").split(" | ")]
        for row in rows
    ]
