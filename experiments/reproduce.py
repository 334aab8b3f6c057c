"""Are the published word error rates of known models reproduced here?

Each subset of the configuration is an ordinary benchmark of all models; their WERs are then compared with the published
ones, each with the text normalisation profile of its publication. Finished subsets are not run again. With --quick, the
embedded demo replaces models, corpus and published figures. Exit code 1 if a figure differs by more than
--tolerance_points.
"""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from experiments.harness.command import ExperimentOptions, run_experiment
from experiments.harness.figures import Findings, Table
from preprocessing.cli.options import run_command
from preprocessing.errors import InputError, UsageError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from benchmark.results import Summary
    from finetune.metrics import Rate

DURATION = "many hours: all of LibriSpeech's test sets by five models; not measured"
QUICK_UTTERANCES = 10


@dataclass(frozen=True)
class Published:
    """What was published of one model."""

    model: str
    """System as for --models of benchmark/run.py, with its checkpoint: whisper=base.en."""

    wer_percent: dict[str, float]
    """Published WER in percent, by subset."""

    profile: str
    """Text normalisation profile nearest to that of the publication."""

    source: str
    """Where it was published."""


@dataclass(frozen=True)
class Config(ExperimentOptions):
    """What was published, and how it is measured again."""

    renamed: ClassVar[Mapping[str, str]] = {"output": "output_dir"}

    published: list[Published] = field(default_factory=list)
    """Published results, one entry per model."""

    subsets: dict[str, str] = field(default_factory=dict)
    """Test sets by name: each a manifest (JSONL, CSV, TSV), a folder or file of any layout in docs/corpora.md, or
    hf:DATASET[:CONFIG[:SPLIT[:COUNT]]]."""

    output_dir: Path = Path("runs/reproduce")
    """Folder of the results, one below it for each subset."""

    tolerance_points: float = 0.3
    """Flag WERs that differ by more than this many percentage points, and exit with code 1."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Device that the models run on; auto takes a GPU if there is one."""

    limit: int | None = None
    """Use only this many utterances of each subset, evenly spaced, or of a dataset of the Hub or of parquet files the
    first, to try the command; published figures are over all."""

    def check(self) -> None:
        """Raises UsageError where subsets, models or figures do not go together."""
        if not self.published or not self.subsets:
            raise UsageError(
                "--published or --subsets is empty; expected one entry or more of each: name "
                "configs/benchmark/reproduce-librispeech.yaml with --config, or fill it in"
            )
        if not self.tolerance_points > 0:
            raise UsageError(f"--tolerance_points is {self.tolerance_points:g}; expected above 0: raise it")
        for subset in self.subsets:
            if not any(subset in one.wer_percent for one in self.published):
                raise UsageError(
                    f"--subsets: nothing is published of {subset!r}; expected a WER: add it, or leave it out"
                )
        for one in self.published:
            if "=" not in one.model and ":" not in one.model:
                raise UsageError(
                    f"--published: {one.model!r} names no checkpoint; expected one, as in whisper=base.en: a default "
                    "could be replaced by the embedded demo"
                )
            unknown = sorted(set(one.wer_percent) - set(self.subsets))
            if unknown:
                raise UsageError(
                    f"--published: {one.model} has a WER on {unknown[0]!r}; expected one of the subsets "
                    f"{', '.join(self.subsets)}: change either"
                )


@dataclass(frozen=True)
class Reproduced:
    """One published WER in percent and ours; ours is None where the model failed."""

    model: str
    subset: str
    published: float
    ours: "Rate | None"

    @property
    def difference(self) -> float | None:
        """Ours minus the published, in points."""
        return None if self.ours is None else 100.0 * self.ours.value - self.published

    def agrees(self, tolerance_points: float) -> bool:
        """Whether the difference is at most so many points; a model that failed does not agree."""
        return self.difference is not None and abs(self.difference) <= tolerance_points + 1e-9


def run(config: Config) -> Findings:
    """Set every published WER beside ours. Raises UserError as the benchmark does."""
    if not config.quick:
        return _findings(config, reproduce(config))
    with tempfile.TemporaryDirectory() as folder:
        config = _demo(config, Path(folder))
        return _findings(config, reproduce(config))


def reproduce(config: Config) -> list[Reproduced]:
    """Benchmark what is not done yet; every published WER beside ours. Raises UserError as the benchmark does."""
    config.check()
    found = []
    for subset, data in config.subsets.items():
        summary = _summary(config, subset, data)
        published = [one for one in config.published if subset in one.wer_percent]
        for one, system in zip(published, summary.systems, strict=True):  # both in the order of --models
            scores = system.scores.get(one.profile)
            ours = None if scores is None else scores.wer
            found.append(Reproduced(one.model, subset, one.wer_percent[subset], ours))
    return found


def _demo(config: Config, folder: Path) -> Config:
    """The embedded models on the embedded test corpus, beside the WERs of all of it that docs/results.md gives."""
    from benchmark.offline import DEMO_CORPUS
    from preprocessing.storage.data_folder import DEMO, reference_of

    published = [
        Published(f"{family}={reference_of(DEMO / family)}", {"demo": wer}, "librispeech", "docs/results.md")
        for family, wer in (("wav2vec2", 60.7), ("whisper", 17.6))
    ]
    limit = min(config.limit or QUICK_UTTERANCES, QUICK_UTTERANCES)
    return replace(config, published=published, subsets={"demo": str(DEMO_CORPUS)}, output_dir=folder, limit=limit)


def _summary(config: Config, subset: str, data: str) -> "Summary":
    """The summary of the subset's finished run, or of a new one; where a model fails, the others keep their figures."""
    from benchmark.config import BenchmarkConfig
    from benchmark.results import SUMMARY, read_summary
    from benchmark.session import benchmark

    wanted = BenchmarkConfig(
        models=",".join(one.model for one in config.published if subset in one.wer_percent),
        data=data,
        limit=config.limit,
        output_dir=config.output_dir / subset,
        conditions="clean",
        language="en",
        profiles=list(dict.fromkeys(one.profile for one in config.published)),
        rounds=1,
        latency_utterances=10,
        device=config.device,
    )
    finished = config.output_dir / subset / SUMMARY
    if not finished.is_file():
        try:
            benchmark(wanted)
        except InputError:
            if not finished.is_file():
                raise
    summary = read_summary(finished)
    for flag, value in wanted.settings().items():
        if flag != "device" and summary.settings.get(flag) != value:
            raise UsageError(
                f"{finished.parent} holds results with --{flag} {summary.settings.get(flag)}; expected {value}: choose "
                "another --output_dir, or remove the folder"
            )
    return summary


def _findings(config: Config, found: Sequence[Reproduced]) -> Findings:
    """A table for each model under its name, profile and source."""
    headings = ("subset", "published, %", "ours, %", "95 % interval", "points", "")
    tables = [
        Table(
            headings,
            [_cells(one, config.tolerance_points) for one in found if one.model == published.model],
            f"{published.model}, counted under {published.profile}; published: {published.source}",
        )
        for published in config.published
    ]
    settings = (
        "" if config.limit is None else f"{config.limit} utterances of each subset; published figures are of all."
    )
    off = [f"{one.model} on {one.subset}" for one in found if not one.agrees(config.tolerance_points)]
    shortfall = (
        f"{len(off)} of {len(found)} figures are not within {config.tolerance_points:g} points of what was "
        f"published: {', '.join(off)}"
    )
    return Findings(
        "Published word error rates, measured again",
        settings,
        tables=tables,
        details={"reproduced": [asdict(one) for one in found]},
        draw=lambda axes: _draw(axes, found),
        shortfall=shortfall if off else "",
    )


def _cells(one: Reproduced, tolerance_points: float) -> tuple[str, ...]:
    remark = "" if one.agrees(tolerance_points) else "DIFFERS"
    if one.ours is None or one.difference is None:
        return (one.subset, f"{one.published:g}", "failed", "", "", remark)
    interval = f"{100 * one.ours.low:.2f} to {100 * one.ours.high:.2f}"
    ours = f"{100 * one.ours.value:.2f}"
    return (one.subset, f"{one.published:g}", ours, interval, f"{one.difference:+.2f}", remark)


def _draw(axes: "Axes", found: Sequence[Reproduced]) -> None:
    """Our WER with its interval over the published one; on the line they are equal."""
    from preprocessing.plot_style import PALETTE

    for place, model in enumerate(dict.fromkeys(one.model for one in found)):
        pairs = [(one.published, one.ours) for one in found if one.model == model and one.ours is not None]
        ours = [100 * rate.value for _, rate in pairs]
        spread = [
            [100 * (rate.value - rate.low) for _, rate in pairs],
            [100 * (rate.high - rate.value) for _, rate in pairs],
        ]
        axes.errorbar([wer for wer, _ in pairs], ours, yerr=spread, fmt="o", color=PALETTE.of(place), label=model)
    axes.axline((0, 0), slope=1, color=PALETTE.grid)
    axes.set(xlabel="published WER, %", ylabel="WER here, %", xlim=(0, None), ylim=(0, None))
    axes.legend(frameon=False)


def main(arguments: Sequence[str] | None = None) -> None:
    run_experiment(Config, run, __doc__, __file__, arguments)


if __name__ == "__main__":
    run_command(main)
