"""The folder of a run: log.jsonl, rejects.jsonl, config.yaml, about.json, environment.json and curve.png; the tracker.

Checkpoints are written by `finetune.training.checkpoint`. The model and samples.jsonl of a new best evaluation wait in
a folder of their own until there is a checkpoint that knows of it.
"""

import json
import math
import os
import platform
import shutil
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import yaml
from torch import nn

from finetune.config import TrainConfig
from finetune.data.rejects import Rejects
from finetune.models import about
from finetune.models.base import TrainableRecogniser
from finetune.training.evaluation import ValidationSample, write_transcripts
from finetune.training.log import BEST, LOG, LogLine, read_log
from preprocessing.cli.cores import describe_cores
from preprocessing.corpus import Reject
from preprocessing.plot_style import PALETTE, TICK_SIZE, new_figure, save_figure, style_axes
from preprocessing.storage.atomic_write import json_line, permit_readers, write_text_atomically

if TYPE_CHECKING:
    from accelerate import Accelerator
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PACKAGES = (
    "torch",
    "torchaudio",
    "transformers",
    "datasets",
    "evaluate",
    "accelerate",
    "openai-whisper",
    "jiwer",
    "rapidfuzz",
)
TRACKER_PROJECT = "finetune"  # in trackio, and in wandb without WANDB_PROJECT; the run has the name of its folder
WANDB_ID = Path("checkpoints", "wandb_id.txt")  # deleted with the checkpoints, where a run is begun anew


class RunWriter:
    """Writes the files of a run's folder. Lines of the log are appended at once, so that a killed run keeps them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._log_path = folder / LOG
        self.rejects = Rejects(folder / "rejects.jsonl")

    def begin(self, config: TrainConfig, description: about.About, rejects: Iterable[Reject], *, step: int) -> None:
        """Write what is known before training. A run that is resumed at `step` keeps its log up to there, and its
        rejects.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        log = self.read_log() if step else []  # a finished run that is started again averages its best weights again
        kept = [line for line in log if line["step"] <= step and not _is_average(line)]
        write_text_atomically(self._log_path, "".join(map(json_line, kept)))
        self.rejects.begin(rejects, resumed=step > 0)
        options = yaml.safe_dump(plain(config), sort_keys=False, allow_unicode=True)
        write_text_atomically(self.folder / "config.yaml", options)
        write_text_atomically(self.folder / about.NAME, about.to_json(description))
        write_text_atomically(self.folder / "environment.json", json.dumps(environment(), indent=2) + "\n")

    def log(self, **values: Any) -> None:
        """Append a line to log.jsonl."""
        with self._log_path.open("a", encoding="utf-8") as file:
            file.write(json_line(values))

    def read_log(self) -> list[dict[str, Any]]:
        """The lines of log.jsonl, without a last one that a kill cut off."""
        return read_log(self.folder)

    def save_model(
        self, recogniser: TrainableRecogniser, module: nn.Module, transcripts: Sequence[ValidationSample], step: int
    ) -> None:
        """Write a model with the transcripts of its evaluation at a step, for `place_model`."""
        partial, waiting = self.folder / "best.partial", self._waiting(step)
        shutil.rmtree(partial, ignore_errors=True)
        recogniser.save(partial, module)
        write_transcripts(partial / "samples.jsonl", transcripts)
        permit_readers(partial)
        shutil.rmtree(waiting, ignore_errors=True)
        partial.rename(waiting)

    def model_waits(self, step: int) -> bool:
        """Whether `save_model` has written a model at a step, and not all of it is in its place."""
        return self._waiting(step).is_dir()

    def place_model(self, step: int) -> None:
        """Move a model that `save_model` has written into the run's folder, file by file, the weights last. Others that
        wait, of evaluations that a kill has kept from the checkpoint, are deleted.
        """
        waiting = self._waiting(step)
        if waiting.is_dir():
            for path in sorted(waiting.iterdir(), key=lambda path: path.stat().st_size):
                os.replace(path, self.folder / path.name)
        for path in (waiting, *self.folder.glob(f"best-step-{8 * '[0-9]'}"), self.folder / "best.partial"):
            shutil.rmtree(path, ignore_errors=True)

    def _waiting(self, step: int) -> Path:
        return self.folder / f"best-step-{step:08d}"

    def draw_curve(self) -> None:
        """Write curve.png of the present log."""
        save_figure(draw_curve(self.read_log()), self.folder / "curve.png")


def _is_average(line: LogLine) -> bool:
    """Whether a line of the log is about the mean of several evaluations' weights."""
    return line["kind"] == "average" or (line["kind"] == BEST and len(line["steps"]) > 1)


def plain(config: Any) -> Any:
    """A dataclass as nested dicts and lists of what YAML holds; paths as text."""
    return json.loads(json.dumps(asdict(config), default=os.fspath))


def environment() -> dict[str, Any]:
    """Versions of Python and packages, and the machine's processors, without anything that names a user."""
    devices = [torch.cuda.get_device_name(device) for device in range(torch.cuda.device_count())]
    return {
        "python": platform.python_version(),
        "machine": ", ".join([platform.machine(), describe_cores(), *devices]),
        "packages": {package: version(package) for package in PACKAGES},
    }


def start_tracker(accelerator: "Accelerator", config: TrainConfig) -> None:
    """Start the tracker of `report_to`; TensorBoard and wandb write into the run's folder. A resumed run goes on with
    its run in wandb.
    """
    if config.report_to == "none":
        return
    if config.report_to == "tensorboard":
        accelerator.init_trackers("tensorboard")  # the name of its folder
        return
    options: dict[str, Any] = {"name": config.output_dir.name}
    project = TRACKER_PROJECT
    if config.report_to == "wandb":
        project = os.environ.get("WANDB_PROJECT", project)
        options["dir"] = str(config.output_dir)
        if accelerator.is_main_process:  # the only one that begins a run
            options |= {"id": _wandb_id(config.output_dir / WANDB_ID), "resume": "allow"}
    accelerator.init_trackers(project, config=plain(config), init_kwargs={config.report_to: options})


def _wandb_id(path: Path) -> str:
    """The id of the run in wandb: WANDB_RUN_ID, or the one in the file, or a new one; it is stored in the file."""
    stored = path.read_text(encoding="utf-8") if path.is_file() else uuid.uuid4().hex[:8]
    name = os.environ.get("WANDB_RUN_ID", stored)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text_atomically(path, name)
    return name


def draw_curve(log: Sequence[LogLine]) -> "Figure":
    """Loss, error rates, learning rate, gradient norm and, for CTC models, blank frames over the steps of a log.

    Further evaluation sets have a dashed line of their WER each; a mean of weights that is saved has a diamond.
    """
    train = [line for line in log if line["kind"] == "train"]
    validation = [line for line in log if line["kind"] == "validation"]
    others = sorted(
        {line["kind"] for line in log if line["kind"].startswith("validation ") and line.get("wer") is not None}
    )  # fmt: skip
    means = [line for line in log if line["kind"] == BEST and len(line["steps"]) > 1]
    blanks = [line for line in validation if line.get("blank_ratio") is not None]
    figure = new_figure(9.0, 5.2)
    figure.set_layout_engine("constrained")
    rows: Any = figure.subfigures(2, 1, height_ratios=(2.2, 1))
    loss, errors = rows[0].subplots(1, 2)
    small = rows[1].subplots(1, 3 if blanks else 2)
    _plot(loss, train, "loss", color=PALETTE.of(5), lw=0.8, alpha=0.6, label="training")
    _plot(loss, validation, "loss", color=PALETTE.main, marker="o", ms=3, label="validation")
    loss.set_ylabel("per label")
    _scale_loss(loss, [line["loss"] for line in (*train, *validation)])
    _plot(errors, validation, "wer", scale=100, color=PALETTE.main, marker="o", ms=3, label="WER")
    _plot(errors, validation, "cer", scale=100, color=PALETTE.accent, marker="s", ms=3, label="CER")
    for number, kind in enumerate(others, start=2):
        lines, name = [line for line in log if line["kind"] == kind], kind.removeprefix("validation ")
        label = f"WER, {name}".replace("$", r"\$")  # no formula
        _plot(errors, lines, "wer", scale=100, color=PALETTE.of(number), ls="--", marker="o", ms=2, lw=1, label=label)
    if means:
        _plot(errors, means, "wer", scale=100, color=PALETTE.main, ls="", marker="D", ms=6, mfc="w", label="WER, mean")
    errors.set(ylabel="%", ylim=(0, None))
    _plot(small[0], train, "learning_rate", color=PALETTE.main, lw=1.2)
    small[0].set_ylim(0, None)
    small[0].ticklabel_format(axis="y", style="sci", scilimits=(0, 0))
    small[0].yaxis.offsetText.set(fontsize=TICK_SIZE, color=PALETTE.faint)
    _plot(small[1], train, "grad_norm", color=PALETTE.main, lw=1)
    small[1].set_ylim(0, None)
    if blanks:
        _plot(small[2], blanks, "blank_ratio", scale=100, color=PALETTE.main, marker="o", ms=2.5, lw=1.2)
        small[2].set(ylim=(0, 100), ylabel="%")
    last_step = max((line["step"] for line in (*train, *validation)), default=0)
    titles = ("Loss", "Validation error rates", "Learning rate", "Gradient norm", "Blank frames")
    for axes, title in zip((loss, errors, *small), titles, strict=False):
        axes.set_xlim(0, max(last_step, 1))
        axes.set_xlabel("steps")
        style_axes(axes, title, grid=True)
    for axes in (loss, errors):
        axes.legend(frameon=False, fontsize="small")
    return figure


def _scale_loss(axes: "Axes", losses: Sequence[float | None]) -> None:
    """A logarithmic axis for losses that span a decade or more; else a linear one, where the other has one label."""
    finite = [loss for loss in losses if loss is not None and math.isfinite(loss)]
    if not finite or not 0.0 < 10.0 * min(finite) <= max(finite):
        return
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter(lambda value, _: f"{value:g}" if f"{value:e}"[0] in "25" else "")
    axes.tick_params(which="minor", labelsize=TICK_SIZE, labelcolor=PALETTE.faint)


def _plot(axes: "Axes", lines: Sequence[LogLine], key: str, *, scale: float = 1.0, **style: Any) -> None:
    """A field of the log over its steps; values that are not finite leave a gap."""
    values = [line.get(key) for line in lines]
    points = [scale * value if value is not None and math.isfinite(value) else math.nan for value in values]
    axes.plot([line["step"] for line in lines], points, clip_on=False, **style)
