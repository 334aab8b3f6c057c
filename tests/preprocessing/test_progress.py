"""Progress is a line each few seconds where the output is no terminal, and a bar where it is one."""

import io
import re
import time

import pytest
from rich.console import Console

from preprocessing.cli import progress
from preprocessing.cli.progress import Steps


def test_a_piped_step_prints_lines_while_it_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "LINE_SECONDS", 0.05)
    file = io.StringIO()
    steps = Steps(Console(file=file), 2, unit="files")
    with steps.step("loading [a]", 0):
        time.sleep(0.4)  # one long item: lines come without `advance`
    assert re.fullmatch(r"(\[1/2\] loading \[a\], \d+\.\d s\n){2,}", file.getvalue())
    file.truncate(file.seek(0))
    with steps.step("reading", 4) as advance:
        advance(1)
        time.sleep(0.4)
        advance(3)
    lines = file.getvalue().splitlines()
    assert len(lines) >= 2
    assert all(re.fullmatch(r"\[2/2\] reading: 1 of 4 files, \d\.\d s, about \d+ s left", line) for line in lines[:-1])
    assert re.fullmatch(r"\[2/2\] reading: 4 files, \d\.\d s", lines[-1])


def test_a_quick_step_is_one_line_and_a_failed_one_none() -> None:
    file = io.StringIO()
    steps = Steps(Console(file=file), 1)
    with steps.step("reading", 2) as advance:
        advance(2)
    assert re.fullmatch(r"reading: 2 utterances, \d\.\d s\n", file.getvalue())
    with pytest.raises(KeyError), steps.step("failing", 0):
        raise KeyError
    assert file.getvalue().count("\n") == 1


def test_a_name_between_colons_is_no_emoji() -> None:
    file = io.StringIO()
    with Steps(Console(file=file), 1).step("module:One: loading", 0):
        pass
    assert file.getvalue().startswith("module:One: loading, ")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_colours_forced_on_a_file_make_no_bar_of_it() -> None:
    file = io.StringIO()
    with Steps(Console(file=file, force_terminal=True, width=100), 1).step("reading", 2) as advance:
        advance(2)
    assert re.fullmatch(r"reading: 2 utterances, \d\.\d s\n", re.sub(r"\x1b\[[\d;]*m", "", file.getvalue()))


def test_a_terminal_shows_a_bar() -> None:
    file = Terminal()
    with Steps(Console(file=file, force_terminal=True, width=100), 1).step("reading", 2) as advance:
        advance(1)
    assert "1/2" in file.getvalue() and "reading: 1 utterance," in file.getvalue()


def test_the_time_left_is_that_of_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "LINE_SECONDS", 0.05)
    file = io.StringIO()
    with Steps(Console(file=file), 1, "batches").step("training", 1_000, before=900) as advance:
        time.sleep(0.12)
        advance(1)
        time.sleep(0.4)
    first, *later, last = file.getvalue().splitlines()
    assert re.fullmatch(r"training: 900 of 1000 batches, \d\.\d s", first)
    assert all(float(re.search(r"about (\d+) s left", line)[1]) > 10 for line in later if ": 901 of" in line)  # type: ignore[index]
    assert last.startswith("training: 901 batches")
