"""The documented examples of a new corpus reader and a new kind of unit work as printed: one file and one line each."""

import re
import types
from pathlib import Path

import numpy as np
import pytest
import soundfile

from preprocessing.corpus import open_corpus, readers
from preprocessing.corpus.readers.rows import Reader
from preprocessing.units import Vocabulary, build, vocabulary
from tests.conftest import ROOT


def example(page: str, name: str) -> types.ModuleType:
    """The module that the page's code block with `name` in its first line is."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / page).read_text(encoding="utf-8"), re.DOTALL)
    (code,) = [block for block in blocks if name in block.splitlines()[0]]
    assert len(code.splitlines()) < 30
    module = types.ModuleType(name)
    exec(compile(code, f"docs/{page}", "exec"), module.__dict__)
    return module


def test_a_new_corpus_reader_is_a_file_and_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arctic = example("corpora.md", "CMU ARCTIC")
    reader = Reader("CMU ARCTIC (etc/txt.done.data)", arctic.is_arctic, arctic.read_arctic)
    monkeypatch.setattr(readers, "READERS", (reader, *readers.READERS))
    for folder in ("etc", "wav"):
        (tmp_path / folder).mkdir()
    soundfile.write(tmp_path / "wav" / "arctic_a0001.wav", np.zeros(24_000), 16_000)
    lines = ['( arctic_a0001 "Good morning." )', "( arctic_a0002 )", '( arctic_a0003 "No audio." )']
    (tmp_path / "etc" / "txt.done.data").write_text("\n".join(lines) + "\n")
    corpus = open_corpus(str(tmp_path))
    (utterance,) = corpus.utterances
    assert (utterance.id, utterance.text, utterance.duration) == ("arctic_a0001", "Good morning.", 1.5)
    assert [reject.where.rsplit(":", 1)[1] for reject in corpus.rejects] == ["2", "3"]
    assert "expected '( name \"text\" )'" in corpus.rejects[0].reason and "arctic_a0003.wav" in corpus.rejects[1].reason


def test_a_new_kind_of_unit_is_a_file_and_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = example("units.md", "Pairs of letters").Pairs
    monkeypatch.setitem(vocabulary.SPLITTERS, pairs.kind, pairs)
    texts = ["TO BE OR NOT TO BE", "THAT IS THE QUESTION"]
    made = build("pairs", texts, size=20)
    assert made.size == 20 and {"TO", "BE"} <= set(made.units)
    assert [made.units[index] for index in made.encode("TO BEE")] == ["TO", "|", "BE", "E"]
    assert all(made.decode(made.encode(text)) == text for text in texts)
    made.save(tmp_path)
    assert Vocabulary.load(str(tmp_path)) == made
