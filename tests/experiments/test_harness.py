"""What all experiments share: the list, --help, --quick, findings as table, JSON and picture, turns, Ctrl-C."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from experiments.__main__ import list_experiments
from experiments.harness import rounds
from experiments.harness.command import ExperimentOptions, run_experiment
from experiments.harness.figures import (
    Comparison,
    FallsShortError,
    Findings,
    Table,
    gain_in_db,
    print_findings,
    rate_ratio,
    speed_up,
)
from experiments.harness.rounds import Turn, Unavailable, call_apart, measured_seconds, report_step, take_turns
from experiments.harness.trainings import content_sha256
from preprocessing.errors import InputError, UsageError
from tests.commands import run
from tests.conftest import ROOT

NAMES = [listed.name for listed in list_experiments()]
HELP = """
import runpy, sys, time
sys.argv = ["experiments.{0}", "--help"]
try:
    runpy.run_module("experiments.{0}", run_name="__main__")
except SystemExit:
    heavy = sorted({{"torch", "transformers", "numpy", "matplotlib", "datasets"}} & set(sys.modules))
    print("HEAVY", heavy, time.process_time())
"""


def test_every_experiment_is_listed_with_its_question_and_duration() -> None:
    listed = run("-m", "experiments").stdout
    files = {path.stem for path in (ROOT / "experiments").glob("*.py")} - {"__init__", "__main__"}
    assert set(NAMES) == files
    for one in list_experiments():
        assert one.question.endswith("?") and one.duration
        assert f"{one.question} ({one.duration})" in listed


def test_a_new_experiment_is_one_file(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text('"""Does it work?\n\nMore."""\nimport nothing_of_the_kind\nDURATION = "1 s"\n')
    (mine,) = list_experiments(tmp_path)
    assert (mine.name, mine.question, mine.duration) == ("mine", "Does it work?", "1 s")
    (tmp_path / "mine.py").write_text('"""Does it work?"""\n')
    with pytest.raises(ValueError, match=r"mine\.py: expected .* DURATION"):
        list_experiments(tmp_path)


def test_help_shows_commands_as_they_are_typed(capsys: pytest.CaptureFixture[str]) -> None:
    documentation = "Does it\nwork?\n\nIt may.\nOr not.\n\n    python -m x \\\n        --data a b\n    python -m y\n"
    with pytest.raises(SystemExit):
        run_experiment(ExperimentOptions, lambda _: Findings("t", "s"), documentation, "x.py", ["--help"])
    shown = capsys.readouterr().out
    assert "Does it work?\n\nIt may. Or not.\n\n    python -m x \\\n        --data a b\n    python -m y\n\n" in shown


@pytest.mark.parametrize("name", NAMES)
def test_help_answers_at_once(name: str) -> None:
    """In under a second of processor time, the best of three on a busy machine, and without heavy imports."""
    seconds = []
    for _ in range(3):
        result = run("-c", HELP.format(name))
        text = " ".join(result.stdout.split())
        assert "--quick" in text and "--json" in text and "--plot" in text, result.stderr
        heavy, _, taken = result.stdout.rpartition("HEAVY ")[2].rpartition(" ")
        assert heavy == "[]"
        seconds.append(float(taken))
        if seconds[-1] < 1.0:
            break
    assert min(seconds) < 1.0


@dataclass(frozen=True)
class Config(ExperimentOptions):
    """Made up."""

    theirs: float = 4.0
    """Seconds of the peer."""


def made_up(config: Config) -> Findings:
    figures: list[Comparison] = [speed_up("time", "a peer", [1.0], [config.theirs], 3.0)]
    return Findings("Title", "settings", figures, {"another": "not installed"}, [Table(("a", "b"), [("x", "1")])])


def command(*arguments: Any) -> None:
    run_experiment(Config, made_up, "Is it?", __file__, [str(argument) for argument in arguments])


def test_findings_are_printed_and_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command("--json", tmp_path / "new" / "found.json", "--plot", tmp_path / "found.png")
    printed = capsys.readouterr().out
    assert "another is missing: not installed" in printed and "settings" in printed and "Title" in printed
    (figure,) = json.loads((tmp_path / "new" / "found.json").read_text())["figures"]
    assert (figure["advantage"], figure["minimum"], figure["holds"]) == (4.0, 3.0, True)
    assert (tmp_path / "found.png").read_bytes().startswith(b"\x89PNG")


def test_rounds_are_compared_in_pairs() -> None:
    ours, theirs = [1.0, 2.0, 8.0], [4.0, 4.0, 4.0]
    seconds = speed_up("q", "p", ours, theirs, 2.0)
    assert (seconds.ours, seconds.theirs, seconds.low, seconds.advantage, seconds.high) == (2000, 4000, 1.25, 2, 3)
    rates = rate_ratio("q", "p", ours, theirs, "s/s", 0.6)
    assert (rates.ours, rates.theirs, rates.low, rates.advantage, rates.high) == (2, 4, 0.375, 0.5, 1.25)
    gains = gain_in_db("q", "p", ours, theirs, None)
    assert (gains.ours, gains.theirs, gains.low, gains.high) == (pytest.approx(11 / 3), 4, -2.5, 1)
    assert gains.advantage == pytest.approx(-1 / 3)
    assert [one.holds for one in (seconds, rates, gains)] == [True, False, True]


def test_rounds_that_warm_up_are_not_measured() -> None:
    turns = {"a": [Turn(9.0, None), Turn(1.0, None), Turn(2.0, None)], "b": Unavailable("not installed")}
    assert measured_seconds(turns) == ({"a": [1.0, 2.0]}, {"b": "not installed"})


def test_names_and_texts_stand_left_uncut_and_numbers_right(capsys: pytest.CaptureFixture[str]) -> None:
    name, text = "a-part-that-is-typed", "what it is about, in many words" * 3
    rows = [(name, text, "9 min", "**1.5** [0, 2]", ""), ("b", "short", "10 min", "", "")]
    print_findings(Findings("Title", "", tables=[Table(("part", "what", "about", "WER", ""), rows)]))
    first, second = capsys.readouterr().out.splitlines()[-3:-1]
    assert first.split() == [name, *text.split(), "9", "min", "1.5", "[0,", "2]"]
    assert second.index("short") == first.index(text) and second.rindex("min") == first.index(" min") + 1


def test_a_figure_that_falls_short_ends_with_1_after_the_report(tmp_path: Path) -> None:
    with pytest.raises(FallsShortError, match="1 of 1 figures fall short: time beside a peer") as short:
        command("--theirs", "2", "--json", tmp_path / "found.json")
    assert short.value.exit_code == 1
    assert not json.loads((tmp_path / "found.json").read_text())["figures"][0]["holds"]


def test_quick_requires_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    command("--theirs", "2", "--quick", "true")
    assert "NOT MET" not in capsys.readouterr().out


def test_a_picture_of_no_kind_is_refused_before_anything_is_measured() -> None:
    with pytest.raises(UsageError, match="--plot"):
        command("--plot", "picture.docx")


def ready(job: int) -> Any:
    def one_round() -> int:
        report_step()
        report_step()
        return job

    return one_round


def dies(job: int) -> Any:
    return lambda: os._exit(job)


def refuses(path: str) -> None:
    raise UsageError(f"--data {path}: not there; expected one: name it")


def divides(by: int) -> float:
    return 1 / by


@pytest.mark.slow
def test_a_process_that_dies_is_unavailable_and_the_others_go_on() -> None:
    found = take_turns("turns", {"ready": ready, "dies": dies}, 7, 2, keep_results=True, steps_per_round=2)
    assert found["dies"] == Unavailable("its process ended with exit code 7")
    turns = found["ready"]
    assert not isinstance(turns, Unavailable) and [turn.result for turn in turns] == [7, 7]


@pytest.mark.slow
def test_a_call_apart_hands_back_its_result_or_its_error() -> None:
    assert call_apart("dividing", divides, 4) == 0.25
    with pytest.raises(UsageError, match="--data here: not there"):
        call_apart("refusing", refuses, "here")
    with pytest.raises(InputError, match="dividing: its process ended with exit code 1"):
        call_apart("dividing", divides, 0)


SLOW = """
import sys, time
from experiments.harness.rounds import take_turns
from preprocessing.cli.options import run_command
from tests.experiments.test_harness import sleeps
if __name__ == "__main__":
    run_command(lambda: take_turns("sleeping", {"one": sleeps}, 600, 2))
"""


def sleeps(seconds: int) -> Any:
    def one_round() -> None:
        subprocess.run([sys.executable, "-c", f"import time; time.sleep({seconds})"], check=True)

    return one_round


@pytest.mark.slow
def test_interrupted_it_says_so_and_leaves_no_process(tmp_path: Path) -> None:
    """Ctrl-C on a terminal reaches the command and every process that it started."""
    (tmp_path / "slow.py").write_text(SLOW)
    command = subprocess.Popen(
        [sys.executable, str(tmp_path / "slow.py")],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # a shell's background job ignores SIGINT, and so would the command if the tests run in one
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    started = psutil.Process(command.pid)
    deadline = time.monotonic() + 120
    while not (
        children := [one for one in started.children(recursive=True) if "time.sleep" in " ".join(one.cmdline())]
    ):
        assert time.monotonic() < deadline and command.poll() is None
        time.sleep(0.2)
    everyone = [*started.children(recursive=True), *children]
    os.killpg(command.pid, signal.SIGINT)
    _, errors = command.communicate(timeout=60)
    assert command.returncode == 130
    assert "interrupted" in errors and "Traceback" not in errors
    _, alive = psutil.wait_procs(everyone, timeout=20)
    assert not alive


def test_the_peak_of_matrix_products_stops_at_a_size_that_takes_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """A processor without bfloat16 units would take minutes for the largest."""
    monkeypatch.setattr(rounds, "LONGEST_PRODUCT", 0.0)
    monkeypatch.setattr(rounds, "CPU_PRODUCT_SIZES", (64, 10**6))
    assert rounds.peak_gflops("fp32", "cpu", threads=1) > 0.1


def test_a_configurations_comments_do_not_change_its_digest(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    digests = []
    for text in ("a: 1  # one\nb: [2, x]\n", "# better explained\nb: [2, x]\na: 1\n", "a: 2\nb: [2, x]\n"):
        path.write_text(text)
        digests.append(content_sha256(path))
    assert digests[0] == digests[1] != digests[2]
    manifest = tmp_path / "m.jsonl"
    manifest.write_text("{}\n")
    assert content_sha256(manifest) == hashlib.sha256(b"{}\n").hexdigest()
