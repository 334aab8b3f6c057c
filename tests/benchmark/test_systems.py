"""Systems by name, and each of them on speech: batches, nothing at all, what is missing said in a sentence."""

import sys
from collections.abc import Iterator
from pathlib import Path

import jiwer
import pytest
import torch
from torch import Tensor

from benchmark.systems import load_system, parse_models
from benchmark.systems.base import LoadOptions, System, SystemSpec
from benchmark.systems.pocketsphinx import BLOCK_SECONDS, blocks
from preprocessing import audio
from preprocessing.audio import SAMPLE_RATE
from preprocessing.cli.errors import InputError, UsageError
from preprocessing.corpus import open_corpus
from preprocessing.text import profile
from tests.conftest import DEMO

OPTIONS = LoadOptions("cpu", "en")
SPEECH = open_corpus(str(DEMO / "corpus" / "test.jsonl"), limit=4).utterances


@pytest.fixture(scope="module")
def waveforms() -> list[Tensor]:
    return [audio.load(utterance.audio) for utterance in SPEECH]


def load(family: str, checkpoint: object) -> System:
    return load_system(SystemSpec(family, family, str(checkpoint)), OPTIONS)


def heard(system: System, waveforms: list[Tensor]) -> list[str]:
    return system.text(system.forward(system.features(waveforms)))


@pytest.mark.parametrize("family", ["wav2vec2", "whisper"])
def test_a_batch_is_heard_as_each_alone(family: str, waveforms: list[Tensor]) -> None:
    """Among them one of no samples, and one too short for a frame, of which nothing is heard."""
    system = load(family, DEMO / family)
    assert system.batched
    alone = [text for waveform in waveforms for text in heard(system, [waveform])]
    assert heard(system, [waveforms[0], torch.zeros(0), *waveforms[1:]]) == [alone[0], "", *alone[1:]]
    assert heard(system, [torch.zeros(0)]) == [""]
    if family == "wav2vec2":
        assert heard(system, [torch.zeros(100), waveforms[2]]) == ["", alone[2]]


def test_whisper_mixes_windows_and_long_recordings(waveforms: list[Tensor]) -> None:
    system = load("whisper", DEMO / "whisper")
    long = torch.cat([waveforms[0], torch.zeros(30 * SAMPLE_RATE)])
    expected = heard(system, [long]) + heard(system, [waveforms[1]])
    assert heard(system, [long, waveforms[1]]) == expected


def test_the_pipeline_of_a_ctc_model_writes_our_words(waveforms: list[Tensor]) -> None:
    ours, theirs = load("wav2vec2", DEMO / "wav2vec2"), load("pipeline", DEMO / "wav2vec2")
    for waveform in waveforms:
        assert heard(theirs, [waveform]) == heard(ours, [waveform])
    assert heard(theirs, [torch.zeros(0), torch.zeros(1), torch.zeros(399)]) == ["", "", ""]


def test_pocketsphinx_knows_english(speech: Path) -> None:
    pytest.importorskip("pocketsphinx")
    system = load("pocketsphinx", "")
    normalise = profile("librispeech")
    chosen = open_corpus(str(speech / "ljspeech" / "test.jsonl"), limit=4).utterances
    pairs = [(normalise(one.text), normalise(heard(system, [audio.load(one.audio)])[0])) for one in chosen]
    counted = jiwer.process_words(*(list(column) for column in zip(*pairs, strict=True)))
    assert counted.wer < 0.6
    assert heard(system, [torch.zeros(0)]) == [""]


def test_blocks_leave_nothing_out_and_cut_in_pauses() -> None:
    generator = torch.Generator().manual_seed(0)
    waveform = 0.1 * torch.randn(75 * SAMPLE_RATE, generator=generator)
    pause = slice(20 * SAMPLE_RATE, 21 * SAMPLE_RATE)
    waveform[pause] = 0.0
    cut = blocks(waveform)
    assert torch.equal(torch.cat(cut), waveform)
    assert all(0 < len(block) <= BLOCK_SECONDS * SAMPLE_RATE for block in cut)
    assert pause.start <= len(cut[0]) <= pause.stop
    assert blocks(waveform[:0]) == []


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    for module in ("pocketsphinx", "faster_whisper"):
        monkeypatch.setitem(sys.modules, module, None)
    yield monkeypatch


@pytest.mark.parametrize("family", ["pocketsphinx", "faster-whisper"])
def test_a_missing_package_is_named_with_its_install_line(family: str, without: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r'not installed; .*pip install "speech-on-your-own\[rivals\]"'):
        load(family, "base.en")


@pytest.mark.parametrize(
    ("reference", "told"),
    [
        ("pocketsphynx", "did you mean pocketsphinx"),
        ("pocketsphinx=en", "leave it out"),
        ("pipeline", "no published default"),
        ("faster-whisper=", "names no checkpoint"),
    ],
)
def test_references_that_are_none(reference: str, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        parse_models(reference)


def test_references() -> None:
    specs = parse_models("pocketsphinx, pipeline=a/b,own.module:Class")
    assert [(spec.name, spec.family) for spec in specs] == [
        ("pocketsphinx", "pocketsphinx"),
        ("pipeline=a/b", "pipeline"),
        ("own.module:Class", "own.module:Class"),
    ]
    (spec,) = parse_models("pipeline=runs/lr=1e-4/my model")
    assert (spec.family, spec.checkpoint) == ("pipeline", "runs/lr=1e-4/my model")


def test_a_system_is_called_what_the_user_calls_it() -> None:
    specs = parse_models("tiny=whisper:models/tiny.en.pt,mine=wav2vec2:runs/a:b=c,sphinx=pocketsphinx")
    assert [(spec.name, spec.family, spec.checkpoint) for spec in specs] == [
        ("tiny", "whisper", "models/tiny.en.pt"),
        ("mine", "wav2vec2", "runs/a:b=c"),
        ("sphinx", "pocketsphinx", "en-us, in the package"),
    ]
    with pytest.raises(UsageError, match="names mine twice"):
        parse_models("mine=whisper:a.pt,mine=lstm:b")
    with pytest.raises(UsageError, match=r"the name 'a\|b'"):
        parse_models("a|b=whisper:x.pt")
    with pytest.raises(UsageError, match="names no checkpoint"):
        parse_models("tiny=whisper:")
    with pytest.raises(UsageError, match="unknown system 'tiny'"):
        parse_models("tiny=wisper:x.pt")
