"""Is a model that I fine-tune better than Whisper, and where is it not: every figure of README.md and docs/results.md?

    python -m experiments.results                      all parts, one after the other: hours
    python -m experiments.results digits test-other    these parts; `conditions` is all that begin with it
    python -m experiments.results --list true          the parts, their duration, which are done

Each part runs finetune/train.py or benchmark/run.py, prints the command, and takes under 30 minutes on 2 idle cores. A
finished part is not run again unless its command, its models or its data change, or with --overwrite true; an
interrupted one is resumed. Trained models are read from --runs; missing ones are left out and named. The results are
written to --output_dir: results.md, headline.md and headline.png; with --docs true also into docs/results.md, and into
README.md once digits and test-other both have results.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from experiments.harness.command import ExperimentOptions, run_experiment
from experiments.harness.figures import Findings, Table
from experiments.harness.speech import data_folder
from experiments.result_parts.kinds import Folders
from experiments.result_parts.parts import select
from preprocessing.cli.options import run_command
from preprocessing.errors import UsageError

ROOT = Path(__file__).resolve().parents[1]
DURATION = "8 hours in parts; digits alone half an hour"


@dataclass(frozen=True)
class Config(ExperimentOptions):
    """Which parts are measured, with what, and where the results go."""

    parts: list[str] = field(default_factory=list, metadata={"positional": True})
    """Names of parts, as in `results digits test-other`. Default: all."""

    list: bool = False
    """List the parts and measure nothing."""

    whisper_dir: Path | None = None
    """Folder with OpenAI's tiny.en.pt and base.pt, and faster/base converted by CTranslate2. Default: $ASR_REAL_MODELS;
    if it is unset, the published sizes are downloaded."""

    data_dir: Path | None = None
    """Folder of real speech, with digits/test.jsonl and others. Default: $ASR_DATA_DIR, else data."""

    runs: Path = Path("runs")
    """Folder of trained models, by the names of their configurations; train parts write into it."""

    output_dir: Path = Path("runs/results")
    """Folder of the results, one below it for each part."""

    docs: bool = False
    """Write the results into docs/results.md and README.md, between their markers."""

    overwrite: bool = False
    """Measure the parts again even if they are done."""

    renamed: ClassVar[dict[str, str]] = {"data": "data_dir", "output": "output_dir", "whisper_folder": "whisper_dir"}

    def folders(self) -> Folders:
        """The folders as the commands get them."""
        whisper = self.whisper_dir
        if whisper is None and os.environ.get("ASR_REAL_MODELS"):
            whisper = Path(os.environ["ASR_REAL_MODELS"])
        if whisper is not None and not whisper.is_dir():
            raise UsageError(f"--whisper_dir {whisper}: no such folder; expected one with tiny.en.pt: name it")
        output = self.output_dir / "quick" if self.quick else self.output_dir
        data, runs = data_folder(self.data_dir), self.runs
        if Path.cwd() != ROOT:  # commands are run there
            data, runs, output = data.resolve(), runs.resolve(), output.resolve()
            whisper = None if whisper is None else whisper.resolve()
        return Folders(data, runs, whisper, output, self.quick)


def run(config: Config) -> Findings:
    """Run what is not done yet, write the pages, and say what became of each part. Raises UserError."""
    parts = select(config.parts)
    folders = config.folders()
    from experiments.result_parts.running import is_finished, run_parts

    if config.list:
        listed = [
            (one.name, one.title, f"{one.minutes} min", "done" if is_finished(one, folders) else "") for one in parts
        ]
        return Findings("Parts", "", tables=[Table(("part", "what", "about, on 2 quiet cores", ""), listed)])
    outcomes = run_parts(parts, folders, overwrite=config.overwrite)
    from experiments.result_parts.headline import draw_first
    from experiments.result_parts.pages import write_pages

    written = write_pages(folders, docs=config.docs and not config.quick)
    rows = [(one.part.name, f"{one.status} {one.reason}".strip()) for one in outcomes]
    failed = [one.part.name for one in outcomes if one.status == "failed"]
    missing = {name: "no such run below --runs" for one in outcomes for name in one.missing}
    return Findings(
        "Results",
        f"written: {', '.join(map(str, written))}" if written else "no part has results yet",
        missing=missing,
        tables=[Table(("part", ""), rows)],
        draw=lambda axes: draw_first(axes, folders),
        shortfall=f"{len(failed)} of {len(outcomes)} parts failed: {', '.join(failed)}" if failed else "",
    )


def main(arguments: Sequence[str] | None = None) -> None:
    run_experiment(Config, run, __doc__, __file__, arguments, names=("parts",))


if __name__ == "__main__":
    run_command(main)
