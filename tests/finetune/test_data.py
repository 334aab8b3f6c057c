"""The corpora of a run: weights, held-out and named validation sets, ids that meet."""

from pathlib import Path

import pytest

from finetune.config import DataConfig, ModelConfig, TrainConfig
from finetune.data.corpora import MAIN, RunData, open_corpora, select_utterances
from finetune.models import build
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
    data = chosen(DataConfig(list(corpora), weights=[1.0, 2.5], validation_share=0.2))
    assert len(data.validation[MAIN]) == 6 and len(data.train) == 24
    second = {row["id"] for row in read_manifest(Path(corpora[1]))}
    assert data.repeats == [2.5 if utterance.id in second else 1.0 for utterance in data.train]
    assert not {u.id for u in data.train} & {u.id for u in data.validation[MAIN]}


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
    ],
)
def test_contradictions_are_named(data: DataConfig, named: str) -> None:
    with pytest.raises(UsageError, match=named):
        TrainConfig(output_dir=DEMO, model=ModelConfig(base="x"), data=data).check()
