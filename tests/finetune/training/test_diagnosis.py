"""Each diagnosis speaks up at its own pattern, and all are silent on the recorded curve of a healthy run."""

import math
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from finetune.config import ModelConfig
from finetune.training.diagnosis import (
    Diagnosis,
    RunSettings,
    capitals,
    diagnose,
    leaking,
    log_line,
    not_yet_logged,
    other_language,
    outside_vocabulary,
    short_window,
)
from finetune.training.loop import gpu_memory_share
from preprocessing.corpus import Corpus, Reject, Utterance
from preprocessing.corpus.statistics import find_leaks
from preprocessing.text import profile

# Validation WER of the spoken-digits run at its evaluations; loss and blank ratio as CTC runs have them.
WER = (1.037, 0.90, 0.40, 0.12, 0.05, 0.03, 0.023)
LOSS = (5.1, 2.4, 1.0, 0.35, 0.16, 0.11, 0.09)
BLANK = (0.20, 0.97, 0.80, 0.75, 0.74, 0.74, 0.74)
EVERY = 100
SETTING = RunSettings(max_steps=600, workers=2, logging_steps=10)
Log = list[dict[str, Any]]


def train_line(update: int, **values: float) -> dict[str, Any]:
    usual = {"loss": 1.0, "padding_share": 0.04, "stall_share": 0.02, "skipped_steps": 0, "grad_norm": 1.0}
    return {"kind": "train", "step": update} | usual | values


def healthy() -> Log:
    log: Log = []
    for number, (wer, loss, blank) in enumerate(zip(WER, LOSS, BLANK, strict=True)):
        for step in range(10 if number else 0):
            share = (step + 1) / 10
            between = LOSS[number - 1] ** (1 - share) * loss**share * (1.1 if step % 2 else 0.9)
            log.append(train_line((number - 1) * EVERY + 10 * (step + 1), loss=between))
        samples = [["one two three four five", "one two tree four five"]] * 3
        log.append({"kind": "validation", "step": number * EVERY, "wer": wer, "cer": wer / 2, "loss": loss,
                    "blank_ratio": blank, "samples": samples})  # fmt: skip
    return log


def names(log: Log, setting: RunSettings = SETTING) -> list[str]:
    return [diagnosis.name for diagnosis in diagnose(log, setting)]


def changed(kind: str, change: Callable[[dict[str, Any]], dict[str, Any]], since: int = 1) -> Log:
    return [line | change(line) if line["kind"] == kind and line["step"] >= since else line for line in healthy()]


def test_a_healthy_run_is_told_nothing_at_any_time() -> None:
    log = healthy()
    for end in range(len(log) + 1):
        assert names(log[:end]) == []


def test_all_blank_after_three_evaluations_and_the_first_tenth() -> None:
    log = changed("validation", lambda _: {"blank_ratio": 0.99, "wer": 1.0})
    assert names(log) == ["all blank"]
    assert names([line for line in log if line["step"] <= 200]) == []
    assert names(log, RunSettings(max_steps=100_000)) == []  # still the usual start


@pytest.mark.parametrize(("rates", "expected"), [((1.0, 0.3), []), ((0.3, 1.0), ["all blank", "learning nothing"])])
def test_where_words_have_no_spaces_the_cer_says_that_nothing_is_learned(
    rates: tuple[float, float], expected: list[str]
) -> None:
    """A WER of 100 %, as of whole sentences, says nothing there."""
    by_characters = replace(SETTING, metric="cer")
    log = [
        line | {"loss": 3.0} | ({"wer": rates[0], "cer": rates[1], "blank_ratio": 0.97} if "wer" in line else {})
        for line in healthy()
    ]
    assert names(log, by_characters) == expected
    assert all("CER is 100 %" in found.observation or "CER 100 %" in found.observation
               for found in diagnose(log, by_characters))  # fmt: skip
    rising = {200: 1.0, 300: 1.1, 400: 1.2, 500: 1.4, 600: 1.5}
    log = changed("validation", lambda line: {"loss": rising[line["step"]], "wer": 1.0}, since=200)
    assert "; CER still falls" in diagnose(log, by_characters)[0].observation


def test_without_blanks_nothing_is_said_of_them() -> None:
    assert names(changed("validation", lambda _: {"blank_ratio": None, "wer": 0.96})) == []


def test_other_case() -> None:
    assert names(changed("validation", lambda _: {"samples": [["One Two Three", "one two three"]] * 3})) == [
        "vocabulary mismatch"
    ]


@pytest.mark.parametrize("loss", [30.0, math.nan, math.inf, None])
def test_a_loss_far_over_its_best_for_long(loss: float | None) -> None:
    assert names(changed("train", lambda _: {"loss": loss}, since=410)) == ["exploding loss"]
    assert names(changed("train", lambda line: {"loss": loss if line["step"] == 450 else 0.1}, since=410)) == []


def test_gradients_that_are_not_finite() -> None:
    assert names(changed("train", lambda _: {"skipped_steps": 3}, since=410)) == ["exploding loss"]
    assert names(changed("train", lambda line: {"skipped_steps": 3 * (line["step"] < 60)})) == []


def test_learning_nothing() -> None:
    log = changed("train", lambda line: {"loss": 3.0 + 0.05 * (line["step"] % 20 > 0)})
    assert names(log) == []  # the WER falls
    stuck = [line | ({"wer": 1.0} if line["kind"] == "validation" else {}) for line in log]
    assert names(stuck) == ["learning nothing"]


def test_overfitting() -> None:
    rising = {200: 1.0, 300: 1.1, 400: 1.2, 500: 1.4, 600: 1.5}
    log = changed("validation", lambda line: {"loss": rising[line["step"]]}, since=200)
    assert names(log) == ["overfitting"]
    assert "still falls" in diagnose(log, SETTING)[0].observation
    assert names([line for line in log if line["step"] <= 400]) == []  # two rises only
    flat = [line | ({"loss": 2.0} if line["kind"] == "train" else {}) for line in log]
    assert names(flat) == []  # training loss does not fall
    exploded = [line | ({"loss": None} if line["step"] == 100 else {}) for line in log]
    assert names(exploded) == ["overfitting"]


def test_starvation_and_padding_name_their_flags() -> None:
    starved, padded = (
        changed("train", lambda _: {"stall_share": 0.5}),
        changed("train", lambda _: {"padding_share": 0.2}),
    )
    assert names(starved) == ["data starvation"]
    assert "--dataloader_num_workers (now 2)" in diagnose(starved, SETTING)[0].remedy
    assert names(padded) == ["padding"]
    assert names(padded, replace(SETTING, pads_to_window=True)) == []
    assert names(starved[:8]) == []  # a few lines are no pattern


def test_small_batches_on_a_gpu() -> None:
    log = healthy()
    small = replace(SETTING, gpu_memory_share=0.05, batch_seconds=80.0)
    assert "at most 80 s of audio, and at most 5 % of the GPU's memory" in diagnose(log, small)[0].observation
    for share, seconds in ((None, 80.0), (0.5, 80.0), (0.05, 400.0)):
        assert names(log, replace(small, gpu_memory_share=share, batch_seconds=seconds)) == []
    assert names(log[:9], small) == []  # the largest batch may be to come


def test_a_cpu_has_no_memory_to_fill(monkeypatch: pytest.MonkeyPatch) -> None:
    assert gpu_memory_share(torch.device("cpu")) is None
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda _: 3 * 2**30)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: SimpleNamespace(total_memory=12 * 2**30))
    assert gpu_memory_share(torch.device("cuda")) == 0.25


def test_each_is_said_once() -> None:
    log = changed("train", lambda _: {"stall_share": 0.5})
    (found,) = not_yet_logged(log, diagnose(log, SETTING))
    log.append(log_line(found, 600))
    assert log[-1]["kind"] == "diagnosis"
    assert not_yet_logged(log, diagnose(log, SETTING)) == []


def test_characters_outside_the_vocabulary() -> None:
    outside = [Reject(f"u{n}", "characters outside the vocabulary: 'Ü' 2 times") for n in range(6)]
    found = outside_vocabulary(outside, 94)
    assert found is not None
    assert found.name == "vocabulary mismatch"
    assert "6 of 100" in found.observation and "'Ü' 2 times" in found.observation
    assert outside_vocabulary(outside, 200) is None
    assert outside_vocabulary([Reject("u", "too long")] * 50, 50) is None


def corpus(name: str, *rows: tuple[str, str, str | None]) -> Corpus:
    return Corpus(name, tuple(Utterance(f"{name}{n}", a, t, 1.0, s) for n, (a, t, s) in enumerate(rows)), ())


def leak(train: Corpus, validation: Corpus) -> Diagnosis | None:
    return leaking(find_leaks(validation, train, profile("librispeech")), len(validation.utterances))


def test_leaks_count_files_sentences_and_speakers() -> None:
    train = corpus("t", ("a.wav", "turn on the kitchen light", "ann"), ("b.wav", "stop", "bob"))
    same = leak(train, corpus("v", ("b.wav", "stop", "bob"), ("c.wav", "go", "eve")))
    assert same is not None
    assert "1 of 2 validation utterances are, at least in part, training utterances too" in same.observation
    assert "50 % of validation sentences (1 of 2)" in same.observation and "1 speaker in both (bob)" in same.observation
    assert leak(train, corpus("v", ("d.wav", "go", "eve"), ("e.wav", "wait", None))) is None


def test_whisper_is_not_taught_capitals_without_a_word() -> None:
    upper, mixed = ["TURN IT OFF", "NOW"], ["Turn it off.", "now"]
    whisper = ModelConfig(family="whisper")
    found = capitals([*upper, "..."], profile("librispeech"), whisper)
    assert found is not None and found.observation == "2 of 2 texts are in capitals under the profile librispeech"
    assert capitals(mixed, profile("verbatim"), whisper) is None
    assert capitals(upper, profile("librispeech"), ModelConfig()) is None
    assert capitals(["今天"], profile("verbatim"), whisper) is None


def test_a_language_that_the_corpora_contradict() -> None:
    utterances = [Utterance(str(place), "a.wav", "x", 1.0, language="eng") for place in range(10)]
    model = ModelConfig(family="whisper", base="base", language="de")
    found = other_language(utterances, model)
    assert found is not None and "10 of 10 training utterances name another language, mostly en" in found.observation
    assert other_language(utterances, replace(model, language="English")) is None
    assert other_language([replace(one, language=None) for one in utterances], model) is None
    assert other_language(utterances, replace(model, family="wav2vec2")) is None


def test_a_window_that_nobody_else_will_give() -> None:
    found = short_window(ModelConfig(family="whisper", context_seconds=4.0))
    assert found is not None
    assert found.observation == "--model.context_seconds is 4"
    assert short_window(ModelConfig(family="whisper")) is None
    assert short_window(ModelConfig(context_seconds=4.0)) is None
