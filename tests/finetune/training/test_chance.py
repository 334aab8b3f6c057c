"""Chance comes from seeds that are the same in every process, Python and release."""

import ast
from pathlib import Path

import benchmark
import finetune
import preprocessing
from preprocessing.augment import seeded_generator


def test_seeds_are_what_they_were() -> None:
    """Written down: another value, and a run resumed after an upgrade would go on with other masks."""
    assert seeded_generator(0, 12, 1, 3).initial_seed() == 5394897623167194652
    assert seeded_generator(7, 2, "utterance 1").initial_seed() == 8130723662434101537
    seeds = {seeded_generator(*parts).initial_seed() for parts in ((1, 23), (12, 3), (3, 12), (1, 2, 3), (123,))}
    assert len(seeds) == 5


def test_nothing_is_decided_by_pythons_own_hash() -> None:
    """`hash` of text differs in every process, and that of numbers is no promise."""
    called = [
        f"{path}:{node.lineno}"
        for package in (preprocessing, finetune, benchmark)
        for folder in package.__path__
        for path in Path(folder).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "hash"
    ]
    assert not called
