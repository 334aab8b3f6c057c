"""Graphs for ONNX Runtime: `python -m finetune.export RUN OUT --format onnx`.

int8 is its dynamic quantisation of matrix products, of the layers and of the longest convolution, whose scales are
those of all that is computed together: what an utterance gets depends on what it is given with.
"""

import json
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from finetune.export.graph_modules import LONGEST_CONVOLUTION
from finetune.export.graphs import INPUTS, LAYERS, OUTPUTS, Check, GraphFacts, Runtime, Session, quiet
from preprocessing.errors import UsageError
from preprocessing.storage.atomic_write import permit_readers

QUANTISED = ("MatMul", "Gemm", "LSTM")
DESCRIBED = ("sample_rate", "shortest", "stride", "logits", "blank", "boundary", "special", "units")  # of GraphFacts
ENOUGH_SAME = 0.98  # of frames with torch's best unit, for a convolution in int8


class ONNXRuntime(Runtime):
    """ONNX Runtime, on the CPU."""

    name = "onnx"
    title = "ONNX Runtime"
    graph = "model.onnx"
    to_export = ("onnx", "onnxruntime")
    to_compute = ("onnxruntime",)

    def _opened(self, path: Path, threads: int, precision: str) -> Session:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        opened = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

        def session(
            waveforms: NDArray[np.float32], n_samples: NDArray[np.int64]
        ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
            logits, n_frames = opened.run(OUTPUTS, dict(zip(INPUTS, (waveforms, n_samples), strict=True)))
            return logits, n_frames

        return session

    def write(self, traced: Path, out: Path, numbers: str, check: Check) -> str:
        if numbers == "float32":
            _gather(traced, out / self.graph)
            return ""
        return self._quantised_as_far_as_it_goes(traced, out / self.graph, check)

    def describe(self, path: Path, facts: GraphFacts) -> None:
        """Writes what a program needs to feed the graph and to read its output into its metadata_props, as JSON."""
        import onnx

        model = onnx.load(path, load_external_data=False)
        onnx.helper.set_model_props(model, {name: json.dumps(getattr(facts, name)) for name in DESCRIBED})
        onnx.save(model, path)

    def precision(self, requested: str, facts: GraphFacts) -> str:
        if requested not in ("auto", "float32"):
            raise UsageError(
                f"--precision is {requested}, but the precision of an ONNX graph is fixed at export; expected auto: "
                "export with --quantise int8 for a faster graph"
            )
        return "float32"

    def one_at_a_time(self, facts: GraphFacts) -> bool:
        return facts.numbers != "float32"

    def _quantised_as_far_as_it_goes(self, path: Path, out: Path, check: Check) -> str:
        """Writes a graph in int8, the feature encoder's longest convolution too where ENOUGH_SAME frames keep torch's
        best unit. Returns the parts that are int8.
        """
        has_convolution = _quantise(path, out, with_convolution=True)
        if has_convolution and check.same_best_units(self.open(out, torch.get_num_threads())) >= ENOUGH_SAME:
            return "layers and the longest convolution"
        _quantise(path, out, with_convolution=False)
        return "layers"


def _gather(traced: Path, out: Path) -> None:
    """Moves a graph. Weights in files of their own, as those of over 2 GB have to be, become one file beside it."""
    import onnx

    if len(list(traced.parent.iterdir())) == 1:
        traced.replace(out)
    else:
        onnx.save(onnx.load(traced), out, save_as_external_data=True, location=f"{out.name}.data")
        permit_readers(out.parent)


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
    with quiet():
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
