"""--denoise: each system gets what it was trained on, or all the same; terminal, results and report say which."""

import json
from pathlib import Path

import pytest
import torch

from benchmark.app.transcribing import Recording, Systems
from benchmark.noise_removal import noise_removal_notices, resolve_noise_removal
from benchmark.report.fairness import decoding_rows, decoding_sentence
from benchmark.results import read_samples, read_summary
from finetune.systems.base import LoadOptions, SystemSpec
from finetune.systems.facts import NOISE_REMOVAL
from finetune.systems.registry import parse_models
from preprocessing import audio
from preprocessing.augment.denoise import SpectralGate
from tests.benchmark import odd_systems
from tests.commands import run


def spec(folder: Path, name: str, denoise: bool | None) -> SystemSpec:
    """A system of a folder that says so of its training; None: says nothing."""
    (folder / name).mkdir()
    if denoise is not None:
        (folder / name / "about.json").write_text(json.dumps({"denoise": denoise}))
    return SystemSpec(name, "wav2vec2", str(folder / name))


@pytest.mark.parametrize(
    ("requested", "applied", "said"),
    [
        (None, {"clean"}, ["Trained on audio without stationary noise: clean. So the noise is removed from what it"]),
        (False, set(), ["is not removed here (--denoise false), and clean was trained on audio without it"]),
        (True, {"clean", "plain", "theirs"}, ["is removed here (--denoise true), and plain was trained on audio with"]),
    ],
)
def test_each_gets_what_it_was_trained_on_unless_all_get_the_same(
    tmp_path: Path, requested: bool | None, applied: set[str], said: list[str]
) -> None:
    specs = [spec(tmp_path, "clean", True), spec(tmp_path, "plain", False), spec(tmp_path, "theirs", None)]
    found = resolve_noise_removal(requested, specs)
    assert {name for name, one in found.items() if one.applied} == applied
    notices = noise_removal_notices(requested, found)
    assert len(notices) == len(said) and all(part in notice for part, notice in zip(said, notices, strict=True))
    assert noise_removal_notices(None, resolve_noise_removal(None, specs[1:])) == []


@pytest.mark.slow
@pytest.mark.parametrize(("given", "clean", "plain"), [((), "on", "off"), (("--denoise", "false"), "off", "off")])
def test_the_report_says_what_each_system_was_given(
    tmp_path: Path, given: tuple[str, ...], clean: str, plain: str
) -> None:
    data = odd_systems.corpus(tmp_path, 2)
    name = "tests.benchmark.odd_systems:Energy"
    models = ",".join(f"{name}={spec(tmp_path, folder, folder == 'clean').checkpoint}" for folder in ("clean", "plain"))
    out = tmp_path / "out"
    result = run(
        *("benchmark/run.py", "--models", models, "--data", data, "--output_dir", out, "--conditions", "clean"),
        *("--rounds", "1", "--profiles", "[verbatim]", "--device", "cpu", *given),
    )
    assert result.returncode == 0, result.stderr
    summary = read_summary(out / "summary.json")
    assert [one.facts.settings[NOISE_REMOVAL] for one in summary.systems] == [clean, plain]
    waveforms = [audio.load(tmp_path / f"{place}.wav") for place in range(2)]
    gate = SpectralGate()
    for system, removed in zip(summary.systems, (clean == "on", False), strict=True):
        heard = {
            one.id: one.hypothesis for one in read_samples(out / "samples.jsonl") if one.system == system.facts.name
        }
        expected = [odd_systems.energy(gate(one) if removed else one) for one in waveforms]
        assert [heard["u0"], heard["u1"]] == expected
    (notice,) = [one for one in summary.notices if "stationary noise" in one.lower()]
    assert str(tmp_path / "clean") in notice
    report = (out / "report.html").read_text()
    assert NOISE_REMOVAL in report and ("Stationary noise is not" in report or "Trained on audio without" in report)
    assert [row.values for row in decoding_rows(summary) if row.name == NOISE_REMOVAL] == (
        [["on", "off"]] if clean != plain else []
    )
    assert (NOISE_REMOVAL in decoding_sentence(summary)) == (clean != plain)


def test_the_page_to_speak_to_removes_noise_where_the_model_was_trained_so(tmp_path: Path) -> None:
    name = "tests.benchmark.odd_systems:Energy"
    models = ",".join(f"{name}={spec(tmp_path, folder, folder == 'clean').checkpoint}" for folder in ("clean", "plain"))
    lines: list[str] = []
    systems = Systems(parse_models(models), LoadOptions("cpu", None), lines.append)
    assert [line.endswith("noise is removed first, as in its training") for line in lines if "loaded" in line] == [
        True, False,
    ]  # fmt: skip
    waveform = 0.1 * torch.randn(16_000, generator=torch.Generator().manual_seed(0))
    found = [one.hypothesis for one in systems.transcribe(Recording("noise", waveform, 0.0, None))]
    assert found == [odd_systems.energy(SpectralGate()(waveform)), odd_systems.energy(waveform)]
