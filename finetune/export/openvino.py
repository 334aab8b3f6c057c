"""Graphs for OpenVINO: `python -m finetune.export RUN OUT --format openvino`.

It joins what ONNX Runtime computes one after the other, and multiplies bfloat16 on processors that have it. int8 is
NNCF's quantisation after training, with scales that are set once, on speech: an utterance gets the same whatever it is
computed beside. The encoder's layers are int8; in the convolutions before them int8 costs words.
"""

import logging
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from finetune.export.graphs import INPUTS, LAYERS, Check, GraphFacts, Runtime, Session, quiet
from preprocessing.audio import SAMPLE_RATE
from preprocessing.errors import UsageError

# Both packages report their use to their makers through this one; without it they report nothing.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]

CONVOLUTIONS = ("Convolution", "GroupConvolution")
PRODUCTS = ("MatMul", "LSTMSequence")
HINTS = {"float32": "f32", "bfloat16": "bf16"}


class OpenVINO(Runtime):
    """Intel's, on the CPU. Each length that it has not met yet costs it time once, so that lengths are few."""

    name = "openvino"
    title = "OpenVINO"
    graph = "model.xml"
    to_export = ("onnx", "openvino", "nncf")
    to_compute = ("openvino",)
    grid = SAMPLE_RATE // 2

    def _opened(self, path: Path, threads: int, precision: str) -> Session:
        import openvino

        settings = {
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": 1,
            "INFERENCE_PRECISION_HINT": HINTS[precision],
        }
        request = openvino.Core().compile_model(str(path), "CPU", settings).create_infer_request()

        def session(
            waveforms: NDArray[np.float32], n_samples: NDArray[np.int64]
        ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
            found = request.infer(dict(zip(INPUTS, (waveforms, n_samples), strict=True)))
            logits, n_frames = (found[place].copy() for place in range(2))  # the request's own memory, used again
            return logits, n_frames

        return session

    def write(self, traced: Path, out: Path, numbers: str, check: Check) -> str:
        import openvino

        model = openvino.Core().read_model(str(traced))
        if numbers == "int8":
            model = _quantised(model, check)
        openvino.save_model(model, str(out / self.graph), compress_to_fp16=False)
        return "layers" if numbers == "int8" else ""

    def describe(self, path: Path, facts: GraphFacts) -> None:
        """Nothing: the model.xml of the format is read together with the files beside it."""

    def precision(self, requested: str, facts: GraphFacts) -> str:
        waveforms_in = facts.family == "wav2vec2"  # the log-mel of others does not survive 8 bits of significand
        if requested == "auto":
            return "bfloat16" if facts.numbers == "int8" and waveforms_in and multiplies_bfloat16() else "float32"
        if requested not in HINTS or (requested == "bfloat16" and not waveforms_in):
            able = "auto, float32 or bfloat16" if waveforms_in else "auto or float32"
            raise UsageError(
                f"--precision is {requested}, which OpenVINO does not support for the family {facts.family}; expected "
                f"{able}: choose one of them"
            )
        return requested

    def one_at_a_time(self, facts: GraphFacts) -> bool:
        return True


def multiplies_bfloat16() -> bool:
    """Whether the processor does, as AMX and AVX-512 BF16 do."""
    import openvino

    return "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def _quantised(model: Any, check: Check) -> Any:
    """The model with int8 products in its layers; NNCF shows its progress on stderr."""
    with quiet():
        import nncf

    nncf.set_log_level(logging.ERROR)
    items = [
        dict(zip(INPUTS, (one[None].numpy(), np.array([len(one)])), strict=True))
        for one in [*check.waveforms, *check.more]
    ]
    kept = [
        node.get_friendly_name()
        for node in model.get_ops()
        if node.get_type_name() in CONVOLUTIONS
        or (node.get_type_name() in PRODUCTS and LAYERS not in node.get_friendly_name())
    ]
    with quiet(), redirect_stdout(sys.stderr):
        return nncf.quantize(
            model,
            nncf.Dataset(items),
            model_type=nncf.ModelType.TRANSFORMER,
            preset=nncf.QuantizationPreset.MIXED,
            subset_size=len(items),
            ignored_scope=nncf.IgnoredScope(names=kept),
        )
