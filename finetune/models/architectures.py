"""What the wav2vec2 family does with each architecture of transformers' *ForCTC models, and what it is given.

ARCHITECTURES is the registry: a `model_type` that is not in it, or that has a reason in `refused`, is refused by name
in training and in the benchmark alike. docs/finetuning.md has the same as a table.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from preprocessing.audio import SAMPLE_RATE
from preprocessing.errors import InputError
from preprocessing.features import normalise_waveform

FBANK_WINDOW, FBANK_HOP = 400, 160  # samples, of w2v-BERT's log-mel before frames are taken in pairs
FBANK_PAIR = 2


@dataclass(frozen=True, slots=True)
class Architecture:
    """What is known of a transformers architecture, and whether this project can use it.

    log_mel: its input is the log-mel of its own feature extractor; else the waveform. exported: as a graph
    (`finetune.export.graphs`). weights_read: its attention computes with the weights of its projections and never calls
    the projections. refused: why it cannot be used, with what can be done instead; "" where it can.
    """

    log_mel: bool = False
    exported: bool = True
    weights_read: bool = False
    refused: str = ""


_POOLED = "its frames are pooled over the padding of a batch, so that an utterance's output would depend on the batch"
_ITS_OWN = "its subsampling and output layer are not supported"
ARCHITECTURES = {
    "wav2vec2": Architecture(),
    "hubert": Architecture(),
    "wavlm": Architecture(weights_read=True),
    "data2vec-audio": Architecture(),
    "unispeech": Architecture(),
    "unispeech-sat": Architecture(),
    "wav2vec2-conformer": Architecture(exported=False),
    "wav2vec2-bert": Architecture(log_mel=True, exported=False),
    "sew": Architecture(refused=_POOLED),
    "sew-d": Architecture(refused=_POOLED),
    "parakeet_ctc": Architecture(refused=_ITS_OWN),
    "lasr_ctc": Architecture(refused=_ITS_OWN),
    "granite_speech5_ctc": Architecture(refused=_ITS_OWN),
}
OTHER_FAMILIES = {"whisper": "whisper", "lstm-ctc": "lstm", "whisper-ctc": "whisper-ctc"}  # by their `model_type`


def architecture_of(config: Any, reference: str) -> Architecture:
    """The architecture of a transformers configuration. Raises InputError for an unsupported one, with the reason."""
    usable = ", ".join(name for name, one in ARCHITECTURES.items() if not one.refused)
    if family := OTHER_FAMILIES.get(config.model_type):
        raise InputError(
            f"{reference}: is a model of the family {family}, not wav2vec2; expected one of {usable}: name the family "
            f"{family}, or another model"
        )
    found = ARCHITECTURES.get(config.model_type, Architecture(refused="it is unknown to this package"))
    if found.refused:
        raise InputError(
            f"{reference}: a {config.model_type} is not supported, as {found.refused}; expected one of {usable}: "
            "choose another base, or measure it with pipeline=CHECKPOINT"
        )
    return found


class ModelInput:
    """A waveform as the model's own feature extractor hands it to the model.

    log_mel: whether that is features. Raises InputError for an extractor of another sampling rate.
    """

    def __init__(self, extractor: Any, architecture: Architecture, reference: str) -> None:
        if extractor.sampling_rate != SAMPLE_RATE:
            raise InputError(
                f"{reference}: expects {extractor.sampling_rate} Hz; expected {SAMPLE_RATE}: use another base"
            )
        self.log_mel = architecture.log_mel
        self._extractor = extractor

    def __call__(self, waveform: Tensor) -> Tensor:
        """[samples], or features [bins, frames] without frames of padding; float32. None are made of a waveform that is
        too short for one.
        """
        if not self.log_mel:
            return model_input(waveform, self._extractor.do_normalize)
        n_frames = log_mel_frames(len(waveform))
        if n_frames < 1:
            return waveform.new_empty(self._extractor.feature_size * self._extractor.stride, 0)
        made = self._extractor(waveform.cpu().numpy(), sampling_rate=SAMPLE_RATE, return_tensors="pt")
        return made["input_features"][0, :n_frames].T.contiguous().to(waveform.device)  # type: ignore[no-any-return]


def model_input(waveform: Tensor, normalise: bool) -> Tensor:
    """A waveform [samples] as Wav2Vec2FeatureExtractor hands it to the model, [samples] float32.

    normalise: the extractor's `do_normalize`: to zero mean and unit variance.
    """
    return normalise_waveform(waveform) if normalise else waveform


def log_mel_frames(n_samples: int) -> int:
    """Frames of w2v-BERT's log-mel: pairs of 10 ms, of which an odd last one is left out, as the extractor masks it.

    >>> [log_mel_frames(n) for n in (100, 400, 560, 16_000)]
    [0, 0, 1, 49]
    """
    return max((n_samples - FBANK_WINDOW) // FBANK_HOP + 1, 0) // FBANK_PAIR


def n_frames(model: Any, architecture: Architecture, n_samples: Tensor) -> Tensor:
    """Valid output frames [batch] of utterances of n_samples [batch]."""
    if architecture.log_mel:
        n_samples = _log_mel_frames(n_samples)
    return model._get_feat_extract_output_lengths(n_samples).to(torch.long)  # type: ignore[no-any-return]


def latent_frames(model: Any, architecture: Architecture, n_samples: Tensor) -> Tensor:
    """Valid frames [batch] of the transformer, of which an adapter after it makes fewer output frames."""
    if architecture.log_mel:
        return _log_mel_frames(n_samples)
    if getattr(model.base_model, "adapter", None) is None:
        return n_frames(model, architecture, n_samples)
    frames: Tensor = model._get_feat_extract_output_lengths(n_samples, add_adapter=False)
    return frames.to(torch.long)


def _log_mel_frames(n_samples: Tensor) -> Tensor:
    return torch.tensor([log_mel_frames(n) for n in n_samples.tolist()], dtype=torch.long)


def register_own_models() -> None:
    """This project's own architectures are known to transformers' AutoConfig and AutoModelForCTC afterwards."""
    from finetune.models import lstm_ctc, whisper_ctc_model  # noqa: F401  (they register as they are imported)
