"""`python -m finetune.hub push` and `--push_to_hub true` as a user runs them, against a loopback Hub."""

from dataclasses import replace
from pathlib import Path

import pytest

from finetune.config import DataConfig, ModelConfig, TrainConfig
from finetune.training_run import train
from preprocessing.errors import InputError
from tests.commands import Finished, assert_one_sentence, run
from tests.conftest import DEMO, absolute, write_manifest
from tests.finetune.runs import content, tiny_run
from tests.loopback_hub import TOKEN, Fault, Hub, Repository


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_run(tmp_path_factory.mktemp("runs") / "mine")


def online(hub: Hub, home: Path, *arguments: str | Path, token: str = TOKEN) -> Finished:
    return run(
        *arguments,
        HF_ENDPOINT=hub.endpoint,
        HF_HUB_OFFLINE="0",
        HF_HUB_DISABLE_XET="1",
        HF_HOME=str(home),
        HF_TOKEN=token,
        OMP_NUM_THREADS="1",
    )


def push(hub: Hub, home: Path, *arguments: str | Path, token: str = TOKEN) -> Finished:
    return online(hub, home, "-m", "finetune.hub", "push", *arguments, token=token)


@pytest.mark.slow
def test_push_says_where_it_is_and_nothing_of_the_token(hub: Hub, tiny: Path, tmp_path: Path) -> None:
    before = content(tiny)
    hub.faults.append(Fault("POST", "/commit/", "error"))
    result = push(hub, tmp_path, tiny, "you/model", "--private", "true", "--message", "First try", "--license", "mit")
    assert result.returncode == 0, result.stderr
    assert result.stdout == f"pushed: {hub.endpoint}/you/model\n"
    again = push(hub, tmp_path, tiny, "you/model", "--license", "mit")
    assert again.stdout == f"unchanged, so nothing was pushed: {hub.endpoint}/you/model\n"
    repository = hub.repositories["you/model"]
    assert repository.private
    assert [commit.message for commit in repository.branches["main"]] == ["initial commit", "First try"]
    assert content(tiny) == before
    assert b"\nlicense: mit\n" in repository.branches["main"][-1].files["README.md"].content
    for text in (result.stdout, result.stderr, again.stdout, again.stderr):
        assert TOKEN not in text
    kept = [*content(tmp_path).values(), *(b.content for b in repository.branches["main"][-1].files.values())]
    assert not [one for one in kept if TOKEN.encode() in one]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("token", "expected"),
    [("", "no Hugging Face token found"), ("hf_wrongToken0123456789abcdefghijklm", "refuses the token (401)")],
)
def test_without_a_good_token_it_is_one_sentence(
    hub: Hub, tiny: Path, tmp_path: Path, token: str, expected: str
) -> None:
    result = push(hub, tmp_path, tiny, "you/model", token=token)
    assert_one_sentence(
        result, 1, "you/model", expected, "hf auth login", f"python -m finetune.hub push {tiny} you/model"
    )
    assert len(result.stderr.splitlines()) == 1
    assert not token or token not in result.stderr
    assert not hub.repositories


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "exit_code", "expected"),
    [
        ([], 2, ["expected push"]),
        (["pull", "RUN", "you/model"], 2, ["'pull'", "expected push"]),
        (["push", "RUN"], 2, ["repo"]),
        (["push", "RUN", "model"], 2, ["REPO is 'model'", "you/model"]),
        (["push", "RUN", "you/model", "--license", "My Licence"], 2, ["--license is 'My Licence'", "apache-2.0"]),
        (["push", "RUN", "you/model", "--results", "nowhere"], 1, ["--results nowhere", "benchmark/run.py"]),
    ],
)
def test_wrong_usage_is_one_sentence(tiny: Path, arguments: list[str], exit_code: int, expected: list[str]) -> None:
    words = [str(tiny) if word == "RUN" else word for word in arguments]
    assert_one_sentence(run("-m", "finetune.hub", *words), exit_code, *expected)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--push_to_hub", "true"], ["--push_to_hub", "--hub_model_id"]),
        (["--hub_model_id", "a/b/c"], ["--hub_model_id is 'a/b/c'"]),
        (["--hub_model_id", "you/two--dashes"], ["--hub_model_id"]),
        (["--hub_license", "GPL 3"], ["--hub_license"]),
        (["--hub_language", "german"], ["--hub_language"]),
        (["--hub_license", "other"], ["--hub_license is other", "--hub_license_name"]),
        (
            ["--hub_license", "mit", "--hub_license_link", "LICENSE"],
            ["--hub_license_link is set", "--hub_license is mit"],
        ),
    ],
)
def test_contradictions_are_refused_before_training(tmp_path: Path, options: list[str], expected: list[str]) -> None:
    result = run(
        "finetune/train.py", "--config", "configs/finetune/demo.yaml", "--output_dir", tmp_path / "x", *options
    )
    assert_one_sentence(result, 2, *expected)
    assert not (tmp_path / "x").exists()


@pytest.mark.slow
def test_training_begins_with_a_base_of_the_hub_and_ends_with_a_push(hub: Hub, tmp_path: Path) -> None:
    """The base comes by its id, over a connection that breaks once."""
    hub.repositories["somebody/base"] = Repository()
    base = {path.name: hub.blob(path.read_bytes()) for path in (DEMO / "wav2vec2").iterdir()}
    hub.repositories["somebody/base"].commit("main", "the base", base)
    fault = Fault("GET", "model.safetensors", "drop")
    hub.faults.append(fault)
    manifest = write_manifest(tmp_path / "train.jsonl", absolute(DEMO / "corpus" / "train.jsonl", 12))
    output = tmp_path / "run"
    result = online(
        hub, tmp_path / "home", "finetune/train.py", "--config", "configs/finetune/demo.yaml", "--output_dir", output,
        "--model.base", "somebody/base", "--data.train", f"[{manifest}]",
        "--max_steps", "2", "--push_to_hub", "true", "--hub_model_id", "you/tuned",
        "--hub_private_repo", "true", "--hub_language", "en",
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert f"pushed: {hub.endpoint}/you/tuned" in result.stdout
    assert TOKEN not in result.stdout + result.stderr
    assert not [name for name, kept in content(tmp_path).items() if TOKEN.encode() in kept]
    assert fault.times == 0
    repository = hub.repositories["you/tuned"]
    files = repository.branches["main"][-1].files
    assert repository.private
    assert files["model.safetensors"].content == (output / "model.safetensors").read_bytes()
    card = files["README.md"].content.decode()
    assert "base_model: somebody/base" in card and "language: en" in card and str(tmp_path) not in card
    assert str(tmp_path).encode() not in files["config.yaml"].content


def test_training_does_not_begin_where_its_push_would_be_refused(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the corpus is opened, which there is none of."""
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", hub.endpoint)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    config = TrainConfig(
        output_dir=tmp_path / "run",
        model=ModelConfig(base=str(DEMO / "wav2vec2")),
        data=DataConfig(train=["nowhere.jsonl"], validation_share=0.1),
        push_to_hub=True,
        hub_model_id="others/model",
    )
    with pytest.raises(InputError, match="others/model: the token may not write there"):
        train(config)
    for only_looks in ({"dry_run": True}, {"overfit_batch": True}):
        with pytest.raises(InputError, match=r"nowhere\.jsonl"):
            train(replace(config, hub_model_id="you/model", **only_looks))
    assert hub.repositories == {}
    with pytest.raises(InputError, match=r"nowhere\.jsonl"):
        train(replace(config, hub_model_id="you/model"))
    assert not (tmp_path / "run").exists()
