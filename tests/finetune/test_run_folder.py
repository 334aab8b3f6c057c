"""log.jsonl as a run writes it, read back line by line."""

from pathlib import Path

from finetune.config import DataConfig, TrainConfig
from finetune.models import about
from finetune.training.run_folder import RunWriter
from tests.finetune.runs import tiny_run


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


def test_a_finished_run_that_is_started_again_logs_its_average_once(tmp_path: Path) -> None:
    writer = RunWriter(tiny_run(tmp_path))
    before = writer.read_log()
    writer.log(kind="average", step=20, loss=1.0, wer=0.3, cer=0.3)
    config = TrainConfig(output_dir=tmp_path, data=DataConfig(train=["train.jsonl"]))
    description = about.from_json((tmp_path / about.NAME).read_text())
    writer.begin(config, description, [], step=20)
    assert writer.read_log() == before
