"""Which weights a system was loaded from, and weights and decoding in one string, so that a result names its model.

A name like base.pt says little: fine-tuning, conversion and quantisation keep it. SHA-256 of the file does not.
"""

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from finetune.models.availability import whisper_cache_file
from finetune.systems.facts import NOISE_REMOVAL, SystemFacts, WeightsFile
from finetune.systems.families import FAMILIES, spelling
from preprocessing.storage.atomic_write import write_text_atomically

WEIGHTS = (
    "whisper.pt",
    "*.safetensors",
    "pytorch_model*.bin",
    "model.bin",  # CTranslate2's, and OpenVINO's
    "model.onnx*",  # with model.onnx.data of one of over 2 GB
    "*.pt",
)  # of a folder: the first that matches
SETTINGS = (
    *("config.json", "generation_config.json", "preprocessor_config.json", "vocab.json", "units.json", "graph.json"),
    *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"),
)  # of a folder: what says how to use the weights
SIGNED = (
    *("size", "decoding", "beam_size", "temperature", "language", "task", "initial_prompt", "timestamps"),
    *("condition_on_previous_text", "vad_filter", "precision", "library", NOISE_REMOVAL),
)  # settings that are part of a signature, where a system has them
UNSIGNED = (NOISE_REMOVAL, "off")  # audio as it is needs no mention
SHORT_HASH = 12  # characters
MOST_REMEMBERED = 500  # hashes


def identified(facts: SystemFacts) -> SystemFacts:
    """The facts with the files of weights that are on this machine, a signature where there are any, and whether the
    checkpoint is a run: a folder, or a file in one, with the log of a training.
    """
    weights = [_weights_file(path) for path in weights_of(facts.family, facts.checkpoint)]
    path = Path(facts.checkpoint)
    trained = any((folder / "log.jsonl").is_file() for folder in (path, path.parent))
    signed = signature(facts, weights) if weights else ""
    return replace(facts, weights=weights, signature=signed, trained=trained)


def signature(facts: SystemFacts, weights: Sequence[WeightsFile]) -> str:
    """Family, weights and the settings of SIGNED in one string: two systems with equal ones write the same.

    >>> weights = [WeightsFile("base.pt", 290403936, "7e062fbc21ddbd4fb33fd5f448e50fbae121af8e")]
    >>> signature(SystemFacts("b", "whisper", "base.pt", 0, {"language": "en", "batch": "8"}), weights)
    'whisper|weights:7e062fbc21dd|language:en'
    """
    hashes = [one.sha256 for one in weights]
    joined = hashes[0] if len(hashes) == 1 else hashlib.sha256("".join(hashes).encode()).hexdigest()
    signed = {key: facts.settings[key] for key in SIGNED if key in facts.settings}
    fields = {"weights": joined[:SHORT_HASH]} | {
        key: value for key, value in signed.items() if (key, value) != UNSIGNED
    }
    return "|".join([facts.family, *(f"{key}:{value.replace('|', '/')}" for key, value in fields.items())])


def weights_of(family: str, checkpoint: str) -> list[Path]:
    """The files that a checkpoint's weights are in; none where they are not on this machine, or there are none.

    family: as references and results have it, with or without +lm.
    """
    found = _local(family, checkpoint)
    if found is None or found.is_file():
        return [] if found is None else [found]
    for pattern in WEIGHTS:
        if paths := sorted(path for path in found.glob(pattern) if path.is_file()):
            return paths
    return []


def weights_state(family: str, checkpoint: str) -> list[tuple[str, int, int]]:
    """Name, size in bytes and time of change in ns of each file of `weights_of`; a retrained model has others."""
    return [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in weights_of(family, checkpoint)]


def settings_of(family: str, checkpoint: str) -> list[Path]:
    """The files of SETTINGS that lie beside a checkpoint's weights on this machine."""
    found = _local(family, checkpoint)
    if found is None:
        return []
    folder = found.parent if found.is_file() else found
    return [folder / name for name in SETTINGS if (folder / name).is_file()]


def sha256_of(path: Path) -> str:
    """SHA-256 of a file in hexadecimal; remembered by path, size and time of change, so that it is read once."""
    status = path.stat()
    key = f"{path.resolve()}|{status.st_size}|{status.st_mtime_ns}"
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "speech-on-your-own" / "sha256.json"
    remembered = _read(cache)
    if key not in remembered:
        with path.open("rb") as file:
            remembered[key] = hashlib.file_digest(file, "sha256").hexdigest()
        try:
            cache.parent.mkdir(parents=True, exist_ok=True)
            kept = dict(list(remembered.items())[-MOST_REMEMBERED:])
            write_text_atomically(cache, json.dumps(kept, indent=1) + "\n")
        except OSError:  # a home that cannot be written to: the file is read again next time
            pass
    return remembered[key]


def _weights_file(path: Path) -> WeightsFile:
    return WeightsFile(path.name, path.stat().st_size, sha256_of(path))


def _read(cache: Path) -> dict[str, str]:
    try:
        found = json.loads(cache.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _local(family: str, checkpoint: str) -> Path | None:
    """The file or folder that a system is loaded from; None where it is not on this machine, or has none."""
    path = Path(checkpoint)
    if path.exists():
        return path
    if family == "whisper" and (cached := whisper_cache_file(checkpoint)) is not None:
        return cached
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        if family == "faster-whisper":
            from faster_whisper.utils import download_model

            return Path(download_model(checkpoint, local_files_only=True))
        known = FAMILIES.get(spelling(family).family)
        if known is not None and known.on_hub:
            return Path(snapshot_download(checkpoint, local_files_only=True))
    except (ImportError, LocalEntryNotFoundError, ValueError):
        return None
    return None
