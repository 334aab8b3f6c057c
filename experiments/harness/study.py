"""A study: trainings and measurements that answer a question, its results as JSON, and a page made of them alone.

A study's module has `measure`, which returns its results. Their type, a frozen dataclass `Results`, is in a module of
`experiments.study_pages`, with `findings_of`, which makes tables, sentences and the picture of such results and of
nothing else. `run_study` runs both: results.json goes to the output folder, and with --docs true docs/studies/NAME.md
with NAME.json and NAME.png beside it, or under the name of --page. --from_results makes the page again of a
results.json, or of docs/studies/NAME.json, without any model.
"""

import importlib
import os
import shlex
import sys
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, TypeVar

from experiments.harness.command import ExperimentOptions, run_experiment
from experiments.harness.figures import Findings, save_plot
from experiments.harness.trainings import ROOT
from preprocessing.errors import InputError, UsageError, counted
from preprocessing.storage.atomic_write import write_text_atomically
from preprocessing.storage.data_folder import expand_data_folder

if TYPE_CHECKING:
    from finetune.metrics import Rate

SCHEMA = 1  # of results.json
RESULTS = "results.json"
PAGES = ROOT / "docs" / "studies"
WIDTH = 130  # of a line of text, in characters
PLACES = ("--output_dir", "--json", "--plot")  # flags that only say where something goes
Content = TypeVar("Content")


@dataclass(frozen=True, kw_only=True)
class StudyOptions(ExperimentOptions):
    """Options of every study; its own `Config` adds to them.

    replaced_by_quick: its options in whose place --quick has values of its own. small_case: flags that make a small
    case of the user's own data.
    """

    replaced_by_quick: ClassVar[Sequence[str]] = ()
    small_case: ClassVar[str] = ""

    output_dir: Path | None = None
    """Folder of trainings, transcripts and results. Default: runs/studies/NAME, with --quick a folder in it."""

    docs: bool = False
    """Write docs/studies/NAME.md with its picture and its results; not with --quick."""

    page: str | None = None
    """Name of the page, as in NAME-german for a second corpus. Default: NAME."""

    from_results: Path | None = None
    """Make findings, picture and page from this results.json; nothing is trained or measured."""

    cores: int | None = None
    """CPU cores that a training may use. Default: all. 1 is faster for an LSTM if other programs run on the machine."""

    def folder(self, file: str) -> Path:
        """The output folder, made; `file` is the study's."""
        folder = self.output_dir or Path("runs") / "studies" / Path(file).stem
        folder = (folder / "quick" if self.quick else folder).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def check_quick(self) -> None:
        """Raises UsageError naming the options that are set although --quick replaces them."""
        default = expand_data_folder(type(self)())
        changed = [one for one in self.replaced_by_quick if getattr(self, one) != getattr(default, one)]
        if self.quick and changed:
            flags = ", ".join(f"--{one}" for one in changed)
            own = f", or try yours with {self.small_case} in place of --quick" if self.small_case else ""
            raise UsageError(
                f"--quick uses the embedded demo and its own settings in place of {flags}; expected it without these: "
                f"leave out {flags}{own}"
            )


def differences_from_default(config: StudyOptions, *flags: str, units: Mapping[str, str] | None = None) -> str:
    """What of the default study these options change, "" where nothing: the steps of its runs, fewer seeds, what a list
    or dict of names leaves out, and any other value; in the order of the flags.

    units: of the numbers in a list, by its flag: it is told by what it leaves out, too.
    """
    default, units = expand_data_folder(type(config)()), units or {}
    parts = []
    for flag in flags:
        own, usual = getattr(config, flag), getattr(default, flag)
        if own == usual or (flag == "seeds" and own > usual):
            continue
        if flag == "max_steps":
            parts.append(f"{own} steps instead of the recipe's own")
        elif flag == "seeds":
            parts.append(f"{counted(own, 'seed')} instead of {usual}")
        elif flag in units:
            left = [f"{one:g} {units[flag]}" for one in usual if one not in own]
            parts += [f"without {', '.join(left)}"] if left else []
        elif isinstance(usual, (list, dict)) and all(isinstance(one, str) for one in usual):
            left = [_without_folder(one) for one in usual if one not in own]
            parts += [f"without {', '.join(left)}"] if left else []
        else:
            parts.append(f"{flag} {_without_folder(own)} instead of {_without_folder(usual)}")
    return "; ".join(parts)


def _without_folder(value: object) -> str:
    """The name of a recipe without folder and suffix; any other value as it is."""
    return str(value).rpartition("/")[2].removesuffix(".yaml") if str(value).endswith(".yaml") else str(value)


Options = TypeVar("Options", bound=StudyOptions)


@dataclass(frozen=True, kw_only=True)
class About:
    """When, where and by which command results were made. partial: what of the whole was not run, "" where all was.
    page: its name in docs/studies, "" for the study's. version: of this project, which says how intervals are computed;
    "" of results from before 0.3.0.
    """

    study: str
    date: str
    command: str
    machine: dict[str, str]
    partial: str = ""
    page: str = ""
    schema: int = SCHEMA
    version: str = ""


def run_study(
    config_class: type[Options],
    measure: Callable[[Options], tuple[object, str]],
    results_module: str,
    documentation: str | None,
    file: str,
    arguments: Sequence[str] | None = None,
) -> None:
    """Parse the options, measure or read results, and report: the `main` of every study.

    measure: returns the results, and what of the whole study they lack, "" where it is all. results_module: the name of
    the module that has their type `Results` and `findings_of`; it imports numpy, for which --help does not wait.
    Raises UserError.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    name = Path(file).stem

    def run(config: Options) -> Findings:
        if config.quick and config.docs:
            raise UsageError("--docs and --quick are both true; expected real results for a page: leave one out")
        pages = importlib.import_module(results_module)
        if config.from_results is None:
            config.check_quick()
            content, partial = measure(config)
            about = _about(name, words, partial, config.page)
            _write(config.folder(file) / RESULTS, about, content)
        else:
            about, content = read_results(config.from_results, name, pages.Results)
            about = replace(about, page=config.page or about.page)
        findings: Findings = pages.findings_of(content)
        where = f"{about.date}, {about.machine.get('processor', '')}, {about.machine.get('cores', '?')} cores"
        settings = "\n".join(filter(None, [findings.settings, about.partial and f"In part: {about.partial}", where]))
        findings = replace(findings, settings=settings)
        if config.docs:
            _write_page(documentation or "", about, content, findings)
        return replace(findings, details={**findings.details, "results": _plain(content)})

    run_experiment(config_class, run, documentation, file, words)


def read_results(path: Path, name: str, content_class: type[Content]) -> tuple[About, Content]:
    """The results of the study `name` in a file. Raises InputError where it holds none."""
    import msgspec

    try:
        content = msgspec.json.decode(path.read_bytes())
        about = msgspec.convert(content["about"], About)
        if (about.study, about.schema) != (name, SCHEMA):
            raise ValueError(f"of {about.study}, schema {about.schema}")
        return about, msgspec.convert(content["results"], content_class)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path}: no results of this study ({error}); expected the results.json of experiments.{name}, schema "
            f"{SCHEMA}: name it, or measure again"
        ) from error


def _about(name: str, words: Sequence[str], partial: str, page: str | None) -> About:
    from benchmark import __version__
    from benchmark.environment import describe_machine

    places = {place for place, word in enumerate(words) if word in PLACES}
    kept = [word for place, word in enumerate(words) if not {place, place - 1} & places]
    command = without_machine(shlex.join(["python", "-m", f"experiments.{name}", *kept]))
    return About(
        study=name,
        date=f"{datetime.now(UTC):%Y-%m-%d}",
        command=command,
        machine=describe_machine("cpu"),
        partial=partial,
        page=page or "",
        version=__version__,
    )


def without_machine(line: str) -> str:
    """A command without what only this machine has: the folders of speech and weights by their variables, others by
    their last part.
    """
    from finetune.models.about import without_folders

    for variable in ("ASR_DATA_DIR", "ASR_REAL_MODELS"):
        if folder := os.environ.get(variable):
            line = line.replace(f"{folder.rstrip('/')}/", f"${variable}/")
    return " ".join(without_folders(word) if word.startswith(("/", "~", "..")) else word for word in line.split(" "))


def _plain(content: object) -> object:
    import msgspec

    return msgspec.to_builtins(content)


def _write(path: Path, about: About, content: object) -> None:
    import msgspec

    encoded = msgspec.json.format(msgspec.json.encode({"about": about, "results": content}), indent=1)
    write_text_atomically(path, encoded.decode() + "\n")


def _write_page(documentation: str, about: About, content: object, findings: Findings) -> None:
    """docs/studies/NAME.md, .json and .png."""
    name = about.page or about.study
    PAGES.mkdir(parents=True, exist_ok=True)
    _write(PAGES / f"{name}.json", about, content)
    save_plot(replace(findings, settings=findings.settings.partition("\n")[0]), PAGES / f"{name}.png")
    write_text_atomically(PAGES / f"{name}.md", page(documentation, about, findings))


def page(documentation: str, about: About, findings: Findings) -> str:
    """The page of a study's findings, Markdown."""
    question, _, how = documentation.partition("\n")
    name = about.page or about.study
    which = f" ({name.removeprefix(about.study).strip('-_')})" if about.page else ""
    lines = [f"# {question}{which}", ""]
    lines += [f"**In part**: {about.partial}\n"] if about.partial else []
    lines += [wrap(f"- {sentence}") for sentence in findings.answers]
    lines += ["", f"![{findings.title}]({name}.png)"]
    for table in findings.tables:
        lines += ["", *([table.title, ""] if table.title else []), *markdown_table(table.headings, table.rows)]
    if findings.missing:
        lines += ["", *(wrap(f"- Not measured: {what}: {why}.") for what, why in findings.missing.items())]
    machine = "; ".join(f"{key} {value}" for key, value in about.machine.items())
    paragraphs = [wrap(part) for part in how.strip().split("\n\n") if not part.startswith("    ")]
    lines += ["", "## How it was measured", "", *[f"{part}\n" for part in paragraphs]]
    lines += [wrap(line) + "\n" for line in findings.settings.split("\n")[:-1] if line != f"In part: {about.partial}"]
    lines += [
        "```sh",
        about.command,
        f"python -m experiments.{about.study} --from_results docs/studies/{name}.json --docs true",
    ]
    lines += [
        "```",
        "",
        wrap(f"The second command makes this page again of the results beside it. {about.date}; {machine}."),
        "",
        wrap(
            f"Intervals and tests are those of version {about.version} ([statistics](../statistics.md))."
            if about.version
            else "Intervals and tests are of before version 0.3.0; those of later versions can be wider where there "
            "are few errors ([statistics](../statistics.md))."
        ),
    ]
    return "\n".join(lines) + "\n"


def with_interval(rate: "Rate", *, bold: bool = False) -> str:
    """Such as "3.3 [0.9, 6.3]"."""
    value = f"{100 * rate.value:.1f}"
    return f"{f'**{value}**' if bold else value} [{100 * rate.low:.1f}, {100 * rate.high:.1f}]"


def markdown_table(headings: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: bool = True) -> list[str]:
    """The lines of a table; all columns but the first to the right where they are numbers."""
    marks = ["---", *(["---:" if numbers else "---"] * (len(headings) - 1))]
    return [f"| {' | '.join(cells)} |" for cells in (headings, marks, *rows)]


def wrap(text: str) -> str:
    """A paragraph in lines of WIDTH; the further lines of a list's item are indented."""
    indent = "  " if text.startswith("- ") else ""
    return textwrap.fill(text, WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
