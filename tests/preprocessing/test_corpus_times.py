"""Which part of its audio a row is: every name of its two ends, and what of the audio is then heard."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from preprocessing.audio import SAMPLE_RATE
from preprocessing.cli import notes
from preprocessing.corpus import Utterance, from_dataset, lengths, load_waveform, manifest_fields, open_corpus
from tests.conftest import write_manifest

SECONDS = 10
PARTS = [(0.0, 2.5), (2.5, 4.0), (7.0, 10.0)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A recording whose samples count their tenths of a second, so that a part tells where it is from."""
    tenths = np.repeat(np.arange(10 * SECONDS), SAMPLE_RATE // 10)
    soundfile.write(tmp_path / "talk.wav", tenths.astype("int16"), SAMPLE_RATE, "PCM_16")
    return tmp_path


def heard(utterance: Utterance) -> tuple[float, float]:
    tenths = (load_waveform(utterance) * 2**15).round().int()
    return int(tenths[0]) / 10, (int(tenths[-1]) + 1) / 10


def test_the_header_of_a_file_of_many_parts_is_read_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = []
    probe = lengths.probe
    monkeypatch.setattr(lengths, "probe", lambda source: read.append(source) or probe(source))
    rows = [{"audio": "talk.wav", "text": "x", "start": start, "id": str(start)} for start in range(9)]
    rows += [{"audio": "talk.wav", "text": "x", "duration": seconds, "id": f"{seconds}"} for seconds in (8.5, 10.0)]
    corpus = open_corpus(str(write_manifest(folder / "m.jsonl", rows)), check_durations=True)
    assert [one.duration for one in corpus.utterances] == [*range(10, 1, -1), 10.0, 10.0]
    assert corpus.wrong_durations == ("8.5",)
    assert len(read) == 3, "once for parts, once for each duration that is stated"


def test_many_headers_are_read_with_progress(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(8):
        (folder / f"{number}.wav").write_bytes((folder / "talk.wav").read_bytes())
    data = str(write_manifest(folder / "m.jsonl", [{"audio": f"{number}.wav", "text": "x"} for number in range(8)]))
    open_corpus(data)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(lengths, "QUIET_FILES", 8)
    open_corpus(data)
    assert capsys.readouterr().err.startswith("reading audio headers: 8 files, ")
    monkeypatch.setenv("RANK", "1")
    open_corpus(data)
    assert capsys.readouterr().err == "", "of distributed training, the first process says it"


NAMES = [("start", "stop"), ("start", "end"), ("start_time", "end_time"), ("begin_time", "end_time"), ("begin", "end")]


STATED = [(*names, stated) for names in NAMES for stated in (None, "part", "file")]


@pytest.mark.parametrize("kind", ["jsonl", "strings", ",", ";", "\t"])
@pytest.mark.parametrize(
    ("begins", "ends", "stated"), [*STATED, ("start", "duration", None), ("offset", "duration", None)]
)
def test_a_text_goes_with_its_own_part(folder: Path, begins: str, ends: str, stated: str | None, kind: str) -> None:
    """The first part begins at 0; the last ends with the file."""
    rows: list[dict[str, Any]] = []
    for start, stop in PARTS:
        row = {begins: start, ends: stop - start if ends == "duration" else stop}
        rows.append(row | ({"duration": stop - start if stated == "part" else SECONDS} if stated else {}))
    if kind == "strings":
        rows = [{key: str(value) for key, value in row.items()} for row in rows]
    if kind == ";":
        rows = [{key: str(value).replace(".", ",") for key, value in row.items()} for row in rows]
    rows = [{"audio": "talk.wav", "text": "x"} | row for row in rows]
    if kind in ("jsonl", "strings"):
        path = write_manifest(folder / "talk.jsonl", rows)
    else:
        path = folder / ("talk.tsv" if kind == "\t" else "talk.csv")
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]), delimiter=kind)
            writer.writeheader()
            writer.writerows(rows)
    utterances = open_corpus(str(path), check_durations=True).require_complete().utterances
    assert [heard(one) for one in utterances] == PARTS
    assert [one.duration for one in utterances] == pytest.approx([stop - start for start, stop in PARTS])


@pytest.mark.parametrize(
    ("begins", "ends"),
    [("00:00:02,5", "00:00:04,0"), ("0:0:02.5", "0:00:04"), ("00:02.5", "0:04.0"), (" 00:00:02.500 ", "4")],
)
def test_times_may_be_hours_minutes_and_seconds(folder: Path, begins: str, ends: str) -> None:
    """As spreadsheets, subtitles and annotation programs write them."""
    (folder / "talk.csv").write_text(f"file;text;start;end\ntalk.wav;x;{begins};{ends}\n", encoding="utf-8-sig")
    (utterance,) = open_corpus(str(folder / "talk.csv")).require_complete().utterances
    assert heard(utterance) == (2.5, 4.0)


def test_parts_whose_times_are_not_read_are_not_the_whole_recording_each(folder: Path) -> None:
    """Columns in another language: the message says what is missing, not only that two ids are the same."""
    rows = "talk.wav;one;0;1\ntalk.wav;two;1;2\n"
    (folder / "talk.csv").write_text(f"file;text;Beginn;Ende\n{rows}")
    (reject,) = open_corpus(str(folder / "talk.csv")).rejects
    assert f"the whole of this audio file is at {folder / 'talk.csv'}:2, too" in reject.reason
    assert "'start' and 'stop'" in reject.reason


def test_a_start_alone_goes_on_to_the_end(folder: Path) -> None:
    row = {"audio": "talk.wav", "text": "x", "start": 4}
    rows = [row, row | {"duration": 6}, row | {"duration": 10}, row | {"end": None}, row | {"end": "", "end_ms": None}]
    path = write_manifest(folder / "talk.jsonl", [one | {"id": str(number)} for number, one in enumerate(rows)])
    utterances = open_corpus(str(path)).require_complete().utterances
    assert [heard(one) for one in utterances] == [(4.0, 10.0)] * 5


@pytest.mark.parametrize(
    ("times", "reason"),
    [
        (
            {"start": 1, "end_ms": 2000},
            "'start' beside 'end_ms', which is not read; expected the end as 'stop' or 'end'",
        ),
        ({"start": 1, "endTime": "2.0"}, "'start' beside 'endTime'"),
        ({"start_time": 1, "segment_end": 2}, "'start_time' beside 'segment_end'"),
        ({"start": 1, "duration": 2, "END": 3}, "'start' beside 'END'"),
        ({"offset": 1, "finish": 3}, "'offset' beside 'finish'"),
        ({"start": 1, "duration_ms": 900}, "'start' beside 'duration_ms', which is not read; expected the end as"),
        ({"start": 1, "length": 2}, "'start' beside 'length'"),
        ({"begin": 1, "dur": 2}, "'begin' beside 'dur'"),
        ({"start": 1, "to": 2}, "'start' beside 'to'"),
        ({"start_ms": 1000, "duration": 2}, "'start_ms' is not read, and 'duration' is 2 s of an audio of 10.00 s"),
        ({"start_ms": 1000, "end": 2}, "'end' beside 'start_ms', which is not read; expected the beginning as 'start'"),
        ({"onset": 1, "offset": 2}, "'offset' beside 'onset'"),
        ({"start": 1, "stop": 2, "end": 3}, "'stop' is 2 and 'end' is 3; expected one"),
        ({"start": 1, "start_time": 3, "end": 4}, "'start' is 1 and 'start_time' is 3; expected one"),
        ({"start": 3, "end": 2}, "start 3 s is not before its end at 2 s"),
        ({"start": 3, "end": 12}, "stop 12 s lies beyond the audio's end at 10.00 s"),
        ({"start": 1, "end": -1}, "'end' is -1; expected seconds"),
        ({"start": 1, "end": "0:02"}, "'end' is '0:02'; expected seconds"),  # or minutes and hours
        ({"start": 1, "end": "00:00:02:12"}, "'end' is '00:00:02:12'; expected seconds from 0 up, or a time such as"),
        ({"start": 1, "end": "0:72.5"}, "'end' is '0:72.5'; expected seconds"),
        ({"start": 3, "duration": 9}, "'duration' is 9 s, but the audio holds 10.00 s and 7.00 s from start 3 s on"),
        ({"offset": 3, "stop": 2}, "start 3 s is not before its end at 2 s"),
    ],
)
def test_times_that_are_not_understood_set_their_line_aside(folder: Path, times: dict[str, Any], reason: str) -> None:
    row = {"audio": "talk.wav", "text": "x"}
    path = write_manifest(folder / "talk.jsonl", [row | {"id": "whole"}, row | {"id": "bad"} | times])
    (reject,) = open_corpus(str(path)).rejects
    assert reason in reject.reason and "\n" not in reject.reason


@pytest.mark.parametrize(
    ("times", "is_noted"),
    [
        ({"start_sec": 1, "end_sec": 2}, True),
        ({"source_start": 1, "source_stop": 2}, False),
        ({"gender": 1, "legend": 2, "restart": 3}, False),
        ({"start_date": "May", "end_date": "June"}, False),
    ],
)
def test_two_names_that_are_not_read_leave_the_whole_and_are_noted(
    folder: Path,
    times: dict[str, Any],
    is_noted: bool,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(notes, "_noted", set())
    row = {"audio": "talk.wav", "text": "x"} | times
    path = write_manifest(folder / "talk.jsonl", [row | {"id": "a"}, row | {"id": "b"}])
    assert [heard(one) for one in open_corpus(str(path)).require_complete().utterances] == [(0.0, 10.0)] * 2
    assert capsys.readouterr().err.count("'start_sec' and 'end_sec' are not read") == int(is_noted)


def test_a_duration_of_the_whole_needs_no_start(folder: Path) -> None:
    """A clip that was cut from elsewhere says where, and how long it is itself."""
    row = {"audio": "talk.wav", "text": "x"}
    cut = [
        {"start_ms": 4000, "duration": 10},
        {"start_ms": 4000, "duration": 9.85},
        {"start_ms": 4000, "duration": 600},  # of the whole that it was cut from
        {"start_ts": 4, "end_ts": 7.6, "duration": 600},
        {"start_index": 4, "duration": 10},
        {"start": 0, "text_length": 4},
        {"start": 0, "num_samples": 160_000},
        {"start": 0.0, "reply_to": 3},
    ]
    rows = [row | times | {"id": str(place)} for place, times in enumerate(cut)]
    rows += [row | {"id": "first", "start": 0.0, "duration": 2, "start_ms": 0}]
    path = write_manifest(folder / "talk.jsonl", rows)
    utterances = open_corpus(str(path), check_durations=True).require_complete().utterances
    assert [heard(one) for one in utterances] == [(0.0, 10.0)] * len(cut) + [(0.0, 2.0)]


def test_times_of_a_datasets_clip_are_of_the_recording_it_was_cut_from(folder: Path) -> None:
    """As GigaSpeech, AMI and Multilingual LibriSpeech have them; start and end are still the row's own."""
    from datasets import Audio, Dataset

    content = {"bytes": (folder / "talk.wav").read_bytes(), "path": "talk.wav"}
    rows = {"audio": [content] * 2, "text": ["x"] * 2, "begin_time": [40.0, 50.0], "end_time": [50.0, 60.0]}
    dataset = Dataset.from_dict(rows).cast_column("audio", Audio(decode=False))
    assert [heard(one) for one in from_dataset(dataset).require_complete().utterances] == [(0.0, 10.0)] * 2
    dataset = dataset.add_column("start", [1.0, 2.0]).add_column("end", [2.0, 4.0])
    assert [heard(one) for one in from_dataset(dataset).require_complete().utterances] == [(1.0, 2.0), (2.0, 4.0)]


def test_the_fields_of_an_utterance_are_read_as_it(folder: Path) -> None:
    rows = [
        {"id": "whole", "duration": 10.0, "speaker": "ann", "sex": "F", "language": "de", "domain": "talk"},
        {"id": "part", "start": 1.0, "stop": 2.5, "channel": 0, "words": [{"word": "x", "start": 1.5, "end": 2.0}]},
        {"id": "first", "start": 0.0, "stop": 2.5, "segments": [{"start": 1.0, "stop": 2.0, "text": "x"}]},
        {"id": "last", "start": 4.0},
    ]
    path = write_manifest(
        folder / "talk.jsonl", [{"audio": str(folder / "talk.wav"), "text": "x"} | row for row in rows]
    )
    utterances = open_corpus(str(path)).require_complete().utterances
    lines = [json.dumps(manifest_fields(one)) for one in utterances]
    (folder / "again.jsonl").write_text("\n".join(lines))
    assert open_corpus(str(folder / "again.jsonl")).require_complete().utterances == utterances
