"""The files of a run: log.jsonl, rejects.jsonl, config.yaml, about.json, environment.json, curve.png; and trackers."""

import json
import math
import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import yaml
from accelerate import Accelerator

from finetune.config import TrainConfig
from finetune.data.rejects import Rejects
from finetune.training import about
from preprocessing.corpus import Reject

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


PACKAGES = ("torch", "torchaudio", "transformers", "datasets", "evaluate", "accelerate", "openai-whisper", "jiwer")


class Record:
    """The files of one run's folder. Lines are appended and flushed, so a killed run keeps what it had said."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._log = folder / "log.jsonl"
        self.rejects = Rejects(folder / "rejects.jsonl")

    def begin(self, config: TrainConfig, made_of: about.About, rejects: Iterable[Reject], *, update: int) -> None:
        """Write what is known at the start. A resumed run's log is kept up to `update`, and its rejects are kept."""
        self.folder.mkdir(parents=True, exist_ok=True)
        kept = [line for line in self.read_log() if line["step"] <= update] if update else []
        _replace(self._log, "".join(map(_line, kept)))
        self.rejects.begin(rejects, resumed=update > 0)
        _replace(self.folder / "config.yaml", yaml.safe_dump(plain(config), sort_keys=False, allow_unicode=True))
        _replace(self.folder / about.NAME, about.to_json(made_of))
        _replace(self.folder / "environment.json", json.dumps(environment(), indent=2) + "\n")

    def log(self, **values: Any) -> None:
        self._append(self._log, values)

    def read_log(self) -> list[dict[str, Any]]:
        """Every whole line of the log; a line cut off by a kill is left out."""
        if not self._log.exists():
            return []
        lines = self._log.read_text(encoding="utf-8").splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.endswith("\n")]

    def draw_curve(self) -> None:
        """curve.png, of the log as it is."""

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


PROJECT = "finetune"  # under which trackio and wandb gather runs; a run has its folder's name


def begin(accelerator: Accelerator, config: TrainConfig) -> None:
    """Start the tracker that accelerate was told of; TensorBoard writes into the run's folder."""
    if config.report_to == "none":
        return
    if config.report_to == "tensorboard":
        accelerator.init_trackers("tensorboard")  # the name of its folder
        return
    own: dict[str, Any] = {"name": config.output_dir.name}
    if config.report_to == "wandb":
        own["dir"] = str(config.output_dir)
    accelerator.init_trackers(PROJECT, config=plain(config), init_kwargs={config.report_to: own})


Line = Mapping[str, Any]

LIGHT, DARK, RED, OCHRE = "#7aa6c2", "#0b4f6c", "#b5541c", "#d9a441"


def draw(log: Sequence[Line]) -> "Figure":
    """Of the lines of a run's log. A recogniser without blanks has no panel for them."""
    from matplotlib.figure import Figure

    trained = [line for line in log if line["kind"] == "train"]
    validated = [line for line in log if line["kind"] == "validation"]
    blanks = [line for line in validated if line.get("blank_ratio") is not None]
    figure = Figure(figsize=(9, 5.2), layout="constrained", dpi=150)
    parts: Any = figure.subfigures(2, 1, height_ratios=(2.2, 1))
    loss, errors = parts[0].subplots(1, 2)
    small = parts[1].subplots(1, 3 if blanks else 2)
    _plot(loss, trained, "loss", color=LIGHT, lw=1, label="training")
    _plot(loss, validated, "loss", color=DARK, marker="o", ms=3, label="validation")
    loss.set(ylabel="loss per label", yscale="log", title="Loss")
    _plot(errors, validated, "wer", scale=100, color=RED, marker="o", ms=3, label="WER")
    _plot(errors, validated, "cer", scale=100, color=OCHRE, marker="s", ms=3, label="CER")
    errors.set(ylabel="error rate, %", ylim=(0, None), title="Validation")
    for axes in (loss, errors):
        axes.legend(frameon=False)
        axes.set_xlabel("steps")
    _plot(small[0], trained, "learning_rate", color=DARK, lw=1.2)
    small[0].set_ylim(0, None)
    small[0].ticklabel_format(axis="y", style="sci", scilimits=(0, 0))
    _plot(small[1], trained, "grad_norm", color=LIGHT, lw=1)
    small[1].set_ylim(0, None)
    titles = ["Learning rate", "Gradient norm"]
    if blanks:
        _plot(small[2], blanks, "blank_ratio", scale=100, color=DARK, marker="o", ms=2.5, lw=1.2)
        small[2].set(ylim=(0, 100), ylabel="%")
        titles.append("Blank frames")
    for axes, title in zip(small, titles, strict=True):
        axes.set_title(title, fontsize="medium")
        axes.tick_params(labelsize="small")
    last = max((line["step"] for line in (*trained, *validated)), default=0)
    for axes in (loss, errors, *small):
        axes.set_xlim(0, max(last, 1))
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25)
    return figure


def _plot(axes: "Axes", lines: Sequence[Line], key: str, *, scale: float = 1.0, **style: Any) -> None:
    """What is not finite leaves a gap."""
    points = [(line["step"], line.get(key)) for line in lines]
    values = [scale * value if value is not None and math.isfinite(value) else math.nan for _, value in points]
    axes.plot([update for update, _ in points], values, clip_on=False, **style)
