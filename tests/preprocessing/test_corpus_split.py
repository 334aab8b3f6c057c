"""A corpus divided: every utterance in one part, no speaker and no recording in two, sizes near the shares."""

import json
import random
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preprocessing.corpus import Utterance, open_corpus
from preprocessing.corpus.split import By, hold_out, split_corpus
from preprocessing.errors import InputError, UsageError
from preprocessing.prepare.__main__ import main as prepare
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


@settings(max_examples=60)
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


def test_a_long_speaker_does_not_fill_a_small_part() -> None:
    """As in LibriSpeech's train-clean-100: a few speakers have hours, the others minutes."""
    talkers = [Utterance(f"a{n}", f"/a{n}.wav", "X", 60.0, f"long {n // 10}") for n in range(60)]
    others = [Utterance(f"b{n}", f"/b{n}.wav", "X", 20.0, f"short {n // 3}") for n in range(180)]
    for seed in range(20):
        held = split_corpus(talkers + others, {"train": 0.95, "validation": 0.05}, "speaker", seed)["validation"]
        assert len({one.speaker for one in held}) >= 3
        assert sum(one.duration for one in held) / 7200 == pytest.approx(0.05, abs=0.03)


@pytest.mark.parametrize(
    "minutes",
    [[600.0 / n for n in range(1, 201)], [n**1.8 for n in range(1, 81)], [800.0, *(200.0 / n for n in range(1, 101))]],
    ids=["Zipf", "few long ones", "one has most"],
)
def test_shares_are_met_where_speakers_differ_a_lot(minutes: list[float]) -> None:
    """By speakers as many as can be: the longest go where they fit."""
    utterances = [Utterance(f"{n}", f"/{n}.wav", "X", 60.0 * one, f"s{n}") for n, one in enumerate(minutes)]
    divisions = set()
    for seed in range(20):
        parts = split_corpus(utterances, SHARES, "speaker", seed)
        seconds = [sum(one.duration for one in part) for part in parts.values()]
        assert [one / sum(seconds) for one in seconds] == pytest.approx([0.8, 0.1, 0.1], abs=0.025)
        assert min(map(len, parts.values())) >= 5
        divisions.add(frozenset(one.id for one in parts["test"]))
    assert len(divisions) > 10
    held = hold_out([utterances], 0.05).validation
    assert sum(one.duration for one in held) / (60.0 * sum(minutes)) == pytest.approx(0.05, abs=0.0125)


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


def test_whole_speakers_are_held_out_whatever_the_order() -> None:
    utterances = read_speech(30, 5)
    held = hold_out([utterances], 0.1)
    assert held.by == "speaker" and [len(held.train), len(held.validation)] == pytest.approx([135, 15], abs=5)
    assert not {one.speaker for one in held.train} & {one.speaker for one in held.validation}
    assert {one.id for one in held.train + held.validation} == {one.id for one in utterances}
    n_speakers = len({one.speaker for one in held.validation})
    assert held.note.startswith(f"held out by speaker: {len(held.validation)} utterances (")
    assert held.note.endswith(f"of {n_speakers} speakers; training has no speech of theirs")
    again = hold_out([utterances[:40:-1], utterances[40::-1]], 0.1)
    assert {one.id for one in again.validation} == {one.id for one in held.validation}
    unnamed = Utterance("x", "/wav/x.wav", "X", 3.0)
    assert "1 utterance without a speaker, by recording" in hold_out([[*utterances, unnamed]], 0.1).note


@pytest.mark.parametrize(
    ("utterances", "share", "by", "note"),
    [
        (read_speech(1, 50), 0.1, "utterance", "5 utterances (10.0% of the speech); their speakers may be"),
        (read_speech(1, 50), 0.1, "utterance", "(all are of one speaker; each is a recording of its own)"),
        (read_speech(2, 50), 0.05, "utterance", "the smallest of 2 speakers has 50% of the speech"),
        (read_speech(6, 5), 0.08, "utterance", "has 17% of the speech; each is a recording of its own"),
        (read_speech(9, 5), 0.05, "utterance", "has 11% of the speech"),
        (read_speech(6, 5), 0.15, "speaker", "(16.7% of the speech) of 1 speaker; training has no speech of theirs"),
        ([replace(one, speaker=None) for one in read_speech(9, 9)], 0.1, "utterance", "(no speakers are named; each"),
        (
            [Utterance(f"{n}", f"/{n // 9}.wav", "X", 3.0, start=3.0 * (n % 9)) for n in range(90)],
            0.1,
            "recording",
            "9 utterances (10.0% of the speech) of 1 recording, whose speakers may be trained on as well (no speakers",
        ),
        (
            [Utterance(f"{n}", f"/{n // 2}.wav", "X", 3.0, ("Agent", "Customer")[n % 2]) for n in range(40)],
            0.1,
            "recording",
            "of 2 recordings, whose speakers may be trained on as well (2 speakers share recordings)",
        ),
        (
            [Utterance(f"{n}", f"/{n}.wav", "X", 3.0, recording_id=f"call {n // 4}") for n in range(40)],
            0.1,
            "recording",
            "4 utterances (10.0% of the speech) of 1 recording",
        ),
        ([Utterance(f"{n}", "/a.wav", "X", 3.0) for n in range(40)], 0.1, "utterance", "all are of one recording"),
    ],
)  # fmt: skip
def test_what_cannot_be_held_out_by_speaker_is_by_recording_or_utterance_and_says_why(
    utterances: list[Utterance], share: float, by: str, note: str
) -> None:
    held = hold_out([utterances], share)
    assert (held.by, held.note.startswith(f"held out by {by}: ")) == (by, True)
    assert note in held.note
    assert held.train and held.validation


def test_one_recording_id_in_two_corpora_is_two_recordings() -> None:
    first, second = (
        [
            replace(one, id=f"{name}{one.id}", speaker=f"{name}{one.speaker}", recording_id=str(number * step % 20))
            for number, one in enumerate(read_speech(20, 1))
        ]
        for name, step in (("a", 1), ("b", 7))
    )
    held = hold_out([first, second], 0.05)
    assert (held.by, len(held.validation)) == ("speaker", 2)


def test_what_is_asked_to_be_held_out_is_refused_where_it_is_not_possible() -> None:
    one_speaker = read_speech(1, 9)
    with pytest.raises(InputError, match=r"1 group .*use --data\.validation_by recording"):
        hold_out([one_speaker], 0.1, "speaker", "--data.validation_by")
    assert hold_out([one_speaker], 0.1, "recording").by == "recording"
    two = hold_out([read_speech(2, 9)], 0.1, "speaker")
    assert (two.by, len(two.validation)) == ("speaker", 9)
    assert hold_out([read_speech(30, 5)], 0.1, "utterance").note == (
        "held out by utterance: 15 utterances (10.0% of the speech); their speakers may be trained on as well"
    )


def test_a_prepared_corpus_is_divided_as_its_recordings_are_not_its_shards(tmp_path: Path) -> None:
    rows = []
    for number in range(24):
        corpora.write_audio(tmp_path / f"{number}.wav", corpora.SPOKEN[0])
        rows.append({"audio": f"{number}.wav", "text": "A", "speaker": f"s{number // 3}", "accent": f"of {number % 2}"})
    write_manifest(tmp_path / "all.jsonl", rows)
    prepare([str(tmp_path / "all.jsonl"), str(tmp_path / "ready"), "--workers", "1", "--shard_seconds", "1"])
    ready = open_corpus(str(tmp_path / "ready" / "manifest.jsonl"), columns=["accent"]).utterances
    assert {one.columns for one in ready} == {(("accent", "of 0"),), (("accent", "of 1"),)}
    found = {}
    for name in ("all.jsonl", "ready/manifest.jsonl"):
        main([str(tmp_path / name), str(tmp_path / "out"), "--overwrite", "true"])
        found[name] = {
            part: [one.id for one in open_corpus(str(tmp_path / "out" / f"{part}.jsonl")).utterances] for part in SHARES
        }
    assert found["ready/manifest.jsonl"] == found["all.jsonl"]


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
    out = tmp_path / "deep" / "the out"
    main([str(tmp_path / "linked" / "all.jsonl"), str(out), "--by", "recording"])
    printed = capsys.readouterr()
    *parts, for_training, for_benchmark = printed.out.splitlines()
    assert [line.partition(" (")[2].partition(")")[0] for line in parts] == [
        f"{share}% of the speech" for share in (35.7, 28.6, 35.7)
    ]
    assert for_training == f"for training: --data.train '{out}/train.jsonl' --data.validation '{out}/validation.jsonl'"
    assert for_benchmark == f"for the benchmark: --data '{out}/test.jsonl'"
    assert "1 speaker in several of them, such as 's0'" in printed.err
    assert "1 line rejected" in printed.err
    assert [json.loads(line)["reason"][:10] for line in (out / "rejects.jsonl").read_text().splitlines()] == [
        "no 'audio'"
    ]
    expected = {one.id: one for one in open_corpus(str(data)).utterances}
    read = [one for part in SHARES for one in open_corpus(str(out / f"{part}.jsonl")).require_complete().utterances]
    assert {one.id for one in read} == set(expected)
    for one in read:
        assert Path(str(one.audio)).resolve() == Path(str(expected[one.id].audio)).resolve()
        assert replace(one, audio="") == replace(expected[one.id], audio="")


def test_audio_in_the_rows_of_a_dataset_is_to_be_prepared_before_the_corpus_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = corpora.parquet(tmp_path / "my data")
    monkeypatch.setattr("preprocessing.corpus.open_corpus", lambda *_, **__: pytest.fail("all of it is read"))
    with pytest.raises(InputError) as caught:
        main([path, str(tmp_path / "out")])
    assert f"run `python -m preprocessing.prepare '{path}' PREPARED` first" in str(caught.value)


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
    (tmp_path / "rejects.jsonl").write_text('{"where": "of the earlier one"}\n')
    main(["demo/corpus/test.jsonl", str(tmp_path), "--overwrite", "true"])
    assert not (tmp_path / "rejects.jsonl").exists(), "nothing is set aside now"
    two = ["--overwrite", "true", "--validation_share", "0", "--seed", "5"]
    with pytest.raises(UsageError, match=r"validation\.jsonl: is of an earlier division, .* delete it"):
        main(["demo/corpus/test.jsonl", str(tmp_path), *two])  # its speakers would be in training
    (tmp_path / "validation.jsonl").unlink()
    main(["demo/corpus/test.jsonl", str(tmp_path), *two])
    with pytest.raises(UsageError, match=r"train\.jsonl would be overwritten by a part of itself"):
        main([str(tmp_path / "train.jsonl"), str(tmp_path), *two])


def test_an_official_test_set_stays_where_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    official = tmp_path / "test.jsonl"
    official.write_text("{}\n")
    main(["demo/corpus/train.jsonl", str(tmp_path), "--test_share", "0"])
    assert official.read_text() == "{}\n"
    assert "for the benchmark" not in capsys.readouterr().out, "it is no part"
