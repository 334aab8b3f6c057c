"""Whisper's encoder under a CTC head that this project trained (`finetune.models.whisper_ctc`).

Up to the encoder's 30 s of positions a recording is one input, without padding to them. A longer one is transcribed in
chunks (`finetune.systems.ctc_pieces`), each with a log-mel of its own.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from finetune.models.frame_geometry import WHISPER_CTC_STRIDE, long_form, whisper_ctc_times
from finetune.models.whisper_ctc import load
from finetune.systems.base import LoadOptions, SystemSpec, resolve_precision
from finetune.systems.ctc_decoding import ctc_decoding
from finetune.systems.ctc_pieces import Batching, Piece, Pieces, PiecewiseCTCSystem
from preprocessing.audio import SAMPLE_RATE
from preprocessing.features import Features
from preprocessing.units import Vocabulary

FRAMES_PER_SECOND = SAMPLE_RATE // WHISPER_CTC_STRIDE


class WhisperCTCSystem(PiecewiseCTCSystem):
    """Padded batches in which each utterance has the logits that it has alone, to 1e-4 in float32."""

    def __init__(self, spec: SystemSpec, options: LoadOptions) -> None:
        self._model = load(spec.checkpoint)
        self._device = torch.device(options.device)
        precision = resolve_precision(options.precision, options.device)
        self._dtype = precision.dtype
        self._model.eval().to(self._device)
        self._model.encoder.to(self._dtype)  # the head and the output layer compute in float32
        config = self._model.config
        vocabulary = Vocabulary.load(spec.checkpoint)
        decoding = ctc_decoding(spec, options, vocabulary)
        batching = Batching(options.device, FRAMES_PER_SECOND)
        super().__init__(vocabulary, decoding, whisper_ctc_times(), long_form(config), batching)
        self.facts = spec.facts(
            parameters=sum(parameter.numel() for parameter in self._model.parameters()),
            settings={
                "decoding": decoding.description,
                "precision": precision.description,
                "head": f"{config.head}, over the top {config.mixed_layers} of {config.encoder_layers} blocks",
                "frame": "20 ms",
                "batch": "padded, each utterance as it is alone",
                "long recordings": self.long_form.description,
            },
        )

    @torch.inference_mode()
    def features(self, waveforms: Sequence[Tensor]) -> Pieces:
        """Whisper's log-mel [bins, frames] of each piece, computed on the model's device; lengths are those of the
        encoder's output.
        """
        pieces = []
        for place, chunk in self._planned(waveforms):
            part = waveforms[place][chunk.start : chunk.stop]
            n_frames = int(self._model.n_frames(torch.tensor(len(part))))
            if n_frames > 0:
                pieces.append(Piece(place, chunk, self._model.extractor(part.to(self._device)), n_frames))
        return Pieces(len(waveforms), tuple(pieces))

    def _compute(self, inputs: list[Tensor]) -> tuple[Tensor, Sequence[int]]:
        log_mel_frames = [log_mel.shape[-1] for log_mel in inputs]
        values = torch.nn.utils.rnn.pad_sequence([log_mel.T for log_mel in inputs], batch_first=True).transpose(1, 2)
        features = Features(values.to(self._dtype), torch.tensor(log_mel_frames, device=self._device))
        n_frames = -(-features.n_frames // 2)
        hidden = self._model.upper(self._model.lower(features, 0), 0, n_frames).float()
        logits = self._model.lm_head(self._model.head(hidden, n_frames))
        return logits, [-(-frames // 2) for frames in log_mel_frames]
