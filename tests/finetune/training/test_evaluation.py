"""The evaluation on a validation set: what it counts, which rate decides, and batches that do not fit into memory."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from torch import nn

from finetune import models
from finetune.config import ModelConfig
from finetune.data.examples import Examples
from finetune.models.base import Batch, EvaluationOutput, Hypothesis
from finetune.training.evaluation import Evaluation, Evaluator
from preprocessing import audio
from preprocessing.corpus import Utterance
from preprocessing.errors import InputError
from preprocessing.text import profile
from tests.finetune.runs import TINY


@pytest.mark.parametrize(
    ("name", "texts", "language", "expected"),
    [
        ("basic", ["今天天气很好", "我们去公园"], None, (0.25, 1.0)),
        ("basic:th", ["one two", "three"], None, (0.25, 1.0)),
        ("basic", ["one two", "three"], "Japanese", (0.25, 1.0)),
        ("basic:de", ["today", "tomorrow"], None, (1.0, 0.25)),
    ],
)
def test_characters_decide_where_words_have_no_spaces(
    name: str, texts: list[str], language: str | None, expected: tuple[float, float]
) -> None:
    """There, a sentence is one word, and a WER of 100 % ranks nothing."""
    recogniser = models.build(ModelConfig(scratch=TINY, dropout=0.0), texts, seed=0)
    utterances = [Utterance(f"u{n}", "a.wav", text, 1.0, language=language) for n, text in enumerate(texts)]
    examples = Examples(utterances, [recogniser.encode(text) for text in texts], recogniser)
    evaluator = Evaluator(examples, profile(name), recogniser, max_batch_seconds=80.0)
    assert Evaluation(1.0, 1.0, 0.25, 1, 0, 0, None, (), evaluator.metric).rates == expected


@pytest.mark.parametrize(("name", "expected"), [("basic:zh", 0.0), ("basic:de", 2 / 5)])
def test_spaces_count_in_validation_where_words_have_them(
    name: str, expected: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    recogniser = models.build(ModelConfig(scratch=TINY, dropout=0.0), ["打 开 灯", "打开灯"], seed=0)
    utterance = Utterance("u", "a.wav", "打 开 灯", 1.0)
    evaluator = Evaluator(Examples([utterance], [[1]], recogniser), profile(name), recogniser, max_batch_seconds=80.0)
    monkeypatch.setattr("finetune.training.evaluation.load_batches", lambda *_, **__: [None])
    heard = [evaluator._transcript("u", "打开灯", None)]
    monkeypatch.setattr(Evaluator, "_evaluate_batch", lambda *_: (heard, 0.0, 1))
    shown: list[tuple[int, int]] = []
    found = evaluator.run(Accelerator(cpu=True), nn.Linear(1, 1), show=lambda *batches: shown.append(batches))
    assert found.cer == expected
    assert shown == [(done, len(shown)) for done in range(1, len(shown) + 1)] != []


def test_an_evaluation_counts_every_utterance_and_every_label_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two batches of one and two words and an utterance without audio, whose words are deleted."""
    texts, modes = ["YES", "NO YES", "NO"], []
    recogniser = models.build(ModelConfig(scratch=TINY, dropout=0.0), texts, seed=0)
    for n, seconds in enumerate((1.0, 2.0)):
        audio.save(tmp_path / f"{n}.wav", 0.1 * torch.randn(round(16_000 * seconds)))
    utterances = [Utterance(f"u{n}", str(tmp_path / f"{n}.wav"), text, 1.0 + n) for n, text in enumerate(texts)]
    examples = Examples(utterances, [recogniser.encode(text) for text in texts], recogniser)
    evaluator = Evaluator(examples, profile("librispeech"), recogniser, max_batch_seconds=3.0)

    def evaluate(module: nn.Module, batch: Batch) -> EvaluationOutput:
        modes.append(module.training)
        hypotheses = [Hypothesis(f"{texts[index].lower()}.", 0.5 * index) for index in batch.indices]
        return EvaluationOutput(18.0, hypotheses)

    monkeypatch.setattr(recogniser, "evaluate", evaluate)
    found = evaluator.run(Accelerator(cpu=True), recogniser.module.train())
    assert modes == [False, False] and recogniser.module.training
    assert [(one.id, one.hypothesis) for one in found.transcripts] == [("u0", "YES"), ("u1", "NO YES"), ("u2", "")]
    assert (found.wer, found.deletions, found.blank_ratio) == (0.25, 1, 0.25)
    assert found.loss == 36.0 / (len("YES") + len("NO YES"))


def test_an_evaluation_that_does_not_fit_into_memory_is_computed_in_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same figures, from parts of what fits: at most `room` utterances."""
    texts = ["YES", "NO YES", "NO", "YES NO", "NO NO"]
    recogniser = models.build(ModelConfig(scratch=TINY, dropout=0.0), texts, seed=0)
    for n in range(5):
        audio.save(tmp_path / f"{n}.wav", 0.1 * torch.randn(16_000 + 900 * n))
    utterances = [
        Utterance(f"u{n}", str(tmp_path / f"{n}.wav"), text, 1.0 + 900 * n / 16_000) for n, text in enumerate(texts)
    ]
    examples = Examples(utterances, [recogniser.encode(text) for text in texts], recogniser)
    evaluate, sizes = recogniser.evaluate, list[int]()

    def evaluated(room: int) -> Evaluation:
        def limited(module: nn.Module, batch: Batch) -> EvaluationOutput:
            sizes.append(len(batch.indices))
            if len(batch.indices) > room:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return evaluate(module, batch)

        monkeypatch.setattr(recogniser, "evaluate", limited)
        evaluator = Evaluator(examples, profile("librispeech"), recogniser, max_batch_seconds=80.0)
        return evaluator.run(Accelerator(cpu=True), recogniser.module)

    whole = evaluated(room=5)
    assert sizes == [5] and capsys.readouterr().out == ""
    found = evaluated(room=2)
    assert sizes[1:] == [5, 3, 2, 2, 1]
    assert found.loss == pytest.approx(whole.loss, rel=1e-5)
    assert replace(found, loss=whole.loss) == whole
    assert "computed in 4 parts" in capsys.readouterr().out
    with pytest.raises(InputError, match=r"5 utterances, 6 s with padding, does not fit.*max_batch_seconds"):
        evaluated(room=0)
