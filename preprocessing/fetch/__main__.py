"""`python -m preprocessing.fetch digits german`: public speech, noise and rooms into the data folder.

Thin: options in, `preprocessing.fetch.fill` does the work. Without a name it lists the data sets.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from preprocessing.cli.options import parse_command, program_name, run_command
from preprocessing.errors import UsageError
from preprocessing.storage.data_folder import DATA_VARIABLE, data_folder

ALL = "all"
DEMO = "demo"
PROGRAM = "python -m preprocessing.fetch"
DESCRIPTION = (
    "Download public speech, noise and room impulse responses from their publishers into the data folder that the "
    "configurations name. Without a name, list the data sets with their sizes, licences and sources."
)


@dataclass(frozen=True)
class FetchConfig:
    """What to fetch, and where to."""

    names: list[str] = field(default_factory=list, metadata={"positional": True})
    """Data sets: digits, librispeech-mini, german, noise, rooms or all; demo copies the embedded demo and the
    configurations into the current folder. Default: list the data sets."""
    data_dir: Path | None = None
    """Data folder to fill. Default: $ASR_DATA_DIR, else data. What $ASR_DATA_DIR holds is copied from there instead of
    being downloaded."""


def main(arguments: Sequence[str] | None = None) -> None:
    config = parse_command(
        FetchConfig, program=PROGRAM, description=DESCRIPTION, arguments=arguments, positional=True, several=("names",)
    )
    if not config.names:
        print(listing())
        return
    from rich.console import Console

    from preprocessing.fetch import DATASETS, copy_embedded, fetch

    unknown = [name for name in config.names if name not in (*DATASETS, ALL, DEMO)]
    if unknown:
        raise UsageError(
            f"{unknown[0]!r} is not a data set; expected {', '.join(DATASETS)}, {ALL} or {DEMO}: name one of them"
        )
    if DEMO in config.names:
        copy_embedded(Path(), Console())
    names = list(DATASETS) if ALL in config.names else [name for name in dict.fromkeys(config.names) if name != DEMO]
    given = Path(os.environ[DATA_VARIABLE]) if os.environ.get(DATA_VARIABLE) else None
    data_dir = config.data_dir or data_folder()
    for name in names:
        fetch(DATASETS[name], data_dir, given, Console())
    if names and data_dir.resolve() != data_folder().resolve():
        print(f"next: export {DATA_VARIABLE}={data_dir.resolve()}, so that the configurations find the data")


def listing() -> str:
    """A paragraph for each data set: name, what it is, where it goes, sizes, licence, source."""
    from preprocessing.fetch import DATASETS

    blocks = []
    for dataset in DATASETS.values():
        sizes = f"{dataset.download_megabytes:.3g} MB to download, {dataset.megabytes:.3g} MB in {dataset.folder}/"
        here = f", already in {data_folder()}" if dataset.is_in(data_folder()) else ""
        blocks.append(f"{dataset.name}: {dataset.what}\n  {sizes}{here}\n  {dataset.licence}, {dataset.page}")
    blocks.append("demo: the embedded demo and the configurations, into the current folder, without a download")
    return "\n".join(
        [
            *blocks,
            f"\n{program_name(PROGRAM)} NAME ... fills {data_folder()} (--data_dir or {DATA_VARIABLE} names another)",
        ]
    )


if __name__ == "__main__":
    run_command(main)
