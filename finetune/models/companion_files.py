"""Files that belong to a model beside its weights: one list for exports, the Hub and whoever loads the model.

    training_preprocessing.json           text profile and noise removal of the training
    confidence.json, confidence-lm.json   calibrations of the words' confidence (`finetune.alignment.confidence`)
    alphabet.json, language_model/        the tuned language model (`finetune.decoding.language_model_folder`)

A run's own folder has about.json in place of the first, which also describes the corpora and does not leave it. A .pt
file, which has no folder, holds the first and the language of generation_config.json as further entries.
"""

import json
import pickle
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from finetune.alignment.confidence import CALIBRATION, CALIBRATION_OF_SEARCH
from finetune.decoding.language_model_folder import ALPHABET, FOLDER, stored_files
from finetune.models import about
from finetune.models.checkpoint_checks import CHECKPOINT
from preprocessing.errors import InputError
from preprocessing.storage.model_file import find_model_file

NAME = "training_preprocessing.json"
GENERATION = "generation_config.json"  # of transformers
FORCED = "forced_decoder_ids"  # of transformers: pairs of a place after the first token and the token there
ENTRY, LANGUAGE = "training_preprocessing", "language"  # of a .pt file's dictionary


@dataclass(frozen=True, slots=True)
class TrainingPreprocessing:
    """What training did to texts and audio before the model got them; it names no folder of the machine.

    profile, profile_version: the text profile of the labels; None where it is not recorded. denoise: stationary noise
    was taken out of all audio (--data.denoise).
    """

    profile: str | None = None
    profile_version: int | None = None
    denoise: bool = False


def training_preprocessing(checkpoint: str) -> TrainingPreprocessing | None:
    """What is recorded of a run, an export, a .pt file of either or a Hub id; None where nothing is.

    Of a Hub id, the Hub's cache is asked where the network cannot be. Raises InputError on a record that cannot be
    used.
    """
    path = Path(checkpoint)
    if path.is_file():
        return _of_pt_file(path) or (_of_folder(str(path.parent)) if path.name == CHECKPOINT else None)
    return _of_folder(checkpoint) or (_of_pt_file(path / CHECKPOINT) if path.is_dir() else None)


def trained_on_denoised(checkpoint: str) -> bool:
    """Whether stationary noise was taken out of all audio in a model's training, as far as that is recorded."""
    recorded = training_preprocessing(checkpoint)
    return recorded is not None and recorded.denoise


def profile_of(checkpoint: str) -> str | None:
    """The text profile of a model's labels; None where it is not recorded.

    A recorded profile `ctc:MODEL` becomes that of this model's units: the MODEL that training named may be elsewhere,
    or not on this machine.
    """
    recorded = training_preprocessing(checkpoint)
    if recorded is None or not recorded.profile:
        return None
    kind, *options = recorded.profile.split(":")
    return ":".join(["ctc", checkpoint, *options[1:]]) if kind == "ctc" else recorded.profile


def trained_languages(checkpoint: str) -> tuple[str, ...]:
    """The languages that a run's training corpora name, such as ("de",); none where its about.json does not say, and of
    what is no run.
    """
    path = Path(checkpoint) / about.NAME
    try:
        said = json.loads(path.read_text(encoding="utf-8"))["training"]["languages"]
    except (OSError, ValueError, KeyError, TypeError):
        return ()
    return tuple(map(str, said)) if isinstance(said, list) else ()


def generation_language(checkpoint: str) -> str | None:
    """The language that a fine-tuned Whisper writes by default, such as "<|de|>"; None where nothing says so.

    It is the `language` of generation_config.json, or, in models of older versions of transformers, what
    `forced_decoder_ids` has in its place, there or in config.json. checkpoint: as in `training_preprocessing`.
    """
    path = Path(checkpoint)
    said: Any = None
    if path.is_file():
        said = _entries(path).get(LANGUAGE)
        checkpoint = str(path.parent) if path.name == CHECKPOINT else ""
    if said is None and checkpoint:
        said = _language_of_generation(checkpoint)
    return said if isinstance(said, str) else None


def companion_files(run: Path) -> dict[str, Path | bytes]:
    """What belongs to a run's model beside its weights: names in a folder or repository, each with a file or content.

    Raises InputError where the run's language model or record cannot be used.
    """
    recorded = training_preprocessing(str(run))
    files: dict[str, Path | bytes] = {} if recorded is None else {NAME: _as_json(recorded)}
    names = [name for name in (CALIBRATION, CALIBRATION_OF_SEARCH) if (run / name).is_file()]
    return files | {name: run / name for name in [*names, *stored_files(run)]}


def is_companion(name: str) -> bool:
    """Whether a file has a name of `companion_files`; all in the folder of the language model have."""
    return name in (NAME, CALIBRATION, CALIBRATION_OF_SEARCH, ALPHABET) or name.startswith(f"{FOLDER}/")


def write_companion_files(run: Path, folder: Path) -> None:
    """Write a run's `companion_files` into the folder of an export."""
    for name, content in companion_files(run).items():
        (folder / name).parent.mkdir(exist_ok=True)
        if isinstance(content, bytes):
            (folder / name).write_bytes(content)
        else:
            shutil.copyfile(content, folder / name)


def copy_pt_file(run: Path, out: Path) -> None:
    """Copy a Whisper run's whisper.pt, with what is recorded of its training and its language as further entries."""
    recorded, language = training_preprocessing(str(run)), generation_language(str(run))
    entries: dict[str, Any] = {} if recorded is None else {ENTRY: asdict(recorded)}
    entries |= {} if language is None else {LANGUAGE: language}
    if not entries:
        shutil.copyfile(run / CHECKPOINT, out)
        return
    import torch

    torch.save(_entries(run / CHECKPOINT) | entries, out)


def _language_of_generation(reference: str) -> Any:
    """What a model's configuration of generation says of its language, read as transformers' `generate` reads it."""
    generation = _json_of(reference, GENERATION)
    if generation.get(LANGUAGE) is not None or generation.get("task") is not None:
        return generation.get(LANGUAGE)  # beside which transformers does not look at forced_decoder_ids
    forced = generation.get(FORCED)
    forced = _json_of(reference, "config.json").get(FORCED) if forced is None else forced
    try:
        token = dict(forced or ()).get(1)
        named = generation.get("lang_to_id") or _language_tokens()
        return next((name for name, id_ in named.items() if id_ == token), None)
    except (ValueError, TypeError, AttributeError):
        return None  # what is wrong with it is said where transformers loads the model


def _language_tokens() -> dict[str, int]:
    """The ids of a released multilingual Whisper's languages: one after the other, from that after the first token."""
    from whisper.tokenizer import LANGUAGES, get_tokenizer

    first = get_tokenizer(multilingual=True).sot + 1
    return {f"<|{code}|>": first + place for place, code in enumerate(LANGUAGES)}


def _json_of(reference: str, name: str) -> dict[str, Any]:
    """The content of a model's JSON file; {} of one that is not there or cannot be read, which is said where
    transformers loads the model.
    """
    found = find_model_file(reference, name)
    try:
        content = {} if found is None else json.loads(found.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _of_folder(reference: str) -> TrainingPreprocessing | None:
    names = (NAME, about.NAME) if Path(reference).exists() else (NAME,)
    for name in names:
        found = find_model_file(reference, name)
        if found is not None:
            where = str(found) if Path(reference).exists() else f"{name} of {reference}"
            return _parsed(found.read_bytes(), where)
    return None


def _of_pt_file(path: Path) -> TrainingPreprocessing | None:
    entry = _entries(path).get(ENTRY)
    return None if entry is None else _checked(entry, f"{ENTRY} of {path}")


def _entries(path: Path) -> dict[str, Any]:
    """What a .pt file holds, its tensors mapped into memory; {} of one that is not there or cannot be read, which is
    said where the model is loaded.
    """
    if not path.is_file():
        return {}
    import torch

    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except (RuntimeError, OSError, EOFError, ValueError, pickle.UnpicklingError):
        return {}
    return checkpoint if isinstance(checkpoint, dict) else {}


def _as_json(recorded: TrainingPreprocessing) -> bytes:
    return (json.dumps(asdict(recorded), ensure_ascii=False, indent=1) + "\n").encode()


def _parsed(content: bytes, where: str) -> TrainingPreprocessing:
    try:
        fields = json.loads(content)
    except ValueError as error:
        raise _unusable(where, str(error)) from None
    return _checked(fields, where)


def _checked(fields: Any, where: str) -> TrainingPreprocessing:
    """The record of these fields; of about.json, which has more, those that it shares."""
    if not isinstance(fields, Mapping):
        raise _unusable(where, "no JSON object")
    found = TrainingPreprocessing(fields.get("profile"), fields.get("profile_version"), fields.get("denoise", False))
    for name, type_ in (("profile", str | None), ("profile_version", int | None), ("denoise", bool)):
        value = getattr(found, name)
        if not isinstance(value, type_):
            raise _unusable(where, f"{name} is {value!r}")
    return found


def _unusable(where: str, found: str) -> InputError:
    return InputError(
        f"{where}: does not say how the model was trained ({found}); expected JSON with profile as text and denoise as "
        "true or false: restore it, or remove it"
    )
