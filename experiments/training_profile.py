"""Where does the time of a training step go, by batch size, and does compiling pay?

A model of wav2vec2-base's shape is trained on speech that is decoded beforehand, so that only steps are measured: as
finetune/train.py makes them, in mixed precision on a GPU. torch's profiler tells which kernels a step consists of.
"""

import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from experiments.harness.command import ExperimentOptions, progress, run_experiment
from experiments.harness.figures import Findings, Table
from preprocessing.cli.device import resolve_device
from preprocessing.cli.options import check_counts, run_command
from preprocessing.errors import UsageError, counted

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from finetune.models.base import Batch, TrainableRecogniser

DURATION = "8 minutes"
BATCH_SECONDS = {"cpu": [20.0, 40.0], "cuda": [80.0, 200.0, 400.0]}
WARM_UP_STEPS = 2  # with the batches that are measured: kernels are chosen and memory is allocated
KINDS = {  # of kernels and of a CPU's operations, by what their names contain; the first that fits
    "attention": ("flash", "fmha", "scaled_dot_product"),
    "matrix products": ("nvjet", "gemm", "cutlass", "::mm", "::bmm", "addmm", "convolution"),
    "copies": ("copy", "memcpy", "memset", "fill", "::to"),
    "CTC": ("ctc_loss",),
}
OTHER = "other"  # normalisation, activations, dropout, sums, the optimiser


@dataclass(frozen=True)
class Config(ExperimentOptions):
    """Which batches are trained on, and how."""

    data_dir: Path | None = None
    """Folder with librispeech/train.jsonl. Default: $ASR_DATA_DIR, else data."""

    batch_seconds: list[float] | None = None
    """Seconds of audio in a batch, padding included. Default: 80, 200 and 400, on a CPU 20 and 40; with --quick 10."""

    compiled: bool = True
    """Measure with torch.compile, too."""

    utterances: int = 256
    """Utterances to make batches of, spread over the manifest; with --quick 8."""

    steps: int = 3
    """Steps to measure, each with a batch of its own."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Device that the model runs on; auto takes a GPU if there is one."""


@dataclass(frozen=True)
class Profile:
    """Steps of one size. seconds: wall-clock of a step. busy: seconds of kernels in a step, by kind; on a GPU they run
    beside the processor, whose time a step takes where it is longer. bytes: peak of the GPU's memory.
    """

    name: str
    audio_seconds: float  # in a step, padding left out
    seconds: float
    busy: dict[str, float]
    bytes: int

    @property
    def rate(self) -> float:
        """Seconds of audio trained on in a second."""
        return self.audio_seconds / self.seconds


def run(config: Config) -> Findings:
    """Profile each size, then again compiled. Raises UsageError where options or speech cannot be used."""
    import torch

    from experiments.harness.fine_tuning import prepare

    device = resolve_device(config.device)
    sizes = [10.0] if config.quick else BATCH_SECONDS[device] if config.batch_seconds is None else config.batch_seconds
    check_counts(("--steps", config.steps, 1))
    if not sizes or min(sizes) <= 0:
        raise UsageError(f"--batch_seconds is {sizes}; expected numbers above 0, as in 20,40: change it")
    n_utterances = min(config.utterances, 8) if config.quick else config.utterances
    profiles: list[Profile] = []
    too_large: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        prepare(
            Path(folder),
            device,
            data=config.data_dir,
            utterances=n_utterances,
            max_seconds=min(20.0, *sizes),
            tiny=config.quick,
        )
        ways = (False, True) if config.compiled and not config.quick else (False,)
        with progress("profiling", len(sizes) * len(ways), "sizes") as advance:
            for compiled in ways:
                trained = Trained(Path(folder), device, compiled=compiled)
                for seconds in sizes:
                    try:
                        profiles.append(trained.profile(seconds, config.steps))
                    except torch.OutOfMemoryError:
                        too_large.append(f"{seconds:g} s{' compiled' if compiled else ''}")
                        trained.forget()
                    advance(1)
    headings = ("steps of", "audio, s", "wall-clock, ms", "s/s", "kernels, ms", *KINDS, OTHER, "GPU memory, GB")
    rows = [
        (
            one.name,
            f"{one.audio_seconds:.0f}",
            f"{1e3 * one.seconds:.1f}",
            f"{one.rate:,.0f}",
            f"{1e3 * sum(one.busy.values()):.1f}",
            *(f"{1e3 * one.busy[kind]:.1f}" for kind in (*KINDS, OTHER)),
            f"{one.bytes / 1e9:.1f}",
        )
        for one in profiles
    ]
    return Findings(
        "A training step",
        f"means of {counted(config.steps, 'step')} after {WARM_UP_STEPS} of warm-up, {device}"
        + "".join(f"; batches of {size} do not fit into memory" for size in too_large),
        tables=[Table(headings, rows)],
        device=device,
        details={"profiles": [asdict(one) for one in profiles]},
        draw=lambda axes: _draw(axes, profiles),
    )


class Trained:
    """A model of a job that `fine_tuning.prepare` wrote, its optimiser, and the job's utterances, decoded."""

    def __init__(self, folder: Path, device: str, *, compiled: bool) -> None:
        import torch

        from finetune.config import ModelConfig, TrainConfig
        from finetune.models import build
        from finetune.training.optimisation import make_optimiser
        from preprocessing import audio
        from preprocessing.corpus import open_corpus

        utterances = open_corpus(str(folder / "train.jsonl")).utterances
        model = ModelConfig(base=str(folder / "model"))
        self._device, self._name = torch.device(device), "compiled, " if compiled else ""
        self._recogniser: TrainableRecogniser = build(model, [one.text for one in utterances], seed=0)
        self._module: Any = self._recogniser.module.to(self._device).train()
        if compiled:
            self._recogniser.compile()
        self._optimiser = make_optimiser(self._recogniser, TrainConfig(output_dir=folder, model=model))
        self._examples = [
            self._recogniser.prepare(number, audio.load(str(one.audio)), self._recogniser.encode(one.text))
            for number, one in enumerate(utterances)
        ]

    def profile(self, batch_seconds: float, steps: int) -> Profile:
        """Steps with batches of up to so many seconds."""
        import torch
        from torch.profiler import ProfilerActivity

        from finetune.models.base import pad_batch
        from preprocessing.audio import SAMPLE_RATE
        from preprocessing.batching import DurationBatches

        durations = [example.n_samples / SAMPLE_RATE for example in self._examples]
        planned = DurationBatches(durations, max_seconds=batch_seconds, seed=0).epoch(0)[:steps]
        batches = [pad_batch([self._examples[place] for place in batch]) for batch in planned]
        if self._device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
        for _ in range(WARM_UP_STEPS):
            for batch in batches:
                self._step(batch)
        began = time.perf_counter()
        for batch in batches:
            self._step(batch)
        seconds = (time.perf_counter() - began) / len(batches)
        activities = [ProfilerActivity.CPU, ProfilerActivity.CUDA][: 1 + (self._device.type == "cuda")]
        with torch.profiler.profile(activities=activities, acc_events=True) as profiler:
            for batch in batches:
                self._step(batch)
        return Profile(
            f"{self._name}up to {batch_seconds:g} s",
            sum(batch.seconds[0] for batch in batches) / len(batches),
            seconds,
            {kind: seconds / len(batches) for kind, seconds in _busy(profiler, self._device.type).items()},
            torch.cuda.max_memory_allocated() if self._device.type == "cuda" else 0,
        )

    def forget(self) -> None:
        """Free the memory of a step that did not fit into it."""
        import torch

        self._optimiser.zero_grad()
        torch.cuda.empty_cache()

    def _step(self, batch: "Batch") -> None:
        """One step, to its end on the device."""
        import torch

        from preprocessing.augment import seeded_generator

        on_device, on_gpu = batch.to(self._device), self._device.type == "cuda"
        with torch.autocast(self._device.type, torch.bfloat16, enabled=on_gpu):
            loss = self._module(on_device, seeded_generator(0, 0, 0, 0))
        (loss / max(int(batch.label_lengths.sum()), 1)).backward()
        torch.nn.utils.clip_grad_norm_(self._module.parameters(), 1.0)
        self._optimiser.step()
        self._optimiser.zero_grad()
        if on_gpu:
            torch.cuda.synchronize()


def _busy(profiler: Any, device: str) -> dict[str, float]:
    """The seconds of a profile's kernels, on a CPU of its operations without those that they call, by kind."""
    busy = dict.fromkeys((*KINDS, OTHER), 0.0)
    for event in profiler.key_averages():
        if device == "cuda":
            is_kernel = str(event.device_type).endswith("CUDA") and "#" not in event.key  # else an annotation
            microseconds = event.self_device_time_total if is_kernel else 0.0
        else:
            microseconds = event.self_cpu_time_total
        busy[_kind(event.key.lower())] += microseconds / 1e6
    return busy


def _kind(kernel: str) -> str:
    """The kind of a kernel by its name. One that torch.compile fused is named after all that it does, and is no copy.

    >>> [_kind(name) for name in ("aten::copy_", "nvjet_sm90_tst_128x256", "triton_poi_fused__to_copy_gelu_1")]
    ['copies', 'matrix products', 'other']
    """
    if "_fused_" in kernel:
        return OTHER
    return next((kind for kind, parts in KINDS.items() if any(part in kernel for part in parts)), OTHER)


def _draw(axes: "Axes", profiles: Sequence[Profile]) -> None:
    """The milliseconds of kernels by kind, one bar for each size, and its wall-clock as a line across."""
    from preprocessing.plot_style import PALETTE

    left = [0.0] * len(profiles)
    for place, kind in enumerate((*KINDS, OTHER)):
        widths = [1e3 * one.busy[kind] for one in profiles]
        axes.barh(range(len(profiles)), widths, left=left, height=0.6, color=PALETTE.of(place), label=kind)
        left = [before + width for before, width in zip(left, widths, strict=True)]
    for place, one in enumerate(profiles):
        axes.plot([1e3 * one.seconds] * 2, [place - 0.4, place + 0.4], color="black", lw=1.5)
    axes.set_yticks(range(len(profiles)), [one.name for one in profiles])
    axes.set(xlabel="ms in a step; the line is its wall-clock", ylim=(len(profiles) - 0.5, -0.9))
    axes.legend(frameon=False, loc="upper left", ncols=len(KINDS) + 1, columnspacing=1.2, handlelength=1.0)


def main(arguments: Sequence[str] | None = None) -> None:
    run_experiment(Config, run, __doc__, __file__, arguments)


if __name__ == "__main__":
    run_command(main)
