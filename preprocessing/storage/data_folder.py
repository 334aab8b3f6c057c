"""The folder of speech, noise and rooms that configurations name as `${ASR_DATA_DIR}`, and its expansion in options.

`python -m preprocessing.fetch` fills it. Where the environment variable ASR_DATA_DIR is not set, it is `data`, below
the current folder. No other variable is expanded: a prompt or a text may hold a dollar sign.

DEMO is the folder of the embedded corpus and checkpoints, which need no download.
"""

import os
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

DATA_VARIABLE = "ASR_DATA_DIR"
DEFAULT_DATA_FOLDER = "data"
DEMO = Path(__file__).resolve().parents[2] / "demo"


def data_folder() -> Path:
    """The folder that ASR_DATA_DIR names, or `data` where it is unset or empty."""
    return Path(os.environ.get(DATA_VARIABLE) or DEFAULT_DATA_FOLDER)


def reference_of(path: Path) -> str:
    """The path of something embedded as a report shows it: relative to the current folder where it is below that."""
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def expand_data_folder(value: Any) -> Any:
    """The value with `${ASR_DATA_DIR}` and `$ASR_DATA_DIR/` replaced in its strings and paths.

    Looks into lists, tuples, dicts and dataclasses; a dataclass that holds no variable is returned as it is, the same
    object.
    """
    if isinstance(value, str):
        folder = str(data_folder())
        return value.replace(f"${{{DATA_VARIABLE}}}", folder).replace(f"${DATA_VARIABLE}/", f"{folder}/")
    if isinstance(value, Path):
        text = str(value)
        expanded = expand_data_folder(text)
        return value if expanded == text else Path(expanded)
    if type(value) in (list, tuple):
        return type(value)(map(expand_data_folder, value))
    if isinstance(value, dict):
        return {key: expand_data_folder(element) for key, element in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        before = {field.name: getattr(value, field.name) for field in fields(value) if field.init}
        after = {name: expand_data_folder(element) for name, element in before.items()}
        return value if after == before else replace(value, **after)
    return value


def missing_data_hint(reference: str) -> str:
    """What to do where a path below the data folder does not exist; empty for any other path.

    The hint names the command that fetches it and the variable.
    """
    folder = data_folder()
    path = Path(reference)
    if not path.is_relative_to(folder) or path == folder:
        return ""
    return (
        f"; {folder} is the folder of downloaded data: `python -m preprocessing.fetch` lists what fills it, or set "
        f"{DATA_VARIABLE} to the folder that holds {path.relative_to(folder)}"
    )
