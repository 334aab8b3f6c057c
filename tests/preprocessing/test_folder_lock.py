"""An output folder has one writer: a second is refused by its process id, and what a kill leaves is taken over."""

import multiprocessing
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from preprocessing.errors import UsageError
from preprocessing.storage.atomic_write import UMASK, atomic_file
from preprocessing.storage.folder_lock import LOCK, only_writer
from tests.conftest import ROOT

HOLD = """
import sys, time
from pathlib import Path
from preprocessing.storage.folder_lock import only_writer
with only_writer(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


def test_the_second_is_refused_by_the_firsts_process_and_a_kill_frees_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    with subprocess.Popen([sys.executable, "-c", HOLD, str(folder)], cwd=ROOT, stdout=subprocess.PIPE) as first:
        assert first.stdout is not None and first.stdout.readline() == b"held\n"
        (folder / "pieces").mkdir()
        for name in (
            ".manifest.12345678.partial.jsonl",
            "pieces/.a b.c.0123abcd.partial.flac",
            "pieces/.weights.0123abcd.partial",
        ):
            (folder / name).write_text("half")
        (folder / "pieces" / "a.partial.flac").write_text("not ours")
        named = rf"--output_dir .*out is being written to by process {first.pid} on "
        with pytest.raises(UsageError, match=named), only_writer(folder, "--output_dir"):
            pass
        first.send_signal(signal.SIGKILL)
        first.wait()
    with only_writer(folder):
        assert sorted(path.name for path in folder.rglob("*") if path.is_file()) == [LOCK, "a.partial.flac"]
        assert (folder / LOCK).read_text().startswith(f"{os.getpid()} on ")
    assert not (folder / LOCK).exists()


def test_a_process_that_was_forked_does_not_hold_it(tmp_path: Path) -> None:
    process = None
    with only_writer(tmp_path):
        process = multiprocessing.get_context("fork").Process(target=signal.pause)
        process.start()
    try:
        with only_writer(tmp_path):
            pass
    finally:
        process.kill()
        process.join()


def test_a_folder_that_was_made_and_stayed_empty_is_gone(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), only_writer(tmp_path / "a" / "b"):
        raise RuntimeError
    assert list((tmp_path / "a").iterdir()) == []


def test_what_cannot_be_written_to_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="is a file; expected a folder"), only_writer(tmp_path / "file", "OUT"):
        pass
    with (
        pytest.raises(UsageError, match=r"cannot be written to \(Not a directory\)"),
        only_writer(tmp_path / "file" / "x"),
    ):
        pass


@pytest.mark.parametrize(("written", "expected"), [(0o600, 0o666 & ~UMASK), (0o664, 0o664 | 0o666 & ~UMASK)])
def test_a_file_gets_the_permissions_of_the_umask_and_keeps_those_of_its_folder(
    written: int, expected: int, tmp_path: Path
) -> None:
    """safetensors gives its owner alone permissions; a folder's access list may give a group more than the umask."""
    with atomic_file(tmp_path / "a") as temporary:
        temporary.touch()
        temporary.chmod(written)
    assert (tmp_path / "a").stat().st_mode & 0o777 == expected
