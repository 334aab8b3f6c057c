"""`python -m preprocessing.text` as a user runs it."""

import subprocess
import sys
from pathlib import Path

from tests.commands import assert_one_sentence, run
from tests.conftest import ROOT, write_manifest


def test_a_profile_is_explained_step_by_step() -> None:
    result = run("-m", "preprocessing.text", "--profile", "basic:en", "The 3rd.", "-5°")
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("basic:en, version 5: ")
    assert "numbers spelled out (en)" in result.stdout
    assert "'Straße ÉTÉ' -> 'straße été'" in result.stdout
    assert result.stdout.endswith("\n\nthe third\nminus five\n")


def test_a_manifest_gives_one_line_each_and_counts(tmp_path: Path) -> None:
    manifest = write_manifest(tmp_path / "a.jsonl", [{"text": "A a b."}, {"text": "“Ü”"}])
    result = run("-m", "preprocessing.text", "--file", manifest)
    assert result.stdout == "a a b\nü\n" and result.stderr.startswith("basic, version 3")
    result = run("-m", "preprocessing.text", "--count", "--file", manifest, "--profile", "verbatim")
    assert result.stdout == ("lines 2, changed 0, words 4, different words 4, seen once 4, different characters 7\n")


def test_a_byte_order_mark_and_blank_lines_are_passed_over(tmp_path: Path) -> None:
    manifest = tmp_path / "a.jsonl"
    manifest.write_text('{"text": "One"}\r\n\r\n{"text": "two"}\r\n', encoding="utf-8-sig")
    assert run("-m", "preprocessing.text", "--profile", "verbatim", "--file", manifest).stdout == "One\ntwo\n"


def test_stdin_and_the_list() -> None:
    command = [sys.executable, "-m", "preprocessing.text", "--profile", "librispeech"]
    assert subprocess.run(command, cwd=ROOT, input="it’s\n", capture_output=True, text=True).stdout == "IT'S\n"
    latin = subprocess.run(command, cwd=ROOT, input=b"one\ngr\xfc\xdfe\n", capture_output=True)
    assert latin.returncode == 1 and b"error: standard input: 'utf-8' codec can't decode byte 0xfc" in latin.stderr
    listed = run("-m", "preprocessing.text", "--list").stdout
    assert all(name in listed for name in ("whisper-basic", "basic:LANGUAGE", "ctc:MODEL"))


def test_wrong_usage_is_one_sentence(tmp_path: Path) -> None:
    assert_one_sentence(run("-m", "preprocessing.text", "--profile", "basik", "x"), 2, "did you mean 'basic'?")
    bad = tmp_path / "bad.jsonl"
    bad.write_text('{"text": "x"}\n{}\n')
    assert_one_sentence(run("-m", "preprocessing.text", "--file", bad), 1, "bad.jsonl:2", "`text`")
    assert_one_sentence(run("-m", "preprocessing.text", "--file", tmp_path / "no.txt"), 1, "no.txt")
