"""prepare, called again: what is done stays, what has changed is redone, and the folder equals a fresh preparation."""

import errno
import os
import pickle
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile

from preprocessing.audio import SAMPLE_RATE
from preprocessing.corpus import Utterance
from preprocessing.errors import InputError, UsageError
from preprocessing.prepare import engines, run
from preprocessing.prepare.division import Shard, split_into_shards
from tests.conftest import read_manifest, write_manifest
from tests.preprocessing.preparing import bytes_of, prepare

Row = dict[str, Any]


@pytest.fixture(autouse=True)
def written(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Shards are written in this process; how many, for each call that writes any."""
    counts: list[int] = []

    def run_here(shards: Sequence[Shard], write: Callable[[Shard], None], _: int) -> Iterator[Shard]:
        counts.append(len(shards))
        for shard in shards:
            write(shard)
            yield shard

    monkeypatch.setitem(run.ENGINES, "local", run_here)
    return counts


def speak(path: Path, seconds: float = 0.5) -> str:
    """A file of noise, which is another for each path, and its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(list(path.name.encode())).normal(0, 0.1, round(seconds * SAMPLE_RATE))
    soundfile.write(path, noise, SAMPLE_RATE)
    return str(path)


@pytest.fixture
def rows(tmp_path: Path) -> list[Row]:
    """30 utterances of half a second, without stated durations: some 15 shards where one holds two seconds."""
    folder = tmp_path / "corpus"
    paths = [speak(folder / f"{number:02d}.wav") for number in range(30)]
    return [{"id": Path(path).stem, "audio": path, "text": f"text {path[-6:-4]}"} for path in paths]


def prepare_rows(rows: list[Row], output: Path, *options: str) -> Path:
    manifest = write_manifest(output.parent / "corpus.jsonl", rows)
    return prepare(manifest, output, "--shard_seconds", "2", "--workers", "1", *options)


def test_a_file_that_has_come_is_prepared_by_the_same_command(
    rows: list[Row], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without stated durations, it was the reader's reject; with a wrong one, its duration is another by now."""
    late = tmp_path / "corpus" / "late.wav"
    for number, stated in enumerate(({}, {"duration": 1.5})):
        all_rows = [*rows[:9], {"id": "late", "audio": str(late), "text": "late", **stated}, *rows[9:]]
        output = prepare_rows(all_rows, tmp_path / f"out{number}")
        assert [row["where"][-4:] for row in read_manifest(output / "rejects.jsonl")] == ["late" if stated else "l:10"]
        speak(late)
        prepare_rows(all_rows, output)
        assert "the data has changed: " in capsys.readouterr().err
        assert "late" in [row["id"] for row in read_manifest(output / "manifest.jsonl")]
        assert bytes_of(output) == bytes_of(prepare_rows(all_rows, tmp_path / f"fresh{number}"))
        late.unlink()


def test_a_corpus_that_has_grown_keeps_its_shards(rows: list[Row], tmp_path: Path, written: list[int]) -> None:
    """Also where an added file lies in another folder, of which the names of all recordings change."""
    output = prepare_rows(rows, tmp_path / "out")
    before = {path: path.stat().st_mtime_ns for path in output.glob("shards/*")}
    first = {"id": "inserted", "audio": speak(tmp_path / "corpus" / "new.wav"), "text": "new"}
    last = {"id": "added", "audio": speak(tmp_path / "later" / "new.wav"), "text": "new"}
    grown = [*rows[:12], first, *rows[12:], last]
    prepare_rows(grown, output)
    n_shards = written[0]
    assert n_shards >= 10 and written[1] <= 5
    kept = [path for path, changed in before.items() if path.exists() and path.stat().st_mtime_ns == changed]
    assert len(kept) >= 2 * (n_shards - 5)
    assert read_manifest(output / "manifest.jsonl")[0]["recording_id"] == "corpus/00.wav"
    assert bytes_of(output) == bytes_of(prepare_rows(grown, tmp_path / "fresh"))


@pytest.mark.parametrize(("least", "most"), [(1.0, 15.0), (5.0, 5.0), (25.0, 60.0), (55.0, 55.0)])
def test_a_change_divides_only_the_shards_around_it_otherwise(least: float, most: float) -> None:
    """Wherever it is, and also where few utterances make a shard."""
    generator = np.random.default_rng(0)
    seconds = generator.uniform(least, most, 1000)
    corpus = [Utterance(f"u{number}", f"/none/{number}.wav", "", float(own)) for number, own in enumerate(seconds)]
    before = split_into_shards(corpus, 100.0)
    assert [one for shard in before for one in shard.utterances] == corpus
    assert all(50.0 <= shard.seconds < 100.0 + most for shard in before[:-1])
    names = {shard.name for shard in before}
    n_new = []
    for place in generator.integers(0, 1000, 10):
        added = Utterance("added", "/none/added.wav", "", least)
        after = split_into_shards([*corpus[:place], added, *corpus[place:]], 100.0)
        n_new.append(len({shard.name for shard in after} - names))
    assert np.mean(n_new) < 5 and max(n_new) < 15


def test_stopped_anywhere_in_it_the_data_is_prepared_as_if_afresh(
    rows: list[Row], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before each file that is written or removed; and a manifest that is there names no shard that is not."""
    changed = [{**row, "text": "corrected"} if number % 8 == 0 else row for number, row in enumerate(rows)]
    fresh = bytes_of(prepare_rows(changed, tmp_path / "fresh"))
    output = prepare_rows(rows, tmp_path / "out")
    replace, unlink = os.replace, Path.unlink
    operations = 0

    def counted(operation: Callable[..., Any], stop: int) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            nonlocal operations
            operations += 1
            if operations == stop:
                raise KeyboardInterrupt
            return operation(*arguments, **options)

        return call

    for stop in range(1, 400, 3):
        operations = 0
        with monkeypatch.context() as stopped:
            stopped.setattr(os, "replace", counted(replace, stop))
            stopped.setattr(Path, "unlink", counted(unlink, stop))
            try:
                prepare_rows(changed, output)
            except KeyboardInterrupt:
                finished = False
            else:
                finished = True
        listed = read_manifest(output / "manifest.jsonl") if (output / "manifest.jsonl").exists() else []
        assert all((output / str(row["audio"])).exists() for row in listed)
        if finished:
            break
    assert finished and stop > 10
    assert bytes_of(output) == fresh


def test_other_data_is_refused(rows: list[Row], tmp_path: Path) -> None:
    """Also a small part of the same, which would remove what is prepared of the rest."""
    output = prepare_rows(rows, tmp_path / "out")
    before = bytes_of(output)
    others = [{**row, "id": f"other-{row['id']}"} for row in rows]
    for data, lost in ((others, 30), (rows[:5], 25)):
        expected = rf"out holds a preparation of other data: {lost} of its 30 utterances, such as '[^']*', are not in"
        with pytest.raises(UsageError, match=expected):
            prepare_rows(data, output)
        assert bytes_of(output) == before
    prepare_rows(others, output, "--overwrite", "true")
    assert read_manifest(output / "manifest.jsonl")[0]["id"] == "other-00"


def test_a_corpus_is_the_same_wherever_it_is_and_however_it_is_named(
    rows: list[Row], tmp_path: Path, written: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    output = prepare_rows(rows, tmp_path / "out")
    before = bytes_of(output)
    changed = (output / "fingerprint").stat().st_mtime_ns
    monkeypatch.chdir(tmp_path)
    prepare_rows([{**row, "audio": f"./corpus/{row['id']}.wav"} for row in rows], Path("out"))
    (tmp_path / "corpus").rename(tmp_path / "moved")
    prepare_rows([{**row, "audio": str(tmp_path / "moved" / f"{row['id']}.wav")} for row in rows], output)
    assert len(written) == 1
    assert bytes_of(output) == before
    assert (output / "fingerprint").stat().st_mtime_ns == changed
    for row in rows:  # files of the same names, and other speech
        soundfile.write(tmp_path / "moved" / f"{row['id']}.wav", np.full(SAMPLE_RATE // 2, 0.1), SAMPLE_RATE)
    prepare_rows([{**row, "audio": str(tmp_path / "moved" / f"{row['id']}.wav")} for row in rows], output)
    assert written[1] == written[0]


def test_rejects_are_read_again_where_their_file_has_changed(
    rows: list[Row], tmp_path: Path, written: list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    """And only then; also beside other changes of the data."""
    bad, late = Path(str(rows[1]["audio"])), tmp_path / "corpus" / "late.wav"
    bad.write_bytes(b"no audio")
    rows = [
        rows[0],
        {**rows[1], "duration": 0.5},
        *rows[2:],
        {"id": "late", "audio": str(late), "text": "", "duration": 0.5},
    ]
    output = prepare_rows(rows, tmp_path / "out")
    assert [row["where"] for row in read_manifest(output / "rejects.jsonl")] == ["01", "late"]
    prepare_rows(rows, output)
    assert len(written) == 1, "nothing has changed"
    bad.write_bytes(b"no audio either")
    prepare_rows(rows, output)
    assert written[1:] == [1]
    assert "1 shard with rejected utterances written again" in capsys.readouterr().err
    prepare_rows(rows, output)
    assert written[1:] == [1]
    speak(bad)
    speak(late)
    rows[9] = {**rows[9], "text": "corrected"}
    prepare_rows(rows, output)
    assert not read_manifest(output / "rejects.jsonl")
    assert bytes_of(output) == bytes_of(prepare_rows(rows, tmp_path / "fresh"))


def test_wrong_durations_are_corrected_where_only_some_files_were_compared(
    rows: list[Row], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("preprocessing.corpus.open.MOST_CHECKED", 10)
    monkeypatch.setattr("preprocessing.corpus.open.SAMPLED", 0)
    rows = [{**row, "duration": 0.5} for row in rows]
    rows[4]["duration"] = 1.3
    rows[5] |= {"duration": 0.4, "start": 0.25, "stop": 0.65}  # of a part, which the file does not hold
    output = prepare_rows(rows, tmp_path / "out")
    assert [row["where"] for row in read_manifest(output / "rejects.jsonl")] == ["05"]
    durations = {row["id"]: row["duration"] for row in read_manifest(output / "manifest.jsonl")}
    assert durations["04"] == 0.5
    assert "stated duration of 1 utterance, such as '04', is not the file's" in capsys.readouterr().err


def test_overwriting_leaves_no_manifest_of_other_shards(
    rows: list[Row], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped before its end, a preparation of other data must not be read by the manifest of the one before."""
    output = prepare_rows(rows[:20], tmp_path / "out")
    monkeypatch.setattr("preprocessing.prepare.run._write_shards", raise_interrupt)
    with pytest.raises(KeyboardInterrupt):
        prepare_rows(rows[20:], output, "--overwrite", "true")
    assert sorted(path.name for path in output.iterdir()) == ["fingerprint", "shards"]


def test_a_preparation_of_an_older_format_is_not_resumed(
    rows: list[Row], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as older:
        older.setattr("preprocessing.prepare.division.FORMAT", 4)
        prepare_rows(rows, tmp_path / "out")
    with pytest.raises(UsageError, match=r"or by another version of this command .* expected the same to resume"):
        prepare_rows(rows, tmp_path / "out")


def raise_interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def test_what_ends_a_task_of_ray_is_one_sentence() -> None:
    """What a task raises that the user can correct is a row, not an exception; others are Ray's own."""
    full = InputError("shards/0.flac: cannot be written; expected free disk space: free some")

    def write(shard: Shard) -> None:
        if shard.name in errors:
            raise errors[shard.name]

    errors = {
        "b": full,
        "c": OSError(errno.ENOSPC, "No space left on device", "out/c.jsonl"),
        "d": ValueError("defect"),
    }
    rows = [{"name": name, "shard": pickle.dumps(Shard(name, ()))} for name in "abcd"]
    found = [engines.write_row(row, write)["error"] for row in rows[:3]]
    assert found[:2] == ["", str(full)] and found[2].startswith("out/c.jsonl: cannot be written (No space left")
    with pytest.raises(ValueError, match="defect"):
        engines.write_row(rows[3], write)
    exceptions = pytest.importorskip("ray.exceptions", reason="the extra `ray` is not installed")
    assert engines.as_user_error(exceptions.RayTaskError("map", "Traceback ...", ValueError("defect"))) is None
    for error, expected in (
        (exceptions.WorkerCrashedError(), "a process that decoded audio crashed; expected"),
        (exceptions.OutOfMemoryError("killed"), "took too much memory; expected"),
        (exceptions.NodeDiedError("node 7 is gone\ntrace"), "Ray failed: node 7 is gone; expected"),
    ):
        assert expected in str(engines.as_user_error(error))


def test_ray_that_does_not_start_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def init(**_: object) -> None:
        raise Exception("The current node timed out during startup.\nMore")

    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    ray = SimpleNamespace(init=init, is_initialized=lambda: False)
    monkeypatch.setitem(sys.modules, "ray", ray)  # type: ignore[arg-type]
    monkeypatch.setitem(sys.modules, "ray.data", SimpleNamespace())  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"not start on this machine: The current node timed .* startup\.; expected"):
        list(engines.run_on_ray([Shard("a", ())], print, 1))
