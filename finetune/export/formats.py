"""The formats that a run can be written in, by name, and the families that each is of.

A new format is a function that writes it and an entry of FORMATS; its name joins those of `ExportConfig.format`.
"""

import os
import shutil
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

from finetune.hub.folder import RunFolder, open_run, stopped_note
from finetune.models import FAMILIES, publication
from finetune.models.checkpoint_checks import CHECKPOINT
from finetune.models.companion_files import GENERATION, copy_pt_file, is_companion, write_companion_files
from preprocessing.errors import InputError, UsageError, install_extra

if TYPE_CHECKING:
    from finetune.export.graphs import Runtime

EXPORTED = ("graph.json", "model.onnx*", "model.xml", "model.bin", "vocabulary.json")  # beside a run's model files


@dataclass(frozen=True)
class Format:
    """A format.

    write: writes the run to a path that does not exist yet, with the weights in the given numbers, and returns what it
    found in comparing the two, or "". families: whose runs it can be made of. suffix: of the file that is written;
    empty for a folder. numbers: in which weights can be stored, the default first; empty where they stay as they are.
    usage: how the result is loaded; OUT stands for the path. compares: whether it takes utterances to compare on.
    """

    write: Callable[[RunFolder, Path, str, str | None], str]
    families: tuple[str, ...]
    suffix: str = ""
    numbers: tuple[str, ...] = ()
    usage: str = ""
    compares: bool = False


def export(
    run: Path,
    out: Path,
    name: str,
    *,
    quantise: str | None = None,
    data: str | None = None,
    overwrite: bool = False,
) -> str:
    """Writes the run at `out`, complete or not at all. Returns a line on what was written and how it is loaded.

    data: corpus that the result is compared with torch on, where the format does so; None: as in `export_graph`. Raises
    UsageError where the format has no such option, InputError where the run cannot be read or is of a family that the
    format does not fit.
    """
    chosen = FORMATS[name]
    _check_options(name, quantise, data)
    _check_output(run, out, name, overwrite=overwrite)
    opened = open_run(run)
    _check_family(opened, name)
    numbers = quantise or next(iter(chosen.numbers), "")
    found = _write_whole(chosen, opened, out, numbers, data)
    size = sum(path.stat().st_size for path in (out.rglob("*") if out.is_dir() else [out]) if path.is_file())
    kind = f"{name}, {numbers}" if numbers else name
    line = f"{out}: {kind}, {size / 1e6:.0f} MB; load it with {chosen.usage.replace('OUT', str(out))}"
    return "\n".join(filter(None, (stopped_note(opened), line, found)))


def _check_options(name: str, quantise: str | None, data: str | None) -> None:
    """Raises UsageError on an option that the format does not have."""
    chosen = FORMATS[name]
    if quantise is not None and quantise not in chosen.numbers:
        able = " or ".join(other for other, format_ in FORMATS.items() if quantise in format_.numbers)
        raise UsageError(
            f"--quantise is {quantise} and --format {name}, which stores weights unchanged; expected {able} with it: "
            "leave one of them out"
        )
    if data is not None and not chosen.compares:
        able = " or ".join(other for other, format_ in FORMATS.items() if format_.compares)
        raise UsageError(
            f"--data is {data} and --format {name}, which compares nothing; expected {able} with it: leave it out"
        )


def _check_output(run: Path, out: Path, name: str, *, overwrite: bool) -> None:
    """Raises UsageError where nothing may be written at `out`: nothing but an earlier export is replaced."""
    suffix = FORMATS[name].suffix
    if suffix and out.suffix != suffix:
        raise UsageError(
            f"OUT is {out}, and --format {name} writes a file; expected its name to end in {suffix}: change it"
        )
    if out.exists() and not overwrite:
        raise UsageError(f"OUT {out} exists; expected a new path: choose another one, or set --overwrite true")
    if run.resolve().is_relative_to(out.resolve()):
        raise UsageError(f"OUT {out} contains the run itself; expected another folder: choose one next to it")
    foreign = _foreign(out, is_folder=not suffix)
    if foreign:
        raise UsageError(f"OUT {out} {foreign}; expected an earlier export to replace: choose another folder")


def _foreign(out: Path, *, is_folder: bool) -> str:
    """What shows that a path is no earlier export, or "". is_folder: whether the format writes a folder."""
    if not out.is_dir():
        return "is a file" if is_folder and out.is_file() else ""
    if (entry := _first_foreign(out)) is not None:
        return f"contains {entry}, which no export writes"
    if any(out.iterdir()) and not (out / "config.json").is_file():
        return "contains no config.json, which every export writes"
    return ""


def _check_family(run: RunFolder, name: str) -> None:
    """Raises InputError where the format does not fit the run's family."""
    family, families = _family(run), FORMATS[name].families
    if family not in families:
        fitting = ", ".join(other for other, format_ in FORMATS.items() if family in format_.families)
        raise InputError(
            f"{run.path}: a {family} model, and --format {name} is for {', '.join(families)}; expected one of its "
            f"formats: choose {fitting}"
        )


def _family(run: RunFolder) -> str:
    return str(run.config["model"]["family"])


def _write_whole(chosen: Format, run: RunFolder, out: Path, numbers: str, data: str | None) -> str:
    partial = out.with_name(f".{out.stem}.{uuid.uuid4().hex[:8]}.partial{chosen.suffix}")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        found = chosen.write(run, partial, numbers, data)
        if not chosen.suffix:
            write_companion_files(run.path, partial)
        _remove(out)
        os.replace(partial, out)
        return found
    except OSError as error:
        raise InputError(
            f"{out}: cannot be written ({error}); expected a writable folder with free space: choose another, or free "
            "some"
        ) from None
    finally:
        _remove(partial)


def _first_foreign(folder: Path) -> str | None:
    """The name of the first entry of a folder that no export writes; None where there is none."""
    written = {*EXPORTED, *(pattern for family in FAMILIES for pattern in publication(family).files)} - {CHECKPOINT}
    for path in sorted(folder.iterdir()):
        of_model = path.is_file() and any(fnmatchcase(path.name, pattern) for pattern in written)
        of_companions = is_companion(f"{path.name}/" if path.is_dir() else path.name)
        if not of_model and not of_companions:
            return path.name
    return None


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _write_openai(run: RunFolder, out: Path, *_: str | None) -> str:
    copy_pt_file(run.path, out)
    return ""


def _write_transformers(run: RunFolder, out: Path, *_: str | None) -> str:
    _check_transformers(run)
    out.mkdir()
    for path in run.model_files:
        if path.suffix != ".pt":
            shutil.copyfile(path, out / path.name)
    return ""


def _write_onnx(run: RunFolder, out: Path, numbers: str, data: str | None) -> str:
    from finetune.export.onnx import ONNXRuntime

    return _write_graph(ONNXRuntime(), run, out, numbers, data)


def _write_openvino(run: RunFolder, out: Path, numbers: str, data: str | None) -> str:
    from finetune.export.openvino import OpenVINO

    return _write_graph(OpenVINO(), run, out, numbers, data)


def _write_graph(runtime: "Runtime", run: RunFolder, out: Path, numbers: str, data: str | None) -> str:
    from finetune.export.graphs import export_graph

    settings = run.config["data"]
    corpora = () if settings.get("streaming") else settings.get("train") or ()
    return export_graph(runtime, run.path, _family(run), out, numbers, data, corpora)


def _write_ctranslate2(run: RunFolder, out: Path, numbers: str, _: str | None) -> str:
    try:
        from ctranslate2.converters import TransformersConverter
    except ImportError:
        raise InputError(
            "--format ctranslate2: the package ctranslate2 is not installed; expected it for the conversion: "
            + install_extra("rivals")
        ) from None
    from transformers.utils import logging

    _check_transformers(run)
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    converter = TransformersConverter(str(run.path), copy_files=["tokenizer.json", "preprocessor_config.json"])
    converter.convert(str(out), quantization=numbers)
    shutil.copyfile(run.path / GENERATION, out / GENERATION)  # says the language; faster-whisper does not read it
    return ""


def _check_transformers(run: RunFolder) -> None:
    if not list(run.path.glob("*.safetensors")):
        raise InputError(
            f"{run.path}: no model.safetensors there; expected the run of a model that transformers has, for Whisper "
            "one with 51,864 to 51,866 tokens: train such a model"
        )


FORMATS = {
    "ctranslate2": Format(
        _write_ctranslate2,
        ("whisper",),
        numbers=("float16", "float32", "int8"),
        usage="faster_whisper.WhisperModel, in a benchmark as faster-whisper=OUT",
    ),
    "onnx": Format(
        _write_onnx,
        ("wav2vec2", "lstm", "whisper-ctc"),
        numbers=("float32", "int8"),
        usage="onnxruntime.InferenceSession, in a benchmark as onnx=OUT",
        compares=True,
    ),
    "openai": Format(
        _write_openai, ("whisper",), suffix=".pt", usage="whisper.load_model, in a benchmark as whisper=OUT"
    ),
    "openvino": Format(
        _write_openvino,
        ("wav2vec2", "lstm", "whisper-ctc"),
        numbers=("float32", "int8"),
        usage="openvino.Core().compile_model, in a benchmark as openvino=OUT",
        compares=True,
    ),
    "transformers": Format(_write_transformers, FAMILIES, usage="from_pretrained, in a benchmark as pipeline=OUT"),
}
