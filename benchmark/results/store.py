"""Results on the disk: lines appended while a run goes on, read back when it is resumed, and the summary at its end."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import msgspec

from benchmark.results.schema import SCHEMA, Run, Sample, Summary, SystemRun, Throughput, Timing
from preprocessing.cli.atomic_write import write_text_atomically
from preprocessing.cli.errors import InputError, UsageError

SAMPLES, TIMINGS, THROUGHPUT, RUN, SUMMARY = (
    "samples.jsonl",
    "timings.jsonl",
    "throughput.jsonl",
    "run.json",
    "summary.json",
)
Line = TypeVar("Line")
Whole = TypeVar("Whole", Run, Summary)


def line_of(record: Sample | Timing | Throughput) -> str:
    return msgspec.json.encode(record).decode() + "\n"


def write_samples(path: Path, samples: Iterable[Sample]) -> None:
    write_text_atomically(path, "".join(map(line_of, samples)))


def read_samples(path: Path) -> Iterator[Sample]:
    """Every sample of a samples.jsonl. Raises InputError naming the line that does not fit."""
    return _lines(path, msgspec.json.Decoder(Sample), "a sample")


def read_timings(path: Path) -> Iterator[Timing]:
    """Every timing of a timings.jsonl. Raises InputError naming the line that does not fit."""
    return _lines(path, msgspec.json.Decoder(Timing), "a timing")


def read_throughput(path: Path) -> Iterator[Throughput]:
    """Every round of a throughput.jsonl. Raises InputError naming the line that does not fit."""
    return _lines(path, msgspec.json.Decoder(Throughput), "a throughput")


def _lines(path: Path, decoder: "msgspec.json.Decoder[Line]", what: str) -> Iterator[Line]:
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                yield decoder.decode(line)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                raise InputError(
                    f"{path}:{number}: not {what} of schema {SCHEMA} ({error}); run the benchmark again"
                ) from error


def write_summary(path: Path, summary: Summary) -> None:
    _write(path, summary)


def read_summary(path: Path) -> Summary:
    """The summary that `write_summary` wrote. Raises InputError when it is none, or of another schema."""
    return _read(path, Summary, "a summary of a benchmark run")


def write_run(path: Path, run: Run) -> None:
    _write(path, run)


def read_run(path: Path) -> Run:
    """What `write_run` wrote. Raises InputError when it is none, or of another schema."""
    return _read(path, Run, "a benchmark run")


def _write(path: Path, whole: Run | Summary) -> None:
    write_text_atomically(path, msgspec.json.format(msgspec.json.encode(whole), indent=2).decode() + "\n")


def _read(path: Path, kind: type[Whole], what: str) -> Whole:
    content = path.read_bytes()
    try:
        schema = msgspec.json.decode(content).get("schema")
        if schema != SCHEMA:
            raise InputError(f"{path}: schema {schema}, expected {SCHEMA}; run the benchmark again")
        return msgspec.json.decode(content, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, AttributeError) as error:
        raise InputError(f"{path} is not {what} ({error}); run the benchmark again") from error


PRINTED = "printed"  # folder of what systems wrote to their terminal
Written = TypeVar("Written", Sample, Timing, Throughput)
Key = tuple[str, str, str]  # system, condition, id


def key_of(sample: Sample) -> Key:
    return sample.system, sample.condition, sample.id


class Record:
    """rank: of this process among several; None where it is the only one."""

    def __init__(self, folder: Path, rank: int | None = None) -> None:
        self.folder = folder
        self._samples = folder / (SAMPLES if rank is None else f"samples-{rank}.jsonl")
        self.samples: dict[Key, Sample] = {}
        self.timings: list[Timing] = []
        self.throughput: list[Throughput] = []

    def read(self) -> None:
        """What an earlier start of the same run has left."""
        self.samples = {key_of(sample): sample for sample in _read_lines(self.folder / SAMPLES, read_samples)}
        self.timings = list(_read_lines(self.folder / TIMINGS, read_timings))
        self.throughput = list(_read_lines(self.folder / THROUGHPUT, read_throughput))

    def add_sample(self, sample: Sample) -> None:
        self.samples[key_of(sample)] = sample
        _append(self._samples, sample)

    def add_timing(self, timing: Timing) -> None:
        self.timings.append(timing)
        _append(self.folder / TIMINGS, timing)

    def add_throughput(self, throughput: Throughput) -> None:
        self.throughput.append(throughput)
        _append(self.folder / THROUGHPUT, throughput)

    def gather(self) -> None:
        """Put the samples of all processes into one file, and read it."""
        apart = sorted(self.folder.glob("samples-*.jsonl"))
        for path in apart:
            for sample in _read_lines(path, read_samples):
                self.samples.setdefault(key_of(sample), sample)
        if apart:
            write_samples(self.folder / SAMPLES, self.samples.values())
            for path in apart:
                path.unlink()

    def finish(self, order: Mapping[Key, int]) -> list[Sample]:
        """Write the samples in the order of system, condition and corpus, each once; gives them back."""
        ordered = sorted(self.samples.values(), key=lambda sample: order.get(key_of(sample), len(order)))
        write_samples(self.folder / SAMPLES, ordered)
        return ordered


def begin(folder: Path, run: Run, *, overwrite: bool) -> Run:
    """Make the folder ready for `run`, anew or to go on; gives the run as it is to be written.

    Raises UsageError where the folder holds a finished run, another one, or lines of none.
    """
    refuse_unusable(folder, overwrite=overwrite)
    before = _earlier(folder) if not overwrite else None
    if before is None:
        clear(folder)
        folder.mkdir(parents=True, exist_ok=True)
        write_run(folder / RUN, run)
        return run
    differing = differences(before, run)
    if differing:
        raise UsageError(
            f"--output {folder} holds an unfinished run of another configuration: {'; '.join(differing)}; expected the "
            "same to go on: choose another --output, or --overwrite true"
        )
    for name in (SAMPLES, TIMINGS, THROUGHPUT, *(path.name for path in folder.glob("samples-*.jsonl"))):
        drop_torn_line(folder / name)
    notices = list(dict.fromkeys([*before.notices, *run.notices]))
    if before.machine != run.machine:
        changed = sorted(key for key in before.machine | run.machine if before.machine.get(key) != run.machine.get(key))
        notices.append(f"the run went on on another machine ({', '.join(changed)}): its times are of both.")
    told = {one.facts.name: one for one in before.systems}
    went_on = replace(before, notices=notices, systems=[told.get(one.facts.name, one) for one in run.systems])
    write_run(folder / RUN, went_on)
    return went_on


def refuse_unusable(folder: Path, *, overwrite: bool) -> None:
    """Raises UsageError where no run can be written to the folder: said before anything slow."""
    if folder.is_file():
        raise UsageError(f"--output {folder} is a file; expected a folder: choose another name")
    finished = (folder / SUMMARY).exists()
    strange = (folder / SAMPLES).exists() and not (folder / RUN).exists()
    if (finished or strange) and not overwrite:
        raise UsageError(
            f"--output {folder} holds results; expected a new folder, or an unfinished run to go on with: choose "
            "another, or --overwrite true"
        )


def differences(before: Run, now: Run) -> list[str]:
    """What two runs were told differently, by flag.

    Settings of a run are its flags, but for those named with a space, which are not anyone's to choose.
    """
    found = []
    for name in before.settings | now.settings:
        was, is_now = before.settings.get(name, "none"), now.settings.get(name, "none")
        if was != is_now:
            found.append(f"--{name} was {was}, is now {is_now}" if " " not in name else f"its {name} has changed")
    was_systems, systems = ([one.facts.name for one in run.systems] for run in (before, now))
    if was_systems != systems and before.settings.get("models") == now.settings.get("models"):
        found.append(f"--models stood for {', '.join(was_systems)}, and stands for {', '.join(systems)} now")
    return found


def with_system(run: Run, told: SystemRun) -> Run:
    """The run with what a system has told of itself so far."""
    return replace(run, systems=[told if one.facts.name == told.facts.name else one for one in run.systems])


def drop_torn_line(path: Path) -> None:
    """Cut off what stands after the last line break: a line that a killed process did not finish."""
    if not path.exists():
        return
    content = path.read_bytes()
    whole = content.rfind(b"\n") + 1
    if whole < len(content):
        with path.open("r+b") as file:
            file.truncate(whole)


def clear(folder: Path) -> None:
    """Remove the lines of an earlier run, and what was made from them."""
    for path in [*folder.glob("samples-*.jsonl"), *folder.glob(f"{PRINTED}/*.txt")]:
        path.unlink()
    for name in (SUMMARY, RUN, SAMPLES, TIMINGS, THROUGHPUT):
        (folder / name).unlink(missing_ok=True)


def _earlier(folder: Path) -> Run | None:
    return read_run(folder / RUN) if (folder / RUN).exists() else None


def _read_lines(path: Path, read: Callable[[Path], Iterator[Written]]) -> Iterable[Written]:
    return read(path) if path.exists() else ()


def _append(path: Path, record: Sample | Timing | Throughput) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(line_of(record))
