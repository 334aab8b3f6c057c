"""What several tests share: where the real speech lies, and small audio with a known content."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# Tests run side by side, and so do the commands that they start: a thread that waits must not spin.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import pytest
import torch
from hypothesis import settings

ROOT = Path(__file__).resolve().parents[1]
DEMO = ROOT / "demo"
GPU = pytest.param(
    "cuda", marks=[pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU")]
)
DEVICES = ["cpu", GPU]

# On a busy machine an example takes as long as it takes; what hangs, pytest-timeout ends.
settings.register_profile("without deadline", deadline=None)
settings.load_profile("without deadline")


def pytest_configure() -> None:
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    torch.set_num_threads(max(len(os.sched_getaffinity(0)) // workers, 1))


@pytest.fixture(autouse=True)
def full_precision(request: pytest.FixtureRequest) -> Iterator[None]:
    """On a GPU, float32 products and convolutions as the CPU has them, not TensorFloat32's."""
    if request.node.get_closest_marker("gpu") is None:
        yield
        return
    before, convolutions = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False
    yield
    torch.set_float32_matmul_precision(before)
    torch.backends.cudnn.allow_tf32 = convolutions


@pytest.fixture(scope="session")
def speech() -> Path:
    """The folder of real speech; the test is skipped where it is absent."""
    folder = Path(os.environ.get("ASR_DATA_DIR", ROOT / ".." / "shared" / "data")).resolve()
    if not (folder / "librispeech" / "test-other.jsonl").is_file():
        pytest.skip(f"no real speech at {folder}: set ASR_DATA_DIR")
    return folder


@pytest.fixture(scope="session")
def real_models() -> Path:
    """A folder with OpenAI's tiny.en.pt and base.pt; the test is skipped where there is none."""
    folder = Path(os.environ.get("ASR_REAL_MODELS", ""))
    if not os.environ.get("ASR_REAL_MODELS") or not (folder / "tiny.en.pt").is_file():
        pytest.skip("no real Whisper weights: set ASR_REAL_MODELS to a folder with tiny.en.pt and base.pt")
    return folder


@pytest.fixture
def one_thread() -> Iterator[None]:
    """For models of many small steps: on a busy machine threads wait for each other at every one of them."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def read_manifest(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def write_manifest(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def absolute(manifest: Path, count: int) -> list[dict[str, Any]]:
    """The first lines of a manifest with absolute audio paths, to be put into another one."""
    return [row | {"audio": str(manifest.parent / row["audio"])} for row in read_manifest(manifest)[:count]]
