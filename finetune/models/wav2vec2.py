"""wav2vec 2.0 with a CTC head, and any other *ForCTC of transformers built alike (HuBERT, WavLM, data2vec-audio).

Loads from a folder or the Hub by id, trains under the waveform and text contracts of `preprocessing`, and saves a plain
transformers folder. An utterance's logits are the same in a padded batch and alone (`models.exact`).
"""

import re
from collections import Counter
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import extract_model_from_parallel
from torch import Tensor, nn

from finetune.config import ModelConfig
from finetune.ctc.collapse import collapse
from finetune.models.base import Batch, Example, Heard, Recogniser
from finetune.models.exact import ValidFrames
from finetune.models.masking import LatentMasks
from finetune.models.partial import choose_trained, plain_state
from preprocessing.audio import SAMPLE_RATE
from preprocessing.errors import InputError, UsageError
from preprocessing.features import normalise_waveform
from preprocessing.units import Vocabulary, frames_needed
from preprocessing.units import build as build_units
from preprocessing.units.syllables import read_cmudict


class CTCModule(nn.Module):
    """The training pass: waveforms -> summed CTC loss in float32."""

    def __init__(self, model: Any, config: ModelConfig, *, blank: int) -> None:
        super().__init__()
        self.model = model
        self.blank = blank
        self._valid_frames = ValidFrames(model)
        self._masks = LatentMasks(model, config)
        self.head_only = False

    def log_probs(self, batch: Batch, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """Returns log-probabilities [batch, frames, units] in float32 and valid frames [batch].

        generator: draws the latent masks; None hides nothing.
        """
        frames = self.frames(batch.lengths)
        positions = torch.arange(batch.inputs.shape[-1], device=batch.inputs.device)
        attention_mask = (positions < batch.lengths[:, None]).long()
        below = torch.no_grad() if self.head_only else nullcontext()
        self._valid_frames.of(batch.lengths, frames)
        with below, self._masks.drawn(frames, generator):
            hidden = self.model.base_model(batch.inputs, attention_mask=attention_mask).last_hidden_state
        logits = self.model.lm_head(self.model.dropout(hidden))
        return logits.float().log_softmax(dim=-1), frames

    def frames(self, n_samples: Tensor) -> Tensor:
        """Valid frames of each utterance [batch] from its samples [batch]."""
        return self.model._get_feat_extract_output_lengths(n_samples).to(torch.long)  # type: ignore[no-any-return]

    def forward(self, batch: Batch, generator: torch.Generator | None) -> Tensor:
        """Sum of the CTC losses of the batch; while training, latent masks are drawn from the generator."""
        log_probs, frames = self.log_probs(batch, generator if self.training else None)
        targets = batch.labels.clamp(min=0)
        return nn.functional.ctc_loss(
            log_probs.transpose(0, 1), targets, frames, batch.label_lengths, blank=self.blank, reduction="sum"
        )


class Wav2Vec2(Recogniser):
    """A *ForCTC model with its vocabulary and its feature extractor."""

    def __init__(self, config: ModelConfig, model: Any, vocabulary: Vocabulary, feature_extractor: Any) -> None:
        self.vocabulary = vocabulary
        self._feature_extractor = feature_extractor
        if feature_extractor.sampling_rate != SAMPLE_RATE:
            raise InputError(
                f"{config.base}: expects {feature_extractor.sampling_rate} Hz; expected {SAMPLE_RATE}: use another base"
            )
        choose_trained(model, config)
        if config.gradient_checkpointing:
            model.gradient_checkpointing_enable({"use_reentrant": False})
        if config.compile:
            model.base_model.encoder.compile(dynamic=True)
        self._lora = config.lora_rank > 0
        self.module: CTCModule = CTCModule(model, config, blank=vocabulary.blank)
        self._shortest = next(n for n in range(1, SAMPLE_RATE) if self._n_frames(n) > 0)

    def _n_frames(self, n_samples: int) -> int:
        return int(self.module.frames(torch.tensor([n_samples])))

    def prepare(self, index: int, waveform: Tensor, labels: tuple[int, ...]) -> Example:
        return Example(index, model_input(waveform, self._feature_extractor.do_normalize), labels, len(waveform))

    def encode(self, text: str) -> tuple[int, ...]:
        return tuple(self.vocabulary.encode(text))

    def fits(self, n_samples: int, labels: Sequence[int]) -> bool:
        return n_samples >= self._shortest and self._n_frames(n_samples) >= frames_needed(labels)

    def unusable(self, n_samples: int, text: str) -> str | None:
        if n_samples < self._shortest:
            return f"{n_samples} samples; expected {self._shortest} or more, the model's receptive field: leave it out"
        if not text:
            return "an empty label; expected text: transcribe it or leave it out"
        if self.vocabulary.unknown is None and self.vocabulary.outside([text]):
            return f"characters outside the vocabulary: {_counted(self.vocabulary.outside([text]))}"
        labels = self.encode(text)
        frames, needed = self._n_frames(n_samples), frames_needed(labels)
        if frames < needed:
            return (
                f"{frames} frames for {len(labels)} {self.vocabulary.kind} that need {needed}; CTC cannot fit them: "
                "check that the text belongs to the audio"
            )
        return None

    def layers_above(self, parameter: str) -> int:
        """The output layer has none above it, the top transformer layer one, what feeds the lowest one the most."""
        layers = len(self.module.model.base_model.encoder.layers)
        place = re.search(r"encoder\.layers\.(\d+)\.", parameter)
        if place is not None:
            return layers - int(place[1])
        return 0 if ".lm_head." in parameter else layers + 1

    def train_head_only(self, only: bool) -> None:
        self.module.head_only = only

    def check_labels(self, texts: Sequence[str]) -> None:
        outside = self.vocabulary.outside(texts)
        whole_words = self.vocabulary.unknown is not None
        labels = sum(len(text.split()) if whole_words else len(text.replace(" ", "")) for text in texts)
        if labels and outside.total() > 0.5 * labels:
            example = next(text for text in texts if self.vocabulary.outside([text]))
            swapped = [text.swapcase() for text in texts]
            if 2 * self.vocabulary.outside(swapped).total() < outside.total():
                remedy = (
                    "the letters are there in the other case: take the profile ctc:MODEL, which follows the model's"
                )
            else:
                remedy = "expected the same case and script: choose another profile, or --model.vocabulary new"
            raise UsageError(
                f"--data.profile gives labels that the model's vocabulary does not hold ({_counted(outside)}; as in "
                f"{example[:60]!r}); {remedy}"
            )

    def describe_labels(self, texts: Sequence[str]) -> str:
        told = f"{self.vocabulary.size} units: {self.vocabulary.kind}"
        if self.vocabulary.unknown is None:
            return told
        unknown, words = self.vocabulary.outside(texts).total(), sum(len(text.split()) for text in texts)
        return f"{told}; {unknown} of {words} words of the labels are {self.vocabulary.unknown_unit}"

    @torch.inference_mode()
    def hear(self, module: nn.Module, batch: Batch) -> list[Heard]:
        ctc = self._bare(module)
        log_probs, frames = ctc.log_probs(batch)
        paths = log_probs.argmax(dim=-1).cpu()
        return [self._heard(path[:n].tolist()) for path, n in zip(paths, frames.cpu().tolist(), strict=True)]

    @staticmethod
    def _bare(module: nn.Module) -> CTCModule:
        bare = extract_model_from_parallel(module)
        assert isinstance(bare, CTCModule)
        return bare

    def _heard(self, path: list[int]) -> Heard:
        blank = self.vocabulary.blank
        text = self.vocabulary.decode(collapse(path, blank))
        return Heard(text, path.count(blank) / max(len(path), 1))

    def save(self, folder: Path, module: nn.Module) -> None:
        ctc = self._bare(module)
        ctc.model.save_pretrained(folder, state_dict=plain_state(ctc.model) if self._lora else None)
        self._feature_extractor.save_pretrained(folder)
        self.vocabulary.save(folder)


def model_input(waveform: Tensor, normalise: bool) -> Tensor:
    """What Wav2Vec2FeatureExtractor makes of one waveform [samples]."""
    return normalise_waveform(waveform) if normalise else waveform


def _counted(characters: Counter[str]) -> str:
    most = ", ".join(f"{character!r} {n} times" for character, n in characters.most_common(8))
    return most + (", ..." if len(characters) > 8 else "")


def build(config: ModelConfig, labels: Sequence[str], seed: int) -> Wav2Vec2:
    """The recogniser that a configuration names; `labels` are the normalised training texts.

    Raises InputError when the base cannot be loaded or lacks a vocabulary that it should keep.
    """
    torch.manual_seed(seed)
    if config.scratch is not None:
        return _from_scratch(config, _new_vocabulary(config, labels))
    from transformers import AutoFeatureExtractor, AutoModelForCTC

    assert config.base is not None
    try:
        feature_extractor = AutoFeatureExtractor.from_pretrained(config.base)
        vocabulary = Vocabulary.load(config.base) if config.vocabulary == "keep" else _new_vocabulary(config, labels)
        changes: dict[str, Any] = {} if config.vocabulary == "keep" else _sizes(vocabulary)
        model = AutoModelForCTC.from_pretrained(
            config.base,
            dtype=torch.float32,
            ignore_mismatched_sizes=config.vocabulary == "new",
            attn_implementation=None if config.attention == "auto" else config.attention,
            **_regularisation(config),
            **changes,
        )
    except (OSError, ValueError, ImportError) as error:
        raise InputError(
            f"--model.base {config.base}: cannot be loaded as a CTC model ({str(error).strip().splitlines()[0]}); "
            "expected a transformers folder or Hub id: check the name and the network"
        ) from error
    return Wav2Vec2(config, model, vocabulary, feature_extractor)


def _from_scratch(config: ModelConfig, vocabulary: Vocabulary) -> Wav2Vec2:
    from transformers import Wav2Vec2Config, Wav2Vec2FeatureExtractor, Wav2Vec2ForCTC

    assert config.scratch is not None
    try:
        settings = Wav2Vec2Config(
            **config.scratch,
            **_sizes(vocabulary),
            **_regularisation(config),
        )
        model = Wav2Vec2ForCTC(settings)
    except (TypeError, ValueError) as error:
        raise UsageError(f"--model.scratch: {error}; expected keys of Wav2Vec2Config: mend them") from None
    feature_extractor = Wav2Vec2FeatureExtractor(return_attention_mask=settings.feat_extract_norm == "layer")
    return Wav2Vec2(config, model, vocabulary, feature_extractor)


def _new_vocabulary(config: ModelConfig, labels: Sequence[str]) -> Vocabulary:
    counts = None if config.units_dictionary is None else read_cmudict(Path(config.units_dictionary))
    return build_units(
        config.units,
        labels,
        size=config.units_size,
        language=config.units_language,
        syllable_counts=counts,
        flag="--model.units_size",
    )


def _sizes(vocabulary: Vocabulary) -> dict[str, int]:
    return {"vocab_size": len(vocabulary.units), "pad_token_id": vocabulary.blank}


def _regularisation(config: ModelConfig) -> dict[str, Any]:
    """layerdrop is 0: it breaks gradient synchronisation over several devices. The mask's probability is told so that
    the model has an embedding for masked frames; which frames are masked is drawn by us, within each utterance.
    """
    return {
        "attention_dropout": config.dropout,
        "hidden_dropout": config.dropout,
        "activation_dropout": config.dropout,
        "final_dropout": config.dropout,
        "feat_proj_dropout": 0.0,
        "layerdrop": 0.0,
        "mask_time_prob": config.mask_time_probability,
        "mask_time_length": config.mask_time_length,
        "mask_feature_prob": config.mask_channel_probability,
        "mask_feature_length": config.mask_channel_length,
    }
