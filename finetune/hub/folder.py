"""A run's folder as it is published: read whole, and the list of what may leave the machine.

Only what is named here is uploaded. Checkpoints, logs, rejects and transcripts hold paths, texts and speakers of the
user's own, and stay.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from finetune import about
from finetune.about import About, without_folders
from finetune.hub.families import Family, family
from preprocessing.errors import InputError

CURVE = "curve.png"
CONFIG = "config.yaml"


@dataclass(frozen=True)
class RunFolder:
    """What a run wrote of itself; `about` is None for a run that wrote no about.json."""

    path: Path
    config: dict[str, Any]
    family: Family
    about: About | None
    versions: dict[str, str]
    log: tuple[dict[str, Any], ...]  # lines of validation
    transcripts: tuple[dict[str, Any], ...]  # of the best model, over the validation utterances

    @property
    def model_files(self) -> list[Path]:
        """The family's files that are there, by name."""
        return sorted({path for pattern in self.family.files for path in self.path.glob(pattern) if path.is_file()})

    def uploads(self) -> dict[str, Path | bytes]:
        """What goes into the repository beside the card: by name there, a file here or its content."""
        uploads: dict[str, Path | bytes] = {path.name: path for path in self.model_files}
        uploads[CONFIG] = yaml.safe_dump(public(self.config), sort_keys=False, allow_unicode=True).encode()
        if (self.path / CURVE).is_file():
            uploads[CURVE] = self.path / CURVE
        return uploads


def open_run(path: Path) -> RunFolder:
    """Read a run's folder. Raises InputError where it is none, or holds no model yet."""
    if not (path / CONFIG).is_file():
        raise InputError(f"{path}: no {CONFIG} there; expected the folder of a run: name a training's --output")
    try:
        config = yaml.safe_load((path / CONFIG).read_text(encoding="utf-8"))
        kind = family(str(config["model"]["family"]))
        told = path / about.NAME
        environment = path / "environment.json"
        run = RunFolder(
            path=path,
            config=config,
            family=kind,
            about=about.from_json(told.read_text(encoding="utf-8")) if told.is_file() else None,
            versions=json.loads(environment.read_text(encoding="utf-8"))["packages"] if environment.is_file() else {},
            log=tuple(line for line in _lines(path / "log.jsonl") if line["kind"] == "validation"),
            transcripts=tuple(_lines(path / "samples.jsonl")),
        )
    except (ValueError, KeyError, TypeError, OSError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise InputError(
            f"{path}: cannot be read as a run ({reason}); expected what training wrote: restore it"
        ) from None
    if not list(path.glob(kind.files[0])):
        raise InputError(f"{path}: no {kind.files[0]} there; expected a trained model: finish the training first")
    return run


def public(value: Any) -> Any:
    """A configuration with every local path in it cut to its last part."""
    match value:
        case str():
            return without_folders(value)
        case dict():
            return {key: public(inner) for key, inner in value.items()}
        case list():
            return [public(inner) for inner in value]
    return value


def _lines(path: Path) -> list[dict[str, Any]]:
    """Whole lines of a JSON Lines file; none where there is no file."""
    if not path.is_file():
        return []
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith("\n")]
