"""Which arithmetic `auto` means, by what processors say of themselves."""

from pathlib import Path

import pytest
import torch

from finetune import training_run
from finetune.config import DataConfig, ModelConfig, TrainConfig
from finetune.training import precision
from finetune.training.precision import bfloat16_pays_on_cpu, resolve
from preprocessing.errors import UsageError


def cpu(folder: Path, vendor: str, flags: str) -> Path:
    """/proc/cpuinfo of two cores."""
    core = f"processor\t: 0\nvendor_id\t: {vendor}\nmodel name\t: a: b\nflags\t\t: fpu sse {flags}\nbugs\t\t:\n\n"
    path = folder / "cpuinfo"
    path.write_text(core * 2)
    return path


@pytest.mark.parametrize(
    ("vendor", "flags", "pays"),
    [
        ("GenuineIntel", "avx512f avx512_bf16 amx_bf16 amx_tile", True),
        ("GenuineIntel", "avx512f avx512_bf16", False),
        ("AuthenticAMD", "avx512f avx512_bf16", True),
        ("AuthenticAMD", "avx2", False),
    ],
)
def test_processors(tmp_path: Path, vendor: str, flags: str, pays: bool) -> None:
    assert bfloat16_pays_on_cpu(cpu(tmp_path, vendor, flags)) is pays


def test_a_processor_that_does_not_tell(tmp_path: Path) -> None:
    assert not bfloat16_pays_on_cpu(tmp_path / "absent")
    (tmp_path / "odd").write_text("\x00")
    assert not bfloat16_pays_on_cpu(tmp_path / "odd")


def config(folder: Path, precision: str, family: str = "wav2vec2") -> TrainConfig:
    model = ModelConfig(family=family, base="somewhere")  # type: ignore[arg-type]
    return TrainConfig(output_dir=folder, model=model, data=DataConfig(train=["x"]), mixed_precision=precision)  # type: ignore[arg-type]


def test_what_is_named_is_taken(tmp_path: Path) -> None:
    assert [resolve(config(tmp_path, name), begun=False) for name in ("no", "bf16", "fp16")] == ["no", "bf16", "fp16"]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_auto_on_a_cpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for pays in (False, True):
        monkeypatch.setattr("finetune.training.precision.bfloat16_pays_on_cpu", lambda pays=pays: pays)
        assert resolve(config(tmp_path, "auto"), begun=False) == ("bf16" if pays else "no")
        assert resolve(config(tmp_path, "auto", "lstm"), begun=False) == "no"


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_resumed_run_keeps_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "config.yaml").write_text("mixed_precision: bf16\n")
    monkeypatch.setattr("finetune.training.precision.bfloat16_pays_on_cpu", lambda: False)
    assert resolve(config(tmp_path, "auto"), begun=True) == "bf16"
    assert resolve(config(tmp_path, "auto"), begun=False) == "no"


@pytest.mark.skipif(torch.accelerator.is_available(), reason="there is a GPU")
def test_an_lstm_in_bfloat16_is_refused_where_the_processor_has_no_kernel(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(precision, "lstm_computes_bfloat16_on_cpu", lambda: False)
    config = TrainConfig(
        output_dir=tmp_path,
        model=ModelConfig(family="lstm", scratch={}),
        data=DataConfig(train=["x"], validation_share=0.1),
        mixed_precision="bf16",
    )
    with pytest.raises(UsageError, match="--mixed_precision is bf16, which the LSTM kernels of this processor"):
        training_run.make_accelerator(config)
