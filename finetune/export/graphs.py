"""A CTC model as one graph, from waveforms and their lengths to logits and frame counts, that a program without torch
computes on a CPU.

Inputs: `waveforms` [batch, samples] float32 at 16 kHz, zeros after each utterance, and `n_samples` [batch] int64.
Outputs: `logits` [batch, frames, units] float32 and `n_frames` [batch] int64. Normalisation and features are in the
graph, and an utterance has the logits in a padded batch that it has alone, group-normalised models included.

The graph is traced to ONNX (torch's older exporter: that over torch.export takes 15 times as long for the same graph),
a `Runtime` (`onnx.py`, `openvino.py`) writes it in its format and in int8, and what it computes is compared with the
model itself, at lengths and batches that it was not traced with.
"""

import importlib
import json
import logging
import shutil
import sys
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from finetune.decoding.frame_times import FrameTimes
from finetune.export.graph_modules import OwnGraph, Wav2Vec2Graph
from finetune.models.about import without_folders
from finetune.models.architectures import ARCHITECTURES, architecture_of, model_input
from finetune.models.frame_geometry import frame_times, has_adapter, long_form, lstm_times, whisper_ctc_times
from preprocessing.audio import SAMPLE_RATE
from preprocessing.errors import InputError, UserError, counted, first_line, install_extra
from preprocessing.units import Vocabulary

FACTS = "graph.json"
OPSET = 17  # the first with LayerNormalization
INPUTS, OUTPUTS = ("waveforms", "n_samples"), ("logits", "n_frames")
LOGITS = "unnormalised; log_softmax over the last axis gives log-probabilities; frames from n_frames on are padding"
LAYERS = "/layers."  # in the names of nodes of the encoder's layers
TOLERANCE = 1e-3  # of the largest difference from torch, relative to the largest logit or 1
CHECKED_UTTERANCES = 8
LONGEST_SECONDS = 30.0  # of utterances of the check: corpora hold recordings of hours, which take all memory
MOST_OF_HUB = 1_000  # utterances that are read of a training corpus on the Hub
OTHER_SPEECH = (
    "NOTE: int8 is adjusted to the embedded demo's synthetic English commands, as no training corpus of the run can be "
    "read; name speech like that of your users with --data"
)
FILES = ("config.json", "preprocessor_config.json", "vocab.json", "units.json", "tokenizer.json",
         "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")  # fmt: skip

# waveforms and n_samples -> logits and n_frames, all with a batch dimension
Session = Callable[[NDArray[np.float32], NDArray[np.int64]], tuple[NDArray[np.float32], NDArray[np.int64]]]


@dataclass(frozen=True)
class GraphFacts:
    """What a graph says of itself, in graph.json.

    runtime: its name, such as onnx. family: of the run. parameters: of the model. numbers: float32 or int8. int8_in:
    the parts with int8 products, in words. opset: of the traced graph. shortest: samples of a waveform with a frame.
    stride, first: of the frames, as in FrameTimes. largest_difference: of the float32 graph from torch's logits on the
    utterances of the check. same_best_units: share of frames in which the graph as written and torch have the same best
    unit. checked_on: these utterances.

    The rest is what a program without this package needs to write a text: units by their ids, with the ids of CTC's
    blank, of the unit that stands for a space (boundary), and of all that stand for no text (special), the blank
    included. Exports of earlier versions do not have it.
    """

    runtime: str
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
    sample_rate: int = SAMPLE_RATE
    logits: str = LOGITS
    blank: int | None = None
    boundary: int | None = None
    special: tuple[int, ...] = ()
    units: tuple[str, ...] = ()

    @classmethod
    def load(cls, folder: Path, runtime: str) -> "GraphFacts":
        """Those of an export for a runtime. Raises InputError where the folder is none."""
        try:
            facts = cls(**json.loads((folder / FACTS).read_text(encoding="utf-8")))
            if facts.runtime != runtime:
                raise ValueError(f"it is for {facts.runtime}")
        except (OSError, ValueError, TypeError) as error:
            raise InputError(
                f"{folder}: {FACTS} cannot be used ({error}); expected the OUT of `python -m finetune.export RUN OUT "
                f"--format {runtime}`: name one"
            ) from None
        return facts


@dataclass(frozen=True)
class Check:
    """What a graph is compared on: waveforms [samples] and torch's logits [frames, units] of each. more: further
    waveforms of the same corpus.
    """

    waveforms: list[Tensor]
    expected: list[Tensor]
    more: list[Tensor]

    def same_best_units(self, session: Session) -> float:
        """The share of frames in which a graph has torch's best unit, each utterance alone."""
        found = [logits_of(session, [one])[0].argmax(dim=-1) for one in self.waveforms]
        same = sum(int((own == theirs.argmax(dim=-1)).sum()) for own, theirs in zip(found, self.expected, strict=True))
        return same / sum(len(own) for own in found)


class Runtime(ABC):
    """A program that computes graphs.

    name: of the export's format, the system's family and the extra of pyproject.toml. title: as reports call it. graph:
    the file in the export's folder. to_export, to_compute: the packages that each needs. grid: waveforms are padded to
    multiples of so many samples, where a new length costs time.
    """

    name: str
    title: str
    graph: str
    to_export: tuple[str, ...]
    to_compute: tuple[str, ...]
    grid: int = 1

    def open(self, path: Path, threads: int, precision: str = "float32") -> Session:
        """A graph, ready to compute. precision: of what is not int8, float32 or bfloat16.

        Raises InputError where the program refuses it, such as an opset or an operator that it lacks.
        """
        try:
            return self._opened(path, threads, precision)
        except Exception as error:  # the exceptions of either program share no base
            package = self.to_compute[0]
            raise InputError(
                f"{path}: {self.title} {version(package)} does not load it ({first_line(error)}); expected a graph "
                f"whose opset and operators it supports: install a newer {package}, or export again"
            ) from None

    @abstractmethod
    def _opened(self, path: Path, threads: int, precision: str) -> Session:
        """What `open` returns, with the program's own exceptions."""

    @abstractmethod
    def write(self, traced: Path, out: Path, numbers: str, check: Check) -> str:
        """Writes an ONNX graph as `self.graph` into the folder `out`, in float32 or int8. Returns the parts that are
        int8, in words, "" for none.

        traced: may be moved; alone in its folder but for files of its weights.
        """

    @abstractmethod
    def describe(self, path: Path, facts: GraphFacts) -> None:
        """Writes into a graph itself what graph.json says of it, where other programs look for that in a graph."""

    @abstractmethod
    def precision(self, requested: str, facts: GraphFacts) -> str:
        """The precision of `open` for --precision. Raises UsageError where there is no such."""

    @abstractmethod
    def one_at_a_time(self, facts: GraphFacts) -> bool:
        """Whether utterances are computed one by one, so that none depends on those beside it."""

    def require(self, names: Sequence[str], where: str) -> None:
        """Raises InputError, which begins with `where`, unless the packages are installed."""
        for name in names:
            try:
                importlib.import_module(name)
            except ImportError:
                raise InputError(
                    f"{where}: the package {name} is not installed; expected it for graphs of {self.title}: "
                    + install_extra(self.name)
                ) from None


def export_graph(
    runtime: Runtime,
    model: Path,
    family: str,
    out: Path,
    numbers: str,
    data: str | None = None,
    corpora: Sequence[str] = (),
) -> str:
    """Writes the graph of a CTC model with its vocabulary, configuration and facts to `out`, which must not exist.
    Returns what comparing the two found, in words.

    model: folder of a run, or of transformers. family: as in training. data: corpus to compare on, and to set int8
    scales on; None: for int8 the first of `corpora`, those of the training, that can be read, else the embedded
    demo's test corpus. Raises InputError where packages are missing, or the model cannot be exported or computes
    something else in the runtime.
    """
    runtime.require(runtime.to_export, f"--format {runtime.name}")
    plain, graph, normalise, times = model_and_graph(model, family)
    shortest = _shortest(graph)
    longest = min(round(LONGEST_SECONDS * SAMPLE_RATE), long_form(plain.config).max_whole_samples or sys.maxsize)
    usable = range(shortest + 1, longest + 1)
    corpus, waveforms, more = _speech(data, corpora if numbers == "int8" else (), usable)
    check = Check(waveforms, [_alone(plain, one, normalise) for one in waveforms], more)
    traced = out / "traced" / "model.onnx"  # beside it, torch writes the weights of a model of over 2 GB as many files
    traced.parent.mkdir(parents=True)
    trace(graph, traced, model)
    largest = largest_difference(runtime.open(traced, torch.get_num_threads()), check, model)
    int8_in = runtime.write(traced, out, numbers, check)
    shutil.rmtree(traced.parent)
    vocabulary = Vocabulary.load(str(model))
    facts = GraphFacts(
        runtime=runtime.name,
        family=family,
        parameters=sum(parameter.numel() for parameter in plain.parameters()),
        numbers=numbers,
        int8_in=int8_in,
        opset=OPSET,
        shortest=shortest,
        stride=times.stride,
        first=times.first,
        largest_difference=largest,
        same_best_units=check.same_best_units(runtime.open(out / runtime.graph, torch.get_num_threads())),
        checked_on=f"{counted(len(waveforms), 'utterance')} of {without_folders(corpus or 'the embedded demo')}",
        blank=vocabulary.blank,
        boundary=vocabulary.boundary,
        special=tuple(sorted(vocabulary.silent)),
        units=vocabulary.units,
    )
    runtime.describe(out / runtime.graph, facts)
    for name in FILES:
        if (model / name).is_file():
            shutil.copyfile(model / name, out / name)
    (out / FACTS).write_text(json.dumps(asdict(facts), ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    note = "" if corpus or numbers != "int8" else f"{OTHER_SPEECH}\n"
    return (
        f"{note}compared with torch on {facts.checked_on}: float32 logits differ by at most {largest:.1e}, best units "
        f"are the same in {100 * facts.same_best_units:.1f} % of frames"
    )


def logits_of(session: Session, waveforms: Sequence[Tensor], grid: int = 1) -> list[Tensor]:
    """Logits [frames, units] of each waveform [samples], computed as one padded batch (`padded_logits_of`)."""
    logits, n_frames = padded_logits_of(session, waveforms, grid)
    return [own[:n] for own, n in zip(logits, n_frames, strict=True)]


def padded_logits_of(session: Session, waveforms: Sequence[Tensor], grid: int = 1) -> tuple[Tensor, list[int]]:
    """Logits [batch, frames, units] of waveforms [samples], padded to a multiple of `grid` samples, and how many frames
    are each waveform's own.
    """
    padded = torch.nn.utils.rnn.pad_sequence(list(waveforms), batch_first=True)
    padded = torch.nn.functional.pad(padded, (0, -padded.shape[1] % grid))
    n_samples = torch.tensor([len(one) for one in waveforms])
    logits, n_frames = session(padded.numpy(), n_samples.numpy())
    return torch.from_numpy(logits), n_frames.tolist()


def model_and_graph(folder: Path, family: str) -> tuple[Any, nn.Module, bool, FrameTimes]:
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


def _speech(data: str | None, corpora: Sequence[str], usable: range) -> tuple[str | None, list[Tensor], list[Tensor]]:
    """The corpus that speech is of, None for the embedded demo, and `_utterances` of it: of `data`, else of the first
    of `corpora` that can be read, else of the demo.
    """
    from preprocessing.corpus.readers.hugging_face import is_hub_reference
    from preprocessing.storage.data_folder import DEMO

    if data is not None:
        return data, *_utterances(data, usable)
    for corpus in corpora:
        try:
            return corpus, *_utterances(corpus, usable, MOST_OF_HUB if is_hub_reference(corpus) else None)
        except UserError:
            continue  # it is elsewhere, or gone
    return None, *_utterances(str(DEMO / "corpus" / "test.jsonl"), usable)


def _utterances(data: str, usable: range, limit: int | None = None) -> tuple[list[Tensor], list[Tensor]]:
    """Waveforms [samples] of the check, spread over the corpus, and up to twice as many others.

    usable: their numbers of samples. limit: of the utterances that are read. Raises InputError where the corpus has no
    such utterance.
    """
    from preprocessing.corpus import load_waveform, open_corpus

    utterances = open_corpus(data, limit=limit).utterances
    listed = [utterance for utterance in utterances if round(utterance.duration * SAMPLE_RATE) in usable]
    if not listed:
        raise InputError(
            f"--data {data}: has no utterance of over {1000 * usable.start / SAMPLE_RATE:.0f} ms, from which the model "
            f"has a frame, up to {usable[-1] / SAMPLE_RATE:g} s; expected some to compare with torch: name another "
            "corpus"
        )
    step = max(len(listed) // CHECKED_UTTERANCES, 1)
    checked = listed[::step][:CHECKED_UTTERANCES]
    others = [utterance for place, utterance in enumerate(listed) if place % step]
    more = others[:: max(len(others) // (2 * CHECKED_UTTERANCES), 1)][: 2 * CHECKED_UTTERANCES]
    return list(map(load_waveform, checked)), list(map(load_waveform, more))


@torch.inference_mode()
def _alone(model: Any, waveform: Tensor, normalise: bool) -> Tensor:
    """The model's own logits [frames, units] of one waveform [samples]."""
    return model(model_input(waveform, normalise)[None]).logits[0]  # type: ignore[no-any-return]


def trace(graph: nn.Module, path: Path, run: Path) -> None:
    """Writes the graph. Raises InputError naming the operator that ONNX does not have."""
    samples = torch.randn(2, SAMPLE_RATE, generator=torch.Generator().manual_seed(0))
    n_samples = torch.tensor([SAMPLE_RATE, SAMPLE_RATE * 3 // 4])
    samples[1, n_samples[1] :] = 0.0
    try:
        with quiet(), torch.no_grad():
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
            f"{run}: cannot be written as ONNX of opset {OPSET} ({first_line(error)}); expected supported operators: "
            "use --format transformers"
        ) from None


def largest_difference(session: Session, check: Check, run: Path) -> float:
    """The largest difference between a graph's logits and torch's, utterances alone and in one padded batch.

    Raises InputError where it is over TOLERANCE.
    """
    largest = bound = 0.0
    alone = [logits_of(session, [one])[0] for one in check.waveforms]
    for found in (logits_of(session, check.waveforms), alone):
        for own, theirs in zip(found, check.expected, strict=True):
            if own.shape != theirs.shape:
                raise InputError(
                    f"{run}: as a graph it gives logits {list(own.shape)}, in torch {list(theirs.shape)}; expected the "
                    "same: use --format transformers"
                )
            largest = max(largest, float((own - theirs).abs().max()))
            bound = max(bound, TOLERANCE * max(float(theirs.abs().max()), 1.0))
    if not largest <= bound:
        raise InputError(
            f"{run}: as a graph its logits differ by {largest:.1e} from torch's; expected at most {bound:.1e}: use "
            "--format transformers"
        )
    return largest


@contextmanager
def quiet() -> Iterator[None]:
    """Without the remarks of tracing and quantising, whose outcome is checked."""
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        root.setLevel(level)
