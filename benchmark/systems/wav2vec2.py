"""Any CTC model of transformers, decoded greedily under this project's preprocessing.

A recording of up to WHOLE_SECONDS is heard whole, a longer one in overlapping chunks whose best units are joined and
collapsed once, over the whole, so that no letter is doubled or lost at a seam. Only one batch's logits exist at a time.
"""

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

import torch
from torch import Tensor

from benchmark.results import SystemFacts
from benchmark.systems.base import LoadOptions, System, SystemSpec
from finetune.ctc.collapse import collapse
from finetune.models.wav2vec2 import model_input
from preprocessing.audio import SAMPLE_RATE
from preprocessing.errors import InputError
from preprocessing.segment import Chunk, Chunking, FrameGrid, chunks, keep
from preprocessing.units import Vocabulary

WHOLE_SECONDS = 60.0  # attention grows with the square, and training utterances are shorter
CHUNK_SECONDS = 20.0  # kept of each chunk of a longer recording
CONTEXT_SECONDS = 2.0  # heard on both sides of it
CHUNKS_AT_ONCE = 4
LONGEST_WHOLE_SECONDS = 300.0  # for models that cannot be chunked
IN_CHUNKS = (
    f"over {WHOLE_SECONDS:g} s: chunks of {CHUNK_SECONDS:g} s with {CONTEXT_SECONDS:g} s of context either side, "
    f"{CHUNKS_AT_ONCE} at a time"
)
WHOLE_ONLY = f"whole, up to {LONGEST_WHOLE_SECONDS:g} s"


class Wav2Vec2System(System):
    """float32, one utterance at a time, equal chunks together: no padding, so group-normalised models are exact too."""

    def __init__(self, spec: SystemSpec, options: LoadOptions) -> None:
        from transformers import AutoFeatureExtractor, AutoModelForCTC

        try:
            self._model = AutoModelForCTC.from_pretrained(spec.checkpoint, dtype=torch.float32)
            extractor = AutoFeatureExtractor.from_pretrained(spec.checkpoint)
        except (OSError, ValueError) as error:
            reason = str(error).strip().splitlines()[0]
            raise InputError(
                f"{spec.name}: {spec.checkpoint} cannot be loaded as a CTC model ({reason}); expected a transformers "
                "folder or Hub id: check the name and the network"
            ) from error
        if extractor.sampling_rate != SAMPLE_RATE:
            raise InputError(
                f"{spec.name}: expects {extractor.sampling_rate} Hz; expected {SAMPLE_RATE}: use another model"
            )
        self._vocabulary = Vocabulary.load(spec.checkpoint)
        self._normalise: bool = extractor.do_normalize
        self._device = torch.device(options.device)
        self._model.eval().to(self._device)
        self._chunking = _chunking(self._model.config)
        self.facts = SystemFacts(
            name=spec.name,
            family=spec.family,
            checkpoint=spec.checkpoint,
            parameters=sum(parameter.numel() for parameter in self._model.parameters()),
            settings={
                "decoding": "greedy CTC, no language model",
                "precision": "float32",
                "batch size": "1",
                "long recordings": WHOLE_ONLY if self._chunking is None else IN_CHUNKS,
            },
            notice=spec.notice,
        )

    def features(self, waveforms: Sequence[Tensor]) -> Tensor:
        """Normalised over the whole recording, chunked or not."""
        (waveform,) = waveforms
        seconds = len(waveform) / SAMPLE_RATE
        if self._chunking is None and seconds > LONGEST_WHOLE_SECONDS:
            raise InputError(
                f"lasts {seconds:.0f} s; expected at most {LONGEST_WHOLE_SECONDS:g} s of a model whose frames cannot "
                "be joined: cut the recording"
            )
        return model_input(waveform, self._normalise)[None].to(self._device)

    @torch.inference_mode()
    def forward(self, features: Tensor) -> list[int]:
        n_samples = features.shape[1]
        if self._chunking is None or n_samples <= WHOLE_SECONDS * SAMPLE_RATE:
            path: list[int] = self._best(features)[0].tolist()
            return path
        joined: list[int] = []
        for batch in _equally_long(chunks(n_samples, self._chunking), CHUNKS_AT_ONCE):
            best = self._best(torch.stack([features[0, chunk.start : chunk.stop] for chunk in batch]))
            for row, chunk in zip(best, batch, strict=True):
                joined += keep(row, chunk, self._chunking.grid).tolist()
        return joined

    def _best(self, inputs: Tensor) -> Tensor:
        """[batch, samples] -> the best unit of each frame [batch, frames]."""
        best: Tensor = self._model(inputs).logits.argmax(dim=-1)
        return best

    def text(self, outcome: Any) -> list[str]:
        return [self._vocabulary.decode(collapse(outcome, self._vocabulary.blank))]


def _chunking(config: Any) -> Chunking | None:
    """None where frames are not those of unpadded convolutions alone, as with an adapter after the transformer."""
    if not hasattr(config, "conv_kernel") or getattr(config, "add_adapter", False):
        return None
    return Chunking(
        keep=round(CHUNK_SECONDS * SAMPLE_RATE),
        context=round(CONTEXT_SECONDS * SAMPLE_RATE),
        grid=FrameGrid.of_convolutions(config.conv_kernel, config.conv_stride),
    )


def _equally_long(planned: tuple[Chunk, ...], at_once: int) -> Iterator[list[Chunk]]:
    """Batches of neighbours that need no padding."""
    for _, alike in groupby(planned, key=lambda chunk: chunk.stop - chunk.start):
        row = list(alike)
        for first in range(0, len(row), at_once):
            yield row[first : first + at_once]
