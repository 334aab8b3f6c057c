"""What is heard under which condition: the corpus clean, some of it otherwise, in every run the same."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch

from benchmark.conditions import parse_conditions
from benchmark.config import BenchmarkConfig
from benchmark.dataset import build_evaluation_set, requested_conditions, waveform_loader, with_language
from benchmark.results import ConditionUsed
from preprocessing import audio
from preprocessing.corpus import Utterance, open_corpus
from tests.conftest import DEMO

[CLEAN] = parse_conditions("clean", seed=0, noise=None, rooms=None)
HALVED = ConditionUsed("halved", "half as loud", speech=False)


@dataclass(frozen=True)
class Halved:
    """Half as loud, and nothing counts as said."""

    used: ConditionUsed = HALVED

    def utterances(self, corpus: Sequence[Utterance]) -> list[Utterance]:
        return [replace(utterance, text="") for utterance in corpus]

    def apply(self, waveform: torch.Tensor, id: str) -> torch.Tensor:
        return waveform / 2


def test_other_conditions_have_a_part_of_the_corpus() -> None:
    utterances = open_corpus(str(DEMO / "corpus" / "test.jsonl")).utterances
    condition: Any = Halved()
    chosen = build_evaluation_set([CLEAN, condition], utterances, 5)
    assert chosen.utterances[0] == utterances
    assert [one.id for one in chosen.utterances[1]] == [utterances[place].id for place in (0, 25, 50, 74, 99)]
    assert {one.text for one in chosen.utterances[1]} == {""}
    assert len(chosen.items()) == len(set(chosen.items())) == 105
    load = waveform_loader(chosen, denoise=False)
    plain = audio.load(utterances[25].audio)
    assert torch.equal(load((0, 25)), plain)
    assert torch.equal(load((1, 1)), plain / 2)


@pytest.mark.parametrize(
    ("conditions", "names"),
    [("telephone", ["clean", "telephone"]), ("telephone,clean", ["clean", "telephone"]), ("clean", ["clean"])],
)
def test_clean_speech_is_first_and_always_there(conditions: str, names: list[str]) -> None:
    chosen = requested_conditions(BenchmarkConfig(conditions=conditions))
    assert [condition.used.name for condition in chosen] == names


def test_a_corpus_in_another_language_is_scored_in_it() -> None:
    def of(*languages: str | None) -> list[Utterance]:
        return [Utterance(str(place), "a.wav", "x", 1.0, language=one) for place, one in enumerate(languages)]

    def chosen(config: BenchmarkConfig, *languages: str | None) -> tuple[str | None, list[str] | None, int]:
        notices: list[str] = []
        found = with_language(config, of(*languages), notices)
        return found.language, found.profiles, len(notices)

    english = ["librispeech", "whisper-english"]
    assert chosen(BenchmarkConfig(), "tr", "tr") == ("tr", ["basic:tr", "verbatim"], 1)
    assert chosen(BenchmarkConfig(), "zh-CN") == ("zh", ["basic:zh", "verbatim"], 1)
    assert chosen(BenchmarkConfig(), "en", "en") == ("en", english, 0)
    assert chosen(BenchmarkConfig(), "tr", None) == chosen(BenchmarkConfig(), "tr", "de") == (None, english, 0)
    assert chosen(BenchmarkConfig(language="de"), "tr") == ("de", ["basic:de", "verbatim"], 1)
    assert chosen(BenchmarkConfig(profiles=english), "tr") == ("tr", english, 0)
    assert chosen(BenchmarkConfig(), "la") == ("la", ["basic", "verbatim"], 1)
    assert chosen(BenchmarkConfig(profiles=["verbatim"]), "tr") == ("tr", ["verbatim"], 0)
    assert chosen(BenchmarkConfig(), "xx") == (None, english, 0)
    for name in ("Japanese", "jp", "jpn", " JA "):
        assert chosen(BenchmarkConfig(), name, "ja-JP") == ("ja", ["basic:ja", "verbatim"], 1)
        assert chosen(BenchmarkConfig(language=name), "tr") == ("ja", ["basic:ja", "verbatim"], 1)
    assert chosen(BenchmarkConfig(), "Mandarin Chinese")[0] == chosen(BenchmarkConfig(), "zh-CN", "zh-TW")[0] == "zh"
    assert chosen(BenchmarkConfig(), "Thai") == ("th", ["basic:th", "verbatim"], 1)
    assert chosen(BenchmarkConfig(), "English", "eng", "en-GB") == ("en", english, 0)
    assert chosen(BenchmarkConfig(), "German and English") == (None, english, 0)
