"""What a manifest may do wrong: each is one sentence, none a crash, and memory stays with the manifest."""

import csv
import io
import json
import time
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from preprocessing.corpus import Corpus, Reject, Utterance, missing_files, open_corpus
from preprocessing.errors import InputError
from tests.preprocessing.corpora import SPOKEN, write_audio

STATED = {"audio": "not-there.wav", "text": "x", "duration": 3.0}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_audio(tmp_path / "a.wav", SPOKEN[0])
    return tmp_path


def written(folder: Path, *lines: bytes | dict[str, Any], name: str = "corpus.jsonl") -> Path:
    content = [line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines]
    (folder / name).write_bytes(b"\n".join(content))
    return folder / name


def reasons(path: Path, n_utterances: int) -> list[str]:
    corpus = open_corpus(str(path))
    assert len(corpus.utterances) == n_utterances
    return [reject.reason for reject in corpus.rejects]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (STATED | {"duration": -1.0}, "'duration' is -1.0; expected seconds"),
        (STATED | {"duration": 0}, "'duration' is 0"),
        (b'{"audio": "b.wav", "text": "x", "duration": NaN}', "'duration' is nan"),
        (b'{"audio": "b.wav", "text": "x", "duration": 1e999}', "'duration' is inf"),
        (b'{"audio": "b.wav", "text": "x", "duration": 1' + b"0" * 400 + b"}", "'duration' is a huge number"),
        (b'{"audio": "b.wav", "text": "x", "duration": 1' + b"0" * 5000 + b"}", "not JSON"),
        (STATED | {"duration": "3 s"}, "'duration' is '3 s'"),
        (STATED | {"duration": "nan"}, "'duration' is 'nan'"),
        (STATED | {"duration": "3_0"}, "'duration' is '3_0'"),
        (STATED | {"channel": -1}, "'channel' is -1; expected its number"),
        (STATED | {"channel": 0.5}, "'channel' is 0.5; expected its number"),
        (STATED | {"duration": True}, "'duration' is True"),
        (STATED | {"start": 2.0, "stop": 1.0}, "start 2 s is not before its end at 1 s"),
        (STATED | {"start": 2.0, "stop": 4.0}, "stop 4 s lies beyond the audio's end at 3.00 s"),
        (STATED | {"speaker": ["ann"]}, "'speaker' is ['ann']; expected a name"),
        (STATED | {"id": {"a": 1}}, "'id' is {'a': 1}"),
        (STATED | {"audio": ["b.wav"]}, "expected a path"),
        (STATED | {"audio": "a\0b"}, "expected a path"),
        (STATED | {"audio": "x" * 5000, "duration": None}, "expected a path"),
        (STATED | {"text": None}, "no 'text'"),
        (b'{"audio": "b.wav", "text": "\\ud800", "duration": 1}', "without its other half"),
        (b'{"audio": "b.wav", "text": "' + b"x" * 10_000_000 + b'", "duration": 1}', "a line of over 1 MiB"),
        (b'{"audio": "b.wav", "text": "\xe4", "duration": 1}', "not UTF-8"),
        (b"null", "a JSON NoneType"),
    ],
)
def test_each_bad_line_is_one_sentence(folder: Path, line: bytes | dict[str, Any], reason: str) -> None:
    path = written(folder, {"audio": "a.wav", "text": "x"}, line, {"audio": "c.wav", "text": "y", "duration": 1.0})
    found = reasons(path, 2)
    assert len(found) == 1
    assert reason in found[0]
    assert "\n" not in found[0] and len(found[0]) < 400


def test_marks_blank_lines_and_carriage_returns_are_passed_over(folder: Path) -> None:
    good = [json.dumps(STATED | {"id": name}).encode() for name in "ab"]
    path = folder / "corpus.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + good[0] + b"\r\n\r\n  \n" + good[1] + b"\r\n")
    assert reasons(path, 2) == []
    table = folder / "corpus.csv"
    table.write_bytes(b"\xef\xbb\xbfpath,sentence\r\n\r\na.wav,\r\n")
    corpus = open_corpus(str(table))
    assert [u.text for u in corpus.require_complete().utterances] == [""]


def test_a_second_id_names_the_first(folder: Path) -> None:
    path = written(folder, STATED | {"id": "x"}, STATED | {"id": "y"}, STATED | {"id": "x"})
    assert f"occurs before, at {path}:1;" in reasons(path, 2)[0]


def test_parts_of_one_file_need_no_ids(folder: Path) -> None:
    path = written(folder, *({"audio": "a.wav", "text": "x", "start": s, "stop": s + 0.25} for s in (0.0, 0.25, 0.5)))
    ids = [utterance.id for utterance in open_corpus(str(path)).require_complete().utterances]
    assert ids == ["a-0000000-0000250", "a-0000250-0000500", "a-0000500-0000750"]


def test_a_manifest_with_durations_opens_no_audio_and_a_benchmark_still_finds_what_is_missing(folder: Path) -> None:
    (folder / "empty.wav").touch()
    named = [STATED | {"audio": name, "id": name} for name in ("a.wav", "not-there.wav", "empty.wav", ".")]
    corpus = open_corpus(str(written(folder, *named)))
    assert corpus.rejects == ()
    found = {reject.where: reject.reason for reject in missing_files(corpus.utterances)}
    assert list(found) == ["not-there.wav", "empty.wav", "."]
    for name, told in zip(found, ("no such file", "empty file", "is a folder"), strict=True):
        assert told in found[name]
    with pytest.raises(InputError, match=r"not-there\.wav: .*no such file.* \(2 more like it\)"):
        corpus.require_complete()


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "columns none, separated by commas; expected one with the audio"),
        (b"path\nx.wav\n", "expected one with the text"),
        (b"a.wav,hello\n", "columns 'a.wav', 'hello', separated by commas; expected one with the audio"),
        (b"name;words\n", "columns 'name', 'words', separated by semicolons; expected one with the audio"),
        (b"path,text,text\n", "2 columns 'text'; expected one"),
        (b'path,"text\na.wav,one\n', r"header cannot be read \(a quote is not closed\)"),
        ("path,text\na.wav,one\n".encode("utf-16-le"), "NUL bytes, as UTF-16 without a byte-order mark"),
        (b"sep=|\npath|text\na.wav|one\n", r"separated by '\|'; expected a comma, a semicolon, a tab"),
        (b"path,text\n", "no utterances"),
    ],
)
def test_a_table_wants_its_columns(folder: Path, content: bytes, sentence: str) -> None:
    (folder / "corpus.csv").write_bytes(content)
    with pytest.raises(InputError, match=sentence):
        open_corpus(str(folder / "corpus.csv"))


def test_a_bad_table_line_is_set_aside(folder: Path) -> None:
    path = written(
        folder, b"path,text,duration", b"a.wav,one,1", b"b.wav,two,soon", b"c.wav,\xff,1", b"d.wav,x,1,2", b"e.wav",
        b'f.wav,"' + b"x" * 200_000 + b'",1', b"g.wav," + b"x" * 2_000_000, b"a2.wav,last,1", name="corpus.csv",
    )  # fmt: skip
    corpus = open_corpus(str(path))
    assert [u.id for u in corpus.utterances] == ["a", "a2"]
    told = [(int(reject.where.rsplit(":", 1)[1]), reject.reason) for reject in corpus.rejects]
    parts = ("expected seconds", "not UTF-8", "4 fields under 3", "no 'text'", "field larger", "over 1 MiB")
    assert [number for number, _ in told] == [3, 4, 5, 6, 7, 8]
    for (_, reason), part in zip(told, parts, strict=True):
        assert part in reason


QUOTED = {  # content of a CSV -> texts of its utterances by audio, and lines that are set aside
    "to the end": ('a.wav,"HE SAID\nb.wav,TWO\nc.wav,FIVE\n', {"b": "TWO", "c": "FIVE"}, [2]),
    "before a quoted field": ('a.wav,"HE SAID\nb.wav,"TWO"\nc.wav,FIVE\n', {"b": "TWO", "c": "FIVE"}, [2]),
    "before a word in quotes": ('a.wav,"HE SAID\nb.wav,"TWO" X\nc.wav,FIVE\n', {"b": "TWO X", "c": "FIVE"}, [2]),
    "before a stray quote": ('a.wav,"HE SAID\nb.wav,TWO"\nc.wav,FIVE\n', {"b": 'TWO"', "c": "FIVE"}, [2]),
    "before an empty field": ('a.wav,"HE SAID\nb.wav,""\nc.wav,FIVE\n', {"b": "", "c": "FIVE"}, [2]),
    "each line": ('a.wav,"HE SAID\nb.wav,"TWO\nc.wav,"FIVE\n', {}, [2, 3, 4]),
    "in the name": ('"a.wav,ONE\nb.wav,TWO\n', {"b": "TWO"}, [2]),
    "closed": ('a.wav,"ONE, ""TWO"""\nb.wav,""\n', {"a": 'ONE, "TWO"', "b": ""}, []),
    "closed lines later": ('a.wav,"ONE,\n\nTWO, said ""he"",\r\nEND"\nb.wav,TWO\n',
                           {"a": 'ONE,\n\nTWO, said "he",\r\nEND', "b": "TWO"}, []),
}  # fmt: skip


@pytest.mark.parametrize("name", QUOTED)
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_a_quote_that_is_not_closed_costs_its_own_line_alone(folder: Path, name: str, separator: str) -> None:
    content, texts, aside = QUOTED[name]
    content = f"audio,text,duration\n{content}".replace("wav,", f"wav{separator}").replace(
        ",text,", f"{separator}text{separator}"
    )
    (folder / "corpus.csv").write_text(content + f"d.wav{separator}END{separator}1", encoding="utf-8", newline="")
    for letter in "bcd":
        write_audio(folder / f"{letter}.wav", SPOKEN[0])
    corpus = open_corpus(str(folder / "corpus.csv"))
    assert {u.id: u.text for u in corpus.utterances} == texts | {"d": "END"}
    assert [int(reject.where.rsplit(":", 1)[1]) for reject in corpus.rejects] == aside
    assert all("quote not closed" in reject.reason for reject in corpus.rejects)


def test_a_quote_that_is_not_closed_at_the_files_end(folder: Path) -> None:
    path = written(folder, b"audio,text", b"a.wav,ONE", b'b.wav,"TWO', name="corpus.csv")
    assert [reason.split(";")[0] for reason in reasons(path, 1)] == ["quote not closed"]


def test_a_file_of_unclosed_quotes_takes_no_longer_than_its_length(folder: Path) -> None:
    """Each line is looked at a bounded number of times, also where none names an audio file."""
    lines = [b"audio,text", *[b'name%d,"ONE' % number for number in range(3000)], b"a.wav,END"]
    began = time.process_time()
    corpus = open_corpus(str(written(folder, *lines, name="corpus.csv")))
    assert time.process_time() - began < 5.0
    assert [u.text for u in corpus.utterances] == ["END"] and len(corpus.rejects) == 3000


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be"])
@pytest.mark.parametrize(
    ("separator", "name"), [(",", "x.csv"), (";", "x.csv"), ("\t", "x.csv"), ("\t", "x.txt"), (";", "x.txt")]
)
def test_tables_as_excel_writes_them(folder: Path, encoding: str, separator: str, name: str) -> None:
    rows = [["audio", "text", "duration"], ["a.wav", 'ONE, "ÜBER" TWO', "1.5"], ["b.wav", "ਪੰਜਾਬੀ; 𝄞", "2"]]
    file = io.StringIO()
    csv.writer(file, delimiter=separator, lineterminator="\r\n").writerows(rows)
    mark = b"\xfe\xff" if encoding == "utf-16-be" else b""
    (folder / name).write_bytes(mark + file.getvalue().encode(encoding))
    corpus = open_corpus(str(folder / name))
    assert corpus.rejects == ()
    assert [(u.id, u.text, u.duration) for u in corpus.utterances] == [("a", rows[1][1], 1.5), ("b", rows[2][1], 2.0)]


def test_excels_own_line_and_decimal_commas_are_read(folder: Path) -> None:
    (folder / "x.csv").write_bytes(b"sep=;\r\naudio;text;duration\r\na.wav;ONE;1,5\r\nb.wav;TWO;x\r\n")
    corpus = open_corpus(str(folder / "x.csv"))
    assert [u.duration for u in corpus.utterances] == [1.5]
    assert corpus.rejects[0].where.endswith("x.csv:4") and "'duration' is 'x'" in corpus.rejects[0].reason


def test_utf16_of_any_reader_and_its_damage(folder: Path) -> None:
    line = json.dumps(STATED | {"text": "Ü"}, ensure_ascii=False)
    (folder / "x.jsonl").write_bytes(f"{line}\n{line}".encode("utf-16")[:-1])
    assert reasons(folder / "x.jsonl", 1) == ["not UTF-8 at byte 0; expected UTF-8: convert the file"]
    (folder / "a.txt").write_bytes("ਪੰਜਾਬੀ".encode("utf-16"))
    assert [u.text for u in open_corpus(str(folder)).utterances] == ["ਪੰਜਾਬੀ"]


ROWS = [{"audio": "a.wav", "text": "ÜBER ONE", "speaker": "ann"}, {"audio": "b.wav", "text": "TWO", "speaker": "bob"}]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("end", ["\r", "\n", "\r\n"])
@pytest.mark.parametrize("name", ["x.jsonl", "x.csv", "x.tsv", "x.txt"])
def test_lines_may_end_as_any_system_ends_them(folder: Path, name: str, end: str, encoding: str) -> None:
    write_audio(folder / "b.wav", SPOKEN[1])
    separator = "," if name == "x.csv" else "\t"
    lines = [separator.join(ROWS[0]), *(separator.join(row.values()) for row in ROWS)]
    lines = [json.dumps(row, ensure_ascii=False) for row in ROWS] if name == "x.jsonl" else lines
    for last in ("", end):
        (folder / name).write_bytes((end.join(lines) + last).encode(encoding))
        found = open_corpus(str(folder / name)).require_complete().utterances
        assert [(one.id, one.text, one.speaker) for one in found] == [("a", "ÜBER ONE", "ann"), ("b", "TWO", "bob")]


def test_a_kaldi_text_of_cr_ends_is_not_one_line(folder: Path) -> None:
    write_audio(folder / "b.wav", SPOKEN[1])
    (folder / "wav.scp").write_bytes(b"a a.wav\rb b.wav\r")
    (folder / "text").write_bytes(b"a ONE\rb TWO\r")
    found = open_corpus(str(folder)).require_complete().utterances
    assert [(one.id, one.text) for one in found] == [("a", "ONE"), ("b", "TWO")]


def test_a_carriage_return_within_a_line_is_named(folder: Path) -> None:
    path = written(folder, b"audio,text", b"a.wav,ONE\rTWO", b"a.wav,THREE", name="x.csv")
    assert reasons(path, 1) == [
        "cannot be read (a carriage return within a field); expected closed quotes and short fields: correct the line"
    ]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("name", ["x.json", "x.jsonl", "x.txt"])
@pytest.mark.parametrize("indent", [None, 0, 2])
@pytest.mark.parametrize("is_array", [True, False])
def test_json_over_several_lines_is_read(
    folder: Path, is_array: bool, indent: int | None, name: str, encoding: str
) -> None:
    """An array as pandas, jq and json.dump write it; objects one after another as jq writes them."""
    write_audio(folder / "b.wav", SPOKEN[1])
    rows: list[Any] = [ROWS[0], 5, {"audio": "c.wav"}, ROWS[1]]
    whole = json.dumps(rows, indent=indent, ensure_ascii=False)
    apart = "\n".join(json.dumps(row, indent=indent, ensure_ascii=False) for row in rows)
    (folder / name).write_bytes(f"\n {whole if is_array else apart}\n".encode(encoding))
    corpus = open_corpus(str(folder / name))
    assert [(one.id, one.text) for one in corpus.utterances] == [("a", "ÜBER ONE"), ("b", "TWO")]
    assert [one.reason.split(";")[0] for one in corpus.rejects] == ["a JSON int", "no 'text' among 'audio'"]
    first = 2 if indent is None else 7 + is_array  # the line of the 5
    first += not is_array and indent is None
    assert corpus.rejects[0].where.endswith(f":{first}")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (
            b'[{"audio": "a.wav", "text": "x"},\n {"audio": }]',
            r"x\.json: not JSON in the object of line 2 \(Expecting value\)",
        ),
        (b'[{"audio": "a.wav", "text": "x"}\n {"audio": "b.wav"}]', "neither ',' nor ']' after the object of line 1"),
        (b'[{"audio": "a.wav", "text": "x"},', "more than one array, or one that is not closed"),
        (b'[{"audio": "a.wav", "text": "x"},\n', "more than one array, or one that is not closed"),
        (b'[{"audio": "a.wav",\n "text": "x"}] []', "more than one array"),
        (b'[\n{"audio": "a.wav", "text": "\xff"}]', "not UTF-8 at byte 30"),
        (b"[" * 100_000, "not JSON in the object of line 1"),
        (b'{\n"utt1": {\n"wav": "a.wav"}}', "no 'text' among 'utt1'"),
        (b"[]", "no utterances"),
        (b"[", "more than one array, or one that is not closed"),
    ],
)
def test_json_that_is_broken_is_one_sentence(folder: Path, content: bytes, sentence: str) -> None:
    (folder / "x.json").write_bytes(content)
    with pytest.raises(InputError, match=sentence) as raised:
        open_corpus(str(folder / "x.json")).require_complete()
    assert "more like it" not in str(raised.value) and "\n" not in str(raised.value)


def test_a_first_line_that_is_no_object_costs_itself_alone(folder: Path) -> None:
    for first in (b"[1, 2]", b"{"):
        assert len(reasons(written(folder, first, STATED), 1)) == 1


NAMED = [
    (["ann", " ann", "ann\t", "ann\u00a0"], "ann"),
    ([1, 1.0, "1", "1.0", " 1.0 "], "1"),
    ([1.5, "1.5"], "1.5"),
    (["", " ", None, float("nan")], None),
]


@pytest.mark.parametrize(("values", "name"), NAMED)
def test_a_speaker_is_one_however_it_is_written(folder: Path, values: list[Any], name: str | None) -> None:
    rows = [STATED | {"id": f" {n} ", "speaker": value, "language": " de "} for n, value in enumerate(values)]
    found = open_corpus(str(written(folder, *rows))).utterances
    assert [one.speaker for one in found] == [name] * len(values)
    assert [(one.id, one.language) for one in found] == [(str(n), "de") for n in range(len(values))]


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_blanks_around_cells_of_a_table_are_none_of_theirs(folder: Path, separator: str) -> None:
    write_audio(folder / "b.wav", SPOKEN[1])
    lines = ["path ; id;sentence;client_id;gender;locale;duration", " a.wav ; 1 ; ONE;ann ; female ; de; 1.0 "]
    lines += ["b.wav; 2;TWO; ann;Female;de ; "]
    path = folder / ("x.tsv" if separator == "\t" else "x.csv")
    path.write_text("\n".join(lines).replace(";", separator))
    found = open_corpus(str(path)).require_complete().utterances
    assert [(one.id, one.text.strip(), one.speaker, one.sex, one.language) for one in found] == [
        ("1", "ONE", "ann", "F", "de"),
        ("2", "TWO", "ann", "F", "de"),
    ]


def test_a_text_beside_audio_is_not_cut(folder: Path) -> None:
    (folder / "a.txt").write_text("word " * 300_000, encoding="utf-8")
    with pytest.raises(InputError, match=r"longer than 1048576 characters|over 1 MiB"):
        open_corpus(str(folder))


def test_quotes_in_a_tsv_are_text_unless_doubled(folder: Path) -> None:
    path = written(
        folder, b"path\tsentence", b'a.wav\t"Yes', b'b.wav\t"No."', b'c.wav\t"Say ""aye"" now"', name="c.tsv"
    )
    for name in "bc":
        write_audio(folder / f"{name}.wav", SPOKEN[0])
    assert [u.text for u in open_corpus(str(path)).utterances] == ['"Yes', '"No."', 'Say "aye" now']


KEYS = (
    "id",
    "audio",
    "text",
    "duration",
    "start",
    "stop",
    "end",
    "end_ms",
    "start_time",
    "channel",
    "offset",
    "speaker",
    "sex",
    "language",
    "domain",
    "path",
    "segments",
)
VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20), st.just("a.wav"), st.just("x"),
    st.lists(st.integers(), max_size=2), st.floats(0.01, 3.0),
    st.lists(st.dictionaries(st.sampled_from(("start", "stop", "end", "text")), st.floats() | st.text(max_size=5))),
)  # fmt: skip
LINES = st.one_of(
    st.dictionaries(st.sampled_from(KEYS), VALUES).map(lambda row: json.dumps(row).encode()),
    st.binary(max_size=60).map(lambda line: line.replace(b"\n", b"")),
)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(LINES, max_size=8))
def test_any_line_is_an_utterance_or_a_reject(folder: Path, lines: list[bytes]) -> None:
    path = folder / "fuzzed.jsonl"
    path.write_bytes(b"\n".join([json.dumps(STATED | {"id": "sound"}).encode(), *lines]))
    corpus = open_corpus(str(path))
    held = [line for line in lines if line.strip()]
    assert len(corpus.utterances) + len(corpus.rejects) == len(held) + 1
    for utterance in corpus.utterances:
        assert 0.0 < utterance.duration < float("inf")
        json.dumps([utterance.id, utterance.text, utterance.speaker, utterance.audio], ensure_ascii=False).encode()


@pytest.mark.slow
def test_a_hundred_thousand_lines_take_memory_in_proportion(folder: Path) -> None:
    """Under 1 kB a line at the peak, so a million fit in one gigabyte."""
    path = folder / "large.jsonl"
    with path.open("w") as file:
        for number in range(100_000):
            row = {"id": f"utt-{number:08d}", "audio": f"audio/utt-{number:08d}.flac", "text": "SOME TEN WORDS " * 4}
            file.write(json.dumps(row | {"speaker": f"s{number % 500}", "duration": 5.0, "language": "en"}) + "\n")
    tracemalloc.start()
    corpus = open_corpus(str(path))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(corpus.utterances) == 100_000
    assert peak / 100_000 < 1000
    assert corpus.utterances[0].speaker is corpus.utterances[500].speaker


def test_a_corpus_that_is_whole_is_returned() -> None:
    corpus = Corpus("r", (Utterance("a", b"bytes", "x", 1.0),), ())
    assert corpus.require_complete() is corpus
    with pytest.raises(InputError, match="r:1: reason"):
        Corpus("r", (), (Reject("r:1", "reason"),)).require_complete()
