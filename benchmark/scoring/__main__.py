"""`python -m benchmark.scoring RESULTS`: score a finished run again, without any model.

Reads run.json, samples.jsonl, timings.jsonl and throughput.jsonl of a finished run; writes summary.json and the
reports, and run.json where its settings of scoring have changed. With --compare, the changes since another finished run
are part of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from preprocessing.cli.notes import note_once
from preprocessing.cli.options import parse_command, run_command
from preprocessing.errors import UsageError, UserError

if TYPE_CHECKING:
    from benchmark.results import Run
    from benchmark.results.folder import ResultsFolder
    from benchmark.scoring.earlier import EarlierResult

DESCRIPTION = (
    "Score the transcripts of a finished benchmark again: with other text profiles, keywords, baseline or seed, or "
    "compared with an earlier result."
)


@dataclass(frozen=True)
class ScoringConfig:
    """Options of `python -m benchmark.scoring`."""

    results: Path
    """Output folder of benchmark/run.py."""

    profiles: list[str] | None = None
    """Text normalisation profiles separated by commas; the first one decides the comparisons. Default: those of the
    run."""

    keywords: Path | None = None
    """Text file of words and phrases, one a line, whose recall and precision are reported. Default: those of the
    run."""

    baseline_system: str | None = None
    """System that the others are to beat: the verdict begins with its comparisons on clean speech, whose p-values are
    corrected by themselves. Name it before the results are known. Default: that of the run."""

    compare: Path | None = None
    """Folder of an earlier result, whose changes since the report lists. Default: that of the run, if it still
    exists."""

    seed: int | None = None
    """Seed of the bootstrap. Default: that of the run."""

    def check(self) -> None:
        """Raises UsageError on a value that cannot be used."""
        if self.profiles is not None and not any(self.profiles):
            raise UsageError("--profiles is empty; expected a text profile or more: name one")
        if self.seed is not None and self.seed < 0:
            raise UsageError(f"--seed is {self.seed}; expected 0 or more: choose another")


def main(arguments: Sequence[str] | None = None) -> None:
    """Score the folder that the arguments name, and write the results into it.

    arguments: of the command line, by default this process's. Raises InputError for a folder that cannot be scored.
    """
    config = parse_command(
        ScoringConfig,
        program="python -m benchmark.scoring",
        description=DESCRIPTION,
        arguments=arguments,
        positional=True,
    )
    config.check()
    from benchmark.report import write_reports
    from benchmark.report.table import print_table
    from benchmark.results import RUN, SAMPLES, SUMMARY, write_run, write_summary
    from benchmark.results.folder import ResultsFolder
    from benchmark.scoring import summarise
    from benchmark.scoring.comparisons import check_baseline_system
    from benchmark.scoring.keywords import read_keywords
    from benchmark.scoring.summary import profile_differences

    folder = config.results
    results = ResultsFolder(folder)
    results.check(RUN, SAMPLES, SUMMARY)
    before = run = results.read_run()
    if config.profiles is not None:
        run = replace(run, profiles=config.profiles)
    if config.keywords is not None:
        run = replace(run, keywords=read_keywords(config.keywords))
    if config.baseline_system is not None:
        check_baseline_system(config.baseline_system, [one.facts.name for one in run.systems])
        run = replace(run, baseline_system=config.baseline_system)
    if config.compare is not None:
        run = replace(run, compare=str(config.compare.absolute()))
    if config.seed is not None:
        run = replace(run, seed=config.seed)
    earlier = _earlier_result(config, run, results)
    samples, timings = list(results.read_samples()), results.read_timings()
    summary = summarise(run, samples, timings, results.read_throughputs())
    if earlier is not None:
        summary = earlier.with_changes(summary, samples, run.seed)
    if run != before:
        write_run(folder / RUN, run)
    write_summary(folder / SUMMARY, summary)
    known = {system.facts.name for system in summary.systems}
    print_table(summary)
    for sentence in profile_differences(summary):
        print(sentence)
    write_reports(folder, summary, [sample for sample in samples if sample.system in known], timings)
    print(f"written: {folder / SUMMARY} and its reports")


def _earlier_result(config: ScoringConfig, run: "Run", results: "ResultsFolder") -> "EarlierResult | None":
    """The result that the run is compared with: that of --compare, or the one that it was compared with before, where
    its folder still has it; without it, a note says what is left out.
    """
    from benchmark.scoring.earlier import check_systems, read_earlier

    def opened(folder: Path) -> "EarlierResult":
        if folder.resolve() == config.results.resolve():
            raise UsageError(
                f"--compare and the results are both {config.results}; expected two folders: name that of the earlier "
                "result"
            )
        earlier = read_earlier(folder)
        check_systems(earlier, [one.facts.name for one in run.systems], f"{config.results} holds")
        return earlier

    if config.compare is not None:
        return opened(config.compare)
    back = "--compare FOLDER, of an earlier result, brings them back"
    if run.compare is not None:
        try:
            return opened(Path(run.compare))
        except UserError as error:
            reason = str(error).removeprefix("--compare: ")
            note_once("changes", f"the changes since {run.compare} are left out: {reason}; {back}")
    elif results.read_summary().changes:
        note_once("changes", f"the changes since an earlier result are left out: the run does not name it; {back}")
    return None


if __name__ == "__main__":
    run_command(main)
