"""CTC models that `python -m finetune.export RUN OUT --format onnx`, or openvino, wrote, on a CPU and without torch's
layers.

A float32 graph of ONNX Runtime computes padded batches in which an utterance has the logits that it has alone; every
other graph computes one utterance at a time, so that what it gets does not depend on what is beside it. Each chunk of a
long recording (`finetune.systems.ctc_pieces`) is normalised by itself.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from finetune.decoding.frame_times import FrameTimes
from finetune.export.graphs import GraphFacts, Runtime, padded_logits_of
from finetune.export.onnx import ONNXRuntime
from finetune.export.openvino import OpenVINO
from finetune.models.frame_geometry import LongForm, long_form
from finetune.systems.base import LoadOptions, SystemSpec
from finetune.systems.ctc_decoding import ctc_decoding
from finetune.systems.ctc_pieces import Batching, Piece, Pieces, PiecewiseCTCSystem
from preprocessing.errors import InputError, UsageError, counted, first_line
from preprocessing.units import Vocabulary


class GraphSystem(PiecewiseCTCSystem):
    """An exported graph. runtime: what computes it.

    Raises UsageError on a GPU and on a --precision that the graph has not, InputError for a folder that is no export
    for this runtime.
    """

    runtime: Runtime

    def __init__(self, spec: SystemSpec, options: LoadOptions) -> None:
        if options.device != "cpu":
            raise UsageError(f"{spec.name}: exported graphs run on the CPU only; expected --device cpu: set it")
        folder = Path(spec.checkpoint)
        graph = GraphFacts.load(folder, self.runtime.name)
        self.runtime.require(self.runtime.to_compute, spec.name)
        precision = self.runtime.precision(options.precision, graph)
        self._session = self.runtime.open(folder / self.runtime.graph, torch.get_num_threads(), precision)
        self._shortest = graph.shortest
        one_at_a_time = self.runtime.one_at_a_time(graph)
        vocabulary = Vocabulary.load(spec.checkpoint)
        decoding = ctc_decoding(spec, options, vocabulary)
        super().__init__(
            vocabulary,
            decoding,
            FrameTimes(graph.stride, graph.first),
            _long_form(folder, graph.family),
            Batching(padded=not one_at_a_time, chunks_at_once=1),
        )
        normalised = "" if self.long_form.chunking is None else ", each normalised on its own"
        self.facts = spec.facts(
            parameters=graph.parameters,
            settings={
                "decoding": decoding.description,
                "precision": f"int8 in the {graph.int8_in}, else {precision}" if graph.int8_in else precision,
                "runtime": f"{self.runtime.title}, {counted(torch.get_num_threads(), 'thread')}",
                "batch": "one at a time" if one_at_a_time else "padded, each utterance as it is alone",
                "long recordings": f"{self.long_form.description}{normalised}",
            },
        )

    def features(self, waveforms: Sequence[Tensor]) -> Pieces:
        """Pieces of the waveforms: features are in the graph. Raises InputError where one is too long."""
        pieces = (
            Piece(place, chunk, waveforms[place][chunk.start : chunk.stop], chunk.stop - chunk.start)
            for place, chunk in self._planned(waveforms)
        )
        return Pieces(len(waveforms), tuple(piece for piece in pieces if piece.length >= self._shortest))

    def _compute(self, inputs: list[Tensor]) -> tuple[Tensor, Sequence[int]]:
        return padded_logits_of(self._session, inputs, self.runtime.grid)


class ONNXSystem(GraphSystem):
    """A CTC model exported to ONNX, run by ONNX Runtime."""

    runtime = ONNXRuntime()


class OpenVINOSystem(GraphSystem):
    """A CTC model exported to ONNX, run by OpenVINO."""

    runtime = OpenVINO()


def _long_form(folder: Path, family: str) -> LongForm:
    """How the graph computes long recordings, by the configuration beside it."""
    from transformers import AutoConfig

    from finetune.models.architectures import register_own_models

    if family == "lstm":
        return LongForm()
    register_own_models()
    try:
        return long_form(AutoConfig.from_pretrained(folder))
    except (OSError, ValueError) as error:
        raise InputError(
            f"{folder}: config.json cannot be read ({first_line(error)}); expected the OUT of an export: export again"
        ) from None
