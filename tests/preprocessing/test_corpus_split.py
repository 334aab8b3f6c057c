"""A corpus divided: every utterance in one part, no speaker and no recording in two, sizes near the shares."""

import json
import random
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preprocessing.cli.errors import InputError, UsageError
from preprocessing.corpus import Utterance, open_corpus
from preprocessing.corpus.split import By, split_corpus
from preprocessing.split import main
from tests.conftest import write_manifest
from tests.preprocessing import corpora

SHARES = {"train": 0.8, "validation": 0.1, "test": 0.1}


def read_speech(n_speakers: int, n_each: int) -> list[Utterance]:
    return [
        Utterance(f"{speaker}-{number}", f"/wav/{speaker}-{number}.wav", "X", 3.0, f"s{speaker}")
        for speaker in range(n_speakers)
        for number in range(n_each)
    ]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 12), st.integers(0, 40), st.floats(0.5, 20.0)), min_size=12, max_size=80),
    st.sampled_from(["speaker", "recording"]),
    st.integers(0, 3),
)
def test_nothing_that_belongs_together_is_divided(rows: list[tuple[int, int, float]], by: By, seed: int) -> None:
    utterances = [
        Utterance(str(number), f"/wav/{recording}.wav", "X", seconds, f"s{speaker}")
        for number, (speaker, recording, seconds) in enumerate(rows)
    ]
    try:
        parts = split_corpus(utterances, SHARES, by, seed)
    except InputError:
        return
    assert sorted(one.id for part in parts.values() for one in part) == sorted(one.id for one in utterances)
    assert all(parts.values()), "no part is empty"
    for key in ("audio", "speaker") if by == "speaker" else ("audio",):
        values = [{getattr(one, key) for one in part} for part in parts.values()]
        assert sum(map(len, values)) == len(set.union(*values))
    shuffled = random.Random(seed).sample(utterances, len(utterances))
    moved = [replace(one, audio=str(one.audio).replace("/wav/", "/elsewhere/wav/")) for one in shuffled]
    again = split_corpus(moved, SHARES, by, seed)
    assert {part: {one.id for one in ones} for part, ones in again.items()} == {
        part: {one.id for one in ones} for part, ones in parts.items()
    }


def test_parts_come_near_their_shares_and_another_seed_divides_otherwise() -> None:
    utterances = read_speech(100, 4)
    first, second = (split_corpus(utterances, SHARES, "speaker", seed) for seed in (0, 1))
    for parts in (first, second):
        assert [len(part) / len(utterances) for part in parts.values()] == pytest.approx([0.8, 0.1, 0.1], abs=0.02)
    assert first["test"] != second["test"]


def test_what_cannot_be_divided_is_refused_with_what_to_do() -> None:
    calls = [
        Utterance(f"{call}-{side}", f"/{call}.wav", "X", 9.0, side)
        for call in range(9)
        for side in ("Agent", "Customer")
    ]
    with pytest.raises(InputError, match=r"18 utterances in 1 group .*expected at least 3: use --by recording"):
        split_corpus(calls, SHARES, "speaker")
    assert all(split_corpus(calls, SHARES, "recording").values())
    with pytest.raises(InputError, match=r"1 utterance without a speaker, such as 'x'.*use --by recording"):
        split_corpus([*calls, Utterance("x", "/x.wav", "X", 1.0)], SHARES, "speaker")


def test_the_command_writes_manifests_that_read_as_the_corpus(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    corpora.write_audio(tmp_path / "data" / "a.wav", corpora.SPOKEN[0])
    rows = [
        {"audio": "a.wav", "text": "ẹ̀kọ́", "id": f"{n}", "speaker": f"s{n % 2}", "start": 0.1 * n, "stop": 0.1 * n + 0.1}
        for n in range(4)
    ] + [{"text": "no audio"}]  # fmt: skip
    for number in range(2):
        corpora.write_audio(tmp_path / "data" / f"b{number}.wav", corpora.SPOKEN[1])
        rows.append({"audio": f"b{number}.wav", "text": "B", "id": f"b{number}", "speaker": "s0", "channel": 0})
    data = write_manifest(tmp_path / "data" / "all.jsonl", rows)
    (tmp_path / "linked").symlink_to(tmp_path / "data")
    out = tmp_path / "deep" / "out"
    main([str(tmp_path / "linked" / "all.jsonl"), str(out), "--by", "recording"])
    printed = capsys.readouterr()
    assert "1 speaker in several of them, such as 's0'" in printed.err
    assert "1 line set aside" in printed.err
    assert [json.loads(line)["reason"][:10] for line in (out / "rejects.jsonl").read_text().splitlines()] == [
        "no 'audio'"
    ]
    expected = {one.id: one for one in open_corpus(str(data)).utterances}
    read = [one for part in SHARES for one in open_corpus(str(out / f"{part}.jsonl")).require_complete().utterances]
    assert {one.id for one in read} == set(expected)
    for one in read:
        assert Path(str(one.audio)).resolve() == Path(str(expected[one.id].audio)).resolve()
        assert replace(one, audio="") == replace(expected[one.id], audio="")


def test_further_columns_are_kept_under_their_names(tmp_path: Path) -> None:
    for n in range(4):
        corpora.write_audio(tmp_path / f"{n}.wav", corpora.SPOKEN[0])
    header = "client_id\tpath\tsentence\tage\tgender\taccents\tlocale\tend_note\n"
    lines = [f"s{n}\t{n}.wav\tẹ̀kọ́\t{'twenties' if n else ''}\tother\tAsante\ttw\tx\n" for n in range(4)]
    (tmp_path / "all.tsv").write_text(header + "".join(lines), encoding="utf-8")
    main([str(tmp_path / "all.tsv"), str(tmp_path / "out"), "--by", "speaker", "--validation_share", "0.25",
          "--test_share", "0.25"])  # fmt: skip
    found = {}
    for part in SHARES:
        for one in open_corpus(str(tmp_path / "out" / f"{part}.jsonl"), columns=["accents"]).utterances:
            found[one.speaker] = dict(one.columns)
        lines = (tmp_path / "out" / f"{part}.jsonl").read_text(encoding="utf-8").splitlines()
        for row in map(json.loads, lines):
            age = {"age": "twenties"} if row["speaker"] != "s0" else {}
            assert {key: row[key] for key in row if key not in ("id", "audio", "duration")} == {
                "text": "ẹ̀kọ́", "speaker": row["speaker"], "sex": "other", "language": "tw", "accents": "Asante", **age
            }  # fmt: skip
    assert found == {f"s{n}": {"accents": "Asante"} for n in range(4)}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--test_share", "0.95"], "--test_share 0.95 leave 0%"),
        (["--test_share", "0", "--validation_share", "0"], "leave 100%"),
        (["--validation_share", "-1"], "--validation_share is -1"),
    ],
)
def test_wrong_shares_are_refused(tmp_path: Path, options: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        main(["demo/corpus/test.jsonl", str(tmp_path), *options])


def test_an_earlier_division_is_not_replaced_unasked(tmp_path: Path) -> None:
    main(["demo/corpus/test.jsonl", str(tmp_path)])
    with pytest.raises(UsageError, match=r"train\.jsonl: exists; .*--overwrite true"):
        main(["demo/corpus/test.jsonl", str(tmp_path)])
    main(["demo/corpus/test.jsonl", str(tmp_path), "--overwrite", "true"])
