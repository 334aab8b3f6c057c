"""What the two Whispers share: the language, and the options of decoding, by default and as the report has them.

By default words are those of the likeliest token each time: temperature fallback, conditioning on earlier text and
voice activity detection change figures from run to run, or are no part of the model.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from whisper.tokenizer import TO_LANGUAGE_CODE

from finetune.models.companion_files import generation_language
from finetune.systems.base import WINDOW_SECONDS, SystemSpec
from finetune.systems.facts import SystemOptions
from preprocessing.errors import InputError

BEST_OF = 5  # samples above temperature 0, as in Whisper's own command
FALLBACK = {"compression_ratio_threshold": 2.4, "logprob_threshold": -1.0, "no_speech_threshold": 0.6}  # Whisper's own
NO_FALLBACK = dict.fromkeys(FALLBACK)


@dataclass(frozen=True, slots=True)
class WhisperDecoding:
    """The decoding of one Whisper, resolved. language: None where the model detects it in each recording."""

    language: str | None
    initial_prompt: str | None
    beam_size: int
    temperatures: tuple[float, ...]
    condition_on_previous_text: bool
    vad_filter: bool

    @property
    def has_fallback(self) -> bool:
        """Whether a text that repeats itself or is improbable is decoded again at the next temperature."""
        return len(self.temperatures) > 1

    @property
    def thresholds(self) -> dict[str, Any]:
        """When to fall back, with openai-whisper's names."""
        return FALLBACK if self.has_fallback else NO_FALLBACK

    def settings(self, precision: str, library: str) -> dict[str, str]:
        """Every choice as text, under the same keys for both Whispers."""
        first, *later = [f"{temperature:g}" for temperature in self.temperatures]
        fallback = (
            f"then {', '.join(later)} where compression ratio > {FALLBACK['compression_ratio_threshold']:g} or mean "
            f"log-probability < {FALLBACK['logprob_threshold']:g}"
        )
        return {
            "decoding": "beam search" if self.beam_size > 1 else "sampling" if self.temperatures[0] else "greedy",
            "beam_size": str(self.beam_size),
            "temperature": f"{first}, {fallback if later else 'no fallback'}",
            "language": self.language or "detected",
            "task": "transcribe",
            "initial_prompt": self.initial_prompt or "none",
            "timestamps": f"none up to {WINDOW_SECONDS:g} s",
            "condition_on_previous_text": str(self.condition_on_previous_text).lower(),
            "vad_filter": str(self.vad_filter).lower(),
            "precision": precision,
            "library": library,
        }


def language_of(checkpoint: str) -> str | None:
    """The language that a fine-tuned Whisper was trained in, a code such as "de"; None of others. checkpoint: a folder,
    a Hub id, or a .pt file of a run or an export.
    """
    code = (generation_language(checkpoint) or "").strip("<|>").lower()
    return TO_LANGUAGE_CODE.get(code, code) or None


def resolve_decoding(
    spec: SystemSpec, given: SystemOptions, language: str | None, languages: Collection[str] | None
) -> WhisperDecoding:
    """The decoding that the options ask for; without a language, the one that the checkpoint was fine-tuned in.

    languages: codes that the model knows; None for an English-only one. Raises InputError where the model does not know
    the language.
    """
    if languages is None:
        if language not in (None, "en"):
            raise InputError(
                f"{spec.name}: {spec.checkpoint} is an English-only Whisper, and the language is {language}; expected "
                "en: name a multilingual checkpoint, such as base instead of base.en, or leave this system out"
            )
        language = "en"
    elif language is None:
        language = language_of(spec.checkpoint)
        language = language if language in languages else None
    elif language not in languages:
        raise InputError(
            f"{spec.name}: the language is {language!r}; expected the code of one of the {len(languages)} languages "
            f"that {spec.checkpoint} knows, such as en or de: change --language"
        )
    return WhisperDecoding(
        language=language,
        initial_prompt=given.initial_prompt,
        beam_size=given.beam_size or 1,
        temperatures=given.temperatures,
        condition_on_previous_text=bool(given.condition_on_previous_text),
        vad_filter=bool(given.vad_filter),
    )
