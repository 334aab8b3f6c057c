"""Every family that a configuration may name has its module, and what it publishes are settings that exist."""

import dataclasses
import importlib

import pytest

from finetune import models
from finetune.config import ModelConfig
from finetune.models.base import Publication
from preprocessing.errors import InputError


def test_the_families_are_those_of_the_configuration() -> None:
    assert set(models.FAMILIES) == {"wav2vec2", "whisper", "whisper-ctc", "lstm"}


@pytest.mark.parametrize("family", models.FAMILIES)
def test_a_family_builds_and_publishes(family: str) -> None:
    assert callable(importlib.import_module(f"finetune.models.{family.replace('-', '_')}").build)
    published = models.publication(family)
    assert isinstance(published, Publication)
    assert set(published.settings) <= {field.name for field in dataclasses.fields(ModelConfig)}
    assert published.files and "REPO" in published.usage
    compile(published.usage, "usage", "exec")


def test_an_unknown_family_is_named() -> None:
    with pytest.raises(InputError, match="'kaldi' is unknown; expected one of wav2vec2"):
        models.publication("kaldi")
