"""`python -m finetune.export RUN OUT --format FORMAT`: a run's best model in the format that another program loads.

What each format is, and of which families, is in `formats.py`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from preprocessing.cli.cores import keep_threads_to_quota
from preprocessing.cli.options import parse_command, run_command
from preprocessing.cli.progress import hide_loading_bars

DESCRIPTION = "Export a run's best model to the format of another library."


@dataclass(frozen=True)
class ExportConfig:
    """Options of the command."""

    renamed: ClassVar[Mapping[str, str]] = {"out": "output"}

    run: Path
    """Folder of a run: a training's --output_dir. It is not changed."""

    output: Path
    """Output: a folder, or for openai a file ending in .pt."""

    format: Literal["ctranslate2", "onnx", "openai", "openvino", "transformers"] = "transformers"
    """ctranslate2: a folder for faster-whisper (whisper). onnx: a folder with one graph from waveforms to logits, for
    ONNX Runtime (wav2vec2, lstm, whisper-ctc). openvino: the same graph for OpenVINO, which is the faster one on
    processors with AMX; on those with AVX2 alone, onnx in int8 is. openai: a .pt file for whisper.load_model (whisper).
    transformers: a folder for from_pretrained (every family)."""

    quantise: Literal["float32", "float16", "int8"] | None = None
    """Data type of the stored weights (ctranslate2, onnx, openvino); int8 is the smallest, and the fastest on a CPU.
    Default: float16 (ctranslate2), float32 (onnx, openvino)."""

    data: str | None = None
    """Corpus on which the export is compared with torch and the int8 scales of openvino are calibrated (onnx,
    openvino). Default: for int8 the run's training corpus if it can be read, else the embedded demo's."""

    overwrite: bool = False
    """Replace an earlier export at OUT."""


def main() -> None:
    config = parse_command(ExportConfig, program="python -m finetune.export", description=DESCRIPTION, positional=True)
    from finetune.export.formats import export

    keep_threads_to_quota()
    hide_loading_bars()
    options = {"quantise": config.quantise, "data": config.data, "overwrite": config.overwrite}
    print(export(config.run, config.output, config.format, **options))  # type: ignore[arg-type]


if __name__ == "__main__":
    run_command(main)
