"""Results on the disk: lines appended while a run goes on, read back when it is resumed, and the summary at its end.

A folder holds run.json (what is measured), samples.jsonl, timings.jsonl and throughput.jsonl (a line a record), and,
once the run has finished, summary.json.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import msgspec

from benchmark.results.records import SCHEMA, Run, Sample, SystemRun, Throughput, Timing
from benchmark.results.summary import Summary
from preprocessing.errors import InputError, UsageError
from preprocessing.storage.atomic_write import write_text_atomically

RUN, SUMMARY = "run.json", "summary.json"
SAMPLES, TIMINGS, THROUGHPUT = "samples.jsonl", "timings.jsonl", "throughput.jsonl"
SAMPLES_OF_RANKS = "samples-*.jsonl"  # of the processes of `accelerate launch`, until they are merged
FINGERPRINT, FINGERPRINT_KIND = "corpus fingerprint", "files:"  # a setting, and how its value begins
PRINTED = "printed"  # folder of what systems wrote to stdout and stderr
# What benchmark.report makes of a folder of results.
REPORTS = ("report.html", "summary.md", "systems.csv", "utterances.csv", "keywords.csv", "rejection.csv")
FIGURES = "figures"
_FIGURE = re.compile(
    r"(forest|differences|tradeoff|percentiles|latency|(errors|slices|snr|reliability|along-time)-\d+)\.(png|svg)"
)

Record = TypeVar("Record", Sample, Timing, Throughput)
Document = TypeVar("Document", Run, Summary)
SampleKey = tuple[str, str, str]  # system, condition, id


def json_line(record: Sample | Timing | Throughput) -> str:
    """The record as one line of JSON, with its line break."""
    return msgspec.json.encode(record).decode() + "\n"


def read_samples(path: Path) -> Iterator[Sample]:
    """Every sample of a samples.jsonl. Raises InputError naming the line that is none."""
    return _read_lines(path, Sample)


def read_timings(path: Path) -> Iterator[Timing]:
    """Every timing of a timings.jsonl. Raises InputError naming the line that is none."""
    return _read_lines(path, Timing)


def read_throughput(path: Path) -> Iterator[Throughput]:
    """Every round of a throughput.jsonl. Raises InputError naming the line that is none."""
    return _read_lines(path, Throughput)


def write_samples(path: Path, samples: Iterable[Sample]) -> None:
    """Write a samples.jsonl, replacing one that is there."""
    _write_lines(path, samples)


def read_run(path: Path) -> Run:
    """The content of a run.json. Raises InputError where it is none, or of another schema."""
    return _read_document(path, Run, "a benchmark run")


def write_run(path: Path, run: Run) -> None:
    """Write a run.json, replacing one that is there."""
    _write_document(path, run)


def read_summary(path: Path) -> Summary:
    """The content of a summary.json. Raises InputError where it is none, or of another schema."""
    return _read_document(path, Summary, "a summary of a benchmark run")


def write_summary(path: Path, summary: Summary) -> None:
    """Write a summary.json, replacing one that is there."""
    _write_document(path, summary)


class ResultsStore:
    """The records of one run, in memory and, as they are added, in its folder.

    rank: of this process among several, which write samples to files of their own; None where it is the only one.
    """

    def __init__(self, folder: Path, rank: int | None = None) -> None:
        self.folder = folder
        self.samples: dict[SampleKey, Sample] = {}
        self.timings: list[Timing] = []
        self.throughput: list[Throughput] = []
        self._own_samples = folder / (SAMPLES if rank is None else SAMPLES_OF_RANKS.replace("*", str(rank)))

    def read(self) -> None:
        """Take over the records that an earlier start of the same run has left; missing files have none."""
        self.samples = {sample_key(sample): sample for sample in _read_if_there(self.folder / SAMPLES, Sample)}
        self.timings = list(_read_if_there(self.folder / TIMINGS, Timing))
        self.throughput = list(_read_if_there(self.folder / THROUGHPUT, Throughput))

    def add_sample(self, sample: Sample) -> None:
        """Append a sample; it replaces one of the same key in memory."""
        self.samples[sample_key(sample)] = sample
        _append(self._own_samples, sample)

    def add_timing(self, timing: Timing) -> None:
        """Append a timing."""
        self.timings.append(timing)
        _append(self.folder / TIMINGS, timing)

    def add_throughput(self, throughput: Throughput) -> None:
        """Append a round of throughput."""
        self.throughput.append(throughput)
        _append(self.folder / THROUGHPUT, throughput)

    def merge_ranks(self) -> None:
        """Move the samples of all processes into samples.jsonl; they are then known here too.

        The first of each key counts, unless a later one has the words that it lacks.
        """
        paths = sorted(self.folder.glob(SAMPLES_OF_RANKS))
        for path in paths:
            for sample in read_samples(path):
                known = self.samples.setdefault(sample_key(sample), sample)
                if not has_words(known) and has_words(sample):
                    self.samples[sample_key(sample)] = sample
        if paths:
            write_samples(self.folder / SAMPLES, self.samples.values())
            for path in paths:
                path.unlink()

    def finish(self, order: Mapping[SampleKey, int]) -> list[Sample]:
        """Write every sample once, sorted by `order`, and return them; a key that `order` lacks comes last."""
        ordered = sorted(self.samples.values(), key=lambda sample: order.get(sample_key(sample), len(order)))
        write_samples(self.folder / SAMPLES, ordered)
        return ordered


def sample_key(sample: Sample) -> SampleKey:
    """What identifies a sample within a run."""
    return sample.system, sample.condition, sample.id


def has_words(sample: Sample) -> bool:
    """Whether the second pass, which asks for words, is behind the sample, successful or not."""
    return sample.words is not None or sample.words_error is not None


def begin_run(folder: Path, run: Run, *, overwrite: bool) -> Run:
    """Make the folder ready for `run`, new or to resume, and return the run as run.json has it now.

    A finished run in which a system failed is one to resume: it is unfinished again from here on, and the utterances
    that this system failed on are tried again.
    Raises UsageError where the folder holds a finished run, one of another configuration, or records of none.
    """
    check_output_folder(folder, overwrite=overwrite)
    before = read_run(folder / RUN) if (folder / RUN).exists() and not overwrite else None
    if before is None:
        clear_results(folder)
        folder.mkdir(parents=True, exist_ok=True)
        write_run(folder / RUN, run)
        return run
    differing = differing_settings(before, run)
    if differing:
        raise UsageError(
            f"--output_dir {folder} holds an unfinished run of another configuration: {'; '.join(differing)}; expected "
            "the same configuration to resume: choose another --output_dir, or --overwrite true"
        )
    failed = failed_systems(folder)
    _drop_torn_lines(folder)
    if failed and (folder / SAMPLES).exists():
        samples = read_samples(folder / SAMPLES)
        write_samples(folder / SAMPLES, [one for one in samples if one.error is None or one.system not in failed])
    (folder / SUMMARY).unlink(missing_ok=True)  # stopped before, the next start still knows which systems have failed
    notices = list(dict.fromkeys([*before.notices, *run.notices]))
    if before.machine != run.machine:
        changed = sorted(key for key in before.machine | run.machine if before.machine.get(key) != run.machine.get(key))
        notices.append(f"the run was resumed on another machine ({', '.join(changed)}): its timings mix both machines.")
    if before.code != run.code:
        was, is_now = (one.code or "unknown" for one in (before, run))
        notices.append(f"the run was resumed with other code (git commit {was}, then {is_now}).")
    resumed = replace(
        before,
        notices=notices,
        systems=_measured_before(run.systems, before.systems),
        keywords=run.keywords,
        baseline_system=run.baseline_system,
        compare=run.compare,
    )
    write_run(folder / RUN, resumed)
    return resumed


def begin_with_records(folder: Path, run: Run, unchanged: Collection[str]) -> list[str]:
    """Turn the results in the folder, finished or not, into those of an unfinished `run` of other systems, which has
    the records of the `unchanged` ones; `begin_run` goes on with it.

    Returns the names of the systems whose records are kept: those of `unchanged` that have samples, and did not fail.
    [] leaves all as it is. Failed utterances of theirs are tried again.
    """
    if not (folder / RUN).is_file() or not (folder / SAMPLES).is_file():
        return []
    _drop_torn_lines(folder)
    store = ResultsStore(folder)
    store.read()
    store.merge_ranks()
    succeeded = [one for one in read_run(folder / RUN).systems if one.failure is None and one.facts.name in unchanged]
    measured = {one.facts.name for one in succeeded} & {sample.system for sample in store.samples.values()}
    if not measured:
        return []
    samples = [one for one in store.samples.values() if one.system in measured and one.error is None]
    write_samples(folder / SAMPLES, samples)
    _write_lines(folder / TIMINGS, (one for one in store.timings if one.system in measured))
    _write_lines(folder / THROUGHPUT, (one for one in store.throughput if one.system in measured))
    write_run(folder / RUN, replace(run, systems=_measured_before(run.systems, succeeded)))
    (folder / SUMMARY).unlink(missing_ok=True)
    return [name for name in unchanged if name in measured]


def check_output_folder(folder: Path, *, overwrite: bool) -> None:
    """Raises UsageError where no run can be written to the folder; quick, so that it comes before anything slow."""
    if folder.is_file():
        raise UsageError(f"--output_dir {folder} is a file; expected a folder: choose another name")
    finished = (folder / SUMMARY).exists() and not failed_systems(folder)
    without_run = (folder / SAMPLES).exists() and not (folder / RUN).exists()
    if (finished or without_run) and not overwrite:
        raise UsageError(
            f"--output_dir {folder} holds results; expected a new folder, or an unfinished run to resume: choose "
            "another, or --overwrite true"
        )


def failed_systems(folder: Path) -> list[str]:
    """Names of the systems that failed as a whole in a run that has ended otherwise; the same command tries them again.

    None in a folder without a readable run.
    """
    if not (folder / SUMMARY).exists() or not (folder / RUN).exists():
        return []
    try:
        return [one.facts.name for one in read_run(folder / RUN).systems if one.failure is not None]
    except InputError:
        return []


def differing_settings(before: Run, now: Run) -> list[str]:
    """One phrase for each setting that two runs do not share, by flag.

    Settings are named after flags; those with a blank in their name are derived, as the corpus's fingerprint.
    """
    found = []
    for name in before.settings | now.settings:
        was, is_now = before.settings.get(name, "none"), now.settings.get(name, "none")
        if name == FINGERPRINT and is_now.startswith(FINGERPRINT_KIND) and not was.startswith(FINGERPRINT_KIND):
            found.append(
                "it was started by a version with another kind of corpus fingerprint, and only that one goes on with it"
            )
        elif was != is_now:
            found.append(f"--{name} was {was}, is now {is_now}" if " " not in name else f"its {name} has changed")
    systems_before, systems = ([one.facts.name for one in run.systems] for run in (before, now))
    if systems_before != systems and before.settings.get("models") == now.settings.get("models"):
        found.append(f"--models stood for {', '.join(systems_before)}, and stands for {', '.join(systems)} now")
    return found


def with_system(run: Run, system: SystemRun) -> Run:
    """The run with a system's entry replaced by `system`, matched by name."""
    return replace(run, systems=[system if one.facts.name == system.facts.name else one for one in run.systems])


def drop_torn_line(path: Path) -> None:
    """Cut off what follows the last line break: a line that a killed process did not finish."""
    if not path.exists():
        return
    content = path.read_bytes()
    complete = content.rfind(b"\n") + 1
    if complete < len(content):
        with path.open("r+b") as file:
            file.truncate(complete)


def _drop_torn_lines(folder: Path) -> None:
    """`drop_torn_line` of every file of records."""
    for path in (*(folder / name for name in (SAMPLES, TIMINGS, THROUGHPUT)), *folder.glob(SAMPLES_OF_RANKS)):
        drop_torn_line(path)


def _measured_before(systems: Iterable[SystemRun], before: Iterable[SystemRun]) -> list[SystemRun]:
    """The systems, each as it was measured `before` where it was."""
    known = {one.facts.name: one for one in before}
    return [known.get(one.facts.name, one) for one in systems]


def clear_results(folder: Path) -> None:
    """Remove the records, the summary and the report of an earlier run from the folder, and what its systems printed.

    Where no run has left its run.json or summary.json, files that are named as a report's may be others', and stay.
    """
    if (folder / RUN).exists() or (folder / SUMMARY).exists():
        for name in REPORTS:
            (folder / name).unlink(missing_ok=True)
        clear_figures(folder)
    for path in [*folder.glob(SAMPLES_OF_RANKS), *folder.glob(f"{PRINTED}/*.txt")]:
        path.unlink()
    for name in (SUMMARY, RUN, SAMPLES, TIMINGS, THROUGHPUT):
        (folder / name).unlink(missing_ok=True)


def clear_figures(folder: Path, but: Collection[str] = ()) -> None:
    """Remove the figures of a report from the folder, except those of some names; others' files stay."""
    for path in (folder / FIGURES).glob("*"):
        if _FIGURE.fullmatch(path.name) and path.stem not in but:
            path.unlink()


def _read_lines(path: Path, kind: type[Record]) -> Iterator[Record]:
    decoder = msgspec.json.Decoder(kind)
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                yield decoder.decode(line)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                raise InputError(
                    f"{path}:{number}: not a {kind.__name__.lower()} of schema {SCHEMA} ({error}); expected a line "
                    "that this version wrote: run the benchmark again"
                ) from error


def _read_if_there(path: Path, kind: type[Record]) -> Iterable[Record]:
    return _read_lines(path, kind) if path.exists() else ()


def _write_lines(path: Path, records: Iterable[Record]) -> None:
    write_text_atomically(path, "".join(map(json_line, records)))


def _append(path: Path, record: Sample | Timing | Throughput) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(json_line(record))


def _read_document(path: Path, kind: type[Document], description: str) -> Document:
    content = path.read_bytes()
    try:
        schema = msgspec.json.decode(content).get("schema")
        if schema != SCHEMA:
            raise InputError(f"{path}: schema {schema}; expected {SCHEMA}: run the benchmark again")
        return msgspec.json.decode(content, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, AttributeError) as error:
        raise InputError(
            f"{path} is not {description} ({error}); expected a file that benchmark/run.py wrote: run it again"
        ) from error


def _write_document(path: Path, document: Run | Summary) -> None:
    write_text_atomically(path, msgspec.json.format(msgspec.json.encode(document), indent=2).decode() + "\n")
