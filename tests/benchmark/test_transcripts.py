"""Transcripts of other programs as systems: how they are read and matched, and scored beside systems that run here."""

import json
from pathlib import Path

import pytest

from benchmark.config import BenchmarkConfig
from benchmark.report.quantities import quantities
from benchmark.results import read_samples, read_summary
from benchmark.session import benchmark
from benchmark.transcripts import Transcripts, match_transcripts, read_transcripts
from finetune.systems.base import LoadOptions
from finetune.systems.registry import load_system, parse_models
from preprocessing.batching import evenly_spaced
from preprocessing.corpus import Utterance
from preprocessing.errors import InputError, UsageError
from tests.commands import assert_one_sentence, run
from tests.conftest import DEMO, absolute, read_manifest, write_manifest

CORPUS = DEMO / "corpus" / "test.jsonl"
UTTERANCES = [Utterance(name, f"/data/{name}.flac", "one two", 1.0) for name in ("a", "b.c", "d")]
FORMATS = {
    "hyp.jsonl": '{"id": "a", "text": "x"}\n{"id": "b.c", "text": "y z"}\n{"id": "d", "text": ""}\n',
    "hyp.json": '[{"id": "a", "text": "x"},\n {"id": "b.c", "text": "y z"},\n {"id": "d", "text": ""}]\n',
    "nemo.jsonl": '{"audio_filepath": "/elsewhere/a.wav", "text": "one two", "pred_text": "x"}\n'
    '{"audio_filepath": "b.c.wav", "text": "one two", "pred_text": "y z"}\n'
    '{"audio_filepath": "d.wav", "text": "one two", "pred_text": ""}\n',
    "hyp.csv": 'file,hypothesis\na.mp3,x\nb.c.mp3,"y z"\nd.mp3,\n',
    "short.jsonl": '{"id": "a", "text": "one two", "hyp": "x"}\n{"id": "b.c", "text": "one two", "pred": "y z"}\n'
    '{"id": "d", "text": "one two", "predicted_text": "", "reference": "one two"}\n',
    "hyp.tsv": "id\tsentence\na\tx\nb.c\ty z\nd\t\n",
    "hyp.trn": "x (a)\ny z (b.c)\n(d)\n",
    "text": "a x\nb.c  y z\nd\n",
}


def matched(path: Path, utterances: list[Utterance] = UTTERANCES) -> Transcripts:
    (spec,) = parse_models(f"other=transcripts:{path}")
    return match_transcripts(spec, utterances)


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_the_same_texts(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(FORMATS[name], encoding="utf-8")
    found = matched(tmp_path / name)
    assert found.texts == {"a": "x", "b.c": "y z", "d": ""}
    assert not found.missing and not found.unused and not found.notices(1)


def test_a_folder_has_a_text_file_for_each_recording(tmp_path: Path) -> None:
    for name, text in (("a", "x\n"), ("b.c", "y\nz\n"), ("sub/d", "")):
        path = tmp_path / f"{name}.txt"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    (tmp_path / "a.srt").write_text("not read", encoding="utf-8")
    assert matched(tmp_path).texts == {"a": "x", "b.c": "y z", "d": ""}


def test_files_of_one_name_are_told_apart_by_their_folders(tmp_path: Path) -> None:
    utterances = [Utterance(f"u{k}", f"/data/{folder}/1.wav", "one", 1.0) for k, folder in enumerate(("ann", "bob"))]
    path = tmp_path / "hyp.csv"
    path.write_text("audio,text\nbob/1.wav,x\nann/1.wav,y\n", encoding="utf-8")
    assert matched(path, utterances).texts == {"u1": "x", "u0": "y"}
    path.write_text("audio,text\n1.wav,x\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"hyp.csv:2: 1.wav is the name of 2 utterances, such as u0 and u1; .* ids"):
        matched(path, utterances)


def test_what_is_missing_and_what_is_left_over_is_said(tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_text("a x\nother y\n", encoding="utf-8")
    found = matched(path)
    assert (found.missing, found.unused) == (["b.c", "d"], ["other"])
    assert found.notices(3) == [
        f"other: {path} has no transcript of 2 utterances, such as b.c; all their words count as deleted.",
        f"other: 1 transcript of {path}, such as other, is of no utterance of the corpus, and not used.",
        "other has results on clean speech only: its transcripts are of the recordings as they are.",
    ]


def test_transcripts_that_are_the_references_are_noticed(tmp_path: Path) -> None:
    path = tmp_path / "text"
    for last, noticed in (("one two", True), ("one too", False)):
        path.write_text(f"a one two\nb.c one two\nd {last}\n", encoding="utf-8")
        notices = matched(path).notices(1)
        assert [one for one in notices if "are the references, to the letter" in one] == (notices if noticed else [])
        assert bool(notices) == noticed


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("hyp.jsonl", '{"id": "a", "text": "x"}\n{"id": "a", "text": "y"}\n', r":2: a second .* after .*hyp.jsonl:1;"),
        ("hyp.jsonl", '{"id": "zz", "text": "x"}\n', r"no transcript is of an utterance .*such as zz; .* such as a,"),
        ("hyp.jsonl", "", "as it holds none; expected names such as a,"),
        ("hyp.jsonl", '{"id": "a"}\n', r":1: no transcript among the fields 'id'; expected one under hypothesis,"),
        (
            "hyp.jsonl",
            '{"id": "a", "text": "one two", "asr": "x"}\n',
            ":1: the fields 'text' and 'asr' both hold a text",
        ),
        (
            "hyp.csv",
            "id,text,transcript\na,one two,x\n",
            ":2: the fields 'text' and 'transcript' both .*rename its field",
        ),
        (
            "hyp.csv",
            "id,sentence,Google_output\na,one two,\n",
            "(?i):2: the fields 'sentence' and 'google_output' both",
        ),
        ("hyp.jsonl", '{"text": "x"}\n', ":1: no utterance among the fields 'text'; expected one under id or audio"),
        ("hyp.jsonl", '{"id": "a", "text": ["x"]}\n', ":1: no transcript among"),
        ("hyp.jsonl", "{\n", ":1: not JSON"),
        ("hyp.csv", 'id,text\na,"x\n', ":2: quote not closed"),
        ("hyp.trn", "x a\n", r":1: no id in parentheses at its end; expected TEXT \(ID\)"),
        ("text", b"a \xff\n", ":1: not UTF-8"),
    ],
)
def test_what_cannot_be_used_is_refused(name: str, content: str | bytes, told: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(InputError, match=told):
        matched(tmp_path / name)


def test_a_folder_without_texts_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"holds no .txt file"):
        list(read_transcripts(tmp_path))


def test_transcripts_are_loaded_by_no_command() -> None:
    (spec,) = parse_models("transcripts=hyp.jsonl")
    with pytest.raises(UsageError, match=r"^transcripts hyp.jsonl has .* only benchmark/run.py takes"):
        load_system(spec, LoadOptions("cpu", None))


def test_transcripts_in_another_language_are_reported_without_empty_sections(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [row | {"language": "tr", "duration": 1.0} for row in absolute(CORPUS, 12)]
    data = write_manifest(tmp_path / "data.jsonl", rows)
    texts = write_manifest(tmp_path / "texts.jsonl", [{"id": row["id"], "text": row["text"]} for row in rows])
    benchmark(BenchmarkConfig(models=f"transcripts={texts}", data=str(data), output_dir=tmp_path / "out"))
    said = " ".join(capsys.readouterr().out.split())
    assert "The language is tr: texts are normalised by basic:tr and verbatim. --profiles" in said
    summary = read_summary(tmp_path / "out" / "summary.json")
    assert not any("language" in notice for notice in summary.notices)
    assert (summary.settings["language"], summary.settings["profiles"]) == ("tr", "basic:tr,verbatim")
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert not any(f'id="{name}"' in page or f'"#{name}"' in page for name in ("latency", "stages", "failed"))


def test_scored_alone_and_beside_a_system_that_runs(tmp_path: Path) -> None:
    """100 utterances, one of them wrong in one word, one missing, and one with no text at all."""
    rows = read_manifest(CORPUS)
    texts = {row["id"]: row["text"] for row in rows}
    words = sum(len(text.split()) for text in texts.values())
    first, second, third = evenly_spaced(list(texts), 20)[:3]  # --limit 20 has them, too
    lost = len(texts[second].split()) + len(texts[third].split())
    texts[first] = "wrong " + texts[first].split(maxsplit=1)[1]
    texts[third] = ""
    del texts[second]
    path = tmp_path / "other.jsonl"
    path.write_text("".join(json.dumps({"id": id, "text": text}) + "\n" for id, text in texts.items()))
    brief = ("--data", CORPUS, "--rounds", "1", "--latency_utterances", "2")
    alone = tmp_path / "alone"
    result = run("benchmark/run.py", "--models", f"other=transcripts:{path}", "--output_dir", alone, *brief)
    assert result.returncode == 0, result.stderr
    (system,) = (summary := read_summary(alone / "summary.json")).systems
    scores = system.scores["librispeech"]
    assert (scores.words, scores.substitutions, scores.deletions, scores.insertions) == (words, 1, lost, 0)
    assert (system.failed_utterances, system.speed, system.peak_memory_bytes) == (1, None, None)
    assert [one.name for one in summary.conditions] == ["clean"]
    assert not {"RTFx", "Peak memory", "Parameters"} & {row.label for row in quantities(summary)}
    failed = {sample.id: sample.error for sample in read_samples(alone / "samples.jsonl") if sample.error}
    assert failed == {second: f"no transcript in {path}"}

    refused = run(
        "benchmark/run.py", "--models", f"transcripts={path}", "--conditions", "noise:10",
        "--output_dir", tmp_path / "refused", *brief,
    )  # fmt: skip
    assert refused.returncode == 2
    assert "--conditions is noise:10, and --models names only transcripts" in refused.stderr

    beside = tmp_path / "beside"
    result = run(
        "benchmark/run.py", "--models", f"other=transcripts:{path},wav2vec2={DEMO / 'wav2vec2'}", "--limit", "20",
        "--conditions", "clean,telephone", "--condition_utterances", "3", "--output_dir", beside, *brief,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    summary = read_summary(beside / "summary.json")
    assert [bool(one.conditions) for one in summary.systems] == [False, True]
    assert [one.condition for one in summary.comparisons] == ["clean"]
    assert [notice.partition(" ")[0] for notice in summary.notices] == ["--limit", "other:", "other:", "other"]
    assert "RTFx" in {row.label for row in quantities(summary)}


def test_columns_of_the_corpus_have_slices(tmp_path: Path) -> None:
    rows = [
        {**row, "audio": str(CORPUS.parent / row["audio"]), "accent": "ab"[place % 2]}
        for place, row in enumerate(read_manifest(CORPUS)[:10])
    ]
    corpus = write_manifest(tmp_path / "corpus.jsonl", rows)
    texts = write_manifest(tmp_path / "texts.jsonl", [{"id": row["id"], "text": row["text"]} for row in rows])
    arguments = ("--models", f"transcripts={texts}", "--data", corpus, "--output_dir", tmp_path / "out", "--slices")
    result = run("benchmark/run.py", *arguments, "[accent]")
    assert result.returncode == 0, result.stderr
    (system,) = read_summary(tmp_path / "out" / "summary.json").systems
    assert [(one.value, one.utterances) for one in system.slices if one.by == "accent"] == [("a", 5), ("b", 5)]
    assert (tmp_path / "out" / "utterances.csv").read_text(encoding="utf-8").startswith("accent,id,system")
    (tmp_path / "keywords.txt").write_text("lights\n!!\n", encoding="utf-8")
    refused = run("benchmark/run.py", *arguments[:-1], "--keywords", tmp_path / "keywords.txt", "--overwrite", "true")
    assert_one_sentence(refused, 1, "the keyword '!!' has no letter or digit")
    assert not (tmp_path / "out" / "keywords.csv").exists()
    refusals = (("speaker", 2, "--slices names speaker, which always has slices"), ("ac", 1, "in a column 'ac'"))
    for name, exit_code, told in refusals:
        refused = run("benchmark/run.py", *arguments, f"[{name}]", "--overwrite", "true")
        assert_one_sentence(refused, exit_code)
        assert told in refused.stderr
