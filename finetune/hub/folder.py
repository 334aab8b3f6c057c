"""A run's folder as it is published: read whole, what may leave the machine, and what the Hub is told of each family."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from finetune.training import about
from finetune.training.about import About, without_folders
from preprocessing.cli.errors import InputError


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


CURVE = "curve.png"
CONFIG = "config.yaml"


@dataclass(frozen=True)
class RunFolder:
    """What a run wrote of itself; `about` is None for a run that wrote no about.json."""

    path: Path
    config: dict[str, Any]
    family: Family
    about: About | None
    versions: dict[str, str]
    log: tuple[dict[str, Any], ...]  # lines of validation
    transcripts: tuple[dict[str, Any], ...]  # of the best model, over the validation utterances

    @property
    def model_files(self) -> list[Path]:
        """The family's files that are there, by name."""
        return sorted({path for pattern in self.family.files for path in self.path.glob(pattern) if path.is_file()})

    def uploads(self) -> dict[str, Path | bytes]:
        """What goes into the repository beside the card: by name there, a file here or its content."""
        uploads: dict[str, Path | bytes] = {path.name: path for path in self.model_files}
        uploads[CONFIG] = yaml.safe_dump(public(self.config), sort_keys=False, allow_unicode=True).encode()
        if (self.path / CURVE).is_file():
            uploads[CURVE] = self.path / CURVE
        return uploads


def open_run(path: Path) -> RunFolder:
    """Read a run's folder. Raises InputError where it is none, or holds no model yet."""
    if not (path / CONFIG).is_file():
        raise InputError(f"{path}: no {CONFIG} there; expected the folder of a run: name a training's --output")
    try:
        config = yaml.safe_load((path / CONFIG).read_text(encoding="utf-8"))
        kind = family(str(config["model"]["family"]))
        told = path / about.NAME
        environment = path / "environment.json"
        run = RunFolder(
            path=path,
            config=config,
            family=kind,
            about=about.from_json(told.read_text(encoding="utf-8")) if told.is_file() else None,
            versions=json.loads(environment.read_text(encoding="utf-8"))["packages"] if environment.is_file() else {},
            log=tuple(line for line in _lines(path / "log.jsonl") if line["kind"] == "validation"),
            transcripts=tuple(_lines(path / "samples.jsonl")),
        )
    except (ValueError, KeyError, TypeError, OSError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise InputError(
            f"{path}: cannot be read as a run ({reason}); expected what training wrote: restore it"
        ) from None
    if not list(path.glob(kind.files[0])):
        raise InputError(f"{path}: no {kind.files[0]} there; expected a trained model: finish the training first")
    return run


def public(value: Any) -> Any:
    """A configuration with every local path in it cut to its last part."""
    match value:
        case str():
            return without_folders(value)
        case dict():
            return {key: public(inner) for key, inner in value.items()}
        case list():
            return [public(inner) for inner in value]
    return value


def _lines(path: Path) -> list[dict[str, Any]]:
    """Whole lines of a JSON Lines file; none where there is no file."""
    if not path.is_file():
        return []
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith("\n")]
