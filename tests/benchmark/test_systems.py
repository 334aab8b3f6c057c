"""Systems by name, and each of them on speech: batches, nothing at all, what is missing said in a sentence."""

import sys
from collections.abc import Iterator
from pathlib import Path

import jiwer
import pytest
import torch
from torch import Tensor

from benchmark.systems import FAMILIES, load_system, parse_models
from benchmark.systems.base import LoadOptions, System, SystemSpec
from benchmark.systems.pocketsphinx import BLOCK_SECONDS, blocks
from preprocessing import audio
from preprocessing.audio import SAMPLE_RATE
from preprocessing.corpus import open_corpus
from preprocessing.errors import InputError, UsageError
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
    assert heard(theirs, [torch.zeros(0)]) == [""]


@pytest.fixture(scope="module")
def tiny_whisper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights in transformers' form, over forty words of its own."""
    from transformers import WhisperConfig, WhisperFeatureExtractor, WhisperForConditionalGeneration, WhisperTokenizer

    folder = tmp_path_factory.mktemp("whisper")
    end, start, no_timestamps = 40, 41, 42
    vocabulary = {f"w{number}": number for number in range(end)}
    vocabulary |= {"<|endoftext|>": end, "<|startoftranscript|>": start, "<|notimestamps|>": no_timestamps}
    torch.manual_seed(0)
    sizes = {"d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "encoder_ffn_dim": 16, "decoder_ffn_dim": 16}
    heads = {"encoder_attention_heads": 2, "decoder_attention_heads": 2}
    special = {"decoder_start_token_id": start, "eos_token_id": end, "bos_token_id": end, "pad_token_id": end}
    model = WhisperForConditionalGeneration(WhisperConfig(**sizes, **heads, **special, vocab_size=len(vocabulary)))
    model.generation_config.max_new_tokens = 5
    model.generation_config.no_timestamps_token_id = no_timestamps
    model.save_pretrained(folder)
    WhisperFeatureExtractor().save_pretrained(folder)
    WhisperTokenizer(vocab=vocabulary, merges=[], pad_token="<|endoftext|>").save_pretrained(folder)
    return folder


def test_the_pipeline_of_a_model_that_generates(tiny_whisper: Path, waveforms: list[Tensor]) -> None:
    """Random weights write anything; what is tested is that batches come back whole and empty ones empty."""
    system = load("pipeline", tiny_whisper)
    found = heard(system, [waveforms[0], torch.zeros(0), waveforms[1]])
    assert len(found) == 3 and found[1] == ""
    assert all(isinstance(text, str) for text in found)
    assert system.facts.parameters > 0


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


def test_faster_whisper_takes_our_options() -> None:
    """Its model cannot be had here; that the pinned options are its own can be seen."""
    import inspect

    faster_whisper = pytest.importorskip("faster_whisper")
    from benchmark.systems.faster_whisper import PINNED

    known = inspect.signature(faster_whisper.WhisperModel.transcribe).parameters
    assert set(PINNED) | {"language", "without_timestamps"} <= set(known)


def test_faster_whisper_refuses_a_folder_that_holds_none(tmp_path: Path) -> None:
    pytest.importorskip("faster_whisper")
    with pytest.raises(InputError, match="cannot be loaded"):
        load("faster-whisper", tmp_path)


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
    assert len(FAMILIES) == 6
