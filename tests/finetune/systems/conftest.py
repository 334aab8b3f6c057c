"""Whispers of random weights in the forms of three libraries."""

from pathlib import Path

import pytest

from tests.finetune.systems.tiny_whisper import save_openai, save_tiny_whisper


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """In transformers' form, of two languages."""
    folder = tmp_path_factory.mktemp("whisper")
    save_tiny_whisper(folder)
    return folder


@pytest.fixture(scope="module")
def converted(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same weights as CTranslate2 holds them."""
    converters = pytest.importorskip("ctranslate2.converters")
    folder = tmp_path_factory.mktemp("converted") / "model"
    converter = converters.TransformersConverter(str(tiny), copy_files=["tokenizer.json", "preprocessor_config.json"])
    converter.convert(str(folder))
    return folder


@pytest.fixture(scope="module")
def multilingual(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """In openai-whisper's form, its languages told apart by chance."""
    return save_openai(tmp_path_factory.mktemp("multilingual") / "model.pt", 51_865)
