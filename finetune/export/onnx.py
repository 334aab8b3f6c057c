"""A CTC model as one ONNX graph: waveforms and their lengths in, logits and frame counts out.

Inputs: `waveforms` [batch, samples] float32 at 16 kHz, zeros after each utterance, and `n_samples` [batch] int64.
Outputs: `logits` [batch, frames, units] float32 and `n_frames` [batch] int64. Normalisation and features are in the
graph, and an utterance has the logits in a padded batch that it has alone, group-normalised models included. int8 is
ONNX Runtime's dynamic quantisation of matrix products, of the layers and of the longest convolution, whose scales are
the batch's: what an utterance gets depends on what it is given with.

The graph is traced (torch's older exporter: that over torch.export takes 15 times as long for the same graph) and then
compared with the model itself, at lengths and batches that it was not traced with.
"""

import importlib
import json
import logging
import shutil
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from finetune.decoding.posteriors import FrameTimes, frame_times, has_adapter, lstm_times, whisper_ctc_times
from finetune.export.onnx_modules import LONGEST_CONVOLUTION, OwnGraph, Wav2Vec2Graph
from finetune.models.architectures import ARCHITECTURES, architecture_of, model_input
from finetune.training.about import without_folders
from preprocessing.audio import SAMPLE_RATE
from preprocessing.cli.errors import InputError

GRAPH, FACTS = "model.onnx", "onnx.json"
OPSET = 17  # the first with LayerNormalization
INPUTS, OUTPUTS = ("waveforms", "n_samples"), ("logits", "n_frames")
TOLERANCE = 1e-3  # of the largest difference from torch, relative to the largest logit or 1
CHECKED_UTTERANCES = 8
QUANTISED = ("MatMul", "Gemm", "LSTM")
LAYERS = "/layers."  # in the names of nodes of the encoder's layers
ENOUGH_SAME = 0.98  # of frames with torch's best unit, for a convolution in int8
INSTALL = 'pip install "speech-on-your-own[onnx]"'
FILES = ("config.json", "preprocessor_config.json", "vocab.json", "units.json", "tokenizer.json",
         "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "about.json")  # fmt: skip


@dataclass(frozen=True)
class GraphFacts:
    """What a graph says of itself, in onnx.json.

    family: of the run. parameters: of the model. numbers: float32 or int8. int8_in: the parts with int8 products, in
    words. opset: of the graph. shortest: samples of a waveform with a frame. stride, first: of the frames, as in
    FrameTimes. largest_difference: of the float32 graph from torch's logits on the utterances of the check.
    same_best_units: share of frames in which the graph as written and torch have the same best unit. checked_on: these
    utterances.
    """

    family: str
    parameters: int
    numbers: str
    int8_in: str
    opset: int
    shortest: int
    stride: int
    first: float
    largest_difference: float
    same_best_units: float
    checked_on: str

    @property
    def description(self) -> str:
        """The numbers, for the report."""
        return "float32" if self.numbers == "float32" else f"{self.numbers} in the {self.int8_in}, else float32"

    @classmethod
    def load(cls, folder: Path) -> "GraphFacts":
        """Those of an export. Raises InputError where the folder is none."""
        try:
            return cls(**json.loads((folder / FACTS).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError) as error:
            raise InputError(
                f"{folder}: {FACTS} cannot be read ({error}); expected the OUT of `python -m finetune.export RUN OUT "
                "--format onnx`: name one"
            ) from None


def export_graph(model: Path, family: str, out: Path, numbers: str, data: str | None = None) -> str:
    """Writes the graph of a CTC model with its vocabulary, configuration and facts to `out`, which must not exist.
    Returns what comparing the two found, in words.

    model: folder of a run, or of transformers. family: as in training. data: corpus to compare on; None: the embedded
    demo's test corpus. Raises InputError where packages are missing, or the model cannot be exported or computes
    something else in ONNX Runtime.
    """
    require_packages()
    plain, graph, normalise, times = _model_and_graph(model, family)
    waveforms = _utterances(data)
    out.mkdir()
    float32 = out / (GRAPH if numbers == "float32" else "float32.onnx")
    _trace(graph, float32, model)
    expected = [_alone(plain, one, normalise) for one in waveforms]
    largest = _checked(float32, waveforms, expected, model)
    if numbers == "int8":
        int8_in, same = _quantised_as_far_as_it_goes(float32, out / GRAPH, waveforms, expected)
        float32.unlink()
    else:
        int8_in, same = "", _same_best_units(float32, waveforms, expected)
    facts = GraphFacts(
        family=family,
        parameters=sum(parameter.numel() for parameter in plain.parameters()),
        numbers=numbers,
        int8_in=int8_in,
        opset=OPSET,
        shortest=_shortest(graph),
        stride=times.stride,
        first=times.first,
        largest_difference=largest,
        same_best_units=same,
        checked_on=f"{len(waveforms)} utterances of {without_folders(data) if data else 'the embedded demo'}",
    )
    for name in FILES:
        if (model / name).is_file():
            shutil.copyfile(model / name, out / name)
    (out / FACTS).write_text(json.dumps(asdict(facts), indent=1) + "\n", encoding="utf-8")
    return (
        f"beside torch on {facts.checked_on}: float32 logits differ by at most {largest:.1e}, best units are the "
        f"same in {100 * facts.same_best_units:.1f} % of frames"
    )


def require_packages(where: str = "--format onnx: ", names: Sequence[str] = ("onnx", "onnxruntime")) -> None:
    """Raises InputError, which begins with `where`, unless the packages are installed."""
    for name in names:
        try:
            importlib.import_module(name)
        except ImportError:
            raise InputError(
                f"{where}the package {name} is not installed; expected it for ONNX graphs: {INSTALL}"
            ) from None


def open_session(path: Path, threads: int) -> Any:
    """ONNX Runtime's session of a graph, on the CPU. Raises InputError where the runtime refuses it, such as an opset
    or an operator that it lacks.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the runtime's own exceptions share no base
        raise InputError(
            f"{path}: ONNX Runtime {onnxruntime.__version__} does not load it ({_first_line(error)}); expected a graph "
            "of an opset and operators that it has: install a newer onnxruntime, or export again"
        ) from None


def logits_of(session: Any, waveforms: Sequence[Tensor]) -> list[Tensor]:
    """Logits [frames, units] of each waveform [samples], computed as one padded batch."""
    padded = torch.nn.utils.rnn.pad_sequence(list(waveforms), batch_first=True)
    n_samples = torch.tensor([len(one) for one in waveforms])
    logits, n_frames = session.run(OUTPUTS, {"waveforms": padded.numpy(), "n_samples": n_samples.numpy()})
    return [torch.from_numpy(own[:n]) for own, n in zip(logits, n_frames.tolist(), strict=True)]


def _model_and_graph(folder: Path, family: str) -> tuple[Any, nn.Module, bool, FrameTimes]:
    """A model as it is, another one as a graph, whether waveforms are normalised for the first, and its frames.

    Raises InputError for a model that cannot be exported.
    """
    path = str(folder)
    if family == "lstm":
        from finetune.models import lstm

        plain = lstm.load(path).eval()
        return plain, OwnGraph(lstm.load(path).eval()), False, lstm_times(plain)
    if family == "whisper-ctc":
        from finetune.models import whisper_ctc

        return whisper_ctc.load(path).eval(), OwnGraph(whisper_ctc.load(path).eval()), False, whisper_ctc_times()
    from transformers import AutoConfig, AutoFeatureExtractor, AutoModelForCTC

    from finetune.models.checkpoint_checks import checked_loading

    config = AutoConfig.from_pretrained(path)
    times = frame_times(config)
    if not architecture_of(config, path).exported or has_adapter(config) or times is None:
        what = "a model with an adapter after the transformer" if has_adapter(config) else config.model_type
        exported = [name for name, one in ARCHITECTURES.items() if one.exported and not one.refused]
        raise InputError(
            f"{path}: {what} is not exported; expected one of {', '.join(exported)}, an lstm or a whisper-ctc: use "
            "--format transformers"
        )
    normalise = AutoFeatureExtractor.from_pretrained(path).do_normalize
    with checked_loading(path):
        plain, other = (
            AutoModelForCTC.from_pretrained(path, dtype=torch.float32, attn_implementation=attention).eval()
            for attention in (None, "eager")  # ONNX Runtime joins its products to fewer nodes
        )
    return plain, Wav2Vec2Graph(other, normalise).eval(), normalise, times


def _shortest(graph: nn.Module) -> int:
    """Samples of the shortest waveform that has a frame."""
    return next(n for n in range(1, SAMPLE_RATE) if int(graph.n_frames(torch.tensor([n]))) > 0)  # type: ignore[operator]


def _utterances(data: str | None) -> list[Tensor]:
    """Waveforms [samples] of the check, spread over the corpus. Raises InputError where it has none."""
    from finetune.systems.availability import DEMO
    from preprocessing.corpus import load_waveform, open_corpus

    listed = list(open_corpus(data or str(DEMO / "corpus" / "test.jsonl")).utterances)
    if not listed:
        raise InputError(f"--data {data}: no utterance there; expected some to compare with torch: name another corpus")
    step = max(len(listed) // CHECKED_UTTERANCES, 1)
    return [load_waveform(utterance) for utterance in listed[::step][:CHECKED_UTTERANCES]]


@torch.inference_mode()
def _alone(model: Any, waveform: Tensor, normalise: bool) -> Tensor:
    """The model's own logits [frames, units] of one waveform [samples]."""
    return model(model_input(waveform, normalise)[None]).logits[0]  # type: ignore[no-any-return]


def _trace(graph: nn.Module, path: Path, run: Path) -> None:
    """Writes the graph. Raises InputError naming the operator that ONNX does not have."""
    samples = torch.randn(2, SAMPLE_RATE, generator=torch.Generator().manual_seed(0))
    n_samples = torch.tensor([SAMPLE_RATE, SAMPLE_RATE * 3 // 4])
    samples[1, n_samples[1] :] = 0.0
    try:
        with _quiet(), torch.no_grad():
            torch.onnx.export(
                graph,
                (0.1 * samples, n_samples),
                str(path),
                input_names=list(INPUTS),
                output_names=list(OUTPUTS),
                opset_version=OPSET,
                dynamic_axes={
                    "waveforms": {0: "batch", 1: "samples"},
                    "n_samples": {0: "batch"},
                    "logits": {0: "batch", 1: "frames"},
                    "n_frames": {0: "batch"},
                },
                dynamo=False,
            )
    except (RuntimeError, TypeError, ValueError) as error:  # torch.onnx.errors derive from RuntimeError
        raise InputError(
            f"{run}: cannot be written as ONNX of opset {OPSET} ({_first_line(error)}); expected operators that it "
            "has: use --format transformers"
        ) from None


def _checked(path: Path, waveforms: Sequence[Tensor], expected: Sequence[Tensor], run: Path) -> float:
    """The largest difference of the graph's logits from the expected ones, alone and in one padded batch.

    Raises InputError where it is over TOLERANCE.
    """
    session = open_session(path, torch.get_num_threads())
    largest = bound = 0.0
    for found in (logits_of(session, waveforms), [logits_of(session, [one])[0] for one in waveforms]):
        for own, theirs in zip(found, expected, strict=True):
            if own.shape != theirs.shape:
                raise InputError(
                    f"{run}: as ONNX it gives logits {list(own.shape)}, in torch {list(theirs.shape)}; expected the "
                    "same: use --format transformers"
                )
            largest = max(largest, float((own - theirs).abs().max()))
            bound = max(bound, TOLERANCE * max(float(theirs.abs().max()), 1.0))
    if not largest <= bound:
        raise InputError(
            f"{run}: as ONNX its logits differ by {largest:.1e} from torch's; expected at most {bound:.1e}: use "
            "--format transformers"
        )
    return largest


def _same_best_units(path: Path, waveforms: Sequence[Tensor], expected: Sequence[Tensor]) -> float:
    session = open_session(path, torch.get_num_threads())
    found = [logits_of(session, [one])[0].argmax(dim=-1) for one in waveforms]
    same = sum(int((own == theirs.argmax(dim=-1)).sum()) for own, theirs in zip(found, expected, strict=True))
    return same / sum(len(own) for own in found)


def _quantised_as_far_as_it_goes(
    path: Path, out: Path, waveforms: Sequence[Tensor], expected: Sequence[Tensor]
) -> tuple[str, float]:
    """Writes a graph in int8, the feature encoder's longest convolution too where ENOUGH_SAME frames keep torch's best
    unit. Returns the parts that are int8, and the share of these frames.
    """
    if _quantise(path, out, with_convolution=True):
        same = _same_best_units(out, waveforms, expected)
        if same >= ENOUGH_SAME:
            return "layers and the longest convolution", same
    _quantise(path, out, with_convolution=False)
    return "layers", _same_best_units(out, waveforms, expected)


def _quantise(path: Path, out: Path, *, with_convolution: bool) -> bool:
    """Writes a graph with weights in int8, a scale for each output channel, and says whether a convolution is.

    Attention, feed-forward and recurrent layers, and on request the longest convolution, which has half of the feature
    encoder's products; in those after it int8 costs words. Positions and the output layer stay float32. Weights have 7
    bits: with 8, products on CPUs without VNNI saturate.
    """
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    nodes = [node for node in onnx.load(path, load_external_data=False).graph.node if node.op_type in QUANTISED]
    longest = [node.name for node in nodes if node.input[1].endswith(LONGEST_CONVOLUTION)]
    chosen = [node.name for node in nodes if LAYERS in node.name]
    with _quiet():
        quantize_dynamic(
            path,
            out,
            op_types_to_quantize=list(QUANTISED),
            nodes_to_quantize=chosen + longest if with_convolution else chosen,
            per_channel=True,
            reduce_range=True,
            weight_type=QuantType.QInt8,
        )
    return with_convolution and bool(longest)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the remarks of tracing, whose outcome is checked, and of quantising."""
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        root.setLevel(level)


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
