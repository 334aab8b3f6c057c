"""A vocabulary as files: what plain transformers decodes with, and units.json for what it has no field for.

Characters are a Wav2Vec2CTCTokenizer. It adds each longer unit to its tokens by itself, which takes time by their
square (5,000 words: 15 s to save, 35 s to load), so the other kinds have a tokenizer.json, whose CTC decoder does
the same at once, and vocab.json beside it. These tokenizers decode; encoding is `Vocabulary.encode`.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from preprocessing.errors import InputError
from preprocessing.units.bpe import BytePairs
from preprocessing.units.splitting import Characters, Splitter, Words
from preprocessing.units.syllables import Syllables

SETTINGS = "units.json"


@dataclass(frozen=True)
class Saved:
    """What the files of a vocabulary say."""

    units: tuple[str, ...]
    blank_unit: str
    unknown_unit: str
    boundary_unit: str
    splitter: Splitter


def write(saved: Saved, folder: Path) -> None:
    """Write the files of a vocabulary into the folder, over those of another one."""
    folder.mkdir(parents=True, exist_ok=True)
    for stale in (SETTINGS, "tokenizer.json", "added_tokens.json"):
        (folder / stale).unlink(missing_ok=True)
    _write_json(folder / "vocab.json", {unit: index for index, unit in enumerate(saved.units)})
    if isinstance(saved.splitter, Characters):
        _write_characters(saved, folder)
        return
    _tokenizer(saved).save(str(folder / "tokenizer.json"))
    special = {"pad_token": saved.blank_unit, "unk_token": saved.unknown_unit}
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False}
    _write_json(folder / "tokenizer_config.json", settings | special)
    told = {"kind": saved.splitter.kind, "boundary": saved.boundary_unit, "blank": saved.blank_unit}
    _write_json(folder / SETTINGS, told | {"unknown": saved.unknown_unit} | saved.splitter.settings())


def read(reference: str) -> Saved:
    """The vocabulary of a folder or a Hub id. Raises InputError when it has none, or one that is no CTC vocabulary."""
    settings = _find(reference, SETTINGS)
    try:
        return _read_characters(reference) if settings is None else _read_units(reference, settings)
    except (OSError, ValueError, AttributeError, KeyError, TypeError) as error:
        reason = (str(error).strip().splitlines() or ["no reason given"])[0]
        raise InputError(
            f"{reference}: no CTC vocabulary ({reason}); expected the vocab.json of a Wav2Vec2CTCTokenizer: name a "
            "fine-tuned model, or build a new vocabulary"
        ) from error


def _write_characters(saved: Saved, folder: Path) -> None:
    from transformers import Wav2Vec2CTCTokenizer

    tokenizer = Wav2Vec2CTCTokenizer(
        str(folder / "vocab.json"),
        pad_token=saved.blank_unit,
        unk_token=saved.unknown_unit,
        word_delimiter_token=saved.boundary_unit,
    )
    tokenizer.save_pretrained(folder)


def _read_characters(reference: str) -> Saved:
    from transformers import AutoTokenizer, Wav2Vec2CTCTokenizer

    settings = Path(reference) / "tokenizer_config.json"
    told = json.loads(settings.read_text(encoding="utf-8")) if settings.is_file() else {}
    # AutoTokenizer looks at the model's configuration, too, and complains of an architecture that it does not know.
    plain = told.get("tokenizer_class") == Wav2Vec2CTCTokenizer.__name__
    tokenizer = (Wav2Vec2CTCTokenizer if plain else AutoTokenizer).from_pretrained(reference)
    ids: dict[str, int] = tokenizer.get_vocab()
    return Saved(_in_order(ids), tokenizer.pad_token, tokenizer.unk_token, tokenizer.word_delimiter_token, Characters())


def _read_units(reference: str, settings: Path) -> Saved:
    told = json.loads(settings.read_text(encoding="utf-8"))
    vocabulary = _find(reference, "vocab.json")
    if vocabulary is None:
        raise ValueError("units.json without vocab.json")
    units = _in_order(json.loads(vocabulary.read_text(encoding="utf-8")))
    return Saved(units, told["blank"], told["unknown"], told["boundary"], _splitter(told, set(units)))


def _splitter(told: dict[str, Any], units: set[str]) -> Splitter:
    kind = told["kind"]
    if kind == Words.kind:
        return Words()
    if kind == Syllables.kind:
        return Syllables(told["language"], {word: tuple(split.split(" ")) for word, split in told["splits"].items()})
    if kind == BytePairs.kind:
        merges = tuple((first, second) for first, second in told["merges"])
        lacking = [first + second for first, second in merges if first + second not in units]
        if lacking:
            raise ValueError(f"units.json merges {lacking[0]!r}, which vocab.json lacks")
        return BytePairs(tuple(told["alphabet"]), merges)
    raise ValueError(f"units.json is of kind {kind!r}")


def _tokenizer(saved: Saved) -> Any:
    """Decodes a frame path: repeats collapsed, blanks dropped, units joined, the boundary a space, spaces closed up."""
    from tokenizers import Regex, Tokenizer, decoders
    from tokenizers.models import WordLevel

    ids = {unit: index for index, unit in enumerate(saved.units)}
    tokenizer = Tokenizer(WordLevel(ids, unk_token=saved.unknown_unit))
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.CTC(pad_token=saved.blank_unit, word_delimiter_token=saved.boundary_unit, cleanup=False),
            decoders.Replace(saved.boundary_unit, " "),
            decoders.Fuse(),
            decoders.Replace(Regex(" +"), " "),
            decoders.Replace(Regex("^ | $"), ""),  # decoders.Strip panics on a path of blanks alone
        ]
    )
    return tokenizer


def _find(reference: str, name: str) -> Path | None:
    """A file of a folder or of a repository on the Hub; None where there is none, or no network to ask."""
    if Path(reference).exists():
        path = Path(reference) / name
        return path if path.is_file() else None
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    try:
        return Path(hf_hub_download(reference, name))
    except (HfHubHTTPError, HFValidationError, OSError):
        return None  # what is wrong with the repository itself, AutoTokenizer says


def _in_order(ids: dict[str, int]) -> tuple[str, ...]:
    return tuple(sorted(ids, key=ids.__getitem__))


def _write_json(path: Path, values: dict[str, Any]) -> None:
    path.write_text(json.dumps(values, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
