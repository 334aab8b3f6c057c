"""Filling the data folder: what is there stays, what ASR_DATA_DIR holds is copied, the rest is downloaded and built.

A data set's folder appears complete or not at all. Downloads are kept in `.downloads` until then, so a command that was
interrupted goes on; two commands into one folder do not run at once.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from preprocessing.cli.progress import Steps
from preprocessing.errors import InputError
from preprocessing.fetch.datasets import Dataset
from preprocessing.fetch.download import RemoteFile, download
from preprocessing.storage.atomic_write import DISK_FULL
from preprocessing.storage.data_folder import DATA_VARIABLE
from preprocessing.storage.folder_lock import only_writer

DOWNLOADS = ".downloads"
ROOT = Path(__file__).resolve().parents[2]
EMBEDDED = ("demo", "configs")


def fetch(dataset: Dataset, data_dir: Path, given: Path | None, console: Console) -> None:
    """Fill `data_dir`/`dataset.folder`, and say on the console where it comes from.

    given: the folder that ASR_DATA_DIR names; None where it is unset.
    Raises InputError where it cannot be downloaded, checked, read or written.
    """
    target = data_dir / dataset.folder
    if dataset.is_in(data_dir):
        _say(console, f"{dataset.name}: already in {target}, nothing downloaded")
        return
    if target.exists():
        missing = [name for name in dataset.holds if not (target / name).is_file()]
        raise InputError(
            f"{target}: exists without {' and '.join(missing)}; expected {dataset.name} or no such folder: move it away"
        )
    try:
        with only_writer(data_dir / DOWNLOADS):
            if given is not None and given.resolve() != data_dir.resolve() and dataset.is_in(given):
                _copy(given / dataset.folder, target)
                _say(console, f"{dataset.name}: copied from {given / dataset.folder} ({DATA_VARIABLE}) to {target}")
            else:
                _download_and_build(dataset, data_dir, console)
                _say(console, f"{dataset.name}: {target}, {dataset.licence}, from {dataset.page}")
    except OSError as error:
        remedy = "choose another --data_dir"
        if error.errno in DISK_FULL:
            remedy = f"free about {needed_megabytes(dataset):.0f} MB and run the same command again to resume"
        raise InputError(
            f"{error.filename or target}: {error.strerror or error}; expected a writable path: {remedy}"
        ) from None


def _copy(source: Path, target: Path) -> None:
    with _appearing(target) as folder:
        shutil.copytree(source, folder, dirs_exist_ok=True, copy_function=shutil.copyfile)
        for copied in (folder, *(path for path in folder.rglob("*") if path.is_dir())):
            copied.chmod(0o755)  # the folder copied from may be read-only


def _download_and_build(dataset: Dataset, data_dir: Path, console: Console) -> None:
    _require_space(dataset, data_dir)
    downloads = data_dir / DOWNLOADS / dataset.name
    paths = [_download(file, downloads, console) for file in dataset.files]
    try:
        with _appearing(data_dir / dataset.folder) as folder:
            dataset.build(paths, folder)
    except InputError:  # without a checksum, what is wrong with a download is seen here
        for file, path in zip(dataset.files, paths, strict=True):
            if not file.checksum:
                path.unlink(missing_ok=True)
        raise
    shutil.rmtree(downloads)


def copy_embedded(folder: Path, console: Console) -> None:
    """Copy the demo and the configurations into `folder`, from where a command's paths to them begin.

    A checkout holds them; in an installed package they are beside the code, where no one looks for a YAML file.
    """
    for name in EMBEDDED:
        if (folder / name).exists():
            _say(console, f"{name}: already in {folder.resolve()}, nothing copied")
            continue
        try:
            with _appearing(folder / name) as copy:
                shutil.copytree(ROOT / name, copy, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
        except OSError as error:
            raise InputError(
                f"{error.filename or folder}: {error.strerror}; expected a writable folder: change to another"
            ) from None
        _say(console, f"{name}: copied to {(folder / name).resolve()}")


def needed_megabytes(dataset: Dataset) -> float:
    """Of the downloads and the folder, which exist together for a moment."""
    return dataset.download_megabytes + dataset.megabytes


def _say(console: Console, line: str) -> None:
    console.print(line, highlight=False, markup=False, soft_wrap=True)


def _download(file: RemoteFile, folder: Path, console: Console) -> Path:
    """Download one file, in megabytes on the console."""
    with Steps(console, 1, unit="MB").step(f"{file.name} from {file.url}", max(round(file.megabytes), 1)) as advance:
        n_bytes = shown = 0

        def count(more: int) -> None:
            nonlocal n_bytes, shown
            n_bytes += more
            advance(round(n_bytes / 1e6) - shown)
            shown = round(n_bytes / 1e6)

        return download(file, folder, count)


def _require_space(dataset: Dataset, data_dir: Path) -> None:
    """Raises InputError where the disk has clearly less room than the data set takes."""
    folder = data_dir / DOWNLOADS / dataset.name
    arrived = sum(path.stat().st_size for path in folder.iterdir()) / 1e6 if folder.is_dir() else 0.0
    free = shutil.disk_usage(data_dir).free / 1e6
    needed = needed_megabytes(dataset) - arrived
    if free < needed:
        raise InputError(
            f"{data_dir}: {free:.0f} MB are free; {dataset.name} takes about {needed:.0f} MB: free some, or choose "
            "another --data_dir"
        )


@contextmanager
def _appearing(target: Path) -> Iterator[Path]:
    """An empty folder that becomes `target` when the block ends, and is removed when the block raises."""
    temporary = target.with_name(f".{target.name}.partial")
    shutil.rmtree(temporary, ignore_errors=True)  # of a command that was killed
    temporary.mkdir(parents=True)
    try:
        yield temporary
        temporary.rename(target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
