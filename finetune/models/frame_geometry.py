"""Where the frames of a CTC model are in the audio, and how it computes recordings that are too long for one pass.

Of every CTC family of the project, and of transformers' models with wav2vec 2.0's convolutions.
"""

from dataclasses import dataclass
from math import prod
from typing import Any

from finetune.decoding.frame_times import FrameTimes
from preprocessing.audio import SAMPLE_RATE
from preprocessing.segment import Chunking, FrameGrid

WHOLE_SECONDS = 60.0  # a longer recording is computed in chunks: attention grows with the square
CHUNK_SECONDS = 20.0  # kept of each chunk
CONTEXT_SECONDS = 2.0  # on both sides of it; its frames are dropped
WHISPER_CONTEXT_SECONDS = 3.0  # the same of whisper-ctc
LONGEST_WHOLE_SECONDS = 300.0  # of models that cannot be chunked
HOP_LENGTH = 160  # samples between frames of the lstm's features
WHISPER_CTC_STRIDE = 320  # samples between frames of whisper-ctc


@dataclass(frozen=True, slots=True)
class LongForm:
    """How recordings of any length are computed.

    chunking: of recordings over max_whole_samples; None: no recording is chunked, as frames of chunks could not be
    joined, or need not be. max_whole_samples: of a recording that is computed whole; None: any number.
    """

    chunking: Chunking | None = None
    max_whole_samples: int | None = None

    def is_whole(self, n_samples: int) -> bool:
        """Whether a recording of so many samples is computed whole, or would be if it were not too long."""
        return self.chunking is None or self.max_whole_samples is None or n_samples <= self.max_whole_samples

    def is_too_long(self, n_samples: int) -> bool:
        """Whether a recording can be computed neither whole nor in chunks."""
        return self.chunking is None and self.max_whole_samples is not None and n_samples > self.max_whole_samples

    @property
    def description(self) -> str:
        """How, for the report: "over 60 s: chunks of 20 s with 2 s of context either side", of which 20 s are kept."""
        if self.max_whole_samples is None:
            return "whole"
        longest = f"{self.max_whole_samples / SAMPLE_RATE:g} s"
        if self.chunking is None:
            return f"whole, up to {longest}"
        kept, context = (n_samples / SAMPLE_RATE for n_samples in (self.chunking.keep, self.chunking.context))
        return f"over {longest}: chunks of {kept:g} s with {context:g} s of context either side"


def long_form(config: Any) -> LongForm:
    """How a CTC model computes long recordings, by its configuration.

    An lstm computes any recording whole: its time and memory are linear. whisper-ctc has as many positions as its
    encoder; a chunk has WHISPER_CONTEXT_SECONDS on both sides, or a quarter of its length where that is less. Models
    with wav2vec 2.0's convolutions keep CHUNK_SECONDS of each chunk, unless an adapter follows the transformer: they
    and those of other features are computed whole.
    """
    if config.model_type == "lstm-ctc":
        return LongForm()
    if config.model_type == "whisper-ctc":
        longest = int(config.max_source_positions) * WHISPER_CTC_STRIDE
        context = min(round(WHISPER_CONTEXT_SECONDS * SAMPLE_RATE), longest // 4)
        grid = FrameGrid(stride=WHISPER_CTC_STRIDE, receptive_field=WHISPER_CTC_STRIDE // 2)
        return LongForm(Chunking(keep=longest - 2 * context, context=context, grid=grid), longest)
    if not hasattr(config, "conv_kernel") or has_adapter(config):
        return LongForm(max_whole_samples=round(LONGEST_WHOLE_SECONDS * SAMPLE_RATE))
    chunking = Chunking(
        keep=round(CHUNK_SECONDS * SAMPLE_RATE),
        context=round(CONTEXT_SECONDS * SAMPLE_RATE),
        grid=FrameGrid.of_convolutions(config.conv_kernel, config.conv_stride),
    )
    return LongForm(chunking, round(WHOLE_SECONDS * SAMPLE_RATE))


def whisper_ctc_times() -> FrameTimes:
    """Where the frames of whisper-ctc are."""
    return FrameTimes(WHISPER_CTC_STRIDE, 0.0)


def lstm_times(model: Any) -> FrameTimes:
    """Where the frames of an LSTM-CTC are, by its features and its subsampling."""
    from finetune.models.lstm_ctc import FrameStacking
    from preprocessing.features import LogMel

    factor = model.subsampling.factor
    first = 0.0 if isinstance(model.extractor, LogMel) else (model.extractor.shortest - 1) / 2
    if isinstance(model.subsampling, FrameStacking):
        first += HOP_LENGTH * (factor - 1) / 2
    return FrameTimes(HOP_LENGTH * factor, first)


def frame_times(config: Any) -> FrameTimes | None:
    """Where the frames of a model of the wav2vec2 family are, by its configuration: of wav2vec 2.0's convolutions, an
    adapter included, or of w2v-BERT's log-mel; None of another model.
    """
    if config.model_type == "wav2vec2-bert" and not has_adapter(config):
        from finetune.models.architectures import FBANK_HOP, FBANK_PAIR, FBANK_WINDOW

        return FrameTimes(FBANK_PAIR * FBANK_HOP, (FBANK_WINDOW - 1 + (FBANK_PAIR - 1) * FBANK_HOP) / 2)
    if not hasattr(config, "conv_kernel"):
        return None
    grid = FrameGrid.of_convolutions(config.conv_kernel, config.conv_stride)
    reduction = int(config.adapter_stride) ** int(config.num_adapter_layers) if has_adapter(config) else 1
    return FrameTimes(prod(config.conv_stride) * reduction, (grid.receptive_field - 1) / 2)


def has_adapter(config: Any) -> bool:
    """Whether convolutions after the transformer reduce the frames further, across padding too."""
    return bool(getattr(config, "add_adapter", False))
