"""The result of --compare beside a run: its folder is opened and checked, and a summary gets its changes since.

`benchmark/run.py` and `python -m benchmark.scoring` both compare this way. What is compared, and how it is tested, is
in regression.py.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmark.results import SAMPLES, SUMMARY, Sample, Summary
from benchmark.results.folder import ResultsFolder
from benchmark.scoring.regression import PairedChange, SystemCondition, changes, incomparable, paired_changes
from preprocessing.errors import InputError, UsageError


@dataclass(frozen=True)
class EarlierResult:
    """A finished result that a run is compared with; folder: as --compare names it."""

    folder: Path
    summary: Summary

    def with_changes(self, summary: Summary, samples: Iterable[Sample], seed: int) -> Summary:
        """The summary of a run with its changes since this result, and notices of what is not compared.

        samples: of the run. seed: of the bootstrap.
        """
        paired = self.paired(summary, samples, seed)
        return replace(
            summary,
            changes=changes(self.summary, summary, paired=paired),
            notices=[*summary.notices, *incomparable(self.summary, summary)],
        )

    def paired(self, summary: Summary, samples: Iterable[Sample], seed: int) -> Mapping[SystemCondition, PairedChange]:
        """The changes of the metric over the utterances of both results, where the earlier folder has its samples."""
        results = ResultsFolder(self.folder)
        if not results.has(SAMPLES) or self.summary.metric != summary.metric:
            return {}
        profile_name = summary.profiles[0].name
        return paired_changes(results.read_samples(), samples, profile_name, seed=seed, metric=summary.metric)


def read_earlier(folder: Path) -> EarlierResult:
    """The result in the folder of --compare. Raises UsageError where it is none, or not finished."""
    results = ResultsFolder(folder)
    try:
        results.check(SUMMARY)
    except InputError as error:
        raise UsageError(f"--compare: {error}") from None
    return EarlierResult(folder, results.read_summary())


def check_systems(earlier: EarlierResult, names: Sequence[str], given: str) -> None:
    """Raises UsageError where the earlier result has none of the systems. given: "--models gives", before the names."""
    before = [system.facts.name for system in earlier.summary.systems]
    if before and not set(before) & set(names):
        raise UsageError(
            f"--compare {earlier.folder} holds {', '.join(before)} and {given} {', '.join(names)}; expected a system "
            "of the same name in both: name another result, or measure the system under its earlier name, with "
            "--models NAME=FAMILY:CHECKPOINT of benchmark/run.py"
        )
