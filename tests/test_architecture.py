"""docs/architecture.md says what is true: its examples run as they stand, and every function that it names exists."""

import importlib
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import torchaudio

from experiments.__main__ import list_experiments
from finetune.systems.base import LoadOptions
from finetune.systems.registry import load_system, parse_models
from preprocessing import audio
from preprocessing.corpus import open_corpus, readers
from preprocessing.units import Vocabulary, build, vocabulary
from tests.conftest import ROOT

PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
EXAMPLES = dict(re.findall(r'^```python title="(\w+)"\n(.*?)^```$', PAGE, re.DOTALL | re.MULTILINE))
NAMES = sorted(set(re.findall(r"`((?:preprocessing|finetune|benchmark|experiments)(?:\.\w+)+)`", PAGE)))


def written(folder: Path, title: str) -> Path:
    path = folder / f"example_{title}.py"
    path.write_text(EXAMPLES[title], encoding="utf-8")
    return path


def imported(folder: Path, title: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(folder))
    return importlib.import_module(written(folder, title).stem)


@pytest.mark.parametrize("name", NAMES)
def test_what_the_page_names_exists(name: str) -> None:
    parts = name.split(".")
    for end in range(len(parts), 0, -1):
        try:
            found: Any = importlib.import_module(".".join(parts[:end]))
        except ModuleNotFoundError:
            continue
        for part in parts[end:]:
            found = getattr(found, part)
        return
    pytest.fail(f"{name} is nowhere")


def test_every_folder_of_the_map_is_there() -> None:
    map_ = PAGE.split("```")[1]
    floor = ""
    for line in map_.splitlines():
        for folder in re.findall(r"(\w+)/(?= |$)", line.split(" -> ")[0]) if line.strip() else []:
            floor = folder if not line.startswith(" ") else floor
            path = ROOT / floor if folder == floor else ROOT / floor / folder
            nested = list((ROOT / floor).glob(f"**/{folder}"))
            assert path.is_dir() or nested, line


@pytest.mark.parametrize("title", ["system", "feature", "unit", "reader", "experiment"])
def test_an_example_is_short(title: str) -> None:
    assert len(EXAMPLES[title].splitlines()) <= 34
    assert sum(1 for line in EXAMPLES[title].splitlines() if line.strip()) < 30


def test_the_system_is_loaded_by_its_reference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    imported(tmp_path, "system", monkeypatch)
    (spec,) = parse_models("example_system:AlwaysYes")
    system = load_system(spec, LoadOptions("cpu", None))
    texts = [system.text(system.forward(system.features([torch.zeros(n)]))) for n in (16_000, 0)]
    assert texts == [["YES"], [""]]


def test_the_feature_is_torchaudios_spectrogram_and_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    extractor = imported(tmp_path, "feature", monkeypatch).LogSpectrogram()
    waveform = 0.1 * torch.randn(8_000, generator=torch.Generator().manual_seed(0))
    theirs = torchaudio.transforms.Spectrogram(400, hop_length=160, center=False)(waveform).clamp(min=1e-10).log()
    torch.testing.assert_close(extractor(waveform), theirs, atol=1e-3, rtol=1e-4)
    batch = extractor.batch(torch.stack([waveform, waveform]), torch.tensor([8_000, 4_000]))
    torch.testing.assert_close(batch.utterance(1), extractor(waveform[:4_000]))


def test_the_unit_makes_a_vocabulary_that_is_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    graphemes = imported(tmp_path, "unit", monkeypatch).Graphemes
    assert graphemes().pieces("cafe\u0301s") == ["c", "a", "f", "e\u0301", "s"]
    monkeypatch.setitem(vocabulary.SPLITTERS, "graphemes", graphemes)
    units = build("graphemes", ["हिन्दी में", "दिन"])
    assert "दि" in units.units
    assert units.decode(units.encode("दिन में")) == "दिन में"
    units.save(tmp_path / "saved")
    assert Vocabulary.load(str(tmp_path / "saved")) == units


def test_the_reader_opens_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reader = imported(tmp_path, "reader", monkeypatch).READER
    monkeypatch.setattr(readers, "READERS", (reader, *readers.READERS))
    folder = tmp_path / "commands"
    folder.mkdir()
    (folder / "NAMED_BY_TEXT").touch()
    audio.save(folder / "TURN-LEFT_003.wav", torch.zeros(1_600))
    (utterance,) = open_corpus(str(folder)).utterances
    assert (utterance.text, utterance.duration) == ("TURN LEFT", pytest.approx(0.1))


@pytest.mark.slow
def test_the_experiment_is_listed_and_runs(tmp_path: Path) -> None:
    path = written(tmp_path, "experiment")
    (listed,) = list_experiments(tmp_path)
    assert listed.question == "How many words a minute do people say in this corpus?"
    result = subprocess.run(
        [sys.executable, str(path)], cwd=ROOT, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=True
    )
    assert "words a minute" in result.stdout
