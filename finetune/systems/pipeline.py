"""Any speech recogniser of transformers through its pipeline: CTC models, and Whisper and others that generate.

Features, padding and chunking are the pipeline's; the waveform and greedy decoding are set here, and one language for
all of a Whisper's recording.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from finetune.models.checkpoint_checks import checked_loading
from finetune.models.frame_geometry import WHOLE_SECONDS
from finetune.models.language_adapters import adapter_of, check_own_language
from finetune.models.whisper_formats import complete_generation
from finetune.systems.base import LONGEST_PIECE_SECONDS, WINDOW_SECONDS, LoadOptions, System, SystemSpec
from finetune.systems.transcript import Segment, Transcript
from finetune.systems.whisper_decoding import language_of
from preprocessing.audio import SAMPLE_RATE
from preprocessing.errors import InputError
from preprocessing.storage.model_file import loading_reason

CHUNK_LENGTH_SECONDS, STRIDE_SECONDS = 20.0, 2.0  # of a CTC model's chunk, and of that on both sides: context


class PipelineSystem(System):
    """A transformers pipeline in float32, greedy, given whole batches."""

    batched = True

    def __init__(self, spec: SystemSpec, options: LoadOptions) -> None:
        from transformers import pipeline

        adapter = adapter_of(spec.name, spec.checkpoint, options.language)
        try:
            with checked_loading(spec.checkpoint):
                self._recognise: Any = pipeline(
                    "automatic-speech-recognition",
                    model=spec.checkpoint,
                    device=options.device,
                    dtype=torch.float32,
                    model_kwargs=dict(adapter.loading),  # which the pipeline adds to
                )
        except (OSError, ValueError, KeyError, ImportError) as error:
            reason = loading_reason(error)
            raise InputError(
                f"{spec.name}: {spec.checkpoint} cannot be loaded by transformers' pipeline ({reason}); expected a "
                "speech recogniser's folder or Hub id: check the name and the network"
            ) from error
        self._generates = self._recognise.type != "ctc"
        self._shortest = 1 if self._generates else _receptive_field(self._recognise.model)  # samples
        self._is_whisper = self._recognise.type == "seq2seq_whisper"
        self._greedy: dict[str, Any] = {"num_beams": 1, "do_sample": False}
        self._language: str | None = None  # of every recording; None: detected in each, or none is known
        self._detected: list[str | None] = []  # of the last batch
        settings: dict[str, str] = {}
        self.may_end_at_pause = self._is_whisper
        if self._is_whisper:
            self.longest_piece_seconds = LONGEST_PIECE_SECONDS
            self._choose_language(spec, options.language)
            settings = {"language": self._language or "detected"}
        else:
            check_own_language(spec.name, spec.checkpoint, options.system.language, adapter)
            self.takes_language = adapter.chosen is not None
            self._language = options.language if self.takes_language else adapter.language
            if adapter.chosen is not None:
                self._recognise.tokenizer.set_target_lang(adapter.chosen)
            if adapter.language is not None:
                settings = {"language": adapter.language}
        self.facts = spec.facts(
            parameters=sum(parameter.numel() for parameter in self._recognise.model.parameters()),
            settings={
                "decoding": "greedy",
                **settings,
                "precision": "float32",
                "batch": "padded, as the pipeline does it",
                "long recordings": f"over {WINDOW_SECONDS:g} s with timestamps"
                if self._generates
                else f"over {WHOLE_SECONDS:g} s in chunks of {CHUNK_LENGTH_SECONDS:g} s, stride {STRIDE_SECONDS:g} s",
            },
        )

    def _choose_language(self, spec: SystemSpec, language: str | None) -> None:
        """Set the language of a Whisper: the one given, or that of a fine-tuned one, or detected.

        Raises InputError where the model does not know the one given.
        """
        model = self._recognise.model
        complete_generation(model)
        if not getattr(model.generation_config, "is_multilingual", False):
            if language not in (None, "en"):
                raise InputError(
                    f"{spec.name}: {spec.checkpoint} is an English-only Whisper, and the language is {language}; "
                    "expected en: name a multilingual checkpoint, or leave this system out"
                )
            self._language = "en"
            return
        codes = {token: name.strip("<|>") for name, token in model.generation_config.lang_to_id.items()}
        if language is not None and language not in codes.values():
            raise InputError(
                f"{spec.name}: the language is {language!r}; expected the code of one of the {len(codes)} languages "
                f"that {spec.checkpoint} knows, such as en or de: change --language"
            )
        trained = language_of(spec.checkpoint)
        self._language = language or (trained if trained in codes.values() else None)
        if self._language is not None:
            self._greedy |= _transcribing_in(self._language)
        detect = model.detect_language

        def noting(*inputs: Any, **options: Any) -> Tensor:
            found: Tensor = detect(*inputs, **options)
            self._detected = [codes[token] for token in found.tolist()]
            return found

        model.detect_language = noting  # generate tells nobody what it found

    def features(self, waveforms: Sequence[Tensor]) -> list[Any]:
        """The waveforms as arrays: the pipeline computes features itself, so they count as its forward pass."""
        return [waveform.numpy() for waveform in waveforms]

    def forward(self, features: list[Any]) -> list[dict[str, Any]]:
        """What the pipeline makes of each recording; the text "" for one that is shorter than one frame."""
        outcomes: list[dict[str, Any]] = [{"text": ""} for _ in features]
        long_enough = [index for index, waveform in enumerate(features) if len(waveform) >= self._shortest]
        inputs = [{"raw": features[index].copy(), "sampling_rate": SAMPLE_RATE} for index in long_enough]
        seconds = max((len(features[index]) for index in long_enough), default=0) / SAMPLE_RATE
        language, greedy = self._language, self._greedy
        if self._is_whisper and language is None and self.assumed_language is not None:
            language = self.assumed_language
            greedy = greedy | _transcribing_in(language)
        options: dict[str, Any] = {"generate_kwargs": greedy} if self._generates else {}
        if self._generates and seconds > WINDOW_SECONDS:  # a Whisper puts windows together again by timestamps
            options |= {"return_timestamps": True}
        if not self._generates and seconds > WHOLE_SECONDS:
            options |= {"chunk_length_s": CHUNK_LENGTH_SECONDS, "stride_length_s": STRIDE_SECONDS}
        self._detected = []
        found = self._recognise(inputs, batch_size=max(len(inputs), 1), **options) if inputs else []
        languages = self._detected or [language] * len(inputs)
        for index, one, own in zip(long_enough, found, languages, strict=True):
            outcomes[index] = one | {"language": own}
        return outcomes

    def text(self, outcome: Any) -> list[str]:
        """The hypotheses without outer blanks."""
        return [one["text"].strip() for one in outcome]

    @torch.inference_mode()
    def transcribe(
        self, waveforms: Sequence[Tensor], *, words: bool = True, advance: Callable[[float], None] | None = None
    ) -> list[Transcript]:
        """See `System.transcribe`; of a Whisper with its language, and over 30 s with its segments."""
        found = self.forward(self.features(waveforms))
        return [_transcript(one, len(waveform) / SAMPLE_RATE) for one, waveform in zip(found, waveforms, strict=True)]


def _transcribing_in(language: str) -> dict[str, str]:
    """What a Whisper's generate is given for recordings in a language."""
    return {"language": language, "task": "transcribe"}


def _transcript(found: Mapping[str, Any], seconds: float) -> Transcript:
    """The transcript of a recording of so many seconds, from what `PipelineSystem.forward` returned of it."""
    text, language = str(found["text"]).strip(), found.get("language")
    if seconds <= WINDOW_SECONDS or "chunks" not in found:
        return Transcript.of_text(text, seconds, language)
    segments, latest = [], 0.0
    for chunk in found["chunks"]:
        start, end = (seconds if side is None else min(float(side), seconds) for side in chunk["timestamp"])
        start = max(start, latest)
        latest = max(start, end)
        if chunk["text"].strip():
            segments.append(Segment(start, latest, chunk["text"]))
    return Transcript(text, tuple(segments), language)


def _receptive_field(model: Any) -> int:
    """Samples that one frame of a CTC model needs; 1 where the model has no method for it."""
    frames = getattr(model, "_get_feat_extract_output_lengths", None)
    if frames is None:
        return 1
    return next(n_samples for n_samples in range(1, SAMPLE_RATE) if int(frames(n_samples)) > 0)
