"""Log-probabilities of a CTC model for a recording of any length, and the time of each of its frames.

Every CTC family of the project and of transformers' models with wav2vec 2.0's convolutions. A long recording is
computed in overlapping chunks whose frames are joined, so that activations of one chunk exist at a time; the waveform
and the log-probabilities are held whole: 230 MB and, with 32 units, 23 MB for an hour.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from preprocessing.audio import SAMPLE_RATE
from preprocessing.cli.errors import InputError
from preprocessing.segment import Chunking, FrameGrid, chunks, keep
from preprocessing.units import Vocabulary

WHOLE_SECONDS = 60.0  # a longer recording is computed in chunks: attention grows with the square
CHUNK_SECONDS = 20.0  # kept of each chunk
CONTEXT_SECONDS = 2.0  # on both sides of it; its frames are dropped
WHISPER_CONTEXT_SECONDS = 3.0  # the same of whisper-ctc
LONGEST_WHOLE_SECONDS = 300.0  # of models that cannot be chunked
FAMILIES = ("wav2vec2", "whisper-ctc", "lstm")
HOP_LENGTH = 160  # samples between frames of the features of whisper-ctc and lstm
DEFAULT_PROFILE = "ctc"  # of a model that says of no profile: fitted to its units


@dataclass(frozen=True, slots=True)
class FrameTimes:
    """Where a model's frames are in the audio, in samples at 16 kHz: frame i sees what is around first + i * stride.

    A frame stands for the `stride` samples around its centre; spans of seconds begin and end half a stride from it.
    """

    stride: int
    first: float

    @property
    def frame_seconds(self) -> float:
        """Seconds from one frame to the next."""
        return self.stride / SAMPLE_RATE

    def start(self, frame: int) -> float:
        """Seconds at which a frame begins; 0 where that is before the recording."""
        return max((self.first + (int(frame) - 0.5) * self.stride) / SAMPLE_RATE, 0.0)

    def end(self, frame: int) -> float:
        """Seconds at which a frame ends."""
        return (self.first + (int(frame) + 0.5) * self.stride) / SAMPLE_RATE

    def duration(self, n_frames: int) -> float:
        """Seconds of so many frames."""
        return n_frames * self.frame_seconds


@dataclass(frozen=True)
class CTCModel:
    """A CTC model ready to compute log-probabilities.

    reference: its folder or Hub id. vocabulary: its units. times: of its frames. profile: the text profile of its
    labels, as its run records it; "ctc:REFERENCE" of other models. model: the transformers model, in evaluation mode.
    """

    reference: str
    vocabulary: Vocabulary
    times: FrameTimes
    profile: str
    model: nn.Module
    _logits: Callable[[Tensor], Tensor]  # [samples] -> [frames, units]
    _n_frames: Callable[[int], int]
    _prepared: Callable[[Tensor], Tensor]  # the whole recording, before it is cut
    _chunking: Chunking | None  # None: never cut
    _whole_samples: int  # up to which a recording is computed whole

    @torch.inference_mode()
    def log_probs(self, waveform: Tensor, advance: Callable[[int], None] | None = None) -> Tensor:
        """Log-probabilities [frames, units], natural, float32 on the CPU, of a waveform [samples] at 16 kHz.

        advance: called with the seconds of audio done since the last call. Raises InputError where the recording is
        shorter than a frame, too long for a model that cannot be cut, or gives logits that are not numbers.
        """
        n_samples = len(waveform)
        if self._n_frames(n_samples) < 1:
            raise InputError(
                f"lasts {n_samples / SAMPLE_RATE:.3f} s, which is shorter than a frame of the model; expected speech: "
                "check the file"
            )
        prepared = self._prepared(waveform)
        if n_samples <= self._whole_samples or self._chunking is None:
            if n_samples > self._whole_samples:
                raise InputError(
                    f"lasts {n_samples / SAMPLE_RATE:.0f} s; expected at most {self._whole_samples / SAMPLE_RATE:g} s "
                    "for a model that cannot be run in chunks: cut the recording"
                )
            joined = self._logits(prepared).float().log_softmax(dim=-1).cpu()
            if advance is not None:
                advance(n_samples // SAMPLE_RATE)
        else:
            parts, done = [], 0
            for chunk in chunks(n_samples, self._chunking):
                logits = self._logits(prepared[chunk.start : chunk.stop])
                parts.append(keep(logits, chunk, self._chunking.grid).float().log_softmax(dim=-1).cpu())
                if advance is not None:
                    advance(chunk.keep_stop // SAMPLE_RATE - done)
                    done = chunk.keep_stop // SAMPLE_RATE
            joined = torch.cat(parts)
        if bool(joined.isnan().any()):
            raise InputError(
                f"{self.reference}: gives NaN logits; expected finite ones: its weights are damaged or its training "
                "diverged"
            )
        return joined


def load_ctc(reference: str, device: str = "cpu") -> CTCModel:
    """The CTC model of a run's folder, another transformers folder or a Hub id, or of FAMILY=ONE with a CTC family.

    Raises InputError where it cannot be loaded, or is no CTC model, as OpenAI's Whisper is none.
    """
    family, named, checkpoint = reference.partition("=")
    if not named:
        checkpoint = reference
    elif family in ("whisper", "faster-whisper", "pipeline"):
        raise _no_ctc(reference)
    elif family not in FAMILIES:
        checkpoint = reference
    from finetune.systems.registry import family_of
    from preprocessing.cli.progress import hide_loading_bars

    found = family_of(checkpoint)
    if found in ("whisper", "faster-whisper"):
        raise _no_ctc(checkpoint)
    hide_loading_bars()
    load = {"lstm": _lstm, "whisper-ctc": _whisper_ctc}.get(found, _wav2vec2)
    model = load(checkpoint, torch.device(device))
    if not is_of_denoised(checkpoint):
        return model
    from preprocessing.augment.denoise import SpectralGate

    gate, prepared = SpectralGate(), model._prepared
    return replace(model, _prepared=lambda waveform: prepared(gate(waveform)))


def is_of_denoised(checkpoint: str) -> bool:
    """Whether a run was trained on denoised audio (--data.denoise), as its about.json says."""
    return bool(_recorded(checkpoint, "denoise"))


def _no_ctc(reference: str) -> InputError:
    return InputError(
        f"{reference}: is a Whisper, whose decoder has no frame-level posteriors; expected a CTC model: name one of "
        "the families wav2vec2, whisper-ctc (Whisper's encoder under a CTC head) or lstm"
    )


def _not_loaded(checkpoint: str, error: Exception) -> InputError:
    return InputError(
        f"{checkpoint}: cannot be loaded as a CTC model ({str(error).strip().splitlines()[0]}); expected the folder of "
        "a run, a transformers folder or a Hub id: check the name and the network"
    )


def _profile(checkpoint: str) -> str:
    """The text profile of a run's labels, from its about.json; else that of the model's units."""
    recorded = _recorded(checkpoint, "profile")
    return str(recorded) if recorded else f"{DEFAULT_PROFILE}:{checkpoint}"


def _recorded(checkpoint: str, name: str) -> Any:
    """A field of a run's about.json; None where there is none."""
    path = Path(checkpoint) / "about.json"
    try:
        return json.loads(path.read_text(encoding="utf-8"))[name] if path.is_file() else None
    except (ValueError, KeyError, TypeError):
        return None


def _whisper_ctc(checkpoint: str, device: torch.device) -> CTCModel:
    from finetune.models.whisper_ctc import load

    model = load(checkpoint).eval().to(device)
    chunking, longest = whisper_ctc_chunking(model.config)
    return CTCModel(
        checkpoint, Vocabulary.load(checkpoint), whisper_ctc_times(), _profile(checkpoint), model,
        lambda waveform: model(waveform.to(device)[None]).logits[0],
        lambda n_samples: int(model.n_frames(torch.tensor(n_samples))),
        lambda waveform: waveform,
        chunking,
        longest,
    )  # fmt: skip


def _lstm(checkpoint: str, device: torch.device) -> CTCModel:
    from finetune.models.lstm import load

    model = load(checkpoint).eval().to(device)
    return CTCModel(
        checkpoint, Vocabulary.load(checkpoint), lstm_times(model), _profile(checkpoint), model,
        lambda waveform: model(waveform.to(device)[None]).logits[0],
        lambda n_samples: int(model.n_frames(torch.tensor(n_samples))),
        lambda waveform: waveform,
        None,
        1 << 62,  # time and memory are linear
    )  # fmt: skip


def _wav2vec2(checkpoint: str, device: torch.device) -> CTCModel:
    from transformers import AutoConfig, AutoFeatureExtractor, AutoModelForCTC

    from finetune.models.architectures import ModelInput, architecture_of, n_frames
    from finetune.models.checkpoint_checks import checked_loading
    from finetune.models.fast import cpu

    try:
        architecture = architecture_of(AutoConfig.from_pretrained(checkpoint), checkpoint)
        with checked_loading(checkpoint):
            model: Any = AutoModelForCTC.from_pretrained(checkpoint, dtype=torch.float32).eval()
        extractor = AutoFeatureExtractor.from_pretrained(checkpoint)
    except (OSError, ValueError) as error:
        raise _not_loaded(checkpoint, error) from error
    config = model.config
    prepared, times = ModelInput(extractor, architecture, checkpoint), frame_times(config)
    if times is None:
        raise InputError(
            f"{checkpoint}: the frame times of a {config.model_type} with an adapter are unknown; expected a model "
            "without one: use another"
        )
    fold_weight_norm(model)
    whole_only = has_adapter(config) or architecture.log_mel
    if device.type == "cpu" and not whole_only:
        cpu.replace_convolutions(model)
    model.to(device)
    return CTCModel(
        checkpoint, Vocabulary.load(checkpoint), times, _profile(checkpoint), model,
        lambda values: model((values.T if architecture.log_mel else values).to(device)[None]).logits[0],
        lambda n_samples: int(n_frames(model, architecture, torch.tensor([n_samples]))),
        prepared,
        convolution_chunking(config, CONTEXT_SECONDS),
        round((LONGEST_WHOLE_SECONDS if whole_only else WHOLE_SECONDS) * SAMPLE_RATE),
    )  # fmt: skip


def whisper_ctc_times() -> FrameTimes:
    """Where the frames of whisper-ctc are."""
    from finetune.models.whisper_ctc import SAMPLES_PER_FRAME

    return FrameTimes(SAMPLES_PER_FRAME, 0.0)


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


def whisper_ctc_chunking(config: Any) -> tuple[Chunking, int]:
    """How whisper-ctc's recordings are cut, and the samples up to which they are not: those of the encoder's positions.

    A chunk has WHISPER_CONTEXT_SECONDS on both sides, or a quarter of its length where that is less.
    """
    from finetune.models.whisper_ctc import SAMPLES_PER_FRAME

    longest = int(config.max_source_positions) * SAMPLES_PER_FRAME
    context = min(round(WHISPER_CONTEXT_SECONDS * SAMPLE_RATE), longest // 4)
    grid = FrameGrid(stride=SAMPLES_PER_FRAME, receptive_field=SAMPLES_PER_FRAME // 2)
    return Chunking(keep=longest - 2 * context, context=context, grid=grid), longest


def convolution_chunking(config: Any, context_seconds: float) -> Chunking | None:
    """How recordings are cut for a model with wav2vec 2.0's convolutions: CHUNK_SECONDS kept, context on both sides.

    None where frames cannot be joined: without such convolutions, or with an adapter after the transformer.
    """
    if not hasattr(config, "conv_kernel") or has_adapter(config):
        return None
    return Chunking(
        keep=round(CHUNK_SECONDS * SAMPLE_RATE),
        context=round(context_seconds * SAMPLE_RATE),
        grid=FrameGrid.of_convolutions(config.conv_kernel, config.conv_stride),
    )


def has_adapter(config: Any) -> bool:
    """Whether convolutions after the transformer reduce the frames further, across padding too."""
    return bool(getattr(config, "add_adapter", False))


def fold_weight_norm(model: nn.Module) -> None:
    """Compute parametrised weights, as the weight norm of positional convolutions, once instead of in every pass."""
    for module in list(model.modules()):
        if parametrize.is_parametrized(module, "weight"):
            parametrize.remove_parametrizations(module, "weight")
