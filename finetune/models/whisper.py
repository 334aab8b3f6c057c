"""The Whisper family: openai-whisper's module and tokenizer (Radford et al. 2022), trained by cross-entropy.

The base is any Whisper (`whisper_formats.py`). Its encoder can be frozen below some block: on a CPU, what the frozen
part makes of an utterance can be kept on the disk (`frozen_features.py`). The encoder always takes a full window; its
positions are fixed sinusoids, so training with a window below 30 s changes nothing in the saved checkpoint's format.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
import whisper
from accelerate.utils import extract_model_from_parallel
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from whisper.model import ModelDimensions, ResidualAttentionBlock, Whisper
from whisper.tokenizer import LANGUAGES, TO_LANGUAGE_CODE, get_tokenizer

from finetune.config import ModelConfig
from finetune.models.base import (
    IGNORED_LABEL,
    Batch,
    EvaluationOutput,
    Example,
    Hypothesis,
    Publication,
    TrainableRecogniser,
)
from finetune.models.checkpoint_checks import CHECKPOINT, check_scratch, sizes_of_dims
from finetune.models.frozen_features import open_cache
from finetune.models.trainable_parameters import freeze_whisper_encoder, inject_lora, merged_state_dict
from finetune.models.whisper_formats import FULL_CONTEXT, load_model, save, suppressed_tokens
from preprocessing.audio import SAMPLE_RATE
from preprocessing.augment.spec_augment import SpecAugment
from preprocessing.errors import UsageError
from preprocessing.features import Features, LogMel
from preprocessing.features.whisper import HOP_LENGTH

FRAMES_PER_SECOND = 50  # of the encoder, after its stride of 2 over 10 ms frames
TOKENS_PER_SECOND = 32  # of a transcript at most, in scripts that Whisper writes byte by byte
LORA_TARGETS = ("query", "key", "value", "out")  # every projection of the attention
UNSPACED = frozenset(("zh", "ja", "th", "lo", "my", "yue"))  # as in whisper.tokenizer: written without spaces

PUBLICATION = Publication(
    title="A Whisper checkpoint for transformers and openai-whisper",
    library="transformers",
    tags=(),
    files=(
        CHECKPOINT,
        "model*.safetensors",
        "config.json",
        "generation_config.json",
        "preprocessor_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
    ),
    model_input="Whisper's log-mel spectrogram, of 30 s",
    settings=("language", "trained_layers", "lora_rank", "timestamp_share", "spec_augment", "context_seconds"),
    usage="""\
from transformers import pipeline

recognise = pipeline("automatic-speech-recognition", model="REPO")
print(recognise("speech.wav")["text"])  # paths need the ffmpeg program
# over 30 s: recognise("speech.wav", return_timestamps=True)

# or through openai-whisper, which needs the ffmpeg program, too
import whisper
from huggingface_hub import hf_hub_download

model = whisper.load_model(hf_hub_download("REPO", "whisper.pt"))
print(model.transcribe("speech.wav", language="LANGUAGE", temperature=0)["text"])""",
)


class CheckpointedBlock(ResidualAttentionBlock):  # type: ignore[misc]
    """A block of openai-whisper, of which training keeps only the input: the backward pass computes it again."""

    def forward(
        self, x: Tensor, xa: Tensor | None = None, mask: Tensor | None = None, kv_cache: dict[Any, Tensor] | None = None
    ) -> Tensor:
        """As of ResidualAttentionBlock; dropout of LoRA is drawn once."""
        forward = super().forward
        if not self.training or not torch.is_grad_enabled():
            return forward(x, xa, mask, kv_cache)  # type: ignore[no-any-return]
        return checkpoint(forward, x, xa, mask, use_reentrant=False)  # type: ignore[no-any-return]


class WhisperModule(nn.Module):
    """The training pass of Whisper: log-mel windows, or cached states of frozen blocks -> cross-entropy summed over all
    tokens after the prompt, a float32 scalar.

    n_frozen: blocks of the encoder below the trained ones; all of them also freeze its last norm. cached: whether a
    batch's inputs are their states [batch, channels, frames] instead of windows. special: ids from the first special
    token to before the first timestamp, which the prompt is made of and the loss leaves out.
    """

    def __init__(
        self,
        model: Whisper,
        spec_augment: SpecAugment | None = None,
        *,
        n_frozen: int = 0,
        cached: bool = False,
        special: range = range(0),
        label_smoothing_factor: float = 0.0,
    ) -> None:
        super().__init__()
        self.model = model
        self.spec_augment = spec_augment
        self.n_frozen = n_frozen
        self.cached = cached
        self.special = special
        self.label_smoothing_factor = label_smoothing_factor

    def forward(self, batch: Batch, generator: torch.Generator | None) -> Tensor:
        """The loss of a batch, in training mode masked by the generator's draws.

        Labels hold the whole token sequence, start to end of text: each token is predicted from those before it.
        """
        return self.loss(batch, self.encode(batch, generator), self.label_smoothing_factor)

    def encode(self, batch: Batch, generator: torch.Generator | None = None) -> Tensor:
        """The encoder's output for a batch [batch, frames, channels]."""
        inputs = self._masked(batch, generator)
        if self.cached:
            return self.upper(inputs.transpose(1, 2))
        with torch.set_grad_enabled(torch.is_grad_enabled() and self.n_frozen == 0):
            states = self.lower(inputs)
        return self.upper(states)

    def lower(self, windows: Tensor) -> Tensor:
        """States of the frozen part [batch, frames, channels] for log-mel windows [batch, n_mels, 2 * frames]."""
        encoder = self.model.encoder
        hidden = nn.functional.gelu(encoder.conv1(windows))
        hidden = nn.functional.gelu(encoder.conv2(hidden)).permute(0, 2, 1)
        # in float32 under autocast too: blocks add to it what is small beside it
        hidden = hidden.float() + encoder.positional_embedding
        for block in encoder.blocks[: self.n_frozen]:
            hidden = block(hidden)
        return hidden  # type: ignore[no-any-return]

    def upper(self, states: Tensor) -> Tensor:
        """The encoder's output from what `lower` returned."""
        for block in self.model.encoder.blocks[self.n_frozen :]:
            states = block(states)
        return self.model.encoder.ln_post(states)  # type: ignore[no-any-return]

    def loss(self, batch: Batch, audio_features: Tensor, label_smoothing_factor: float = 0.0) -> Tensor:
        """The loss from the encoder's output for the batch [batch, frames, channels]."""
        logits = self.model.decoder(batch.labels.clamp(min=0)[:, :-1], audio_features)
        return nn.functional.cross_entropy(
            logits.float().flatten(0, 1),
            self.targets(batch)[:, 1:].flatten(),
            ignore_index=IGNORED_LABEL,
            reduction="sum",
            label_smoothing=label_smoothing_factor,
        )

    def targets(self, batch: Batch) -> Tensor:
        """Labels [batch, longest] with IGNORED_LABEL in place of the prompt: start, language, task, no timestamps."""
        prompt = (batch.labels >= self.special.start) & (batch.labels < self.special.stop)
        return batch.labels.masked_fill(prompt, IGNORED_LABEL)

    def _masked(self, batch: Batch, generator: torch.Generator | None) -> Tensor:
        """The inputs [batch, channels, frames], in training mode with SpecAugment's warp and masks on the speech."""
        if self.spec_augment is None or not self.training or generator is None:
            return batch.inputs
        longest = batch.inputs.shape[-1]
        samples_per_frame = SAMPLE_RATE // FRAMES_PER_SECOND if self.cached else HOP_LENGTH
        n_frames = torch.tensor([min(-(-n // samples_per_frame), longest) for n in batch.n_samples])
        return self.spec_augment(Features(batch.inputs, n_frames.to(batch.inputs.device)), generator).values  # type: ignore[no-any-return]


class WhisperRecogniser(TrainableRecogniser):
    """A Whisper model with its tokenizer, its language and its window.

    Raises UsageError where the configuration trains more blocks than the encoder has, or caches what is not frozen.
    """

    def __init__(self, config: ModelConfig, model: Whisper) -> None:
        self._language = _language(config, model)
        self._tokenizer = get_tokenizer(
            model.is_multilingual, num_languages=model.num_languages, language=self._language, task="transcribe"
        )
        model.alignment_heads = model.alignment_heads.to_dense()  # DDP takes no sparse buffer
        self._log_mel = LogMel(model.dims.n_mels)
        self.window_seconds = model.dims.n_audio_ctx / FRAMES_PER_SECOND
        self._timestamp_share = config.timestamp_share
        self._lora = config.lora_rank > 0
        blocks = model.encoder.blocks
        n_frozen = freeze_whisper_encoder(model.encoder, blocks, config)
        if n_frozen == len(blocks):
            model.encoder.ln_post.requires_grad_(False)
        if self._lora:
            _add_lora(config, model, n_frozen)
        self._cache = open_cache(config, _frozen_weights(model, n_frozen), self._frozen_states)
        policy = config.spec_augment
        self.module: WhisperModule = WhisperModule(
            model,
            None if policy == "none" else SpecAugment(policy, fill="mean"),
            n_frozen=n_frozen,
            cached=self._cache is not None,
            special=range(self._tokenizer.eot + 1, self._tokenizer.timestamp_begin),
            label_smoothing_factor=config.label_smoothing_factor,
        )

    def prepare(self, index: int, waveform: Tensor, labels: tuple[int, ...]) -> Example:
        """A full window: its log-mel [n_mels, frames], or the states [channels, frames] of the frozen part.

        openai-whisper fills a window in two ways, so examples of even and odd index take them by turns: silence after
        the waveform, as for `whisper.decode`, or zeros after the log-mel, as in `whisper.transcribe`.
        """
        silence = index % 2 == 0
        inputs = self._window(waveform, silence) if self._cache is None else self._cache(waveform, silence=silence)
        if self._gets_timestamps(index, labels):
            labels = self._with_timestamps(len(waveform), labels)
        else:
            labels = self._without_blank(labels)
        return Example(index, inputs, labels, len(waveform), round(self.window_seconds * SAMPLE_RATE))

    def _window(self, waveform: Tensor, silence: bool) -> Tensor:
        n_frames = 2 * round(self.window_seconds * FRAMES_PER_SECOND)
        mel = self._log_mel(nn.functional.pad(waveform, (0, round(self.window_seconds * SAMPLE_RATE) - len(waveform))))
        if not silence:
            mel[:, len(waveform) // HOP_LENGTH :] = 0.0
        return mel[:, :n_frames]  # type: ignore[no-any-return]

    def _frozen_states(self, waveform: Tensor, silence: bool) -> Tensor:
        """[channels, frames] of the frozen part for a waveform [samples]."""
        return self.module.lower(self._window(waveform, silence)[None])[0].T

    def _gets_timestamps(self, index: int, labels: tuple[int, ...]) -> bool:
        """Whether an example is trained in the form that gives times: a share of the pairs of indices, spread evenly,
        since of each pair one window is filled with silence and one with zeros. Never without a text.
        """
        pair, n_prompt = index // 2, len(self._tokenizer.sot_sequence)
        chosen = math.floor((pair + 1) * self._timestamp_share) != math.floor(pair * self._timestamp_share)
        return chosen and len(labels) > n_prompt + 2

    def _with_timestamps(self, n_samples: int, labels: tuple[int, ...]) -> tuple[int, ...]:
        """Labels in the form that gives times, from 0 s to the end."""
        begin, n_prompt = self._tokenizer.timestamp_begin, len(self._tokenizer.sot_sequence)
        end = begin + round(n_samples / SAMPLE_RATE * FRAMES_PER_SECOND)
        return (*labels[:n_prompt], begin, *labels[n_prompt + 1 : -1], end, labels[-1])

    def _without_blank(self, labels: tuple[int, ...]) -> tuple[int, ...]:
        """Labels whose text does not begin with the space alone, a token that decoding never writes first
        (`whisper.decoding.SuppressBlank`). The space is one where no token joins it to a letter, as in Bengali.
        """
        n_prompt = len(self._tokenizer.sot_sequence_including_notimestamps)
        blank = tuple(self._tokenizer.encode(" "))
        return (*labels[:n_prompt], *labels[n_prompt + 1 :]) if labels[n_prompt : n_prompt + 1] == blank else labels

    def encode(self, text: str) -> tuple[int, ...]:
        return (*self._tokenizer.sot_sequence_including_notimestamps, *self._tokens(text), self._tokenizer.eot)

    def _tokens(self, text: str) -> list[int]:
        """Tokens of a text, in which the name of a special token such as <|0.00|> is text like any other. It begins
        with a space, as Whisper's own do but in languages that are written without spaces.
        """
        start = "" if self._language in UNSPACED else " "
        return self._tokenizer.encode(start + text, disallowed_special=()) if text else []

    def fits(self, n_samples: int, labels: Sequence[int]) -> bool:
        window = self.window_seconds * SAMPLE_RATE
        return n_samples <= window and len(labels) <= self._longest_labels()

    def rejection_reason(self, n_samples: int, text: str, *, is_silence: bool = False) -> str | None:
        if n_samples > self.window_seconds * SAMPLE_RATE:
            return (
                f"lasts {n_samples / SAMPLE_RATE:.2f} s; expected at most the window, {self.window_seconds:g} s: cut "
                "it, or raise --model.context_seconds"
            )
        n_tokens, maximum = len(self.encode(text)), self._longest_labels()
        return f"{n_tokens} tokens; expected at most {maximum}: cut the utterance" if n_tokens > maximum else None

    def _longest_labels(self) -> int:
        """The decoder's positions, which the last label needs none of, less one where an end time is added."""
        return int(self.module.model.dims.n_text_ctx) + (0 if self._timestamp_share > 0 else 1)

    def check_labels(self, texts: Sequence[str]) -> None:
        """Never raises: Whisper's byte-level tokenizer writes every text."""

    def describe_units(self, texts: Sequence[str]) -> str:
        """What the texts hold that Whisper's decoding never writes; empty where there is nothing."""
        lines = []
        never = set(suppressed_tokens(self._tokenizer))
        found = [{token for token in self._tokens(text) if token in never} for text in texts]
        if any(found):
            symbols = " ".join(sorted({self._tokenizer.decode([token]).strip() for token in set.union(*found)}))
            n_texts = sum(map(bool, found))
            lines.append(
                f"{n_texts} of {len(texts)} texts hold symbols that Whisper's decoding never writes: {symbols}"
            )
        if n_empty := sum(not text for text in texts):
            lines.append(
                f"{n_empty} of {len(texts)} texts are empty; up to 30 s, Whisper's decoding always writes a token"
            )
        return "; ".join(lines)

    @torch.inference_mode()
    def evaluate(self, module: nn.Module, batch: Batch) -> EvaluationOutput:
        """The loss without label smoothing; texts as `whisper.decode` gives them, each of at most TOKENS_PER_SECOND."""
        unwrapped: WhisperModule = extract_model_from_parallel(module)
        audio_features = unwrapped.encode(batch)
        limits = [math.ceil(n / SAMPLE_RATE * TOKENS_PER_SECOND) + 16 for n in batch.n_samples]
        options = whisper.DecodingOptions(
            language=self._language,
            without_timestamps=True,
            temperature=0.0,
            fp16=False,
            sample_len=min(max(limits), self.module.model.dims.n_text_ctx // 2),
        )
        results = whisper.decode(unwrapped.model, audio_features.float(), options)  # it refuses autocast's 16 bits
        texts = [
            result.text if len(result.tokens) <= limit else self._tokenizer.decode(result.tokens[:limit]).strip()
            for result, limit in zip(results, limits, strict=True)
        ]
        hypotheses = [Hypothesis(text, None) for text in texts]
        return EvaluationOutput(float(unwrapped.loss(batch, audio_features)), hypotheses)

    def gradient_checkpointing_enable(self) -> None:
        model = self.module.model
        for block in (*model.encoder.blocks[self.module.n_frozen :], *model.decoder.blocks):
            block.__class__ = CheckpointedBlock  # unlike a replaced method, right in a copy of the model, too

    def layers_above(self, parameter: str) -> int:
        """0 for the output layer, which is the token embedding; 1 for the decoder's top block; one more than it has
        blocks for the encoder's end, and so on down to its convolutions.
        """
        n_decoder, n_encoder = len(self.module.model.decoder.blocks), len(self.module.model.encoder.blocks)
        block = re.search(r"(decoder|encoder)\.blocks\.(\d+)\.", parameter)
        if block is not None:
            above = n_decoder if block[1] == "decoder" else n_decoder + 1 + n_encoder
            return above - int(block[2])
        if "encoder." in parameter:
            return n_decoder + 1 if ".ln_post." in parameter else n_decoder + n_encoder + 2
        return n_decoder + 1 if "positional_embedding" in parameter else 0

    def save(self, folder: Path, module: nn.Module) -> None:
        model = extract_model_from_parallel(module).model
        save(folder, model, merged_state_dict(model) if self._lora else model.state_dict(), self._language)

    def count_labels(self, batch: Batch) -> int:
        """Labels after the prompt: the text, times where it has them, and its end."""
        return int((self.module.targets(batch) != IGNORED_LABEL).sum())


def _add_lora(config: ModelConfig, model: Whisper, n_frozen: int) -> None:
    """LoRA at the attention's projections of the decoder and of the encoder's trained blocks; all else is frozen."""
    model.requires_grad_(False)
    for block in model.encoder.blocks[n_frozen:]:
        inject_lora(block, config, LORA_TARGETS)
    inject_lora(model.decoder, config, LORA_TARGETS)


def _frozen_weights(model: Whisper, n_frozen: int) -> list[tuple[str, Tensor]]:
    """What `WhisperModule.lower` depends on."""
    encoder: Any = model.encoder
    state = {name: value for name, value in encoder.state_dict().items() if name.startswith(("conv", "positional"))}
    for place, block in enumerate(encoder.blocks[:n_frozen]):
        state |= {f"blocks.{place}.{name}": value for name, value in block.state_dict().items()}
    return [("window", torch.tensor([n_frozen])), *state.items()]


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


def build(config: ModelConfig, _labels: Sequence[str], seed: int) -> WhisperRecogniser:
    """The recogniser that a configuration describes (see `TrainableRecogniser`); its tokenizer is Whisper's own.

    Raises InputError where the base cannot be loaded, UsageError on keys or values that cannot be used.
    """
    torch.manual_seed(seed)
    context = round(config.context_seconds * FRAMES_PER_SECOND)
    if not 0 < context <= FULL_CONTEXT:
        raise UsageError(f"--model.context_seconds is {config.context_seconds:g}; expected over 0, up to 30: change it")
    if config.scratch is not None:
        try:
            dims = ModelDimensions(**config.scratch | {"n_audio_ctx": context})
            check_scratch(sizes_of_dims(asdict(dims)), "--model.scratch")
            model = Whisper(dims)
        except TypeError as error:
            raise UsageError(
                f"--model.scratch cannot be used: {error}; expected the keys of Whisper's ModelDimensions, each a "
                "whole number: correct them"
            ) from None
        nn.init.normal_(model.decoder.positional_embedding, std=0.01)  # openai-whisper leaves it unset
        nn.init.normal_(model.decoder.token_embedding.weight, std=0.05)
        return WhisperRecogniser(config, model)
    assert config.base is not None
    return WhisperRecogniser(config, _with_context(load_model(config.base), context))


def _with_context(model: Whisper, context: int) -> Whisper:
    """The model with the first `context` encoder positions only."""
    if context == model.dims.n_audio_ctx:
        return model
    shorter = Whisper(replace(model.dims, n_audio_ctx=context))
    weights: dict[str, Any] = model.state_dict()
    weights["encoder.positional_embedding"] = weights["encoder.positional_embedding"][:context]
    shorter.load_state_dict(weights)
    shorter.register_buffer("alignment_heads", model.alignment_heads, persistent=False)
    return shorter
