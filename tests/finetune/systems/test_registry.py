"""Systems by name, and each of them on speech: batches, nothing at all, what is missing said in a sentence."""

import hashlib
import json
import os
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import jiwer
import pytest
import torch
from torch import Tensor

from benchmark.config import BenchmarkConfig
from benchmark.environment import command_of
from benchmark.results import SystemFacts
from finetune.models.availability import check_checkpoint
from finetune.systems import identity
from finetune.systems.base import LoadOptions, System, SystemSpec
from finetune.systems.facts import SystemOptions
from finetune.systems.pocketsphinx import BLOCK_SECONDS, blocks
from finetune.systems.registry import check_system_options, load_system, parse_model, parse_models
from preprocessing import audio
from preprocessing.audio import SAMPLE_RATE
from preprocessing.cli.options import parse_command
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
    assert heard(theirs, [torch.zeros(0), torch.zeros(1), torch.zeros(399)]) == ["", "", ""]


@pytest.mark.slow
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
    monkeypatch.delitem(sys.modules, "finetune.systems.faster_whisper_model", raising=False)  # which has imported it
    yield monkeypatch


@pytest.mark.parametrize("family", ["pocketsphinx", "faster-whisper"])
def test_a_missing_package_is_named_with_its_install_line(family: str, without: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r'not installed; .*pip install "\.\[rivals\]" in the checkout$'):
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
        ("pipeline b", "pipeline"),
        ("own.module:Class", "own.module:Class"),
    ]
    (spec,) = parse_models("pipeline=runs/lr=1e-4/my model")
    assert (spec.family, spec.checkpoint) == ("pipeline", "runs/lr=1e-4/my model")


def test_a_mistyped_run_is_no_hub_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "runs" / "digits").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    asked: list[str] = []
    monkeypatch.setattr("finetune.models.availability.hub_has", lambda name: asked.append(name) or name == "runs/known")
    for reference in ("runs/digit", "wav2vec2=runs/digit", "mine=whisper:runs/digit"):
        with pytest.raises(UsageError, match=r"runs/digit: no such file or folder; .*: did you mean runs/digits\?"):
            parse_model(reference)
    with pytest.raises(UsageError, match=r"^--model\.base runs/x: no such .*: check the name$"):
        check_checkpoint("runs/x", "--model.base ")
    assert set(asked) == {"runs/digit", "runs/x"}
    asked.clear()
    check_checkpoint("runs/digits")
    check_checkpoint("organisation/digit")  # of no folder here: what is wrong with it, the Hub says
    assert not asked
    check_checkpoint("runs/known")


def test_an_adapter_without_its_model_is_refused_with_the_way_to_merge_it(tmp_path: Path) -> None:
    adapter = {"peft_type": "LORA", "base_model_name_or_path": "openai/whisper-tiny"}
    (tmp_path / "adapter_config.json").write_text(json.dumps(adapter))
    (tmp_path / "adapter_model.safetensors").touch()
    expected = r"is a LoRA adapter for openai/whisper-tiny, not a model; .*merge_and_unload\(\)"
    for family in ("whisper", "wav2vec2", "pipeline"):
        with pytest.raises(InputError, match=expected):
            load_system(SystemSpec(family, family, str(tmp_path)), LoadOptions("cpu", None))
    with pytest.raises(InputError, match=expected):
        parse_model(str(tmp_path))
    with pytest.raises(InputError, match=expected):
        check_checkpoint(str(tmp_path), "--model.base ")
    (tmp_path / "config.json").write_text("{}")  # which is a model's, as a whole
    check_checkpoint(str(tmp_path))


@pytest.mark.parametrize(
    ("model_type", "family", "named"),
    [("whisper-ctc", "whisper-ctc", "wav2vec2"), ("lstm-ctc", "lstm", "whisper-ctc"), ("whisper", "whisper", "lstm")],
)
def test_a_run_under_the_name_of_another_family_is_told_its_own(
    model_type: str, family: str, named: str, tmp_path: Path
) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": model_type}))
    (spec,) = parse_models(f"mine={named}:{tmp_path}")
    with pytest.raises(InputError, match=f"is a model of the family {family}; .*: write {family} in place of {named}$"):
        load_system(spec, OPTIONS)


def test_a_system_is_called_what_the_user_calls_it() -> None:
    specs = parse_models("tiny=whisper:models/tiny.en.pt,mine=wav2vec2:runs/a:b=c,sphinx=pocketsphinx")
    assert [(spec.name, spec.family, spec.checkpoint) for spec in specs] == [
        ("tiny", "whisper", "models/tiny.en.pt"),
        ("mine", "wav2vec2", "runs/a:b=c"),
        ("sphinx", "pocketsphinx", "en-us, in the package"),
    ]
    (spec,) = parse_models("mine=lstm+lm:runs/a")
    assert (spec.name, spec.family, spec.decodes_with_lm) == ("mine", "lstm", True)
    assert spec.facts(0, {}).family == "lstm+lm"  # as results of any age have it
    with pytest.raises(UsageError, match="names mine twice"):
        parse_models("mine=whisper:a.pt,mine=lstm:b")
    with pytest.raises(UsageError, match=r"the name 'a\|b'"):
        parse_models("a|b=whisper:x.pt")
    with pytest.raises(UsageError, match="names no checkpoint"):
        parse_models("tiny=whisper:")
    with pytest.raises(UsageError, match="unknown system 'tiny'"):
        parse_models("tiny=wisper:x.pt")


@pytest.mark.parametrize(
    ("references", "names"),
    [
        ("whisper=x/tiny.en.pt,faster-whisper=x/base/", ["whisper tiny.en", "faster-whisper base"]),
        ("whisper=tiny.en,whisper=runs/german/whisper.pt", ["whisper tiny.en", "whisper german"]),
        ("wav2vec2=facebook/wav2vec2-base-960h,wav2vec2=demo/wav2vec2", ["wav2vec2-base-960h", "wav2vec2 demo"]),
        ("lstm=a/x/run,lstm=b/x/run,lstm=c/other", ["lstm a/x/run", "lstm b/x/run", "lstm other"]),
        ("lstm=run,lstm=a/run", ["lstm run", "lstm a/run"]),
        ("lstm digits=whisper:x.pt,lstm=runs/digits", ["lstm digits", "lstm runs/digits"]),
        ("whisper=models/v1.5,wav2vec2+lm=runs/digits", ["whisper v1.5", "wav2vec2+lm digits"]),
    ],
)
def test_names_are_short_and_tell_systems_apart(references: str, names: list[str]) -> None:
    assert [spec.name for spec in parse_models(references)] == names


@pytest.mark.parametrize("references", ["lstm=run,lstm=run", "lstm=run,lstm=./run", "lstm run=whisper:x,lstm=run"])
def test_systems_that_no_name_tells_apart_are_refused(references: str) -> None:
    with pytest.raises(UsageError, match=r"names .* twice"):
        parse_models(references)


def test_options_of_one_system_come_from_command_line_and_yaml(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(
        "system_options:\n  prompted: {initial_prompt: 'zero, one', temperature: [0, 0.2]}\n  tiny.en: {beam_size: 5}\n"
    )

    def parse(*words: str) -> BenchmarkConfig:
        return parse_command(BenchmarkConfig, program="p", description="", arguments=words)

    from_yaml = parse("--config", str(tmp_path / "c.yaml"))
    assert from_yaml.system_options == {
        "prompted": SystemOptions(initial_prompt="zero, one", temperature=[0.0, 0.2]),
        "tiny.en": SystemOptions(beam_size=5),
    }
    again = parse(*shlex.split(command_of(from_yaml))[2:])  # what the report says to measure it again
    assert again.system_options == from_yaml.system_options
    flags = ("--system_options.a.beam_size", "5", "--system_options.b.initial_prompt", "zero one")
    assert parse(*flags).system_options == {
        "a": SystemOptions(beam_size=5),
        "b": SystemOptions(initial_prompt="zero one"),
    }
    assert parse(*flags).settings()["system_options"] == '{"a": {"beam_size": 5}, "b": {"initial_prompt": "zero one"}}'
    assert "system_options" not in BenchmarkConfig().settings()
    with pytest.raises(UsageError, match=r'^Parser key "system_options": Option \'beam\' is not accepted'):
        parse("--system_options.a.beam", "5")


@pytest.mark.parametrize(
    ("name", "options", "told"),
    [
        ("prompt", {"beam_size": 5}, r"--system_options.prompt names no system.*did you mean prompted"),
        (
            "prompted",
            {"vad_filter": True},
            "prompted.vad_filter: the family whisper has no such option; expected",
        ),
        ("mine", {"beam_size": 5}, "the family wav2vec2 has no such option; expected language: leave it out"),
        ("prompted", {"beam_size": 0}, r"prompted.beam_size is 0; expected 1 or more"),
        ("prompted", {"temperature": [0.4, 0.2]}, "expected 0 or more, rising"),
        ("prompted", {"temperature": 0.5, "beam_size": 5}, "expected temperature 0 with a beam search"),
    ],
)
def test_options_that_a_system_does_not_take(name: str, options: dict[str, object], told: str) -> None:
    given = {name: SystemOptions(**options)}  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=told):
        BenchmarkConfig(system_options=given).check()
        check_system_options(parse_models("prompted=whisper:x.pt,mine=wav2vec2:y"), given)


def test_options_that_a_system_takes() -> None:
    specs = parse_models("a=whisper:x.pt,b=faster-whisper:y,own.module:Class")
    given = {"a": SystemOptions(initial_prompt="zero"), "b": SystemOptions(vad_filter=True, compute_type="int8")}
    check_system_options(specs, given | {"own.module:Class": SystemOptions(beam_size=2)})


def test_weights_are_known_by_their_hash_which_is_computed_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = tmp_path / "model.pt"
    path.write_bytes(b"weights")
    expected = hashlib.sha256(b"weights").hexdigest()
    facts = SystemFacts("mine", "whisper", str(path), 7, {"language": "en", "batch": "8"})
    (weights,) = identity.identified(facts).weights
    assert (weights.name, weights.bytes, weights.sha256) == ("model.pt", 7, expected)
    assert identity.identified(facts).signature == f"whisper|weights:{expected[:12]}|language:en"
    before = path.stat()
    path.write_bytes(b"another")  # as long, and with the old time of change: only a file that is read again is another
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert identity.sha256_of(path) == expected
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    assert identity.sha256_of(path) == hashlib.sha256(b"another").hexdigest()
    monkeypatch.setenv("XDG_CACHE_HOME", str(path))  # no folder: nothing can be kept, and nothing fails
    assert identity.sha256_of(path) == hashlib.sha256(b"another").hexdigest()


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (["model.safetensors", "optimizer.bin", "vocab.json"], ["model.safetensors"]),
        (["m-1-of-2.safetensors", "m-2-of-2.safetensors"], ["m-1-of-2.safetensors", "m-2-of-2.safetensors"]),
        (["model.bin", "config.json", "tokenizer.json"], ["model.bin"]),
        (["whisper.pt", "run.json", "model.safetensors"], ["whisper.pt"]),
        (["pytorch_model.bin", "training_args.bin"], ["pytorch_model.bin"]),
        (["config.json"], []),
    ],
)  # fmt: skip
def test_the_weights_of_a_folder(tmp_path: Path, files: list[str], expected: list[str]) -> None:
    for name in files:
        (tmp_path / name).write_bytes(b"x")
    assert [path.name for path in identity.weights_of("wav2vec2", str(tmp_path))] == expected
    assert identity.weights_of("pocketsphinx", "en-us, in the package") == []
    assert identity.weights_of("whisper", "no such size") == []
    for not_here in ("no such size", "nobody/has-fetched-this"):
        assert identity.weights_of("faster-whisper", not_here) == []


def test_a_name_that_is_a_familys_is_refused_as_one() -> None:
    """And not the file of another family that follows it; a Hub id has no colon."""
    for models in ("whisper=transcripts:b.jsonl", "wav2vec2=whisper:base.en"):
        family, _, rest = models.partition("=")
        with pytest.raises(UsageError, match=f"the name {family!r}, which is a family's.* before {rest}"):
            parse_models(models)
    assert parse_models("my-whisper=transcripts:b.jsonl")[0].name == "my-whisper"
