"""What a run writes about itself: log.jsonl, rejects.jsonl, samples.jsonl, config.yaml, about.json,
environment.json, curve.png.
"""

import json
import os
import platform
from collections.abc import Iterable
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
import yaml

from finetune import about
from finetune.config import TrainConfig
from preprocessing.corpus import Reject

PACKAGES = ("torch", "torchaudio", "transformers", "datasets", "evaluate", "accelerate", "openai-whisper", "jiwer")


class Record:
    """The files of one run's folder. Lines are appended and flushed, so a killed run keeps what it had said."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._log = folder / "log.jsonl"
        self._rejects = folder / "rejects.jsonl"
        self.set_aside = 0  # utterances, since it began, in this process

    def begin(self, config: TrainConfig, made_of: about.About, rejects: Iterable[Reject], *, update: int) -> None:
        """Write what is known at the start; lines of a resumed run's log after `update` are dropped."""
        self.folder.mkdir(parents=True, exist_ok=True)
        kept = [line for line in self.read_log() if line["update"] <= update] if update else []
        _replace(self._log, "".join(map(_line, kept)))
        told = [_line(asdict(reject)) for reject in rejects]
        self.set_aside = len(told)
        _replace(self._rejects, "".join(told))
        _replace(self.folder / "config.yaml", yaml.safe_dump(plain(config), sort_keys=False, allow_unicode=True))
        _replace(self.folder / about.NAME, about.to_json(made_of))
        _replace(self.folder / "environment.json", json.dumps(environment(), indent=2) + "\n")

    def log(self, **values: Any) -> None:
        self._append(self._log, values)

    def reject(self, reject: Reject) -> None:
        self.set_aside += 1
        self._append(self._rejects, asdict(reject))

    def read_log(self) -> list[dict[str, Any]]:
        """Every whole line of the log; a line cut off by a kill is left out."""
        if not self._log.exists():
            return []
        lines = self._log.read_text(encoding="utf-8").splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.endswith("\n")]

    def draw_curve(self) -> None:
        """curve.png, of the log as it is."""
        from finetune.curve import draw

        beside = self.folder / "curve.partial.png"
        draw(self.read_log()).savefig(beside)
        os.replace(beside, self.folder / "curve.png")

    def _append(self, path: Path, values: dict[str, Any]) -> None:
        with path.open("a", encoding="utf-8") as file:
            file.write(_line(values))


def plain(config: Any) -> Any:
    """A dataclass as YAML holds it: paths as text."""
    return json.loads(json.dumps(asdict(config), default=os.fspath))


def environment() -> dict[str, Any]:
    """Versions and machine, without anything that names a user."""
    devices = [torch.cuda.get_device_name(device) for device in range(torch.cuda.device_count())]
    return {
        "python": platform.python_version(),
        "machine": ", ".join([platform.machine(), f"{os.cpu_count()} cores", *devices]),
        "packages": {package: version(package) for package in PACKAGES},
    }


def _line(values: dict[str, Any]) -> str:
    return json.dumps(values, ensure_ascii=False) + "\n"


def _replace(path: Path, text: str) -> None:
    beside = path.with_name(path.name + ".partial")
    beside.write_text(text, encoding="utf-8")
    os.replace(beside, path)
