"""Vocabulary: the output units of a CTC model with their ids, the blank and the word boundary explicit.

Joined, the units of a path are its text, `|` read as a space; so plain transformers decodes a saved folder (`saved`).
Normalising text comes before (`preprocessing.text`); collapsing model output comes after (`finetune.decoding.greedy`).
"""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from preprocessing.cli.errors import InputError
from preprocessing.units.splitting import WORD_BOUNDARY, BytePairs, Characters, Splitter, Words
from preprocessing.units.syllables import Syllables

BLANK = "<pad>"  # CTC's blank; transformers' CTC models use the padding token for it
UNKNOWN = "<unk>"
SPECIAL = (BLANK, "<s>", "</s>", UNKNOWN)  # the order that wav2vec2-base-960h has


@dataclass(frozen=True)
class Vocabulary:
    """Units with their ids, special units included, and how text is split into them.

    A piece that is not among the units is spelled in characters; with units that are whole words, it is `unknown`.

    >>> vocabulary = Vocabulary.of_characters(["AB BA"])
    >>> vocabulary.units
    ('<pad>', '<s>', '</s>', '<unk>', '|', 'A', 'B')
    >>> vocabulary.encode("AB A")
    [5, 6, 4, 5]
    >>> vocabulary.decode([5, 6, 4, 5])
    'AB A'
    """

    units: tuple[str, ...]
    blank_unit: str = BLANK
    unknown_unit: str = UNKNOWN
    boundary_unit: str = WORD_BOUNDARY
    splitter: Splitter = field(default_factory=Characters, hash=False)
    _ids: dict[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if len(set(self.units)) != len(self.units):
            raise ValueError(f"units occur twice: {[unit for unit, n in Counter(self.units).items() if n > 1]}")
        expected = [self.blank_unit, self.boundary_unit, *([self.unknown_unit] if self.splitter.closed else [])]
        missing = [unit for unit in expected if unit not in self.units]
        if missing:
            raise ValueError(f"a CTC vocabulary needs {', '.join(missing)}")
        object.__setattr__(self, "_ids", {unit: index for index, unit in enumerate(self.units)})

    @classmethod
    def of_characters(cls, texts: Iterable[str]) -> Self:
        """Every character of the texts in code-point order, after the special units and the word boundary."""
        return cls((*SPECIAL, WORD_BOUNDARY, *alphabet(texts)))

    def extended(self, texts: Iterable[str]) -> Self:
        """These units with their ids, and after them the characters of the texts that they lack, in code-point order.

        >>> Vocabulary.of_characters(["AB"]).extended(["ÄB"]).units[-3:]
        ('A', 'B', 'Ä')
        """
        return replace(self, units=(*self.units, *(new for new in alphabet(texts) if new not in self)))

    @classmethod
    def load(cls, reference: str) -> Self:
        """The vocabulary of a transformers CTC model or tokenizer, in a folder or on the Hub.

        Raises InputError when it has none, or one that is no CTC vocabulary.
        """
        found = read_vocabulary_files(reference)
        return cls(found.units, found.blank_unit, found.unknown_unit, found.boundary_unit, found.splitter)

    def save(self, folder: Path) -> None:
        """Write into the folder what plain transformers decodes with, and units.json where `saved` needs it."""
        write_vocabulary_files(
            SavedVocabulary(self.units, self.blank_unit, self.unknown_unit, self.boundary_unit, self.splitter), folder
        )

    @property
    def kind(self) -> str:
        """characters, syllables, bpe or words."""
        return self.splitter.kind

    @property
    def size(self) -> int:
        """Units that write text: all but the special ones, the word boundary included."""
        return sum(unit not in (*SPECIAL, self.blank_unit, self.unknown_unit) for unit in self.units)

    @property
    def blank(self) -> int:
        """CTC's blank, as an id."""
        return self._ids[self.blank_unit]

    @property
    def boundary(self) -> int:
        """The unit that stands for a space and nothing else, as an id."""
        return self._ids[self.boundary_unit]

    @property
    def unknown(self) -> int | None:
        """The id that `encode` writes for a word that is no unit; None where words are spelled instead."""
        return self._ids[self.unknown_unit] if self.splitter.closed else None

    @property
    def silent(self) -> frozenset[int]:
        """Ids that stand for no text: the special units. An unknown word is a word, and shows."""
        special = {*SPECIAL, self.blank_unit, self.unknown_unit}
        return frozenset(self._ids[unit] for unit in special if unit in self._ids) - {self.unknown}

    def __contains__(self, unit: str) -> bool:
        return unit in self._ids

    def begins_word(self, index: int) -> bool:
        """Whether a word ends before this unit: it is the boundary, or carries a space before its letters."""
        return index == self.boundary or self.units[index].startswith(" ")

    def encode(self, text: str) -> list[int]:
        """Ids of a normalised text. Raises KeyError on a character outside; ask `outside` first.

        A word outside a vocabulary of words is the boundary and `unknown`; `outside` counts these too.
        """
        if self.splitter.carries_boundary:
            return [index for word in text.split() for index in self.encode_word(word)]
        ids: list[int] = []
        for number, word in enumerate(text.split(" ")):
            ids += [self.boundary] if number else []
            ids += self.encode_word(word)
        return ids

    def encode_word(self, word: str) -> list[int]:
        """Ids of one word, without a boundary that stands by itself between words. Raises KeyError as `encode` does."""
        ids: list[int] = []
        if self.boundary_unit in word and not self.splitter.closed:
            raise KeyError(self.boundary_unit)
        for piece in self.splitter.pieces(word):
            if piece in self._ids and piece not in SPECIAL:  # a word may read <unk>
                ids.append(self._ids[piece])
            elif self.splitter.closed:
                ids += [self.boundary, self._ids[self.unknown_unit]]
            else:
                ids += [self._ids[character] for character in piece]
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids from which blanks and repeats are already gone; outer and double spaces are closed up."""
        silent, boundary = self.silent, self.boundary
        letters = "".join(" " if index == boundary else self.units[index] for index in ids if index not in silent)
        return " ".join(letters.split())

    def outside(self, texts: Iterable[str]) -> Counter[str]:
        """What of the texts cannot be written, with counts: characters, or with units that are words, words."""
        if self.splitter.closed:
            words = Counter(word for text in texts for word in text.split())
            return Counter({word: n for word, n in words.items() if self.splitter.pieces(word)[0] not in self._ids})
        counts = Counter(character for text in texts for character in text if character != " ")
        return Counter({c: n for c, n in counts.items() if c not in self._ids or c == self.boundary_unit})


def alphabet(texts: Iterable[str]) -> list[str]:
    """Characters of the texts in code-point order, without the space and what is written for it."""
    return sorted({character for text in texts for character in text} - {" ", WORD_BOUNDARY})


SETTINGS = "units.json"


@dataclass(frozen=True)
class SavedVocabulary:
    """What the files of a vocabulary say."""

    units: tuple[str, ...]
    blank_unit: str
    unknown_unit: str
    boundary_unit: str
    splitter: Splitter


def write_vocabulary_files(saved: SavedVocabulary, folder: Path) -> None:
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


def read_vocabulary_files(reference: str) -> SavedVocabulary:
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


def _write_characters(saved: SavedVocabulary, folder: Path) -> None:
    from transformers import Wav2Vec2CTCTokenizer

    tokenizer = Wav2Vec2CTCTokenizer(
        str(folder / "vocab.json"),
        pad_token=saved.blank_unit,
        unk_token=saved.unknown_unit,
        word_delimiter_token=saved.boundary_unit,
    )
    tokenizer.save_pretrained(folder)


def _read_characters(reference: str) -> SavedVocabulary:
    from transformers import AutoTokenizer, Wav2Vec2CTCTokenizer

    settings = Path(reference) / "tokenizer_config.json"
    told = json.loads(settings.read_text(encoding="utf-8")) if settings.is_file() else {}
    # AutoTokenizer looks at the model's configuration, too, and complains of an architecture that it does not know.
    plain = told.get("tokenizer_class") == Wav2Vec2CTCTokenizer.__name__
    tokenizer = (Wav2Vec2CTCTokenizer if plain else AutoTokenizer).from_pretrained(reference)
    ids: dict[str, int] = tokenizer.get_vocab()
    return SavedVocabulary(
        _in_order(ids), tokenizer.pad_token, tokenizer.unk_token, tokenizer.word_delimiter_token, Characters()
    )


def _read_units(reference: str, settings: Path) -> SavedVocabulary:
    told = json.loads(settings.read_text(encoding="utf-8"))
    vocabulary = _find(reference, "vocab.json")
    if vocabulary is None:
        raise ValueError("units.json without vocab.json")
    units = _in_order(json.loads(vocabulary.read_text(encoding="utf-8")))
    return SavedVocabulary(units, told["blank"], told["unknown"], told["boundary"], _splitter(told, set(units)))


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


def _tokenizer(saved: SavedVocabulary) -> Any:
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
