"""The Whisper family: openai-whisper's module and tokenizer (Radford et al. 2022), trained by cross-entropy.

Checkpoints are saved as `whisper.load_model` reads them. The encoder always takes a full window; its positions are
fixed sinusoids, so training with a window below 30 s changes nothing in the saved checkpoint's format. Texts have no
timestamps.
"""

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
import whisper
from accelerate.utils import extract_model_from_parallel
from torch import Tensor, nn
from whisper.model import ModelDimensions, Whisper, sinusoids
from whisper.tokenizer import LANGUAGES, TO_LANGUAGE_CODE, get_tokenizer

from finetune.config import ModelConfig
from finetune.models.base import (
    IGNORED_LABEL,
    Batch,
    EvaluationOutput,
    Example,
    Hypothesis,
    Publication,
    Recogniser,
)
from preprocessing.audio import SAMPLE_RATE
from preprocessing.augment.spec_augment import SpecAugment
from preprocessing.cli.atomic_write import atomic_file
from preprocessing.cli.errors import InputError, UsageError
from preprocessing.features import Features, LogMel
from preprocessing.features.whisper import HOP_LENGTH

FRAMES_PER_SECOND = 50  # of the encoder, after its stride of 2 over 10 ms frames
FULL_CONTEXT = 1500  # encoder frames of a released checkpoint: 30 s
CHECKPOINT = "whisper.pt"

PUBLICATION = Publication(
    title="A Whisper checkpoint for openai-whisper",
    library="openai-whisper",
    tags=("whisper",),
    files=(CHECKPOINT,),
    model_input="openai-whisper's log-mel spectrogram",
    settings=("language", "freeze_feature_encoder", "spec_augment", "context_seconds"),
    usage="""\
import whisper
from huggingface_hub import hf_hub_download

model = whisper.load_model(hf_hub_download("REPO", "whisper.pt"))
print(model.transcribe("speech.wav", temperature=0)["text"])""",
)


class WhisperModule(nn.Module):
    """The training pass of Whisper: log-mel windows -> cross-entropy summed over all tokens, a float32 scalar."""

    def __init__(self, model: Whisper, spec_augment: SpecAugment | None = None) -> None:
        super().__init__()
        self.model = model
        self.spec_augment = spec_augment

    def forward(self, batch: Batch, generator: torch.Generator | None) -> Tensor:
        """The loss of a batch of windows [batch, n_mels, frames], in training mode masked by the generator's draws.

        Labels hold the whole token sequence, start to end of text: each token is predicted from those before it.
        """
        return self.loss(batch, self.model.encoder(self._masked(batch, generator)))

    def loss(self, batch: Batch, audio_features: Tensor) -> Tensor:
        """The same from the encoder's output for the batch [batch, frames, channels]."""
        logits = self.model.decoder(batch.labels.clamp(min=0)[:, :-1], audio_features)
        return nn.functional.cross_entropy(
            logits.float().flatten(0, 1), batch.labels[:, 1:].flatten(), ignore_index=IGNORED_LABEL, reduction="sum"
        )

    def _masked(self, batch: Batch, generator: torch.Generator | None) -> Tensor:
        """The windows [batch, n_mels, frames]; in training mode with SpecAugment's warp and masks over their speech."""
        if self.spec_augment is None or not self.training or generator is None:
            return batch.inputs
        longest = batch.inputs.shape[-1]
        n_frames = torch.tensor([min(-(-n // HOP_LENGTH), longest) for n in batch.n_samples])
        return self.spec_augment(Features(batch.inputs, n_frames.to(batch.inputs.device)), generator).values  # type: ignore[no-any-return]


class WhisperRecogniser(Recogniser):
    """A Whisper model with its tokenizer, its language and its window."""

    def __init__(self, config: ModelConfig, model: Whisper) -> None:
        policy = config.spec_augment
        self.module: WhisperModule = WhisperModule(
            model, None if policy == "none" else SpecAugment(policy, fill="mean")
        )
        self._language = _language(config, model)
        self._tokenizer = get_tokenizer(
            model.is_multilingual, num_languages=model.num_languages, language=self._language, task="transcribe"
        )
        self._log_mel = LogMel(model.dims.n_mels)
        self._window_seconds = model.dims.n_audio_ctx / FRAMES_PER_SECOND
        if config.freeze_feature_encoder and config.scratch is None:
            for convolution in (model.encoder.conv1, model.encoder.conv2):
                convolution.requires_grad_(False)

    def prepare(self, index: int, waveform: Tensor, labels: tuple[int, ...]) -> Example:
        """The log-mel of a full window [n_mels, frames].

        openai-whisper fills a window in two ways, so examples of even and odd index take them by turns: silence after
        the waveform, as for `whisper.decode`, or zeros after the log-mel, as in `whisper.transcribe`.
        """
        n_frames = 2 * round(self._window_seconds * FRAMES_PER_SECOND)
        silence = nn.functional.pad(waveform, (0, round(self._window_seconds * SAMPLE_RATE) - len(waveform)))
        mel = self._log_mel(silence)
        if index % 2:
            mel[:, -(-len(waveform) // HOP_LENGTH) :] = 0.0
        return Example(index, mel[:, :n_frames], labels, len(waveform))

    def encode(self, text: str) -> tuple[int, ...]:
        tokens = self._tokenizer.encode(" " + text) if text else []
        return (*self._tokenizer.sot_sequence_including_notimestamps, *tokens, self._tokenizer.eot)

    def fits(self, n_samples: int, labels: Sequence[int]) -> bool:
        window = self._window_seconds * SAMPLE_RATE
        return n_samples <= window and len(labels) <= int(self.module.model.dims.n_text_ctx)

    def rejection_reason(self, n_samples: int, text: str) -> str | None:
        if n_samples > self._window_seconds * SAMPLE_RATE:
            return (
                f"lasts {n_samples / SAMPLE_RATE:.2f} s; expected at most the window, {self._window_seconds:g} s: cut "
                "it, or raise --model.context_seconds"
            )
        n_tokens, maximum = len(self.encode(text)), self.module.model.dims.n_text_ctx
        return f"{n_tokens} tokens; expected at most {maximum}: cut the utterance" if n_tokens > maximum else None

    def check_labels(self, texts: Sequence[str]) -> None:
        """Never raises: Whisper's byte-level tokenizer writes every text."""

    @torch.inference_mode()
    def evaluate(self, module: nn.Module, batch: Batch) -> EvaluationOutput:
        unwrapped = self._unwrap(module)
        audio_features = unwrapped.model.encoder(batch.inputs)
        options = whisper.DecodingOptions(language=self._language, without_timestamps=True, temperature=0.0, fp16=False)
        results = whisper.decode(unwrapped.model, audio_features.float(), options)  # it refuses autocast's 16 bits
        hypotheses = [Hypothesis(result.text, None) for result in results]
        return EvaluationOutput(float(unwrapped.loss(batch, audio_features)), hypotheses)

    @staticmethod
    def _unwrap(module: nn.Module) -> WhisperModule:
        unwrapped = extract_model_from_parallel(module)
        assert isinstance(unwrapped, WhisperModule)
        return unwrapped

    def save(self, folder: Path, module: nn.Module) -> None:
        model = self._unwrap(module).model
        folder.mkdir(parents=True, exist_ok=True)
        save_checkpoint(folder / CHECKPOINT, model)

    def count_labels(self, batch: Batch) -> int:
        return int((batch.label_lengths - 1).sum())


def _language(config: ModelConfig, model: Whisper) -> str:
    """The code of the language to train, "en" for an English-only model. Raises UsageError where the model does not
    know --model.language, or a multilingual one is given none.
    """
    given, origin = config.language, config.base or "--model.scratch"
    if not model.is_multilingual:
        if given not in (None, "en"):
            raise UsageError(
                f"--model.language is {given}, but {origin} is an English-only Whisper; expected en: begin with a "
                "multilingual size, such as base instead of base.en"
            )
        return "en"
    known = list(LANGUAGES)[: model.num_languages]
    if given is None or given not in known:
        meant = TO_LANGUAGE_CODE.get((given or "").lower())
        raise UsageError(
            f"--model.language is {given or 'unset'} and {origin} a multilingual Whisper; expected the code of one of "
            f"its {len(known)} languages: write {meant or 'en, de or another of ' + ', '.join(sorted(known))}"
        )
    return given


def save_checkpoint(path: Path, model: Whisper) -> None:
    """Writes {"dims", "model_state_dict"} in half precision with the positions of all 30 s, as OpenAI publishes it.

    `path` is replaced only once the file is whole.
    """
    weights = {name: weight.half() for name, weight in model.state_dict().items()}
    weights["encoder.positional_embedding"] = sinusoids(FULL_CONTEXT, model.dims.n_audio_state).half()
    dims = asdict(replace(model.dims, n_audio_ctx=FULL_CONTEXT))
    with atomic_file(path) as temporary, temporary.open("wb") as file:
        torch.save({"dims": dims, "model_state_dict": weights}, file)


def build(config: ModelConfig, _labels: Sequence[str], seed: int) -> WhisperRecogniser:
    """The recogniser that a configuration describes (see `Recogniser`); its tokenizer is Whisper's own.

    Raises InputError where the base cannot be loaded, UsageError on keys or values that cannot be used.
    """
    torch.manual_seed(seed)
    context = round(config.context_seconds * FRAMES_PER_SECOND)
    if not 0 < context <= FULL_CONTEXT:
        raise UsageError(f"--model.context_seconds is {config.context_seconds:g}; expected over 0, up to 30: change it")
    if config.scratch is not None:
        try:
            dims = ModelDimensions(**config.scratch | {"n_audio_ctx": context})
        except TypeError as error:
            raise UsageError(f"--model.scratch: {error}; expected the keys of Whisper's ModelDimensions") from None
        model = Whisper(dims)
        nn.init.normal_(model.decoder.positional_embedding, std=0.01)  # openai-whisper leaves it unset
        nn.init.normal_(model.decoder.token_embedding.weight, std=0.05)
        return WhisperRecogniser(config, model)
    assert config.base is not None
    return WhisperRecogniser(config, _with_context(load_model(config.base), context))


def load_model(reference: str) -> Whisper:
    """A Whisper model in float32 on the CPU, from a size's name, a .pt file, or the folder of a run.

    Raises InputError where it cannot be loaded.
    """
    path = Path(reference)
    try:
        return whisper.load_model(str(path / CHECKPOINT if path.is_dir() else path), device="cpu").float()
    except (RuntimeError, OSError, KeyError) as error:
        raise InputError(
            f"{reference}: cannot be loaded as a Whisper checkpoint ({str(error).strip().splitlines()[0]}); expected "
            f"a size ({', '.join(whisper.available_models())}), a .pt file or a run's folder: check name and network"
        ) from error


def _with_context(model: Whisper, context: int) -> Whisper:
    """The model with the first `context` encoder positions only."""
    if context == model.dims.n_audio_ctx:
        return model
    shorter = Whisper(replace(model.dims, n_audio_ctx=context))
    weights: dict[str, Any] = model.state_dict()
    weights["encoder.positional_embedding"] = weights["encoder.positional_embedding"][:context]
    shorter.load_state_dict(weights)
    return shorter
