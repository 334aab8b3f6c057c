"""The corpora of a run: weights, held-out and named validation sets, ids that meet."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from finetune import training_run
from finetune.config import DataConfig, ModelConfig, TrainConfig
from finetune.data.corpora import MAIN, RunData, open_corpora, rejection_reason, select_utterances, with_unique_ids
from finetune.models import build
from finetune.models.base import OUTSIDE
from finetune.training.fingerprint import RunFingerprint, fingerprint_of
from preprocessing.corpus import Corpus, Utterance
from preprocessing.errors import InputError, UsageError
from preprocessing.text import profile
from tests.conftest import DEMO, absolute, read_manifest, write_manifest


@pytest.fixture
def corpora(tmp_path: Path) -> tuple[str, str]:
    rows = absolute(DEMO / "corpus" / "train.jsonl", 30)
    first = write_manifest(tmp_path / "first.jsonl", rows[:20])
    return str(first), str(write_manifest(tmp_path / "second.jsonl", rows[20:]))


def chosen(config: DataConfig) -> RunData:
    recogniser = build(ModelConfig(base=str(DEMO / "wav2vec2")), [], seed=0)
    return select_utterances(open_corpora(config), recogniser, profile(config.profile), config)


def test_weights_follow_their_corpus_past_what_is_held_out(corpora: tuple[str, str]) -> None:
    data = chosen(DataConfig(list(corpora), weights=[1.0, 2.5], validation_share=0.2, validation_by="utterance"))
    assert len(data.validation[MAIN]) == 6 and len(data.train) == 24
    second = {row["id"] for row in read_manifest(Path(corpora[1]))}
    assert data.repeats == [2.5 if utterance.id in second else 1.0 for utterance in data.train]
    assert not {u.id for u in data.train} & {u.id for u in data.validation[MAIN]}


def test_the_first_utterances_are_chosen_over_all_corpora_and_in_each_validation_set(corpora: tuple[str, str]) -> None:
    ids = [[row["id"] for row in read_manifest(Path(path))] for path in corpora]
    for count, expected in ((22, [*ids[0], *ids[1][:2]]), (3, ids[0][:3]), (99, ids[0] + ids[1])):
        config = DataConfig(list(corpora), weights=[1.0, 2.0], max_train_samples=count, validation=corpora[1],
                            eval_sets={"more": corpora[0]}, max_eval_samples=4)  # fmt: skip
        data = chosen(config)
        assert [one.id for one in data.train] == expected
        assert data.repeats == [1.0] * min(count, 20) + [2.0] * max(len(expected) - 20, 0)
        assert [[one.id for one in found] for found in data.validation.values()] == [ids[1][:4], ids[0][:4]]
    held = chosen(DataConfig([corpora[0]], max_train_samples=10, validation_share=0.2, validation_by="utterance"))
    assert {one.id for one in [*held.train, *held.validation[MAIN]]} == set(ids[0][:10])


def test_an_utterance_as_long_as_a_bound_is_within_it() -> None:
    recogniser = build(ModelConfig(base=str(DEMO / "wav2vec2")), [], seed=0)
    config, usable = DataConfig(["x"], min_seconds=1.0, max_seconds=2.0), []
    for seconds in (0.99, 1.0, 2.0, 2.01):
        utterance = Utterance("u", "a.wav", "GO", seconds)
        usable.append(rejection_reason(utterance, recogniser, profile("librispeech"), config) is None)
    assert usable == [False, True, True, False]


@pytest.mark.parametrize("silent", ["training", "validation"])
def test_silence_alone_is_no_training_and_no_validation(tmp_path: Path, silent: str) -> None:
    rows = absolute(DEMO / "corpus" / "train.jsonl", 8)
    paths = {}
    for name, part in (("training", rows[:4]), ("validation", rows[4:])):
        texts = ["", "", "", "" if name == silent else "GO"]
        paths[name] = str(
            write_manifest(
                tmp_path / f"{name}.jsonl", [row | {"text": text} for row, text in zip(part, texts, strict=True)]
            )
        )
    config = DataConfig([paths["training"]], validation=paths["validation"])
    with pytest.raises(InputError, match=f"^{silent}: none of 4 utterances has a text"):
        chosen(config)
    spoken = paths["validation" if silent == "training" else "training"]
    noise = DataConfig([spoken], validation=spoken, eval_sets={"noise": paths[silent]})
    assert len(chosen(noise).validation["noise"]) == 4


def test_speakers_of_validation_are_not_trained_on(corpora: tuple[str, str]) -> None:
    data = chosen(DataConfig(list(corpora), weights=[1.0, 2.5], validation_share=0.2))
    held = {one.speaker for one in data.validation[MAIN]}
    assert held and not held & {one.speaker for one in data.train}
    assert len(data.validation[MAIN]) + len(data.train) == 30 and data.repeats is not None
    assert len(data.repeats) == len(data.train)
    assert data.division.startswith("held out by speaker: ") and data.division.endswith(
        "training has no speech of theirs"
    )
    assert chosen(DataConfig([corpora[0]], validation=corpora[1])).division == ""


def test_what_cannot_be_written_is_an_error_in_validation_and_no_example_in_training(tmp_path: Path) -> None:
    """Else a model of fewer letters has the better error rate. What cannot be evaluated at all is counted."""
    rows = absolute(DEMO / "corpus" / "train.jsonl", 4)
    rows[0]["text"], rows[1]["text"], rows[2]["text"] = "A CAFÉ", "É", "..."
    manifest = str(write_manifest(tmp_path / "some.jsonl", rows))
    data = chosen(DataConfig([manifest], validation=manifest))
    assert [one.id for one in data.train] == [rows[3]["id"]]
    assert [one.text for one in data.validation[MAIN]] == ["A CAFÉ", rows[3]["text"]]
    assert data.unevaluated == {MAIN: 2}
    assert [one.reason.partition(":")[0] for one in data.rejects][-2:] == [
        OUTSIDE,
        "an empty label under the profile; expected text",
    ]


def test_silence_is_trained_on_and_validated_and_what_the_profile_empties_is_not(tmp_path: Path) -> None:
    """There a mark may stand for speech, and the model would learn to skip it."""
    rows = absolute(DEMO / "corpus" / "train.jsonl", 4)
    rows[0]["text"], rows[1]["text"], rows[2]["text"] = "", "[noise]", " "
    manifest = str(write_manifest(tmp_path / "some.jsonl", rows))
    data = chosen(DataConfig([manifest], validation=manifest, profile="librispeech:no-annotations"))
    usable = [rows[index]["id"] for index in (0, 2, 3)]
    assert [one.id for one in data.train] == usable == [one.id for one in data.validation[MAIN]]
    assert {(one.where, one.reason.partition(" under")[0]) for one in data.rejects} == {
        (rows[1]["id"], "an empty label")
    }
    assert data.unevaluated == {MAIN: 1}


def test_what_cannot_be_written_is_held_out_as_often_as_the_rest(tmp_path: Path) -> None:
    rows = absolute(DEMO / "corpus" / "train.jsonl", 40)
    for row in rows[::2]:
        row["text"] = f"{row['text']} CAFÉ"
    manifest = str(write_manifest(tmp_path / "some.jsonl", rows))
    data = chosen(DataConfig([manifest], validation_share=0.5, validation_by="utterance"))
    unwritable = {row["id"] for row in rows[::2]}
    evaluated = {one.id for one in data.validation[MAIN]}
    assert len(evaluated) == 20 and 5 <= len(evaluated & unwritable) <= 15
    assert not {one.id for one in data.train} & (evaluated | unwritable)
    assert {one.where for one in data.rejects} == unwritable - evaluated
    assert len(data.train) == 20 - len(evaluated - unwritable)


@pytest.mark.parametrize(
    ("written", "set_now", "expected"),
    [
        ({"validation_share": 0.1}, None, "utterance"),
        ({"validation_share": 0.1, "validation_by": None}, None, None),
        ({"validation_share": 0.1, "validation_by": "recording"}, None, "recording"),
        ({"validation_share": 0.1}, "speaker", "speaker"),
    ],
)
def test_a_resumed_run_holds_out_what_it_did(
    written: dict[str, object], set_now: Any, expected: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A version without validation_by held out utterances."""
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({"data": written}), encoding="utf-8")
    monkeypatch.setattr(training_run.checkpoint, "newest_intact", lambda folder, note: folder / "step-1")
    data = DataConfig(["x"], validation_share=0.1, validation_by=set_now)
    config = TrainConfig(output_dir=tmp_path, model=ModelConfig(base="x"), data=data, mixed_precision="no")
    resolved, _ = training_run._resolve(config)
    assert resolved.data.validation_by == expected
    before, now = (RunFingerprint({"data": one}, fingerprint_of({}, [], []).utterances) for one in (written, {
        "validation_share": 0.1, "validation_by": expected,
    }))  # fmt: skip
    assert before.digest == now.digest


def test_validation_sets_by_name(corpora: tuple[str, str]) -> None:
    data = chosen(DataConfig([corpora[0]], validation=corpora[1], eval_sets={"demo": corpora[0]}))
    assert list(data.validation) == [MAIN, "demo"]
    assert [len(utterances) for utterances in data.validation.values()] == [10, 20]
    assert data.repeats is None


def test_corpora_that_share_utterances_are_refused(corpora: tuple[str, str]) -> None:
    with pytest.raises(UsageError, match=r"first\.jsonl and .*first\.jsonl share utterances"):
        chosen(DataConfig([corpora[0], corpora[0]], validation=corpora[1]))


def test_equal_ids_of_other_audio_are_told_apart(corpora: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    """As rows of two datasets that have no ids are numbered alike."""
    numbered = []
    for name in corpora:
        rows = [row | {"id": f"row-{place}"} for place, row in enumerate(read_manifest(Path(name)))]
        numbered.append(str(write_manifest(Path(name).with_stem(f"{Path(name).stem}-numbered"), rows)))
    data = chosen(DataConfig(numbered, validation_share=0.2, validation_by="utterance"))
    ids = {one.id for one in [*data.train, *data.validation[MAIN]]}
    assert ids == {f"row-{place}" for place in range(20)} | {f"2/row-{place}" for place in range(10)}
    assert "10 ids, such as 'row-0', also in a corpus before it; prefixed by 2" in capsys.readouterr().err


def test_ids_that_are_told_apart_meet_no_others() -> None:
    first = Corpus("a", tuple(Utterance(id, f"{id}.wav", id, 1.0) for id in ("row-0", "2/row-0")), ())
    second = Corpus("b", (Utterance("row-0", "c.wav", "other", 2.0),), ())
    found = [one.id for corpus in with_unique_ids([first, second]) for one in corpus.utterances]
    assert found == ["row-0", "2/row-0", "2/2/row-0"]


def test_single_words_that_are_as_long_by_chance_are_no_copies() -> None:
    """Two corpora of commands of one second each, numbered alike."""
    first, second = (
        Corpus(name, tuple(Utterance(f"row-{at}", f"{name}{at}.wav", words[at], 1.0) for at in range(3)), ())
        for name, words in (("a", ("yes", "no", "up")), ("b", ("yes", "up", "no")))
    )
    assert [one.id for one in with_unique_ids([first, second])[1].utterances] == ["2/row-0", "2/row-1", "2/row-2"]


def test_a_copy_of_an_utterance_is_not_another_one(tmp_path: Path) -> None:
    """By another path to its file, or prepared: the same text as long."""
    (tmp_path / "a.wav").touch()
    (tmp_path / "link").symlink_to(tmp_path)
    one = Corpus("a", (Utterance("u", str(tmp_path / "a.wav"), "text", 2.0),), ())
    for audio, text in ((tmp_path / "link" / "a.wav", "else"), (tmp_path / "copy.flac", "text")):
        with pytest.raises(UsageError, match="share utterances, such as 'u'"):
            with_unique_ids([one, Corpus("b", (Utterance("u", str(audio), text, 2.0),), ())])


def test_a_dataset_of_the_hub_needs_a_split() -> None:
    """Without one, `test` would be trained on."""
    with pytest.raises(UsageError, match=r"--data\.train hf:x names no split .* such as hf:x::train: add it"):
        DataConfig(["hf:x"], validation="dev.jsonl").check()
    with pytest.raises(UsageError, match=r"--data\.validation hf:x:de .* such as hf:x:de:validation"):
        DataConfig(["hf:x::train"], validation="hf:x:de").check()
    DataConfig(["hf:x:de:train:100"], validation="hf:x::dev", eval_sets={"other": "hf:y"}).check()


def test_another_part_of_the_audio_is_another_run() -> None:
    one = Utterance("a", "talk.wav", "text", 2.0)
    digests = {
        fingerprint_of({}, [replace(one, **change)], [[1]]).digest
        for change in ({}, {"start": 1.0}, {"stop": 2.0}, {"channel": 0}, {"channel": 1}, {"audio": "moved/talk.wav"})
    }
    assert len(digests) == 5


@pytest.mark.parametrize(
    ("data", "named"),
    [
        (DataConfig(["a", "b"], validation="c", weights=[1.0]), "--data.weights"),
        (DataConfig(["a"], validation="c", weights=[0.0]), "--data.weights"),
        (DataConfig(["a"], validation="c", eval_sets={"validation": "d"}), "--data.eval_sets"),
        (DataConfig(["a"], validation="c", validation_by="speaker"), "--data.validation_by is speaker"),
    ],
)
def test_contradictions_are_named(data: DataConfig, named: str) -> None:
    with pytest.raises(UsageError, match=named):
        TrainConfig(output_dir=DEMO, model=ModelConfig(base="x"), data=data).check()
