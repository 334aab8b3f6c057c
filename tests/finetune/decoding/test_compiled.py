"""Compiled functions: the cache of their code, and what those that borrow their arrays are refused."""

import os
import pickle
import subprocess
import sys
from pathlib import Path

import numba
import numpy as np
import pytest
from numba.core.errors import TypingError

from finetune.decoding.compiled import compiled, compiled_borrowing
from tests.conftest import ROOT


def test_without_a_cache_it_says_so_and_goes_on(tmp_path: Path) -> None:
    """numba raises where neither the folder of a file nor the user's can be written."""
    script = """
import numba
real = numba.njit
def njit(*args, **options):
    def decorated(function):
        if options.get("cache"):
            raise RuntimeError("cannot cache function: no locator available")
        return real(*args, **options)(function)
    return decorated
numba.njit = njit
from finetune.decoding.compiled import compiled
print(compiled(lambda x: x + 1)(2))
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout == "3\n", done.stderr
    assert "set NUMBA_CACHE_DIR" in done.stderr


def test_a_cache_that_a_former_version_wrote_is_written_anew(tmp_path: Path) -> None:
    """Its types may be of a module that is no longer there."""
    module = tmp_path / "kernel.py"
    module.write_text("from finetune.decoding.compiled import compiled\n@compiled\ndef f(x): return x + 1\n")
    again = [sys.executable, "-c", "import kernel; print(kernel.f(2), sum(kernel.f.stats.cache_hits.values()))"]
    own = os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}", "NUMBA_CACHE_DIR": str(tmp_path / "cache")}

    def run() -> str:
        done = subprocess.run(again, env=own, capture_output=True, text=True, check=False)
        return done.stdout + done.stderr

    assert run() == "3 0\n"
    assert run() == "3 1\n"
    (index,) = (tmp_path / "cache").rglob("*.nbi")
    index.write_bytes(pickle.dumps(numba.__version__) + b"cno_such_module\nType\n.")
    assert run() == "3 0\n"
    assert run() == "3 1\n"


def test_a_cache_ends_with_the_files_that_the_function_uses(tmp_path: Path) -> None:
    """Also of a constant, and of a function that another one of its own file calls."""
    head = "from finetune.decoding.compiled import compiled\n"
    used = tmp_path / "used.py"
    used.write_text(f"{head}N = 1\n@compiled\ndef g(x): return x + 1\n")
    caller = (
        "@compiled\ndef f(x): return h(x)\n@compiled\ndef h(x): return g(x) * k(x)\n@compiled\ndef k(x): return N\n"
    )
    (tmp_path / "caller.py").write_text(f"{head}from used import N, g\n{caller}")
    own = os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}", "NUMBA_CACHE_DIR": str(tmp_path / "cache")}

    def run() -> str:
        again = [sys.executable, "-c", "from caller import f; print(f(2), sum(f.stats.cache_hits.values()))"]
        done = subprocess.run(again, env=own, capture_output=True, text=True, check=False)
        return done.stdout + done.stderr

    assert run() == "3 0\n"
    assert run() == "3 1\n"
    used.write_text(f"{head}N = 1\n@compiled\ndef g(x): return x + 10\n")
    assert run() == "12 0\n"
    used.write_text(f"{head}N = 100\n@compiled\ndef g(x): return x + 10\n")
    assert run() == "1200 0\n"


def test_a_function_that_borrows_its_arrays_cannot_make_one() -> None:
    """Nothing would free it."""
    with pytest.raises(TypingError, match="empty"):
        compiled_borrowing(made)(3)
    assert compiled(made)(3) == 0.0


def made(n: int) -> float:
    return float(np.zeros(n)[0])
