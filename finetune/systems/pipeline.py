"""Any speech recogniser of transformers through its pipeline: CTC models, and Whisper and others that generate.

Features, padding and chunking are the pipeline's; the waveform and greedy decoding are set here.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from finetune.models.checkpoint_checks import checked_loading
from finetune.systems.base import LoadOptions, System, SystemSpec
from preprocessing.audio import SAMPLE_RATE
from preprocessing.cli.errors import InputError, first_line

WINDOW_SECONDS = 30.0  # of Whisper; a longer recording needs timestamps to be put together again
WHOLE_SECONDS = 60.0  # of a CTC model; a longer recording is cut into chunks
CHUNK_SECONDS, STRIDE_SECONDS = 20.0, 2.0


class PipelineSystem(System):
    """A transformers pipeline in float32, greedy, given whole batches."""

    batched = True
    longest_in_batch_seconds = WINDOW_SECONDS

    def __init__(self, spec: SystemSpec, options: LoadOptions) -> None:
        from transformers import pipeline

        try:
            with checked_loading(spec.checkpoint):
                self._recognise: Any = pipeline(
                    "automatic-speech-recognition", model=spec.checkpoint, device=options.device, dtype=torch.float32
                )
        except (OSError, ValueError, KeyError, ImportError) as error:
            reason = first_line(error)
            raise InputError(
                f"{spec.name}: {spec.checkpoint} cannot be loaded by transformers' pipeline ({reason}); expected a "
                "speech recogniser's folder or Hub id: check the name and the network"
            ) from error
        self._generates = self._recognise.type != "ctc"
        self._shortest = 1 if self._generates else _receptive_field(self._recognise.model)  # samples
        self._greedy: dict[str, Any] = {"num_beams": 1, "do_sample": False}
        multilingual = getattr(getattr(self._recognise.model, "generation_config", None), "is_multilingual", False)
        english_only = (
            self._generates and str(self._recognise.model.config.model_type) == "whisper" and not multilingual
        )
        if english_only and options.language not in (None, "en"):
            raise InputError(
                f"{spec.name}: {spec.checkpoint} is an English-only Whisper, and the language is {options.language}; "
                "expected en: name a multilingual checkpoint, or leave this system out"
            )
        if self._generates and multilingual and options.language:
            self._greedy |= {"language": options.language, "task": "transcribe"}
        self.facts = spec.facts(
            parameters=sum(parameter.numel() for parameter in self._recognise.model.parameters()),
            settings={
                "decoding": "greedy",
                **({"language": options.language or "detected"} if self._generates and multilingual else {}),
                "precision": "float32",
                "batch": "padded, as the pipeline does it",
                "long recordings": f"over {WINDOW_SECONDS:g} s with timestamps"
                if self._generates
                else f"over {WHOLE_SECONDS:g} s in chunks of {CHUNK_SECONDS:g} s, stride {STRIDE_SECONDS:g} s",
            },
        )

    def features(self, waveforms: Sequence[Tensor]) -> list[Any]:
        """The waveforms as arrays: the pipeline computes features itself, so they count as its forward pass."""
        return [waveform.numpy() for waveform in waveforms]

    def forward(self, features: list[Any]) -> list[str]:
        """The hypotheses; "" for a recording that is shorter than one frame."""
        texts = ["" for _ in features]
        long_enough = [index for index, waveform in enumerate(features) if len(waveform) >= self._shortest]
        inputs = [{"raw": features[index].copy(), "sampling_rate": SAMPLE_RATE} for index in long_enough]
        seconds = max((len(features[index]) for index in long_enough), default=0) / SAMPLE_RATE
        options: dict[str, Any] = {"generate_kwargs": self._greedy} if self._generates else {}
        if self._generates and seconds > WINDOW_SECONDS:
            options |= {"return_timestamps": True}
        if not self._generates and seconds > WHOLE_SECONDS:
            options |= {"chunk_length_s": CHUNK_SECONDS, "stride_length_s": STRIDE_SECONDS}
        found = self._recognise(inputs, batch_size=max(len(inputs), 1), **options) if inputs else []
        for index, one in zip(long_enough, found, strict=True):
            texts[index] = one["text"]
        return texts

    def text(self, outcome: Any) -> list[str]:
        """The hypotheses without outer blanks."""
        return [text.strip() for text in outcome]


def _receptive_field(model: Any) -> int:
    """Samples that one frame of a CTC model needs; 1 where the model has no method for it."""
    frames = getattr(model, "_get_feat_extract_output_lengths", None)
    if frames is None:
        return 1
    return next(n_samples for n_samples in range(1, SAMPLE_RATE) if int(frames(n_samples)) > 0)
