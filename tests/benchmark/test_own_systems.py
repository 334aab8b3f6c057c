"""A user's own class by package.module:Class: its checkpoint, and a sentence for each way it can be wrong."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

from benchmark.results import SystemFacts
from finetune.systems.base import LoadOptions, System, SystemSpec
from finetune.systems.registry import load_system, parse_models
from preprocessing.errors import InputError, UsageError

OPTIONS = LoadOptions("cpu", "de")
HERE = __name__


class Mine(System):
    """Says what it was loaded with."""

    def __init__(self, spec: SystemSpec, options: LoadOptions) -> None:
        self.facts = SystemFacts(spec.name, spec.family, spec.checkpoint, 0)
        self.language = options.language

    def features(self, waveforms: Sequence[Tensor]) -> Any:
        return waveforms

    def forward(self, features: Any) -> Any:
        return features

    def text(self, outcome: Any) -> list[str]:
        return [f"{self.facts.checkpoint} {self.language}" for _ in outcome]


class Unfinished(Mine):
    def __init__(self, spec: SystemSpec, options: LoadOptions) -> None:
        raise KeyError("weights")


class Refuses(Mine):
    def __init__(self, spec: SystemSpec, options: LoadOptions) -> None:
        raise InputError("its own sentence")


class WithoutFacts(Mine):
    def __init__(self, spec: SystemSpec, options: LoadOptions) -> None:
        pass


class Stranger:
    pass


class Abstract(System):
    def __init__(self, spec: SystemSpec, options: LoadOptions) -> None:
        pass


def load(reference: str) -> System:
    (spec,) = parse_models(reference)
    return load_system(spec, OPTIONS)


def test_a_class_is_given_its_checkpoint_and_the_options() -> None:
    system = load(f"{HERE}:Mine=runs/lr=1e-4/my model")
    assert system.facts.name == f"{HERE}:Mine=runs/lr=1e-4/my model"
    assert system.text([None]) == ["runs/lr=1e-4/my model de"]
    assert load(f"{HERE}:Mine").text([None, None]) == [f"{HERE}:Mine de"] * 2


def test_one_class_may_be_compared_under_two_checkpoints() -> None:
    specs = parse_models(f"{HERE}:Mine=a,{HERE}:Mine=b")
    assert [(spec.family, spec.checkpoint) for spec in specs] == [(f"{HERE}:Mine", "a"), (f"{HERE}:Mine", "b")]


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("Unfinished", r"KeyError: 'weights' \(test_own_systems.py, line \d+\), raised by its constructor"),
        ("Abstract", r"TypeError: Can't instantiate abstract class [^(]*, raised by its constructor"),
        ("WithoutFacts", "AttributeError.* raised by its constructor; .* to set facts"),
        ("Refuses", "^its own sentence$"),
        ("Stranger", "is not a System; expected a subclass of finetune.systems.base.System"),
        ("OPTIONS", "is not a System"),
        ("Missing", "cannot be imported .*has no attribute 'Missing'"),
    ],
)
def test_a_class_that_is_none_is_refused_in_a_sentence(name: str, told: str) -> None:
    with pytest.raises(InputError, match=told):
        load(f"{HERE}:{name}")


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("def (", r"failed with SyntaxError: [^(]*\(own_broken.py, line 1\);"),
        ("raise RuntimeError('boom')", r"failed with RuntimeError: boom \(own_broken.py, line 1\)"),
        ("import no_such_package", "No module named 'no_such_package'"),
    ],
)
def test_a_module_that_fails_says_where(
    written: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own_broken.py").write_text(written, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(InputError, match=told):
        load("own_broken:Class")


@pytest.mark.parametrize(
    ("reference", "told"),
    [
        ("own:", "names no class"),
        (":Class", "names no class"),
        ("a..b:Class", "names no class"),
        ("a/b:Class", "names no class"),
        ("own:Class=", "names no checkpoint"),
    ],
)
def test_references_that_name_no_class(reference: str, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        parse_models(reference)
