"""Vocabulary: the output units of a CTC model with their ids, blank and word boundary; loaded and saved as a tokenizer.

The units of a path, joined, are its text, with `|` for a space; so plain transformers decodes a saved folder.
Normalising text comes before (`preprocessing.text`); collapsing model output comes after (`finetune.decoding.greedy`).
"""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from preprocessing.errors import InputError
from preprocessing.storage.model_file import find_model_file, loading_reason
from preprocessing.units.splitting import (
    BLANK,
    SPECIAL,
    UNKNOWN,
    WORD_BOUNDARY,
    BytePairs,
    Characters,
    Splitter,
    Words,
    alphabet_of,
)
from preprocessing.units.syllables import Syllables

# The kinds of unit by name. A new one is a Splitter in a file of this folder and a line here.
SPLITTERS: dict[str, type[Splitter]] = {
    Characters.kind: Characters,
    Syllables.kind: Syllables,
    BytePairs.kind: BytePairs,
    Words.kind: Words,
}
UNUSED = "<unused-{}>"  # the unit of an id that a tokenizer leaves out, or that only the output layer has
MOST_UNUSED = 10_000
SETTINGS = "units.json"  # kind, special units and the splitter's settings; a vocabulary of characters needs none


@dataclass(frozen=True)
class Vocabulary:
    """The units of a CTC model with their ids (places in `units`), special units included, and the splitter of words.

    A piece that is not among the units is spelled in characters; with units that are whole words, it is `unknown`.
    Raises ValueError on a unit that occurs twice, or where blank, boundary or (with words) unknown is missing.

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
    _characters: frozenset[str] = field(init=False, repr=False, compare=False)  # that a text may hold
    _spelled: dict[str, int] = field(init=False, repr=False, compare=False)  # the same with their ids
    _silent: frozenset[int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if len(set(self.units)) != len(self.units):
            raise ValueError(f"units occur twice: {[unit for unit, n in Counter(self.units).items() if n > 1]}")
        expected = [self.blank_unit, self.boundary_unit, *([self.unknown_unit] if self.splitter.closed else [])]
        missing = [unit for unit in expected if unit not in self.units]
        if missing:
            raise ValueError(f"a CTC vocabulary needs {', '.join(missing)}")
        object.__setattr__(self, "_ids", {unit: index for index, unit in enumerate(self.units)})
        characters = {unit for unit in self.units if len(unit) == 1 and unit != self.boundary_unit}
        object.__setattr__(self, "_characters", frozenset({*characters, " "}))
        spelled = {character: self._ids[character] for character in characters} | {" ": self.boundary}
        object.__setattr__(self, "_spelled", spelled)
        special = {*SPECIAL, self.blank_unit, self.unknown_unit}
        silent = {i for i, unit in enumerate(self.units) if unit in special or unit == UNUSED.format(i)}
        object.__setattr__(self, "_silent", frozenset(silent - {self.unknown}))

    @classmethod
    def of_characters(cls, texts: Iterable[str]) -> Self:
        """A vocabulary of the texts' characters in code-point order, after the special units and the word boundary."""
        return cls((*SPECIAL, WORD_BOUNDARY, *alphabet_of(texts)))

    def extended(self, texts: Iterable[str]) -> Self:
        """This vocabulary with the characters of the texts that it lacks added at the end, in code-point order.

        >>> Vocabulary.of_characters(["AB"]).extended(["ÄB"]).units[-3:]
        ('A', 'B', 'Ä')
        """
        return replace(self, units=(*self.units, *(new for new in alphabet_of(texts) if new not in self)))

    @classmethod
    def load(cls, reference: str, language: str | None = None) -> Self:
        """The vocabulary of a transformers CTC model or tokenizer, in a folder or on the Hub.

        language: of an MMS tokenizer, which has a vocabulary for each; None: its default, or the only one. Raises
        InputError when it has none, or one that is no CTC vocabulary.
        """
        settings = find_model_file(reference, SETTINGS)
        try:
            if settings is None:
                return cls(*_read_tokenizer(reference, language))
            return cls(*_read_units(reference, settings))
        except (OSError, ValueError, AttributeError, KeyError, TypeError) as error:
            reason = loading_reason(error)
            raise InputError(
                f"{reference}: no CTC vocabulary ({reason}); expected the vocab.json of a Wav2Vec2CTCTokenizer: name a "
                "fine-tuned model, or build a new vocabulary"
            ) from error

    def save(self, folder: Path) -> None:
        """Write vocab.json and a tokenizer that plain transformers decodes with, over those of another vocabulary.

        Characters are saved as a Wav2Vec2CTCTokenizer; other kinds as tokenizer.json, with units.json for `load`.
        """
        folder.mkdir(parents=True, exist_ok=True)
        for stale in (SETTINGS, "tokenizer.json", "added_tokens.json"):
            (folder / stale).unlink(missing_ok=True)
        _write_json(folder / "vocab.json", self._ids)
        if isinstance(self.splitter, Characters):
            from transformers import Wav2Vec2CTCTokenizer

            Wav2Vec2CTCTokenizer(
                str(folder / "vocab.json"),
                pad_token=self.blank_unit,
                unk_token=self.unknown_unit,
                word_delimiter_token=self.boundary_unit,
            ).save_pretrained(folder)
            return
        _fast_tokenizer(self).save(str(folder / "tokenizer.json"))
        special = {"pad_token": self.blank_unit, "unk_token": self.unknown_unit}
        config = {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False}
        _write_json(folder / "tokenizer_config.json", config | special)
        names = {"boundary": self.boundary_unit, "blank": self.blank_unit, "unknown": self.unknown_unit}
        _write_json(folder / SETTINGS, {"kind": self.kind} | names | self.splitter.settings())

    @property
    def kind(self) -> str:
        """The kind of unit, a key of SPLITTERS: characters, syllables, bpe or words."""
        return self.splitter.kind

    @property
    def size(self) -> int:
        """How many units write text: all but the special ones, the word boundary included."""
        return len(self.units) - len(self.silent | {self._ids.get(self.unknown_unit)} - {None})

    @property
    def blank(self) -> int:
        """The id of CTC's blank."""
        return self._ids[self.blank_unit]

    @property
    def boundary(self) -> int:
        """The id of the unit that stands for a space and nothing else."""
        return self._ids[self.boundary_unit]

    @property
    def unknown(self) -> int | None:
        """The id that `encode` writes for a word that is no unit; None where words are spelled instead."""
        return self._ids[self.unknown_unit] if self.splitter.closed else None

    @property
    def silent(self) -> frozenset[int]:
        """The ids of special units, which stand for no text; not that of `unknown`, which stands for a word."""
        return self._silent

    def __contains__(self, unit: str) -> bool:
        return unit in self._ids

    def begins_word(self, index: int) -> bool:
        """Whether the unit of this id begins a word: it is the boundary, or has a space before its letters."""
        return index == self.boundary or self.units[index].startswith(" ")

    def encode(self, text: str) -> list[int]:
        """The ids of a normalised text.

        A word outside a vocabulary of words is the boundary and `unknown`. Raises KeyError on a character that is no
        unit; `outside` counts both beforehand.
        """
        if isinstance(self.splitter, Characters):
            return list(map(self._spelled.__getitem__, text))
        if self.splitter.carries_boundary:
            return [index for word in text.split() for index in self.encode_word(word)]
        ids: list[int] = []
        for number, word in enumerate(text.split(" ")):
            ids += [self.boundary] if number else []
            ids += self.encode_word(word)
        return ids

    def encode_word(self, word: str) -> list[int]:
        """The ids of one word, without a boundary that stands by itself between words. Raises KeyError as `encode`."""
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
        """The text of collapsed ids (no blanks, no repeats of one label), with one space between words."""
        silent, boundary = self.silent, self.boundary
        letters = "".join(" " if index == boundary else self.units[index] for index in ids if index not in silent)
        return " ".join(letters.split())

    def outside(self, texts: Iterable[str]) -> Counter[str]:
        """Counts of what cannot be written of the texts: characters, or words where the units are words."""
        if self.splitter.closed:
            words = Counter(word for text in texts for word in text.split())
            return Counter({word: n for word, n in words.items() if self.splitter.pieces(word)[0] not in self._ids})
        return Counter(
            character
            for text in texts
            if not self._characters.issuperset(text)
            for character in text
            if character not in self._characters
        )


# units, blank, unknown and boundary unit, splitter: the arguments of Vocabulary
VocabularyFields = tuple[tuple[str, ...], str, str, str, Splitter]


def _read_tokenizer(reference: str, language: str | None) -> VocabularyFields:
    from transformers import AutoTokenizer, Wav2Vec2CTCTokenizer

    path = find_model_file(reference, "tokenizer_config.json")
    config = {} if path is None else json.loads(path.read_text(encoding="utf-8"))
    if config.get("tokenizer_class") == "Wav2Vec2PhonemeCTCTokenizer":
        raise ValueError("its tokenizer writes phonemes, not words")
    # AutoTokenizer looks at the model's configuration, too, and complains of an architecture that it does not know.
    is_ctc = config.get("tokenizer_class") == Wav2Vec2CTCTokenizer.__name__
    options = {} if language is None else {"target_lang": language}
    tokenizer = (Wav2Vec2CTCTokenizer if is_ctc else AutoTokenizer).from_pretrained(reference, **options)
    units = _in_id_order(tokenizer.get_vocab(), _rows(reference) if language is None else 0)
    return units, tokenizer.pad_token, tokenizer.unk_token, tokenizer.word_delimiter_token, Characters()


def _read_units(reference: str, path: Path) -> VocabularyFields:
    settings = json.loads(path.read_text(encoding="utf-8"))
    vocabulary = find_model_file(reference, "vocab.json")
    if vocabulary is None:
        raise ValueError("units.json without vocab.json")
    units = _in_id_order(json.loads(vocabulary.read_text(encoding="utf-8")))
    if settings["kind"] not in SPLITTERS:
        raise ValueError(f"units.json is of kind {settings['kind']!r}")
    splitter = SPLITTERS[settings["kind"]].from_settings(settings, set(units))
    return units, settings["blank"], settings["unknown"], settings["boundary"], splitter


def _fast_tokenizer(vocabulary: Vocabulary) -> Any:
    """A tokenizers.Tokenizer that decodes a frame path as `finetune.decoding.greedy` and `Vocabulary.decode` do.

    Repeats are collapsed, blanks dropped, units joined, the boundary read as a space, and spaces closed up.
    """
    from tokenizers import Regex, Tokenizer, decoders
    from tokenizers.models import WordLevel

    ids = {unit: index for index, unit in enumerate(vocabulary.units)}
    blank, boundary = vocabulary.blank_unit, vocabulary.boundary_unit
    tokenizer = Tokenizer(WordLevel(ids, unk_token=vocabulary.unknown_unit))
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.CTC(pad_token=blank, word_delimiter_token=boundary, cleanup=False),
            decoders.Replace(boundary, " "),
            decoders.Fuse(),
            decoders.Replace(Regex(" +"), " "),
            decoders.Replace(Regex("^ | $"), ""),  # decoders.Strip panics on a path of blanks alone
        ]
    )
    return tokenizer


def _rows(reference: str) -> int:
    """How many rows a checkpoint's output layer has: some have more than their tokenizer has units. 0: not known."""
    path = find_model_file(reference, "config.json")
    rows = {} if path is None else json.loads(path.read_text(encoding="utf-8"))
    found = rows.get("vocab_size") if isinstance(rows, dict) else None
    return found if isinstance(found, int) else 0


def _in_id_order(ids: dict[str, int], n_rows: int = 0) -> tuple[str, ...]:
    """The units by their ids, UNUSED where there is none below the largest, or below `n_rows`.

    Raises ValueError on ids that two units share, are below 0, or leave too many out.
    """
    units = {index: unit for unit, index in ids.items()}
    if len(units) < len(ids):
        shared = [unit for unit, index in ids.items() if units[index] != unit]
        raise ValueError(f"units share their ids with others: {', '.join(shared[:5])}")
    size = max([*units, -1]) + 1
    if min([*units, 0]) < 0 or size - len(units) > MOST_UNUSED:
        raise ValueError(f"ids from {min(units)} to {size - 1} for {len(units)} units")
    size = max(size, n_rows) if n_rows <= size + MOST_UNUSED else size
    return tuple(units.get(index, UNUSED.format(index)) for index in range(size))


def _write_json(path: Path, values: dict[str, Any]) -> None:
    path.write_text(json.dumps(values, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
