"""A graph has the logits of the model that it was made of: alone, in a padded batch, at any length."""

import json
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import soundfile
import torch
import yaml
from torch import Tensor
from transformers import Wav2Vec2FeatureExtractor

from finetune import models
from finetune.config import DataConfig, ModelConfig, TrainConfig
from finetune.export import formats
from finetune.export import graphs as exported
from finetune.export import onnx as onnx_runtime
from finetune.export.formats import export
from finetune.export.graphs import GraphFacts, Runtime, logits_of
from finetune.export.onnx import ONNXRuntime
from finetune.export.openvino import OpenVINO, multiplies_bfloat16
from finetune.models import frame_geometry
from finetune.systems.base import LoadOptions
from finetune.systems.ctc_model import load_ctc
from finetune.systems.graphs import ONNXSystem
from finetune.systems.identity import identified
from finetune.systems.registry import device_of, load_system, parse_model, parse_models
from finetune.training.run_folder import plain
from finetune.transcription.options import TranscribeConfig, resolve
from preprocessing.corpus import load_waveform, open_corpus
from preprocessing.errors import InputError, UsageError
from preprocessing.units import Vocabulary
from tests.conftest import DEMO, ROOT
from tests.finetune.models.test_padding_invariance import SMALL, plain_model
from tests.finetune.runs import TINY

pytestmark = pytest.mark.usefixtures("one_thread")
ONNX, OPENVINO = ONNXRuntime(), OpenVINO()
GRAPH = ONNX.graph
LENGTHS = (16_000, 9_001, 30_000, 17_123)
SCRATCH: dict[str, dict[str, Any]] = {
    "lstm": {"hidden_size": 16, "num_layers": 2, "conv_channels": 4, "deltas": 1},
    "lstm kaldi": {"hidden_size": 16, "subsampling": "stack", "features": "kaldi_fbank", "normalisation": "global"},
    "whisper-ctc": {
        "num_mel_bins": 80,
        "d_model": 16,
        "encoder_layers": 2,
        "encoder_attention_heads": 2,
        "encoder_ffn_dim": 32,
        "max_source_positions": 150,
        "mixed_layers": 2,
    },
}


def waveforms(lengths: tuple[int, ...] = LENGTHS) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [0.1 * torch.randn(n, generator=generator) for n in lengths]


def run_of(folder: Path, family: str) -> Path:
    """A run of a family with random weights; of wav2vec2's, the kind of model that the name after the colon says."""
    family, _, kind = family.partition(":")
    scratch = TINY if family == "wav2vec2" else SCRATCH[family]
    settings = ModelConfig(family=family.split()[0], scratch=scratch)  # type: ignore[arg-type]
    recogniser = models.build(settings, ["TURN ON THE LIGHT"], seed=0)
    with torch.no_grad():
        recogniser.module.model.lm_head.weight.mul_(20.0)  # as decided as a trained model
    recogniser.save(folder, recogniser.module)
    if kind:
        plain_model(kind).save_pretrained(folder)
        Wav2Vec2FeatureExtractor().save_pretrained(folder)
        Vocabulary.load(DEMO / "wav2vec2").save(folder)
    config = TrainConfig(output_dir=folder, model=settings, data=DataConfig(train=["x"], validation="x"))
    (folder / "config.yaml").write_text(yaml.safe_dump(plain(config)), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def group(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A run of a group-normalised wav2vec 2.0, and its export for ONNX Runtime."""
    folder = tmp_path_factory.mktemp("onnx")
    run = run_of(folder / "run", "wav2vec2")
    line = export(run, folder / "out", "onnx")
    assert "load it with onnxruntime.InferenceSession, in a benchmark as onnx=" in line and "100.0 % of frames" in line
    return run, folder / "out"


@pytest.fixture(scope="module")
def int8(group: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same run's export for OpenVINO in int8."""
    out = tmp_path_factory.mktemp("openvino") / "out"
    line = export(group[0], out, "openvino", quantise="int8")
    assert ": openvino, int8, " in line and "in a benchmark as openvino=" in line
    return out


KINDS = ("wav2vec2", "wav2vec2:wavlm large", "wav2vec2:data2vec", "lstm", "lstm kaldi", "whisper-ctc")


@pytest.mark.slow
@pytest.mark.parametrize("runtime", [ONNX, OPENVINO], ids=lambda runtime: runtime.name)
@pytest.mark.parametrize("family", KINDS)
def test_a_padded_batch_has_the_logits_of_torch_alone(
    family: str, runtime: Runtime, group: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SMALL, "vocab_size", 32)
    run, out = group
    if (family, runtime) != ("wav2vec2", ONNX):
        run, out = run_of(tmp_path / "run", family), tmp_path / "out"
        export(run, out, runtime.name)
    reference = load_ctc(str(run))  # of which each family's tests say that it is transformers' own
    session = runtime.open(out / runtime.graph, 1)
    for found in (logits_of(session, waveforms()), [logits_of(session, [one])[0] for one in waveforms()]):
        for waveform, logits in zip(waveforms(), found, strict=True):
            expected = reference.log_probs(waveform)
            torch.testing.assert_close(logits.log_softmax(dim=-1), expected, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize(
    ("name", "numbers"),
    [
        ("onnx", "float32"),
        pytest.param("onnx", "int8", marks=pytest.mark.slow),
        pytest.param("openvino", "float32", marks=pytest.mark.slow),
    ],
)
def test_weights_that_torch_writes_as_many_files_become_one(
    name: str, numbers: str, group: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It does so for a model of over 2 GB."""
    (run, small), out = group, tmp_path / "out"
    trace = exported.trace

    def trace_in_parts(graph: torch.nn.Module, path: Path, run: Path) -> None:
        trace(graph, path, run)
        parts: dict[str, Any] = {"all_tensors_to_one_file": False, "size_threshold": 0}
        onnx.save(onnx.load(path), path, save_as_external_data=True, **parts)
        assert len(list(path.parent.iterdir())) > 20

    monkeypatch.setattr(exported, "trace", trace_in_parts)
    export(run, out, name, quantise=numbers)
    added = {path.name for path in out.iterdir()} - {path.name for path in small.iterdir()}
    of_onnx = {"model.onnx.data"} if numbers == "float32" else set[str]()
    expected = of_onnx if name == "onnx" else {"model.xml", "model.bin"}
    assert added == expected and formats._foreign(out, is_folder=True) == ""
    if added == {"model.onnx.data"}:
        assert (out / "model.onnx.data").stat().st_mode == (out / GRAPH).stat().st_mode
        found, wanted = (logits_of(ONNX.open(folder / GRAPH, 1), waveforms()) for folder in (out, small))
        torch.testing.assert_close(found, wanted, rtol=0.0, atol=1e-5)  # where weights lie may change the last bits
        (spec,) = parse_models(f"onnx={out}")
        weights = identified(load_system(spec, LoadOptions("cpu", None)).facts).weights
        assert [one.name for one in weights] == [GRAPH, f"{GRAPH}.data"]


def test_the_system_writes_what_torch_does(group: tuple[Path, Path]) -> None:
    run, out = group
    audio = [*waveforms(), torch.zeros(0), 0.1 * torch.ones(300)]
    paths = []
    for reference in (f"onnx={out}", f"wav2vec2={run}"):
        system = load_system(parse_models(reference)[0], LoadOptions("cpu", None))
        outcome = system.forward(system.features(audio))
        paths.append([path.tolist() for path in outcome])
        assert len(system.text(outcome)) == len(audio)
        (with_times,) = system.transcribe(audio[:1])
        assert system.has_word_times and with_times.text == system.text(outcome)[0]
    assert paths[0] == paths[1] and paths[0][4:] == [[], []] and len(paths[0][2]) == 93
    assert Vocabulary.load(out) == Vocabulary.load(run)
    assert GraphFacts.load(out, "onnx").largest_difference < 1e-4


@pytest.mark.slow
def test_openvino_in_int8_is_close_and_repeatable(group: tuple[Path, Path], int8: Path) -> None:
    """Whatever it is computed beside, and up to whatever length it is padded."""
    facts = GraphFacts.load(int8, "openvino")
    assert (facts.numbers, facts.int8_in) == ("int8", "layers") and facts.same_best_units > 0.9
    assert {path.name for path in int8.iterdir()} >= {"model.xml", "model.bin", "vocab.json"}
    assert not list(int8.glob("*.onnx"))
    (spec,) = parse_models(f"openvino={int8}")
    assert spec == parse_model(str(int8))
    system = load_system(spec, LoadOptions("cpu", None))
    together = system.forward(system.features([*waveforms(), torch.zeros(0)]))
    alone = [system.forward(system.features([one]))[0] for one in waveforms()]
    assert all(torch.equal(one, other) for one, other in zip(together, alone, strict=False))
    session = OPENVINO.open(int8 / OPENVINO.graph, 1)
    (expected,), (padded,) = (logits_of(session, waveforms()[1:2], grid) for grid in (1, 8_000))
    assert len(expected) == len(padded) == 27
    torch.testing.assert_close(padded, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("precision", ["auto", "float32", "bfloat16"])
def test_the_precision_of_openvino_is_said(precision: str, int8: Path) -> None:
    system = load_system(parse_models(f"openvino={int8}")[0], LoadOptions("cpu", None, precision=precision))
    fastest = "bfloat16" if multiplies_bfloat16() else "float32"
    expected = {"auto": fastest}.get(precision, precision)
    assert system.facts.settings["precision"] == f"int8 in the layers, else {expected}"
    assert system.facts.settings["runtime"].startswith("OpenVINO, ")


def test_a_precision_is_chosen_only_where_it_was_asked_for_and_spoils_no_log_mel() -> None:
    plain = GraphFacts("openvino", "wav2vec2", 0, "float32", "", 17, 400, 320, 0.0, 0.0, 1.0, "")
    assert OPENVINO.precision("auto", plain) == "float32"
    with pytest.raises(UsageError, match=r"--precision is float16, .* expected auto, float32 or bfloat16: choose"):
        OPENVINO.precision("float16", plain)
    facts = GraphFacts("openvino", "lstm", 0, "int8", "layers", 17, 400, 160, 0.0, 0.0, 1.0, "")
    assert OPENVINO.precision("auto", facts) == "float32"
    with pytest.raises(
        UsageError, match=r"--precision is bfloat16, which OpenVINO does not support for the family lstm"
    ):
        OPENVINO.precision("bfloat16", facts)


def test_a_long_recording_is_joined_from_chunks(group: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Of noise whose level does not change, chunks have the normalisation of the whole."""
    monkeypatch.setattr(frame_geometry, "WHOLE_SECONDS", 30.0)
    _, out = group
    system = load_system(parse_models(f"onnx={out}")[0], LoadOptions("cpu", None))
    assert isinstance(system, ONNXSystem)
    (recording,) = waveforms((50 * 16_000,))
    (joined,) = system.forward(system.features([recording]))
    (whole,) = logits_of(ONNX.open(out / GRAPH, 1), [recording])
    assert len(joined) == len(whole) == 2499
    assert float((joined == whole.argmax(dim=-1)).float().mean()) > 0.95


@pytest.mark.parametrize("family", ["wav2vec2", "lstm"])
def test_int8_is_close(family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_runtime, "ENOUGH_SAME", 0.8)  # of random weights, whose best units are close
    run = run_of(tmp_path / "run", family)
    line = export(run, tmp_path / "out", "onnx", quantise="int8", data=str(DEMO / "corpus" / "test.jsonl"))
    facts = GraphFacts.load(tmp_path / "out", "onnx")
    assert (
        ": onnx, int8, " in line
        and facts.numbers == "int8"
        and "test.jsonl" in facts.checked_on
        and str(DEMO) not in facts.checked_on
    )
    nodes = onnx.load(tmp_path / "out" / GRAPH).graph.node
    quantised = [node.name for node in nodes if node.op_type in ("MatMulInteger", "DynamicQuantizeLSTM")]
    layers = [name for name in quantised if "/layers." in name]
    assert len(layers) == (6 if family == "wav2vec2" else 4)
    assert len(quantised) - len(layers) == (1 if family == "wav2vec2" else 0)  # its longest convolution
    assert facts.same_best_units > (0.9 if family == "lstm" else 0.8)
    assert sorted(path.name for path in (tmp_path / "out").glob("*.onnx")) == [GRAPH]
    system = load_system(parse_models(f"onnx={tmp_path / 'out'}")[0], LoadOptions("cpu", None))
    together = system.forward(system.features(waveforms()))
    alone = [system.forward(system.features([one]))[0] for one in waveforms()]
    assert all(torch.equal(one, other) for one, other in zip(together, alone, strict=True))
    convolution = " and the longest convolution" if family == "wav2vec2" else ""
    assert system.facts.settings["precision"] == f"int8 in the layers{convolution}, else float32"


def test_a_convolution_that_int8_hurts_stays_float32(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = run_of(tmp_path / "run", "wav2vec2")
    monkeypatch.setattr(onnx_runtime, "ENOUGH_SAME", 1.01)
    export(run, tmp_path / "out", "onnx", quantise="int8")
    facts = GraphFacts.load(tmp_path / "out", "onnx")
    assert facts.int8_in == "layers" and facts.same_best_units > 0.9
    nodes = onnx.load(tmp_path / "out" / GRAPH).graph.node
    assert all("/layers." in node.name for node in nodes if node.op_type == "MatMulInteger")


def test_alignment_of_an_exported_graph_is_on_the_cpu_unless_a_gpu_is_asked_for(
    group: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert load_ctc(str(group[1]), "auto").vocabulary.size > 1
    with pytest.raises(UsageError, match="expected --device cpu"):
        load_ctc(str(group[1]), "cuda")


def test_commands_run_an_exported_graph_on_the_cpu_unless_a_gpu_is_asked_for(
    group: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert resolve(TranscribeConfig(str(group[1]), []))[1].device == "cpu"
    assert resolve(TranscribeConfig(str(group[1]), [], device="cuda"))[1].device == "cuda"
    assert resolve(TranscribeConfig(str(group[0]), []))[1].device == "cuda"
    assert [device_of(family, "auto") for family in ("onnx", "openvino", "whisper", "own:Class")] == [
        *("cpu", "cpu", "cuda", "cuda")
    ]


def test_what_cannot_be_exported_is_said(
    group: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, out = group
    with pytest.raises(UsageError, match=r"--quantise is float16 and --format onnx"):
        export(run, tmp_path / "out", "onnx", quantise="float16")
    with pytest.raises(UsageError, match=r"--data is x and --format transformers, which compares nothing"):
        export(run, tmp_path / "out", "transformers", data="x")
    with pytest.raises(InputError, match=r"graph\.json cannot be used .*--format onnx`: name one"):
        load_system(parse_models(f"onnx={run}")[0], LoadOptions("cpu", None))
    with pytest.raises(UsageError, match="expected --device cpu"):
        load_system(parse_models(f"onnx={out}")[0], LoadOptions("cuda", None))

    class Odd(torch.nn.Module):
        def forward(self, samples: Tensor, _: Tensor) -> Tensor:
            return torch.special.i1(samples)

    with pytest.raises(InputError, match=r"run: cannot be written as ONNX of opset 17 \(.*i1.*use --format transf"):
        exported.trace(Odd(), tmp_path / "odd.onnx", run)
    session = ONNX.open(out / GRAPH, 1)
    wrong = exported.Check(waveforms(), [own + 1.0 for own in logits_of(session, waveforms())], [])
    with pytest.raises(InputError, match=r"logits differ by .* from torch's; expected at most"):
        exported.largest_difference(session, wrong, run)
    with pytest.raises(InputError, match=r"it is for onnx\); expected the OUT of .*--format openvino`"):
        load_system(parse_models(f"openvino={out}")[0], LoadOptions("cpu", None))
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(
        InputError, match=r'onnxruntime is not installed; .*: pip install "\.\[onnx\]" in the checkout$'
    ):
        export(run, tmp_path / "out", "onnx")
    assert not (tmp_path / "out").exists()


def test_the_example_of_the_documentation_writes_what_the_package_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = run_of(tmp_path / "run", "wav2vec2")
    for name in ("config.json", "model.safetensors", "preprocessor_config.json", "tokenizer_config.json", "vocab.json"):
        (run / name).write_bytes((DEMO / "wav2vec2" / name).read_bytes())  # one that writes words
    export(run, tmp_path / "OUT", "onnx")
    section = (ROOT / "docs" / "hub.md").read_text(encoding="utf-8").partition("### ONNX and OpenVINO")[2]
    example = section.partition("```python\n")[2].partition("```")[0]
    assert set(re.findall(r"^import (\w+)", example, re.MULTILINE)) == {"json", "wave", "numpy", "onnxruntime"}
    monkeypatch.chdir(tmp_path)
    system = load_system(parse_models(f"onnx={tmp_path / 'OUT'}")[0], LoadOptions("cpu", None))
    spoken = [load_waveform(one) for one in open_corpus(str(DEMO / "corpus" / "test.jsonl")).utterances[:2]]
    for waveform in (*spoken, torch.zeros(100)):
        soundfile.write("speech.wav", waveform.numpy(), 16_000, "PCM_16")
        exec(example, {})
        (expected,) = system.text(system.forward(system.features([waveform])))
        assert capsys.readouterr().out == f"{expected}\n" and bool(expected) == (len(waveform) > 100)
    facts = json.loads((tmp_path / "OUT" / "graph.json").read_text(encoding="utf-8"))
    vocabulary = Vocabulary.load(run)
    assert facts["units"] == list(vocabulary.units) and set(facts["special"]) == vocabulary.silent
    assert (facts["blank"], facts["boundary"]) == (vocabulary.blank, vocabulary.boundary)
    described = {one.key: json.loads(one.value) for one in onnx.load(tmp_path / "OUT" / GRAPH).metadata_props}
    assert described == {name: facts[name] for name in onnx_runtime.DESCRIBED}
    assert described["sample_rate"] == 16_000 and described["shortest"] == facts["shortest"]


def test_an_utterance_without_samples_has_no_frames_and_changes_no_other(group: tuple[Path, Path]) -> None:
    session, (waveform, *_) = ONNX.open(group[1] / GRAPH, 1), waveforms()
    both, n_frames = session(torch.stack([waveform, torch.zeros_like(waveform)]).numpy(), np.array([len(waveform), 0]))
    alone, (frames,) = session(waveform[None].numpy(), np.array([len(waveform)]))
    assert n_frames.tolist() == [frames, 0]
    np.testing.assert_allclose(both[0], alone[0], atol=1e-4)


def test_int8_is_adjusted_to_the_speech_of_the_training(tmp_path: Path) -> None:
    run = run_of(tmp_path / "run", "lstm")
    line = export(run, tmp_path / "other", "onnx", quantise="int8")
    assert "NOTE: int8 is adjusted to the embedded demo's synthetic English commands" in line and "--data" in line
    assert "NOTE" not in export(run, tmp_path / "float32", "onnx")
    config = yaml.safe_load((run / "config.yaml").read_text())
    config["data"]["train"] = ["gone.jsonl", str(DEMO / "corpus" / "train.jsonl")]
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    line = export(run, tmp_path / "own", "onnx", quantise="int8")
    assert "NOTE" not in line and "on 8 utterances of train.jsonl" in line


def test_no_long_recordings_are_compared_and_of_the_hub_a_part_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest, limits = tmp_path / "train.jsonl", list[int | None]()
    rows = []
    for name, seconds in (("short", 1), ("long", 31)):
        soundfile.write(tmp_path / f"{name}.wav", 0.1 * np.ones(seconds * 16_000), 16_000)
        rows.append(json.dumps({"audio": f"{name}.wav", "text": "yes"}))
    manifest.write_text("\n".join(rows))
    usable = range(401, 480_001)
    for named, corpora in ((None, [str(manifest)]), (str(manifest), [])):
        assert [len(one) for one in exported._speech(named, corpora, usable)[1]] == [16_000]

    def opened(reference: str, *, limit: int | None) -> Any:
        limits.append(limit)
        return open_corpus(str(manifest))

    monkeypatch.setattr("preprocessing.corpus.open_corpus", opened)
    for reference in ("hf:you/hours:train", str(manifest)):
        exported._speech(None, [reference], usable)
    assert limits == [exported.MOST_OF_HUB, None]


def test_utterances_without_a_frame_are_not_compared(group: tuple[Path, Path], tmp_path: Path) -> None:
    manifest, short = tmp_path / "short.jsonl", json.dumps({"audio": "short.wav", "text": "yes"}) + "\n"
    for name, n_samples in (("short.wav", 100), ("long.wav", 16_000)):
        soundfile.write(tmp_path / name, waveforms((n_samples,))[0].numpy(), 16_000)
    manifest.write_text(short + short.replace("short", "long"))
    assert "on 1 utterance of short.jsonl" in export(group[0], tmp_path / "out", "onnx", data=str(manifest))
    manifest.write_text(short)
    with pytest.raises(InputError, match=r"has no utterance of over .* ms, .* has a frame, up to 30 s"):
        export(group[0], tmp_path / "none", "onnx", data=str(manifest))


def test_utterances_beyond_the_positions_of_an_encoder_are_not_compared(tmp_path: Path) -> None:
    """150 positions are 3 s."""
    for name, n_samples in (("long", 48_001), ("longest", 48_000)):
        soundfile.write(tmp_path / f"{name}.wav", waveforms((n_samples,))[0].numpy(), 16_000)
    manifest = tmp_path / "data.jsonl"
    manifest.write_text("\n".join(json.dumps({"audio": f"{name}.wav", "text": "yes"}) for name in ("long", "longest")))
    run = run_of(tmp_path / "run", "whisper-ctc")
    assert "on 1 utterance of data.jsonl" in export(run, tmp_path / "out", "onnx", data=str(manifest))


def test_an_opset_that_the_runtime_lacks_is_said(group: tuple[Path, Path], tmp_path: Path) -> None:
    _, out = group
    graph = onnx.load(out / GRAPH)
    graph.opset_import[0].version = 99
    onnx.save(graph, tmp_path / "new.onnx")
    with pytest.raises(InputError, match=r"new\.onnx: ONNX Runtime [\d.]+ does not load it .*opset.*newer onnxruntime"):
        ONNX.open(tmp_path / "new.onnx", 1)


def test_a_graph_that_openvino_cannot_read_is_said(tmp_path: Path) -> None:
    (tmp_path / "model.xml").write_text("<net", encoding="utf-8")
    with pytest.raises(InputError, match=r"model\.xml: OpenVINO [\d.]+.* does not load it .*install a newer openvino"):
        OPENVINO.open(tmp_path / "model.xml", 1)


def test_other_architectures_are_refused_by_name(tmp_path: Path) -> None:
    from transformers import Wav2Vec2BertConfig

    run = run_of(tmp_path / "run", "wav2vec2")
    Wav2Vec2BertConfig().save_pretrained(run)
    with pytest.raises(InputError, match=r"run: wav2vec2-bert is not exported; expected one of wav2vec2, hubert"):
        export(run, tmp_path / "out", "onnx")
