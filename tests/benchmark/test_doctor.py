"""`python -m benchmark.doctor`: each fault is found, with its remedy and exit code; a token is never printed."""

import importlib.metadata
import shutil
import subprocess
import sys
import time
from collections import namedtuple
from pathlib import Path
from types import SimpleNamespace

import huggingface_hub.constants
import psutil
import pytest
import torch

from benchmark import doctor
from benchmark.doctor import DoctorConfig, Finding, examine, main
from preprocessing.storage.data_folder import DATA_VARIABLE
from tests.conftest import ROOT

TOKEN = "hf_SecretSecretSecretSecret"


def only(findings: Finding | list[Finding], part: str = "") -> Finding:
    if isinstance(findings, Finding):
        return findings
    (found,) = (finding for finding in findings if finding.part == part)
    return found


def test_this_machine_passes_and_a_demo_recording_is_transcribed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    main(["--hub", "false"])
    lines = capsys.readouterr().out.splitlines()
    parts = [line[8:].split(":")[0] for line in lines[:-2]]
    expected = [
        "Python",
        "libraries",
        "torch and torchaudio",
        "processor",
        "memory",
        "disk",
        "GPU",
        "data",
        "self-test",
    ]
    assert [part for part in parts if part in expected] == expected
    (self_test,) = (line for line in lines if "self-test" in line)
    assert self_test.startswith("ok") and "was transcribed as" in self_test
    assert TOKEN not in "".join(lines) and any("token: one is in HF_TOKEN" in line for line in lines)
    assert all("; " in line for line in lines if line.startswith("note"))  # every note has its remedy


def test_something_needed_ends_with_exit_code_1(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = Finding("libraries", "missing", "jiwer is not installed", "run `make setup`")
    monkeypatch.setattr(doctor, "examine", lambda config: iter([Finding("Python", "ok", "3"), lost]))
    with pytest.raises(SystemExit) as ended:
        main([])
    assert ended.value.code == 1
    out = capsys.readouterr().out
    assert "MISSING libraries: jiwer is not installed; run `make setup`" in out and "\nlibraries: required" in out


def test_wrong_and_missing_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    known = importlib.metadata.version

    def version(name: str) -> str:
        if name == "jiwer":
            raise importlib.metadata.PackageNotFoundError(name)
        return {"torch": "2.9.0"}.get(name) or known(name)

    monkeypatch.setattr(doctor, "version", version)
    found = doctor.check_libraries()
    assert found.status == "missing"
    assert "jiwer is not installed" in found.found and "torch 2.9.0 is not ==2.11.0" in found.found


def test_an_installed_package_knows_its_requirements(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = ["torch==2.11.*", 'gradio>=6.0; extra == "app"', 'ray[data]>=2.50; extra == "ray"']
    monkeypatch.setattr(doctor, "PYPROJECT", Path("nowhere"))
    monkeypatch.setattr(doctor, "requires", lambda name: lines)
    assert doctor.requirements() == {"": ["torch==2.11.*"], "app": ["gradio>=6.0"], "ray": ["ray[data]>=2.50"]}


def test_without_a_checkout_the_remedies_are_pips(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "PYPROJECT", Path("nowhere"))
    monkeypatch.setattr(doctor, "requires", lambda name: ["jiwer>=99", 'gradio>=99; extra == "app"'])
    assert doctor.check_libraries().remedy == "pip install . in the checkout"
    assert only(doctor.check_extras(), "extra app").remedy == 'optional: pip install ".[app]" in the checkout'


def test_a_torchaudio_of_another_torch_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchaudio", None)
    found = doctor.check_torch_pair()
    assert found.status == "missing" and "torch 2.11" in found.found and "one version" in found.remedy


def test_little_memory_and_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = SimpleNamespace(total=8 * doctor.GIB, available=doctor.GIB)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory)
    found = doctor.check_memory()
    assert found.status == "note" and "1.0 of" in found.found and "--one_at_a_time" in found.remedy
    usage = namedtuple("usage", "total used free")
    for free, status in ((doctor.GIB // 2, "missing"), (5 * doctor.GIB, "note"), (50 * doctor.GIB, "ok")):
        monkeypatch.setattr(shutil, "disk_usage", lambda path, free=free: usage(0, 0, free))
        assert only(doctor.check_disk(), "disk").status == status


@pytest.mark.parametrize(
    ("build", "remedy"), [(None, "CUDA build of torch"), ("13.0", "driver has to support CUDA 13.0")]
)
def test_a_driver_that_torch_does_not_find(monkeypatch: pytest.MonkeyPatch, build: str | None, remedy: str) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", build)
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    found = doctor.check_cuda()
    assert found.status == "note" and remedy in found.remedy


def test_a_broken_soundfile_and_no_ffmpeg(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "soundfile", None)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    findings = doctor.check_audio()
    assert only(findings, "audio: soundfile").status == "missing"
    assert only(findings, "audio: PyAV").status == "ok"
    assert only(findings, "audio: ffmpeg program").status == "note"


class Hub:
    """Stands in for HfApi: `answers` and `accepts` say what it does."""

    answers, accepts = True, True

    def __init__(self, token: object = None) -> None:
        pass

    def model_info(self, name: str, timeout: float) -> None:
        if not self.answers:
            raise ConnectionError(f"no route; token was {TOKEN}")

    def whoami(self, token: str) -> None:
        if not self.accepts:
            raise PermissionError(f"{token} is invalid")


@pytest.mark.parametrize(
    ("answers", "accepts", "hub", "token"),
    [(True, True, "ok", "accepted"), (True, False, "ok", "refused"), (False, True, "note", "not checked")],
)
def test_the_hub_and_the_token_that_is_never_shown(
    monkeypatch: pytest.MonkeyPatch, answers: bool, accepts: bool, hub: str, token: str
) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub, "HfApi", type("Known", (Hub,), {"answers": answers, "accepts": accepts}))
    findings = doctor.check_hub(ask=True)
    assert only(findings, "Hub").status == hub
    assert token in only(findings, "token").found
    assert TOKEN not in "".join(map(str, findings))


def test_what_is_in_the_data_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "noise").mkdir()
    (tmp_path / "noise" / "ATTRIBUTION.md").touch()
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path))
    found = doctor.check_data()
    assert found.found == f"noise in {tmp_path}" and "fetch digits librispeech-mini german rooms" in found.remedy


def test_a_self_test_that_fails_says_what_failed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("benchmark.offline.DEMO_CORPUS", tmp_path / "none.jsonl")
    found = doctor.check_by_transcribing()
    assert found.status == "missing" and "none.jsonl: no such file" in found.found
    assert "self-test" not in [one.part for one in examine(DoctorConfig(hub=False, self_test=False))]


def test_help_imports_nothing_heavy() -> None:
    code = "import sys; from benchmark.doctor import main\ntry: main(['--help'])\nexcept SystemExit: pass\n"
    code += "sys.exit(bool({'torch', 'transformers', 'huggingface_hub', 'psutil'} & set(sys.modules)))"
    began = time.monotonic()
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True).returncode == 0
    assert time.monotonic() - began < 10  # on a busy machine; alone it is below 1 s
