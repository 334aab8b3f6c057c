"""CTC models that `python -m finetune.export RUN OUT --format onnx`, or openvino, wrote, on a CPU and without torch's
layers.

A float32 graph of ONNX Runtime computes padded batches in which an utterance has the logits that it has alone; every
other graph computes one utterance at a time, so that what it gets does not depend on what is beside it. A long
recording is computed in overlapping chunks, each normalised by itself, whose frames are joined and collapsed once.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from finetune.decoding.frame_times import FrameTimes
from finetune.export.graphs import GraphFacts, Runtime, logits_of
from finetune.export.onnx import ONNXRuntime
from finetune.export.openvino import OpenVINO
from finetune.models.frame_geometry import LongForm, long_form
from finetune.systems.base import LoadOptions, SystemSpec
from finetune.systems.ctc import MAX_PASS_SECONDS, NO_FRAMES, PASS_COST_SECONDS, CTCSystem, optimal_batches
from preprocessing.audio import SAMPLE_RATE
from preprocessing.errors import InputError, UsageError, counted, first_line
from preprocessing.segment import Chunking, frames_in_chunks
from preprocessing.units import Vocabulary


class GraphSystem(CTCSystem):
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
        self.vocabulary = Vocabulary.load(spec.checkpoint)
        self._one_at_a_time = self.runtime.one_at_a_time(graph)
        self._shortest = graph.shortest
        self.times = FrameTimes(graph.stride, graph.first)
        self._set_long_form(_long_form(folder, graph.family))
        long_recordings, chunking = "whole", self.long_form.chunking
        if chunking is not None:
            kept, context = (n / SAMPLE_RATE for n in (chunking.keep, chunking.context))
            long_recordings = (
                f"over {(self.long_form.max_whole_samples or 0) / SAMPLE_RATE:g} s: chunks of {kept:g} s with "
                f"{context:g} s of context on both sides, each normalised on its own"
            )
        self.facts = spec.facts(
            parameters=graph.parameters,
            settings={
                "decoding": self._prepare_decoding(spec, options),
                "precision": f"int8 in the {graph.int8_in}, else {precision}" if graph.int8_in else precision,
                "runtime": f"{self.runtime.title}, {counted(torch.get_num_threads(), 'thread')}",
                "batch": "one at a time" if self._one_at_a_time else "padded, each utterance as it is alone",
                "long recordings": long_recordings,
            },
        )

    def features(self, waveforms: Sequence[Tensor]) -> list[Tensor]:
        """The waveforms: features are in the graph. Raises InputError where one is too long (`long_form`)."""
        self._refuse_too_long(waveforms)
        return list(waveforms)

    @torch.inference_mode()
    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Each recording's frames to decode (`CTCSystem`); one that is shorter than a frame has none."""
        decodable = [NO_FRAMES for _ in features]
        whole = []
        for place, waveform in enumerate(features):
            if self.long_form.chunking is not None and not self.long_form.is_whole(len(waveform)):
                decodable[place] = self._in_chunks(waveform, self.long_form.chunking)
            elif len(waveform) >= self._shortest:
                whole.append(place)
        batches = optimal_batches(
            [len(features[place]) for place in whole],
            pass_cost=PASS_COST_SECONDS["cpu"] * SAMPLE_RATE,
            maximum=0.0 if self._one_at_a_time else MAX_PASS_SECONDS["cpu"] * SAMPLE_RATE,
        )
        for batch in batches:
            places = [whole[index] for index in batch]
            found = logits_of(self._session, [features[place] for place in places], self.runtime.grid)
            self._advance(sum(len(features[place]) for place in places) / SAMPLE_RATE)
            for place, logits in zip(places, found, strict=True):
                decodable[place] = self._frames_to_decode(logits)
        return decodable

    def _in_chunks(self, waveform: Tensor, chunking: Chunking) -> Tensor:
        """The frames to decode of one long recording [samples]."""

        def compute(rows: list[Tensor]) -> list[Tensor]:
            return [self._frames_to_decode(one) for one in logits_of(self._session, rows, self.runtime.grid)]

        return frames_in_chunks(waveform, chunking, compute, advance=self._advance)


class ONNXSystem(GraphSystem):
    """A CTC model exported to ONNX, run by ONNX Runtime."""

    runtime = ONNXRuntime()


class OpenVINOSystem(GraphSystem):
    """A CTC model exported to ONNX, run by OpenVINO."""

    runtime = OpenVINO()


def _long_form(folder: Path, family: str) -> LongForm:
    """How the graph computes long recordings, by the configuration beside it."""
    from transformers import AutoConfig

    import finetune.models.lstm_ctc
    import finetune.models.whisper_ctc_model  # noqa: F401  (both register with AutoConfig)

    if family == "lstm":
        return LongForm()
    try:
        return long_form(AutoConfig.from_pretrained(folder))
    except (OSError, ValueError) as error:
        raise InputError(
            f"{folder}: config.json cannot be read ({first_line(error)}); expected the OUT of an export: export again"
        ) from None
