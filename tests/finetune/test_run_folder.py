"""log.jsonl as a run writes it, read back line by line."""

from pathlib import Path

from finetune.training.run_folder import RunWriter


def test_a_transcript_may_hold_any_line_separator(tmp_path: Path) -> None:
    samples = [["A\u2028B", "A\x85B\x0bC\rD"]]
    writer = RunWriter(tmp_path)
    writer.log(kind="validation", step=1, samples=samples)
    assert [line["samples"] for line in writer.read_log()] == [samples]


def test_a_line_that_a_kill_cut_off_is_left_out(tmp_path: Path) -> None:
    writer = RunWriter(tmp_path)
    writer.log(kind="train", step=1)
    with (tmp_path / "log.jsonl").open("a") as file:
        file.write('{"kind": "train", "st')
    assert [line["step"] for line in writer.read_log()] == [1]
