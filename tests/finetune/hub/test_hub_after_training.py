"""What a push at the end of training leaves when it fails: a whole run, and the command that repeats it."""

import re
import shlex
from pathlib import Path

import pytest
import torch
import whisper
from huggingface_hub import HfApi, hf_hub_download
from transformers import AutoModelForCTC

from finetune.config import DataConfig, ModelConfig, TrainConfig
from finetune.hub import push
from finetune.hub.card import CardOptions
from finetune.hub.push import publish
from finetune.training_run import train
from preprocessing.errors import InputError
from tests.commands import assert_one_sentence, run
from tests.conftest import DEMO, absolute, write_manifest
from tests.finetune.runs import tiny_run
from tests.loopback_hub import TOKEN, Fault, Hub, serve


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    return write_manifest(tmp_path / "train.jsonl", absolute(DEMO / "corpus" / "train.jsonl", 6))


@pytest.mark.slow
def test_a_token_that_expires_while_training_costs_only_the_push(hub: Hub, manifest: Path, tmp_path: Path) -> None:
    hub.faults.append(Fault("POST", "/commit/", "expired"))
    output = tmp_path / "run"
    online = {
        "HF_ENDPOINT": hub.endpoint,
        "HF_HUB_OFFLINE": "0",
        "HF_HUB_DISABLE_XET": "1",
        "HF_TOKEN": TOKEN,
        "HF_HOME": str(tmp_path / "home"),
        "OMP_NUM_THREADS": "1",
    }
    result = run(
        *("finetune/train.py", "--config", "configs/finetune/demo.yaml", "--output_dir", output),
        *("--data.train", f"[{manifest}]", "--max_steps", "2", "--report_to", "none"),
        *("--push_to_hub", "true", "--hub_model_id", "you/tuned", "--hub_private_repo", "true"),
        **online,
    )
    assert_one_sentence(result, 1, "you/tuned", "refuses the token (401)", f"The run in {output} is complete")
    assert TOKEN not in result.stdout + result.stderr
    assert "done: the best model" in result.stdout
    AutoModelForCTC.from_pretrained(output)
    told = re.search(r"`(python -m finetune\.hub push .*)` repeats", result.stderr)
    assert told is not None
    repeated = run(*shlex.split(told[1])[1:], **online)
    assert repeated.stdout == f"pushed: {hub.endpoint}/you/tuned\n", repeated.stderr
    files = hub.repositories["you/tuned"].branches["main"][-1].files
    assert files["model.safetensors"].content == (output / "model.safetensors").read_bytes()
    assert hub.repositories["you/tuned"].private


def test_a_hub_that_is_gone_costs_only_the_push(
    manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with serve(Hub()) as gone:
        endpoint = gone.endpoint
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", endpoint)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda seconds: None)
    monkeypatch.setattr(push.time, "sleep", lambda seconds: None)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    output = tmp_path / "run"
    config = TrainConfig(
        output_dir=output,
        model=ModelConfig(base=str(DEMO / "wav2vec2")),
        data=DataConfig(train=[str(manifest)], validation_share=0.2),
        max_steps=1,
        push_to_hub=True,
        hub_model_id="you/tuned",
        report_to="none",
    )
    with pytest.raises(InputError, match=rf"cannot be reached.*`.* push {output} you/tuned`") as told:
        train(config)
    assert told.value.exit_code == 1
    said = capsys.readouterr().out
    assert "NOTE: you/tuned: the Hub cannot be reached" in said
    assert "done: the best model" in said
    AutoModelForCTC.from_pretrained(output)


def test_a_pushed_whisper_is_fetched_and_loaded_by_openai_whisper(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    folder = tiny_run(tmp_path / "run", "whisper")
    repository = push.Repository(push.Target("you/small"), HfApi(hub.endpoint, token=TOKEN), pauses=())
    assert publish(folder, push.Target("you/small"), CardOptions("you/small"), repository=repository).changed
    fetched = hf_hub_download(
        "you/small", "whisper.pt", endpoint=hub.endpoint, cache_dir=tmp_path / "cache", token=False, etag_timeout=60
    )
    ours, theirs = (whisper.load_model(str(path), device="cpu") for path in (folder / "whisper.pt", fetched))
    assert theirs.dims == ours.dims
    mel, tokens = torch.randn(1, 80, 3000, generator=torch.Generator().manual_seed(0)), torch.tensor([[50257, 50362]])
    with torch.inference_mode():
        assert torch.equal(ours(mel, tokens), theirs(mel, tokens))
