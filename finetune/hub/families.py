"""What the Hub is told of each model family: the library that loads it, its files, and how it is used.

A family that can be trained is published by a line here; nothing else of the package knows one.
"""

from dataclasses import dataclass

from preprocessing.errors import InputError


@dataclass(frozen=True)
class Family:
    """`files` are glob patterns in a run's folder; the first one must be there. `usage` is Python; REPO is the id."""

    title: str
    library: str
    tags: tuple[str, ...]
    files: tuple[str, ...]
    model_input: str
    settings: tuple[str, ...]  # keys of ModelConfig that the recipe shows
    usage: str


FAMILIES = {
    "wav2vec2": Family(
        title="A CTC model of transformers",
        library="transformers",
        tags=("wav2vec2", "ctc"),
        files=(
            "*.safetensors",
            "model.safetensors.index.json",
            "config.json",
            "preprocessor_config.json",
            "vocab.json",
            "units.json",
            "tokenizer.json",
            "tokenizer_config.json",
            "special_tokens_map.json",
            "added_tokens.json",
        ),
        model_input="the waveform, as the model's own feature extractor makes it",
        settings=(
            "vocabulary",
            "freeze_feature_encoder",
            "mask_time_probability",
            "mask_time_length",
            "mask_channel_probability",
            "dropout",
            "attention_dropout",
            "lora_rank",
            "adapters_only",
        ),
        usage="""\
from transformers import pipeline

recognise = pipeline("automatic-speech-recognition", model="REPO")
print(recognise("speech.wav")["text"])""",
    ),
    "whisper": Family(
        title="A Whisper checkpoint for openai-whisper",
        library="openai-whisper",
        tags=("whisper",),
        files=("whisper.pt",),
        model_input="openai-whisper's log-mel spectrogram",
        settings=("language", "freeze_feature_encoder", "spec_augment", "context_seconds"),
        usage="""\
import whisper
from huggingface_hub import hf_hub_download

model = whisper.load_model(hf_hub_download("REPO", "whisper.pt"))
print(model.transcribe("speech.wav", temperature=0)["text"])""",
    ),
    "lstm": Family(
        title="A bidirectional LSTM-CTC model",
        library="transformers",
        tags=("lstm", "ctc"),
        files=("*.safetensors", "config.json", "vocab.json", "units.json", "tokenizer.json", "tokenizer_config.json"),
        model_input="the waveform; the model computes its own features",
        settings=("units", "spec_augment", "dropout"),
        usage="""\
import finetune.models.lstm_ctc  # this project's: tells transformers the architecture
from transformers import AutoModelForCTC

model = AutoModelForCTC.from_pretrained("REPO")""",
    ),
}


def family(name: str) -> Family:
    """Raises InputError where a family has no entry."""
    if name not in FAMILIES:
        raise InputError(
            f"model family {name!r} has no entry among what can be published ({', '.join(FAMILIES)}): train one of them"
        )
    return FAMILIES[name]
