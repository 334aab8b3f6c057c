"""The corpora of a run: weights, held-out and named validation sets, ids that meet."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from finetune import training_run
from finetune.config import DataConfig, ModelConfig, TrainConfig
from finetune.data.corpora import MAIN, RunData, open_corpora, select_utterances
from finetune.models import build
from finetune.training.fingerprint import RunFingerprint, fingerprint_of
from preprocessing.cli.errors import UsageError
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
    monkeypatch.setattr(training_run.checkpoint, "latest", lambda folder: folder / "step-1")
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


def test_corpora_that_share_ids_are_refused(corpora: tuple[str, str]) -> None:
    with pytest.raises(UsageError, match=r"first\.jsonl and .*first\.jsonl share ids"):
        chosen(DataConfig([corpora[0], corpora[0]], validation=corpora[1]))


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
