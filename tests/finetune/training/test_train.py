"""Training end to end on the demo: the loss falls, plain transformers loads the folder, a killed run resumes."""

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import soundfile
import torch
from transformers import AutoModelForCTC, pipeline

from finetune.decoding.greedy import collapse
from finetune.models.architectures import model_input
from finetune.training.log import read_log
from preprocessing import audio
from preprocessing.units import Vocabulary
from tests.commands import assert_one_sentence, run
from tests.conftest import DEMO, ROOT, absolute, read_manifest, write_manifest

pytestmark = pytest.mark.timeout(1200)  # a busy machine is slow, not wrong
CORPUS = DEMO / "corpus"
UPDATES = 30


def arguments(output: Path, train: Path, **options: object) -> list[str]:
    settings: dict[str, object] = {
        "output_dir": output,
        "data.train": f"[{train}]",
        "data.validation_share": 0.1,
        "data.max_batch_seconds": 20,
        "data.augment": "[{name: speed, factors: [0.95, 1.05], probability: 0.5}, {name: gain, gain_db: [-6, 6]}]",
        "max_steps": UPDATES,
        "mixed_precision": "no",  # at bf16, plain transformers reads other logits than the run
        "eval_steps": 10,
        "logging_steps": 1,
    }
    told = settings | {key.replace("__", "."): value for key, value in options.items()}
    flags = [part for key, value in told.items() for part in (f"--{key}", str(value))]
    return ["finetune/train.py", "--config", "configs/finetune/demo.yaml", *flags]


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 demo utterances, and four that cannot be trained on."""
    folder = tmp_path_factory.mktemp("corpus")
    (folder / "text.opus").write_text("this is no audio")
    whole = (CORPUS / read_manifest(CORPUS / "train.jsonl")[0]["audio"]).read_bytes()
    (folder / "cut.opus").write_bytes(whole[: len(whole) // 3])
    rows = absolute(CORPUS / "train.jsonl", 60)
    rows += [
        {"id": "missing", "audio": "missing.opus", "text": "turn on"},
        {"id": "text", "audio": "text.opus", "text": "turn on"},
        {"id": "infeasible", "audio": rows[0]["audio"], "text": "turn on the light " * 40},
        {"id": "untold", "audio": rows[1]["audio"]},
    ]
    return write_manifest(folder / "train.jsonl", rows)


@pytest.fixture(scope="module")
def trained(manifest: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("runs") / "trained"
    result = run(*arguments(output, manifest))
    assert result.returncode == 0, result.stderr
    assert "WER" in result.stdout
    return output


def log(output: Path, kind: str) -> list[dict[str, Any]]:
    return [line for line in read_log(output) if line["kind"] == kind]


@pytest.mark.slow
def test_the_loss_falls(trained: Path) -> None:
    losses = [line["loss"] for line in log(trained, "train")]
    assert len(losses) == UPDATES
    assert sum(losses[-5:]) < 0.7 * sum(losses[:5])
    validated = log(trained, "validation")
    assert [line["step"] for line in validated] == [0, 10, 20, 30]
    assert validated[-1]["loss"] < validated[0]["loss"]
    assert {"wer", "cer", "blank_ratio"} <= validated[0].keys()
    assert all(len(line["samples"]) == 3 for line in validated)


def test_what_a_run_leaves_behind(trained: Path) -> None:
    assert (trained / "curve.png").read_bytes().startswith(b"\x89PNG")
    assert list((trained / "tensorboard").rglob("events.*"))
    assert re.search(r"max_batch_seconds: 20", (trained / "config.yaml").read_text())
    assert json.loads((trained / "environment.json").read_text())["packages"]["torch"].startswith("2.11")
    assert len(read_manifest(trained / "samples.jsonl")) == 7  # a tenth of 60 and the rest of a speaker
    as_others = (trained / "curve.png").stat().st_mode  # safetensors makes its files readable by their owner alone
    assert [path.name for path in trained.rglob("*") if path.is_file() and path.stat().st_mode != as_others] == []


def test_bad_utterances_are_set_aside_with_their_reason(trained: Path, manifest: Path) -> None:
    rejects = {row["where"]: row["reason"] for row in read_manifest(trained / "rejects.jsonl")}
    assert "no such file" in rejects[f"{manifest}:61"]
    assert "not audio" in rejects[f"{manifest}:62"]
    assert "CTC cannot fit" in rejects["infeasible"]
    assert "no 'text'" in rejects[f"{manifest}:64"]
    assert len(rejects) == 4


def test_the_folder_loads_in_plain_transformers(trained: Path) -> None:
    """Its pipeline reads what our own decoding reads."""
    model = AutoModelForCTC.from_pretrained(trained).eval()
    vocabulary = Vocabulary.load(str(trained))
    recognise = pipeline("automatic-speech-recognition", model=str(trained))
    for row in read_manifest(CORPUS / "test.jsonl")[:3]:
        waveform = audio.load(CORPUS / row["audio"])
        with torch.inference_mode():
            logits = model(model_input(waveform, True)[None]).logits[0]
        ours = vocabulary.decode(collapse(logits.argmax(dim=-1).tolist(), vocabulary.blank))
        assert recognise(waveform.numpy())["text"].split() == ours.split()


def test_what_was_measured_is_what_was_saved(trained: Path, manifest: Path) -> None:
    """The folder's weights read every validation utterance as samples.jsonl says the best evaluation did."""
    audio_of = {row.get("id"): row["audio"] for row in read_manifest(manifest)}
    model = AutoModelForCTC.from_pretrained(trained).eval()
    vocabulary = Vocabulary.load(str(trained))
    for sample in read_manifest(trained / "samples.jsonl"):
        waveform = audio.load(audio_of[sample["id"]])
        with torch.inference_mode():
            path = model(model_input(waveform, True)[None]).logits[0].argmax(dim=-1).tolist()
        assert vocabulary.decode(collapse(path, vocabulary.blank)) == sample["hypothesis"]


@pytest.mark.slow
@pytest.mark.parametrize("which", [signal.SIGINT, signal.SIGTERM])
def test_interrupting_saves_and_says_how_to_go_on(which: signal.Signals, manifest: Path, tmp_path: Path) -> None:
    output = tmp_path / "interrupted"
    command = [sys.executable, *arguments(output, manifest, max_steps=1000, eval_steps=500)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 500
    while not (output / "log.jsonl").exists() or len(log(output, "train")) < 2:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.1)
    process.send_signal(which)
    stdout, stderr = process.communicate(timeout=400)
    assert process.returncode == 0, stderr
    assert "run the same command again" in stdout
    assert list((output / "checkpoints").glob("step-*"))


def test_another_corpus_cannot_resume_a_run(manifest: Path, trained: Path, tmp_path: Path) -> None:
    other = write_manifest(tmp_path / "other.jsonl", absolute(CORPUS / "train.jsonl", 20))
    assert_one_sentence(
        run(*arguments(trained, other)), 2, "contains a run that differs", f"--model.base {trained}", "--overwrite"
    )


@pytest.mark.parametrize(
    ("options", "exit_code", "expected"),
    [
        ({"data__train": "[nowhere.jsonl]"}, 1, ["nowhere.jsonl", "no such file"]),
        ({"model__bose": "x"}, 2, ["model.bose"]),
        ({"data__profile": "libri"}, 2, ["libri", "librispeech"]),
        ({"model__base": "nowhere"}, 1, ["nowhere"]),
        ({"max_steps": 0}, 2, ["--max_steps"]),
        ({"data__augment": "[{name: sped}]"}, 2, ["--data.augment", "'speed'"]),
        ({"data__profile": "verbatim"}, 2, ["--data.profile", "vocabulary"]),
    ],
)
def test_wrong_usage_is_one_sentence(
    manifest: Path, tmp_path: Path, options: dict[str, object], exit_code: int, expected: list[str]
) -> None:
    output = tmp_path / "run"
    assert_one_sentence(run(*arguments(output, manifest, **options)), exit_code, *expected)
    assert not output.exists()


def test_strict_stops_at_the_first_bad_utterance(manifest: Path, tmp_path: Path) -> None:
    result = run(*arguments(tmp_path / "run", manifest, data__strict="true"))
    assert_one_sentence(result, 1, f"{manifest}:61", "no such file")


def test_an_unknown_key_in_the_yaml_is_named(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("output_dir: runs/x\nmodel:\n  bose: demo/wav2vec2\n")
    assert_one_sentence(run("finetune/train.py", "--config", config), 2, "bose")


def test_help_answers_without_loading_torch() -> None:
    code = "import sys, runpy; sys.argv = ['finetune/train.py', '--help']\n" \
        "try: runpy.run_path('finetune/train.py', run_name='__main__')\n" \
        "except SystemExit: sys.exit('torch' in sys.modules)"  # fmt: skip
    result = run("-c", code)
    assert result.returncode == 0, "torch was imported for --help"
    assert "--learning_rate" in result.stdout


@pytest.mark.slow
def test_audio_cut_short_goes_on(manifest: Path, tmp_path: Path) -> None:
    """A file whose header is whole but whose samples are not readable is rejected when it is decoded."""
    broken = tmp_path / "broken.flac"
    soundfile.write(broken, torch.randn(32_000).mul(0.1).numpy(), 16_000)
    content = bytearray(broken.read_bytes())
    content[len(content) // 2 :] = bytes(len(content) - len(content) // 2)
    broken.write_bytes(content)
    rows = absolute(CORPUS / "train.jsonl", 20)
    rows.append({"id": "broken", "audio": str(broken), "text": "turn on the lamp"})
    train = write_manifest(tmp_path / "train.jsonl", rows)
    output = tmp_path / "run"
    result = run(*arguments(output, train, max_steps=4, eval_steps=4))
    assert result.returncode == 0, result.stderr


@pytest.mark.slow
def test_a_compiled_model_learns_the_same(manifest: Path, tmp_path: Path) -> None:
    losses = []
    for compiled in ("false", "true"):
        output = tmp_path / compiled
        told = {"torch_compile": compiled, "max_steps": 4, "eval_steps": 4, "model.dropout": 0.0}
        result = run(*arguments(output, manifest, **told), fresh=True)
        assert result.returncode == 0, result.stderr
        losses.append([line["loss"] for line in read_log(output) if line["kind"] in ("train", "validation")])
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)
    assert AutoModelForCTC.from_pretrained(tmp_path / "true").num_parameters() > 0
