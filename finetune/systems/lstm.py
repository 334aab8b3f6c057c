"""A bidirectional LSTM-CTC model that this project trained (`finetune.models.lstm`)."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from finetune.models.frame_geometry import lstm_times
from finetune.models.lstm import load
from finetune.systems.base import LoadOptions, SystemSpec
from finetune.systems.ctc import NAN_LOGITS, NO_FRAMES, Advance, CTCSystem, frames_to_decode, split_batch
from finetune.systems.ctc_decoding import ctc_decoding
from preprocessing.errors import InputError
from preprocessing.features import Features
from preprocessing.units import Vocabulary


@dataclass(frozen=True, slots=True)
class LSTMInput:
    """A batch.

    features: normalised, of those recordings that are long enough for a frame [batch, bins, frames]; None: of none.
    n_frames: of every recording.
    """

    features: Features | None
    n_frames: tuple[int, ...]


class LSTMSystem(CTCSystem):
    """float32, in padded batches in which each utterance has the logits that it has alone, to 3e-5.

    Time and memory are linear in the length of the audio, so no recording is too long.
    """

    def __init__(self, spec: SystemSpec, options: LoadOptions) -> None:
        self._model = load(spec.checkpoint)
        self._device = torch.device(options.device)
        self._model.eval().to(self._device)
        vocabulary = Vocabulary.load(spec.checkpoint)
        decoding = ctc_decoding(spec, options, vocabulary)
        super().__init__(vocabulary, decoding, lstm_times(self._model))
        config = self._model.config
        self.facts = spec.facts(
            parameters=sum(parameter.numel() for parameter in self._model.parameters()),
            settings={
                "decoding": decoding.description,
                "features": f"{config.features}, normalised by {config.normalisation} statistics",
                "frame": f"{10 * config.subsampling_factor} ms",
                "precision": "float32",
                "batch": "padded, each utterance as it is alone",
            },
        )

    @torch.inference_mode()
    def features(self, waveforms: Sequence[Tensor]) -> LSTMInput:
        """Normalised log-mel features, computed on the model's device."""
        n_samples = torch.tensor([len(waveform) for waveform in waveforms])
        n_frames = self._model.n_frames(n_samples)
        long_enough = [place for place, frames in enumerate(n_frames.tolist()) if frames > 0]
        if not long_enough:
            return LSTMInput(None, tuple(n_frames.tolist()))
        padded = torch.nn.utils.rnn.pad_sequence([waveforms[place] for place in long_enough], batch_first=True)
        features = self._model.features(padded.to(self._device), n_samples[long_enough].to(self._device))
        return LSTMInput(features, tuple(n_frames.tolist()))

    @torch.inference_mode()
    def _frames(self, features: LSTMInput, *, log_probs: bool, advance: Advance | None = None) -> list[Tensor]:
        if features.features is None:
            return [NO_FRAMES for _ in features.n_frames]
        logits = self._model.lm_head(self._model.encode(features.features))
        if not bool(logits.isfinite().all()):
            raise InputError(NAN_LOGITS)
        batch = frames_to_decode(logits, log_probs=log_probs)
        own = iter(split_batch(batch, [frames for frames in features.n_frames if frames > 0]))
        return [next(own) if frames > 0 else NO_FRAMES for frames in features.n_frames]
