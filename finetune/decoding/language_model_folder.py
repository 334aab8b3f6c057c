"""Language models as recognisers carry them: the folder that transformers' Wav2Vec2ProcessorWithLM reads.

    alphabet.json               the labels as pyctcdecode writes them: "" for the blank, " " for the boundary; where
                                units carry the boundary, "▁" begins words, which only pyctcdecode reads
    language_model/words.arpa   the n-grams
    language_model/unigrams.txt the known words, one a line
    language_model/attrs.json   alpha, beta, unk_score_offset, score_boundary

A reference to a language model is an ARPA file, such a folder, that of an LSTM (`lstm`), or a run or repository on the
Hub that holds one. Others put binary files of KenLM there, which are read with their unigrams.txt.
"""

import filecmp
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from finetune.decoding.beam import BeamSettings
from finetune.language_model import lstm
from finetune.language_model.base import LanguageModel
from finetune.language_model.kenlm_binary import KenlmModel
from finetune.language_model.ngram import BOUNDARY, KENLM_BINARY, NgramModel, open_text, read_arpa
from preprocessing.cli.notes import note_once
from preprocessing.errors import InputError
from preprocessing.storage.atomic_write import atomic_file
from preprocessing.storage.model_file import loading_reason
from preprocessing.units import Vocabulary

FOLDER, ALPHABET = "language_model", "alphabet.json"
ATTRIBUTES, UNIGRAMS, ARPA = "attrs.json", "unigrams.txt", "words.arpa"
FILES = (ARPA, UNIGRAMS, ATTRIBUTES)
TUNED = ("alpha", "beta", "unk_score_offset")  # what attrs.json says of BeamSettings
CHECKED_WORDS = 1000  # of a language model, for whether the vocabulary can spell them
NOTED_SHARE = 0.01  # of these words: a few odd ones are in most ARPA files


@dataclass(frozen=True)
class LanguageModelFiles:
    """What a reference names.

    path: of the n-grams. attributes: those of attrs.json that BeamSettings has. unigrams: the file of the words, which
    only a binary file of KenLM needs.
    """

    path: Path
    attributes: dict[str, float]
    unigrams: Path | None = None

    @property
    def is_kenlm_binary(self) -> bool:
        """Whether the n-grams are in a binary file of KenLM."""
        with self.path.open("rb") as file:
            return file.read(len(KENLM_BINARY)) == KENLM_BINARY

    @property
    def read(self) -> tuple[Path, ...]:
        """Every file that the language model is read from."""
        if self.path.name == lstm.DESCRIPTION:
            return self.path, self.path.parent / lstm.WEIGHTS
        return (self.path, self.unigrams) if self.unigrams is not None and self.is_kenlm_binary else (self.path,)

    def settings(self, given: BeamSettings, as_stored: Sequence[str] = TUNED) -> BeamSettings:
        """`given`, with the values of `as_stored` that the folder has."""
        stored = {name: self.attributes[name] for name in as_stored if name in self.attributes}
        return replace(given, **stored)  # type: ignore[arg-type]


def find_language_model(reference: Path | str) -> LanguageModelFiles | None:
    """The language model of a file, folder, run or Hub repository; None where a run or repository carries none.

    Raises InputError where a file is not there, or a folder cannot be used.
    """
    path = Path(reference)
    if path.is_file():
        return LanguageModelFiles(path, {})
    if path.is_dir():
        if (path / lstm.DESCRIPTION).is_file():
            return LanguageModelFiles(path / lstm.DESCRIPTION, {})
        for folder in (path, path / FOLDER):
            if (folder / ATTRIBUTES).is_file():
                return _read_folder(folder)
        return None
    return _from_hub(str(reference))


def require_language_model(reference: Path | str, where: str = "") -> LanguageModelFiles:
    """`find_language_model`, which also raises InputError where there is none. where: begins the message."""
    files = find_language_model(reference)
    if files is None:
        raise InputError(
            f"{where}{reference} contains no language model; expected an ARPA file or a folder with one: name it with "
            "--lm"
        )
    return files


def load_language_model(name: str, files: LanguageModelFiles, vocabulary: Vocabulary) -> LanguageModel:
    """The language model. name: of the recogniser, for messages.

    Raises InputError where the file cannot be read, has no words, or words that the vocabulary cannot spell.
    """
    model: NgramModel | KenlmModel | lstm.LstmModel
    if files.path.name == lstm.DESCRIPTION:
        model = lstm.LstmModel.load(files.path.parent)
    else:
        model = KenlmModel(files.path, files.unigrams) if files.is_kenlm_binary else read_arpa(files.path)
    check_spelling(name, files.path, model, vocabulary)
    return model


def check_spelling(name: str, path: Path, model: LanguageModel, vocabulary: Vocabulary) -> None:
    """Raises InputError where a model has no words, or the vocabulary's units cannot spell most of them.

    Where they cannot spell more than NOTED_SHARE of them, a note says so.
    """
    words = [word for word in model.words if not (model.is_of_characters and word == BOUNDARY)]
    if not words:
        raise InputError(f"{path}: has no words; expected a language model trained on text: build it from more text")
    if not model.is_of_characters and len(words) > 3 and all(len(word) == 1 for word in words):
        raise InputError(
            f"{path}: all its words are single letters, and none of them is | for the space; expected words, or "
            "characters with |: build it with `python -m finetune.language_model build --units characters`"
        )
    checked = words[:: max(len(words) // CHECKED_WORDS, 1)]
    outside = [word for word in checked if vocabulary.outside([word])]
    if len(outside) <= NOTED_SHARE * len(checked):
        return
    if 2 * len(outside) <= len(checked):
        kind, share = "characters" if model.is_of_characters else "words", 100 * len(outside) / len(checked)
        note_once(
            f"words of {path} for {name}",
            f"{share:.0f} % of the {kind} of {path}, such as {outside[0]!r}, cannot be written with the units of "
            f"{name}: the search never outputs them",
        )
        return
    in_other_case = sum(not vocabulary.outside([word.swapcase()]) for word in outside)
    remedy = "build it with the text profile of the model's labels"
    if 2 * in_other_case > len(outside):
        remedy = "the letters are there in the other case: " + remedy
    raise InputError(
        f"{name}: its units cannot spell most words of {path}, such as {outside[0]!r}; expected a language model "
        f"of words that they spell: {remedy} (`python -m finetune.language_model build --model RUN`)"
    )


def stored_files(run: Path) -> list[str]:
    """The files of the language model that a run carries, by their paths in its folder; none where it carries none.

    Raises InputError where its folder cannot be used.
    """
    if not (run / FOLDER / ATTRIBUTES).is_file():
        return []
    found = _read_folder(run / FOLDER)
    paths = [run / ALPHABET, found.path, found.unigrams, run / FOLDER / ATTRIBUTES]
    return [path.relative_to(run).as_posix() for path in paths if path is not None and path.is_file()]


def holds_another(run: Path, arpa: Path) -> bool:
    """Whether a run carries a language model of other n-grams than this file's, which saving it would replace."""
    folder = run / FOLDER
    if not (folder / ATTRIBUTES).is_file() or arpa.resolve().parent == folder.resolve():
        return False
    return not ((folder / ARPA).is_file() and filecmp.cmp(folder / ARPA, arpa, shallow=False))


def save_language_model(run: Path, arpa: Path, vocabulary: Vocabulary, settings: BeamSettings) -> Path:
    """Puts a language model of words into a run's folder, where `find_language_model` and transformers look for it.

    Returns its folder. An earlier one is replaced, whatever its file's name; one that lies there already stays as it
    is, with the new settings. Raises InputError where the ARPA file cannot be used, or is of
    characters, which transformers would take for words.
    """
    model = read_arpa(arpa)
    check_spelling(str(run), arpa, model, vocabulary)
    if model.is_of_characters:
        raise InputError(
            f"{arpa}: is a character language model; expected one of words, the only kind that transformers' "
            "Wav2Vec2ProcessorWithLM supports: pass it with --lm when decoding"
        )
    folder = run / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    stays = arpa.resolve().parent == folder.resolve()
    if not stays:
        with (
            atomic_file(folder / ARPA) as temporary,
            temporary.open("w", encoding="utf-8") as file,
            open_text(arpa) as of,
        ):
            shutil.copyfileobj(of, file)
    contents = {
        folder / UNIGRAMS: "".join(f"{word}\n" for word in sorted(model.words)),
        folder / ATTRIBUTES: json.dumps(
            {name: getattr(settings, name) for name in TUNED} | {"score_boundary": True}, indent=1
        ),
        run / ALPHABET: json.dumps(
            {"labels": pyctcdecode_labels(vocabulary), "is_bpe": vocabulary.splitter.carries_boundary},
            ensure_ascii=False,
        ),
    }
    for path, content in contents.items():
        with atomic_file(path) as temporary:
            temporary.write_text(content, encoding="utf-8")
    for path in _ngram_files(folder):
        if path.name != (arpa.name if stays else ARPA):
            path.unlink()
    return folder


def pyctcdecode_labels(vocabulary: Vocabulary) -> list[str]:
    """The labels as pyctcdecode's Alphabet has them: "" is the blank, " " the boundary, "⁇" the unknown unit.

    Where units carry the boundary, as in BPE, its is_bpe is true, "▁" begins a word and "▁⁇▁" is the unknown unit.
    """
    if not vocabulary.splitter.carries_boundary:
        special = {vocabulary.blank_unit: "", vocabulary.boundary_unit: " ", vocabulary.unknown_unit: "⁇"}
        return [special.get(unit, unit) for unit in vocabulary.units]
    special = {vocabulary.blank_unit: "", vocabulary.boundary_unit: "▁", vocabulary.unknown_unit: "▁⁇▁"}
    return [special.get(unit, unit.replace(" ", "▁")) for unit in vocabulary.units]


def _read_folder(folder: Path) -> LanguageModelFiles:
    """The files of a language_model folder, ours or pyctcdecode's."""
    try:
        stored = json.loads((folder / ATTRIBUTES).read_text(encoding="utf-8"))
        attributes = {name: float(stored[name]) for name in TUNED if name in stored}
        BeamSettings(**attributes)  # type: ignore[arg-type]
        if stored.get("score_boundary", True) is not True:
            raise ValueError("score_boundary is false, and the search scores the boundaries of utterances")
    except (OSError, ValueError, TypeError) as error:
        raise InputError(
            f"{folder / ATTRIBUTES}: cannot be used ({error}); expected JSON with {', '.join(TUNED)}: fix it"
        ) from error
    others = _ngram_files(folder)
    if len(others) != 1:
        found = ", ".join(path.name for path in others) or "none"
        raise InputError(
            f"{folder}: has {found} beside {ATTRIBUTES} and {UNIGRAMS}; expected one file of n-grams: leave one"
        )
    return LanguageModelFiles(others[0], attributes, folder / UNIGRAMS)


def _ngram_files(folder: Path) -> list[Path]:
    """The files of a language_model folder that pyctcdecode would take for n-grams."""
    return sorted(
        path
        for path in folder.iterdir()
        if path.is_file() and path.name not in (ATTRIBUTES, UNIGRAMS) and not path.name.startswith(".")
    )


def _from_hub(repo_id: str) -> LanguageModelFiles | None:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        folder = Path(snapshot_download(repo_id, allow_patterns=[f"{FOLDER}/*"])) / FOLDER
    except HFValidationError:
        raise InputError(
            f"{repo_id}: no such file; expected an ARPA file, a folder with a language model, or a Hub id: check the "
            "name"
        ) from None
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        reason = loading_reason(error)
        raise InputError(
            f"{repo_id}: no language model found ({reason}); expected an ARPA file, a folder that holds one, or a Hub "
            "id: check the name and the network"
        ) from None
    return _read_folder(folder) if (folder / ATTRIBUTES).is_file() else None
