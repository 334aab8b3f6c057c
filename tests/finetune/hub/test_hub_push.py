"""Pushing to a loopback Hub with the real client, and taking back what was pushed; failures at every step."""

import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
import torch
from huggingface_hub import HfApi, snapshot_download
from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError
from transformers import AutoModelForCTC

from finetune.config import DataConfig, HubConfig, ModelConfig, TrainConfig
from finetune.export.formats import export
from finetune.hub.__main__ import main
from finetune.hub.card import CardOptions
from finetune.hub.folder import open_run
from finetune.hub.push import Pushed, Repository, Target, UnreachableError, card_of, check_access, publish
from finetune.models.whisper_formats import load_model
from finetune.systems.base import LoadOptions, SystemSpec
from finetune.systems.registry import family_of, load_system
from preprocessing.errors import InputError
from preprocessing.storage.model_file import loading_reason
from preprocessing.units import Vocabulary
from preprocessing.units import build as build_units
from tests.finetune.runs import PRIVATE, content
from tests.loopback_hub import TOKEN, Fault, Hub, serve
from tests.loopback_hub import Repository as Held
from tests.loopback_hub.store import Blob

READ_ONLY = "hf_thisOneOnlyReads0123456789abcdef"
NAME = "you/model"
LARGE = 50_000  # bytes: the weights of a tiny run are above


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda seconds: None)
    with serve(Hub(tokens={TOKEN: "write", READ_ONLY: "read"}, large_from=LARGE)) as hub:
        yield hub


def push(
    hub: Hub, run: Path, target: Target | None = None, *, token: str = TOKEN, license: str | None = None
) -> Pushed:
    target = target or Target(NAME)
    repository = Repository(target, HfApi(hub.endpoint, token=token), pauses=(0.0, 0.0))
    return publish(run, target, CardOptions(target.repo_id, license), repository=repository)


def fetch(hub: Hub, folder: Path, *, token: str | bool = False, revision: str | None = None) -> Path:
    return Path(
        snapshot_download(
            NAME, endpoint=hub.endpoint, cache_dir=folder, token=token, revision=revision, etag_timeout=60
        )
    )


def asked(hub: Hub, part: str) -> int:
    return sum(part in request for request in hub.requests)


def test_what_is_pushed_comes_back_and_hears_the_same(hub: Hub, run: Path, tmp_path: Path) -> None:
    before = content(run)
    assert push(hub, run) == Pushed(f"{hub.endpoint}/{NAME}", True)
    assert content(run) == before
    files = hub.repositories[NAME].at("main").files  # type: ignore[union-attr]
    large = {name for name, blob in files.items() if blob.large}
    assert large == {name for name, data in before.items() if name in files and len(data) >= LARGE}
    assert "model.safetensors" in large
    assert len(hub.repositories[NAME].branches["main"]) == 2
    fetched = fetch(hub, tmp_path)
    for name in ("model.safetensors", "config.json", "vocab.json", "curve.png"):
        assert (fetched / name).read_bytes() == before[name]
    waveform = torch.randn(1, 8000, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        ours, theirs = (AutoModelForCTC.from_pretrained(folder).eval()(waveform).logits for folder in (run, fetched))
    assert torch.equal(ours, theirs)


def test_a_model_loads_by_its_id(hub: Hub, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    push(hub, run, Target(NAME, private=True))
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", hub.endpoint)
    template = f"{hub.endpoint}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)
    waveform = torch.linspace(-1, 1, 8000)[None]
    with torch.inference_mode():
        loaded = AutoModelForCTC.from_pretrained(NAME, token=TOKEN, cache_dir=tmp_path).eval()
        ours = AutoModelForCTC.from_pretrained(run).eval()
        assert torch.equal(loaded(waveform).logits, ours(waveform).logits)
    assert any(re.fullmatch(r"GET /you/model/resolve/\w+/model.safetensors", request) for request in hub.requests)


@pytest.mark.parametrize(
    ("token", "expected"),
    [
        ("hf_unknownToken0123456789abcdefghij", r"refuses the token, 401 Unauthorized: correct HF_TOKEN"),
        (TOKEN, "is not a local folder and is not a valid model identifier"),
    ],
)
def test_a_model_that_cannot_be_loaded_is_explained(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, token: str, expected: str
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", hub.endpoint)
    template = f"{hub.endpoint}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setenv("HF_TOKEN", token)
    hub.repositories["others/model"] = Held()
    reference = "others/model" if "401" in expected else "others/unknown"
    for load in (family_of, load_model, Vocabulary.load):
        with pytest.raises(InputError, match=expected) as caught:
            load(reference)
        assert token not in str(caught.value) and "\n" not in str(caught.value)


def test_an_adapter_on_the_hub_is_refused_with_the_way_to_merge_it(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", hub.endpoint)
    template = f"{hub.endpoint}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    hub.repositories["others/adapter"] = Held()
    adapter = json.dumps({"peft_type": "LORA", "base_model_name_or_path": "openai/whisper-tiny"}).encode()
    hub.repositories["others/adapter"].commit("main", "an adapter", {"adapter_config.json": hub.blob(adapter)})
    with pytest.raises(InputError, match=r"others/adapter: is a LoRA adapter for openai/whisper-tiny, not a model"):
        family_of("others/adapter")
    with pytest.raises(InputError, match=r"others/adapter: is a LoRA adapter for openai/whisper-tiny, not a model"):
        load_system(SystemSpec("whisper", "whisper", "others/adapter"), LoadOptions("cpu", None))


@pytest.mark.parametrize(
    ("status", "expected"), [(401, "HF_TOKEN"), (403, "the token may not read it, 403"), (500, "out of order")]
)
def test_the_reason_is_the_hubs_answer(status: int, expected: str) -> None:
    """transformers puts it below its first line."""
    answer = HfHubHTTPError("out of order", response=httpx.Response(status, request=httpx.Request("GET", "http://x")))
    error = OSError("There was a specific connection error when trying to load you/model:\n...")
    error.__cause__ = answer
    assert expected in loading_reason(error)
    assert loading_reason(OSError("no such folder\nhint")) == "no such folder"


def test_only_what_is_listed_leaves_the_machine(hub: Hub, run: Path) -> None:
    push(hub, run)
    files = hub.repositories[NAME].at("main").files  # type: ignore[union-attr]
    model = {"config.json", "model.safetensors", "preprocessor_config.json", "tokenizer_config.json", "vocab.json"}
    assert set(files) == model | {"config.yaml", "curve.png", "README.md", "training_preprocessing.json"}
    private = [PRIVATE, "somebody", str(run.parent), TOKEN]
    assert not [(name, word) for name, blob in files.items() for word in private if word.encode() in blob.content]
    assert b"train.jsonl" in files["config.yaml"].content


def test_pushing_the_same_again_makes_no_commit(hub: Hub, run: Path) -> None:
    push(hub, run)
    hub.requests.clear()
    assert not push(hub, run).changed
    assert asked(hub, "/commit/") == 0
    assert len(hub.repositories[NAME].branches["main"]) == 2
    assert push(hub, run, license="mit").changed
    commits = hub.repositories[NAME].branches["main"]
    different = {name for name, blob in commits[-1].files.items() if blob != commits[-2].files[name]}
    assert different == {"README.md"}
    assert asked(hub, "PUT /lfs/") == 0


def test_another_run_leaves_nothing_of_the_one_before(hub: Hub, run: Path, tmp_path: Path) -> None:
    """Characters after BPE: units.json, tokenizer.json and language model of the first would garble the text."""
    before = Path(shutil.copytree(run, tmp_path / "before"))
    build_units("bpe", ["TURN ON THE LIGHT", "STOP IT"] * 5, size=40).save(before)
    push(hub, before)
    repository = hub.repositories[NAME]
    others = {"LICENSE": b"mine", "samples/units.json": b"mine", "notes.safetensors": b"mine"}
    left = {"confidence.json", "language_model/5gram.bin", "alphabet.json", "adapter.deu.safetensors", "whisper.pt"}
    repository.commit("main", "more", {name: Blob(b"x", False) for name in left})
    repository.commit("main", "mine", {name: Blob(content, False) for name, content in others.items()})
    assert {"units.json", "tokenizer.json"} < set(repository.at("main").files)  # type: ignore[union-attr]
    hub.faults.append(Fault("POST", "/commit/", "lost"))
    assert push(hub, run).changed
    hub.repositories["you/fresh"] = Held()
    push(hub, run, Target("you/fresh"))
    fresh = set(hub.repositories["you/fresh"].at("main").files)  # type: ignore[union-attr]
    assert set(repository.at("main").files) == fresh | set(others)  # type: ignore[union-attr]
    assert Vocabulary.load(str(fetch(hub, tmp_path / "cache"))) == Vocabulary.load(str(run))
    assert not push(hub, run).changed


def test_private_is_private(hub: Hub, run: Path, tmp_path: Path) -> None:
    push(hub, run, Target(NAME, private=True))
    assert hub.repositories[NAME].private
    with pytest.raises(RepositoryNotFoundError):
        fetch(hub, tmp_path)
    assert (fetch(hub, tmp_path, token=READ_ONLY) / "README.md").is_file()
    push(hub, run, Target(NAME, private=True))


def test_a_public_repository_is_not_taken_for_a_private_one(hub: Hub, run: Path) -> None:
    hub.repositories[NAME] = Held()
    with pytest.raises(InputError, match="is a public repository"):
        push(hub, run, Target(NAME, private=True))
    assert asked(hub, "/commit/") == 0


def test_a_revision_is_a_branch(hub: Hub, run: Path, tmp_path: Path) -> None:
    assert push(hub, run, Target(NAME, revision="try/out-2")).url.endswith(f"{NAME}/tree/try/out-2")
    branches = hub.repositories[NAME].branches
    assert [len(branches[name]) for name in ("main", "try/out-2")] == [1, 2]
    assert not push(hub, run, Target(NAME, revision="try/out-2")).changed
    assert (fetch(hub, tmp_path, revision=branches["try/out-2"][-1].oid) / "config.json").is_file()


@pytest.mark.parametrize(
    ("token", "repo_id", "expected"),
    [
        ("hf_unknownToken0123456789abcdefghij", NAME, "refuses the token"),
        (READ_ONLY, NAME, "may not write there"),
        (READ_ONLY, "you/known", "may not write there"),
        (TOKEN, "others/model", "may not write there"),
        (TOKEN, "others/known", "may not write there"),
    ],
)
def test_a_token_without_the_right_is_refused_before_anything_is_sent(
    hub: Hub, run: Path, token: str, repo_id: str, expected: str
) -> None:
    hub.repositories |= {"you/known": Held(), "others/known": Held()}
    with pytest.raises(InputError, match=expected) as caught:
        push(hub, run, Target(repo_id), token=token)
    assert token not in str(caught.value)
    assert not isinstance(caught.value, UnreachableError)
    assert asked(hub, "preupload") == asked(hub, "/commit/") == 0
    config, api = HubConfig(push_to_hub=True, hub_model_id=repo_id), HfApi(hub.endpoint, token=token)
    for only_check in (False, True):
        refused, note = check_access(config, api, only_check=only_check)
        assert refused is not None and expected in refused and note is None


def test_a_check_alone_creates_nothing_and_says_what_training_would(hub: Hub) -> None:
    api, config = HfApi(hub.endpoint, token=TOKEN), HubConfig(push_to_hub=True, hub_model_id=NAME)
    refused, note = check_access(replace(config, hub_private_repo=True), api, only_check=True)
    assert refused is None and note is not None and f"{NAME}, a private repository that training would create" in note
    assert hub.repositories == {}
    check_access(config, api)
    assert check_access(config, api, only_check=True)[1] == (
        f"the trained model would be pushed to {NAME}, where the token may write"
    )


def test_training_goes_on_where_the_hub_cannot_be_asked(hub: Hub) -> None:
    hub.faults.append(Fault("POST", "/api/repos/create", "error"))
    refused, note = check_access(HubConfig(push_to_hub=True, hub_model_id=NAME), HfApi(hub.endpoint, token=TOKEN))
    assert refused is None
    assert note is not None and "training continues" in note
    assert check_access(HubConfig(push_to_hub=True, hub_model_id=NAME), HfApi(hub.endpoint, token=TOKEN)) == (
        None,
        None,
    )


def test_the_hub_is_asked_about_the_metadata_with_the_token(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """An endpoint of one's own may answer nobody else; it may also refuse without a message."""
    given = list[str]()

    def answer(request: httpx.Request) -> httpx.Response:
        given.append(request.headers.get("authorization", ""))
        return httpx.Response(400, json={"errors": [{"path": "license"}]})

    monkeypatch.setattr("finetune.hub.push.get_session", lambda: httpx.Client(transport=httpx.MockTransport(answer)))
    with pytest.raises(InputError, match=r"does not take the model card's metadata .*correct --hub_license"):
        Repository(Target(NAME), HfApi(hub.endpoint, token=TOKEN)).validate("---\nlicense: x\n---\n")
    assert given == [f"Bearer {TOKEN}"]


def test_offline_is_said_at_once(hub: Hub, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(UnreachableError, match=r"offline mode is enabled.* repeats the push"):
        push(hub, run)
    assert hub.requests == []


@pytest.mark.parametrize(
    ("method", "part"),
    [
        ("POST", "/api/repos/create"),
        ("GET", "/auth-check/write"),
        ("GET", f"/api/models/{NAME}/revision"),
        ("POST", "/validate-yaml"),
        ("POST", "/preupload/"),
        ("POST", "/objects/batch"),
        ("PUT", "/lfs/"),
        ("POST", "/lfs-verify/"),
        ("POST", "/commit/"),
    ],
)
@pytest.mark.parametrize(("kind", "times"), [("error", 2), ("lost", 1)])
def test_what_fails_is_repeated_and_done_once(
    hub: Hub, run: Path, method: str, part: str, kind: str, times: int
) -> None:
    """Twice an error 500; once an answer that never came, though the Hub had done as asked."""
    fault = Fault(method, part, kind, times)  # type: ignore[arg-type]
    hub.faults.append(fault)
    assert push(hub, run, Target(NAME, revision="main")).changed
    assert fault.times == 0
    assert len(hub.repositories[NAME].branches["main"]) == 2


@pytest.mark.parametrize(("method", "part"), [("PUT", "/lfs/"), ("POST", "/commit/")])
def test_a_connection_that_breaks_loses_nothing(hub: Hub, run: Path, method: str, part: str) -> None:
    before = content(run)
    fault = Fault(method, part, "drop", times=1000)
    hub.faults.append(fault)
    with pytest.raises(UnreachableError, match="cannot be reached") as caught:
        push(hub, run)
    said = str(caught.value)
    assert f"The run in {run} is complete: `python -m finetune.hub push {run} {NAME}` repeats the push" in said
    assert "\n" not in said and TOKEN not in said
    assert content(run) == before
    assert len(hub.repositories[NAME].branches["main"]) == 1
    fault.times = 0
    assert push(hub, run).changed


def test_a_download_that_breaks_goes_on_where_it_broke(hub: Hub, run: Path, tmp_path: Path) -> None:
    push(hub, run)
    fault = Fault("GET", "model.safetensors", "drop", times=2)
    hub.faults.append(fault)
    hub.requests.clear()
    fetched = fetch(hub, tmp_path)
    assert fault.times == 0
    assert asked(hub, "GET /you/model/resolve/") >= 3
    assert (fetched / "model.safetensors").read_bytes() == (run / "model.safetensors").read_bytes()


def test_a_server_that_repeats_the_token_is_not_quoted(hub: Hub, run: Path) -> None:
    hub.faults.append(Fault("POST", "/preupload/", "echo"))
    with pytest.raises(InputError, match=r"bad request of Bearer \[token\]") as caught:
        push(hub, run)
    assert TOKEN not in str(caught.value)


@pytest.mark.parametrize("only_check", [False, True])
def test_a_licence_that_the_hub_does_not_know_is_refused_before_training(hub: Hub, only_check: bool) -> None:
    api, config = HfApi(hub.endpoint, token=TOKEN), HubConfig(push_to_hub=True, hub_model_id=NAME)
    refused, _ = check_access(replace(config, hub_license="apache2"), api, only_check=only_check)
    assert refused is not None and '"license" must be one of the known' in refused and "--hub_license" in refused
    assert hub.repositories == {}
    named = replace(config, hub_license="other", hub_license_name="mine", hub_license_link="LICENSE", hub_language="de")
    assert check_access(named, api, only_check=only_check)[0] is None


def test_a_base_that_the_hub_has_is_no_reason_to_refuse(hub: Hub) -> None:
    config = TrainConfig(
        output_dir=Path("out"),
        model=ModelConfig(family="whisper", base="turbo"),
        data=DataConfig(train=["a.jsonl"], validation_share=0.1),
        max_steps=1,
        push_to_hub=True,
        hub_model_id=NAME,
        hub_license="mit",
    )
    assert check_access(config, HfApi(hub.endpoint, token=TOKEN)) == (None, None)


def stopped(run: Path, folder: Path, step: int, best: int) -> Path:
    """A copy of the run whose training was stopped at a step, with the best evaluation at another."""
    copy = Path(shutil.copytree(run, folder))
    lines = [
        {"kind": "validation", "step": best, "wer": 0.5},
        {"kind": "best", "step": best, "steps": [best], "metric": "wer", "wer": 0.5},
    ]
    (copy / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    shutil.rmtree(copy / "checkpoints")
    (copy / "checkpoints" / f"step-{step:08d}").mkdir(parents=True)
    return copy


def test_a_run_that_was_stopped_before_it_learnt_anything_is_not_published(hub: Hub, run: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"stopped at step 14 of 20, and its best weights are those of step 0"):
        push(hub, stopped(run, tmp_path / "run", 14, best=0))
    assert hub.repositories == {}


def test_a_run_that_was_stopped_says_so_on_its_card(
    hub: Hub, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = stopped(run, tmp_path / "run", 14, best=10)
    push(hub, copy)
    card = hub.repositories[NAME].branches["main"][-1].files["README.md"].content.decode()
    assert "at step 10 of 20. Training was stopped at step 14 of 20, so" in card
    monkeypatch.setattr("sys.argv", ["push", "push", str(copy), NAME, "--card", str(tmp_path / "card.md")])
    main()
    assert f"NOTE: {copy}: training was stopped at step 14 of 20" in capsys.readouterr().out
    assert (tmp_path / "card.md").read_text() == card
    assert "Training was stopped" not in card_of(open_run(run), CardOptions(NAME))
    lines = export(copy, tmp_path / "out", "transformers").splitlines()
    assert lines[0].startswith(f"NOTE: {copy}: training was stopped at step 14 of 20")


def test_metadata_that_the_hub_refuses_is_one_sentence(hub: Hub, run: Path) -> None:
    with pytest.raises(InputError, match=r"refuses the request .*license.* must be one of the known"):
        push(hub, run, license="no such licence")
    assert asked(hub, "preupload") == 0
