"""Whisper's encoder under a CTC head that this project trained (`finetune.models.whisper_ctc`).

Up to the encoder's 30 s of positions a recording is one input, without padding to them. A longer one is transcribed in
overlapping chunks, whose frames are joined and collapsed once.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from finetune.models.frame_geometry import WHISPER_CTC_STRIDE, long_form, whisper_ctc_times
from finetune.models.whisper_ctc import load
from finetune.systems.base import LoadOptions, SystemSpec, resolve_precision
from finetune.systems.ctc import MAX_PASS_SECONDS, NO_FRAMES, PASS_COST_SECONDS, CTCSystem, optimal_batches
from preprocessing.audio import SAMPLE_RATE
from preprocessing.features import Features
from preprocessing.segment import Chunk, chunks, keep
from preprocessing.units import Vocabulary

FRAMES_PER_SECOND = SAMPLE_RATE // WHISPER_CTC_STRIDE


@dataclass(frozen=True, slots=True)
class Piece:
    """The log-mel [bins, frames] of a whole recording or of one chunk of it."""

    recording: int  # its place in the batch
    chunk: Chunk
    log_mel: Tensor
    n_frames: int  # that the encoder makes of it

    @property
    def kept_seconds(self) -> float:
        """Seconds of the recording without the chunk's context."""
        return (self.chunk.keep_stop - self.chunk.keep_start) / SAMPLE_RATE


@dataclass(frozen=True, slots=True)
class WhisperCTCInput:
    """The pieces of a batch of recordings, in order; a recording shorter than a frame has none."""

    n_recordings: int
    pieces: tuple[Piece, ...]


class WhisperCTCSystem(CTCSystem):
    """Padded batches in which each utterance has the logits that it has alone, to 1e-4 in float32."""

    def __init__(self, spec: SystemSpec, options: LoadOptions) -> None:
        self._model = load(spec.checkpoint)
        self.vocabulary = Vocabulary.load(spec.checkpoint)
        self._device = torch.device(options.device)
        precision = resolve_precision(options.precision, options.device)
        self._dtype = precision.dtype
        self._model.eval().to(self._device)
        self._model.encoder.to(self._dtype)  # the head and the output layer compute in float32
        config = self._model.config
        self._set_long_form(long_form(config))
        self.times = whisper_ctc_times()
        assert self.long_form.chunking is not None
        seconds, context = (n / SAMPLE_RATE for n in (self.long_form.chunking.window, self.long_form.chunking.context))
        self.facts = spec.facts(
            parameters=sum(parameter.numel() for parameter in self._model.parameters()),
            settings={
                "decoding": self._prepare_decoding(spec, options),
                "precision": precision.description,
                "head": f"{config.head}, over the top {config.mixed_layers} of {config.encoder_layers} blocks",
                "frame": "20 ms",
                "batch": "padded, each utterance as it is alone",
                "long recordings": f"over {seconds:g} s: chunks of {seconds:g} s, of which "
                f"{context:g} s either side are context",
            },
        )

    @torch.inference_mode()
    def features(self, waveforms: Sequence[Tensor]) -> WhisperCTCInput:
        """Whisper's log-mel of each recording, or of each chunk of a long one, computed on the model's device."""
        pieces = []
        for place, waveform in enumerate(waveforms):
            for chunk in self._planned(len(waveform)):
                part = waveform[chunk.start : chunk.stop]
                n_frames = int(self._model.n_frames(torch.tensor(len(part))))
                if n_frames > 0:
                    log_mel = self._model.extractor(part.to(self._device))
                    pieces.append(Piece(place, chunk, log_mel, n_frames))
        return WhisperCTCInput(len(waveforms), tuple(pieces))

    def _planned(self, n_samples: int) -> Sequence[Chunk]:
        """The chunks of a recording; one with all of it, where it is computed whole."""
        chunking = self.long_form.chunking
        if chunking is None or self.long_form.is_whole(n_samples):
            return (Chunk(0, n_samples, 0, n_samples),)
        return chunks(n_samples, chunking)

    @torch.inference_mode()
    def forward(self, features: WhisperCTCInput) -> list[Tensor]:
        """Each recording's frames to decode (`CTCSystem`)."""
        device = self._device.type
        batches = optimal_batches(
            [piece.n_frames for piece in features.pieces],
            pass_cost=PASS_COST_SECONDS[device] * FRAMES_PER_SECOND,
            maximum=MAX_PASS_SECONDS[device] * FRAMES_PER_SECOND,
        )
        of_piece: dict[int, Tensor] = {}
        for batch in batches:
            frames = self._compute([features.pieces[place].log_mel for place in batch]).cpu()
            self._advance(sum(features.pieces[place].kept_seconds for place in batch))
            of_piece |= {
                place: own[: features.pieces[place].n_frames] for place, own in zip(batch, frames, strict=True)
            }
        assert self.long_form.chunking is not None
        grid = self.long_form.chunking.grid
        joined: list[list[Tensor]] = [[] for _ in range(features.n_recordings)]
        for place, piece in enumerate(features.pieces):
            joined[piece.recording].append(keep(of_piece[place], piece.chunk, grid))
        return [torch.cat(parts) if parts else NO_FRAMES for parts in joined]

    def _compute(self, log_mels: Sequence[Tensor]) -> Tensor:
        """Log-mels [bins, frames] -> frames to decode, with those of padding, [batch, frames, ...] on the device."""
        n_frames = torch.tensor([log_mel.shape[-1] for log_mel in log_mels], device=self._device)
        values = torch.nn.utils.rnn.pad_sequence([log_mel.T for log_mel in log_mels], batch_first=True).transpose(1, 2)
        features = Features(values.to(self._dtype), n_frames)
        n_frames = -(-n_frames // 2)
        hidden = self._model.upper(self._model.lower(features, 0), 0, n_frames).float()
        return self._frames_to_decode(self._model.lm_head(self._model.head(hidden, n_frames)))
