"""Corpora that are folders: audiofolder, audio with .txt or .lab beside it, LJSpeech, LibriSpeech, Common Voice.

Each layout has `is_NAME` (whether a path is such a folder) and `read_NAME` (its rows), then what only these two use.
"""

import os
import re
from collections.abc import Iterator, Sequence

from preprocessing.corpus.readers.manifest import read_manifest, read_table
from preprocessing.corpus.readers.rows import AUDIO_KEYS, AUDIO_SUFFIXES, Row, Rows, files_below, folders_in, text_lines
from preprocessing.errors import InputError, counted

METADATA = ("metadata.csv", "metadata.jsonl")
SPLIT_FOLDERS = {  # as `datasets` names the splits of an audiofolder
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("validation", "valid", "dev", "val"), "validation"),
    **dict.fromkeys(("test", "testing", "eval", "evaluation"), "test"),
}
TXT = ".txt"  # beside audio
TEXT_SUFFIXES = (TXT, ".TXT", ".lab", ".LAB")  # .lab is of the Montreal Forced Aligner
MAX_TEXT_CHARACTERS = 2**20  # of a .txt beside audio
# A label of Audacity: start and stop in seconds, and its text where it has one. Lines with a backslash are frequencies.
_LABEL = re.compile(r"(\d+(?:[.,]\d+)?)\t(\d+(?:[.,]\d+)?)(?:\t(.*))?", re.ASCII)
# A line with the numbers of its first and last sample before its text, as TIMIT's, or times of 100 ns, as HTK's.
_NUMBERED = re.compile(r"(0|[1-9][0-9]*)\s+([1-9][0-9]*)\s+(.*[^\W\d_].*)")
LEAST_LAST_SAMPLE = 1000  # of the numbers before a text: smaller ones are spoken
LJSPEECH_AUDIO = "wavs"
TRANSCRIPTS = ".trans.txt"
LIBRISPEECH_SUFFIXES = (".flac", ".wav", ".opus", ".ogg", ".mp3")  # LibriSpeech is FLAC; people convert it
LEVELS_ABOVE = 3  # chapter -> speaker -> subset -> corpus, where SPEAKERS.TXT stands


def is_audiofolder(folder: str) -> bool:
    """Whether the folder has a metadata file, or is a split below one that has. Raises InputError when it has two."""
    return _metadata_file(folder) is not None or _metadata_above(folder) is not None


def read_audiofolder(folder: str) -> Rows:
    """The rows of an audiofolder's metadata: `file_name`, relative to the folder, and any of the known columns.

    metadata.csv        file_name,transcription
                        train/1.wav,one two
    train/1.wav

    Of a split, `train` above, those of its files; rows that cannot be read may be of any split and stay.
    """
    path = _metadata_file(folder)
    if path is not None:
        return read_manifest(path)
    path = _metadata_above(folder)
    assert path is not None, "only called on a folder with metadata"
    rows, inside = read_manifest(path), f"{os.path.basename(os.path.normpath(folder))}/"

    def is_of_split(row: Row) -> bool:
        if isinstance(row.fields, str):
            return True
        names = (row.fields.get(key) for key in AUDIO_KEYS)
        return any(isinstance(name, str) and name.removeprefix("./").startswith(inside) for name in names)

    return rows._replace(rows=filter(is_of_split, rows.rows))


def audiofolder_splits(folder: str) -> list[str]:
    """Names of the splits of an audiofolder (train, test), and of the audiofolders in a folder that is none itself.

    Splits are folders with the names by which `datasets` divides an audiofolder, wherever its metadata stands.
    """
    below = [os.path.basename(path) for path in folders_in(folder)]
    if is_audiofolder(folder):
        splits = [name for name in below if name.lower() in SPLIT_FOLDERS]
        return splits if len({SPLIT_FOLDERS[name.lower()] for name in splits}) > 1 else []
    return [name for name in below if is_audiofolder(os.path.join(folder, name))]


def _metadata_above(folder: str) -> str | None:
    """The metadata file of the audiofolder that this folder is a split of."""
    parent, name = os.path.split(os.path.normpath(folder))
    if name.lower() not in SPLIT_FOLDERS or not os.path.isdir(folder):
        return None
    return _metadata_file(parent or ".")


def _metadata_file(folder: str) -> str | None:
    names = [name for name in METADATA if os.path.isfile(os.path.join(folder, name))]
    if len(names) > 1:
        raise InputError(f"{folder}: holds both {names[0]} and {names[1]}; expected one: name one of the two files")
    return os.path.join(folder, names[0]) if names and not is_ljspeech(folder) else None


def is_ljspeech(path: str) -> bool:
    """Whether the path is a folder with wavs/ and a metadata.csv of lines `id|text`, or that file."""
    folder = os.path.dirname(_ljspeech_table(path))
    if not os.path.isdir(os.path.join(folder, LJSPEECH_AUDIO)) or not os.path.isfile(_ljspeech_table(path)):
        return False
    _, first, _ = next(text_lines(_ljspeech_table(path)), (1, "", None))
    return "|" in first and os.path.isfile(_ljspeech_audio(folder, first.split("|")[0]))


def read_ljspeech(path: str) -> Rows:
    """The rows of LJSpeech and corpora laid out alike: id, text and, where there is one, the normalised text.

    metadata.csv        LJ001-0001|In 1455|in fourteen fifty-five
    wavs/LJ001-0001.wav

    Quotes are part of the text. The normalised text is read where it is not empty.
    """
    return Rows("", _ljspeech_rows(_ljspeech_table(path)))


def _ljspeech_table(path: str) -> str:
    return path if os.path.basename(path) == METADATA[0] else os.path.join(path, METADATA[0])


def _ljspeech_audio(folder: str, name: str) -> str:
    stem = os.path.join(folder, LJSPEECH_AUDIO, name)
    candidates = [stem + suffix for suffix in (".wav", *LIBRISPEECH_SUFFIXES)]
    return next(filter(os.path.isfile, candidates), candidates[0])


def _ljspeech_rows(path: str) -> Iterator[Row]:
    for number, line, reason in text_lines(path):
        name, *texts = line.split("|")
        if reason is None and not 1 <= len(texts) <= 2:
            reason = f"{counted(len(texts) + 1, 'field')} between '|'; expected 'id|text|normalised text': correct it"
        if reason is not None:
            yield Row(path, number, reason)
            continue
        text = next(filter(None, map(str.strip, reversed(texts))), "")
        yield Row(path, number, {"id": name, "audio": _ljspeech_audio(os.path.dirname(path), name), "text": text})


def is_text_beside_audio(folder: str) -> bool:
    """Whether an audio file at any depth has a .txt of its name beside it. May walk the whole folder."""
    return _has_text_beside_audio(folder, (TXT,))


def is_lab_beside_audio(folder: str) -> bool:
    """Whether an audio file at any depth has a .TXT or .lab of its name beside it. May walk the whole folder."""
    return _has_text_beside_audio(folder, TEXT_SUFFIXES)


def _has_text_beside_audio(folder: str, suffixes: Sequence[str]) -> bool:
    return os.path.isdir(folder) and any(_text_beside(stem, suffixes) is not None for _, stem in _audio_files(folder))


def read_text_beside_audio(folder: str) -> Rows:
    """Audio files with their texts beside them, at any depth; the id is the path without suffix.

        ann/1.wav
        ann/1.txt           ONE TWO         or ann/1.lab
        bob/1.mp3

    A text that is a label track of Audacity gives a row for each label. Audio without a text is set aside.
    """
    return Rows("", _text_beside_audio_rows(folder))


def _text_beside(stem: str, suffixes: Sequence[str]) -> str | None:
    return next(filter(os.path.isfile, (stem + suffix for suffix in suffixes)), None)


def _audio_files(folder: str) -> Iterator[tuple[str, str]]:
    """Paths of audio below a folder, with and without suffix."""
    for path in files_below(folder):
        stem, suffix = os.path.splitext(path)
        if suffix.lower() in AUDIO_SUFFIXES:
            yield path, stem


def _text_beside_audio_rows(folder: str) -> Iterator[Row]:
    for number, (path, stem) in enumerate(_audio_files(folder), start=1):
        beside = _text_beside(stem, TEXT_SUFFIXES)
        if beside is None:
            yield Row(path, number, f"no {os.path.basename(stem)}.txt beside it; expected its transcript: add it")
            continue
        try:
            lines = _lines_of_text(beside)
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else error
            yield Row(path, number, f"{os.path.basename(beside)} cannot be read ({why}); expected UTF-8: fix it")
            continue
        if (labels := _labels(beside, path, lines)) is not None:
            yield from labels
            continue
        numbered = _without_sample_numbers([line for _, line in lines])
        if numbered is None:
            reason = (
                f"{os.path.basename(beside)} has two numbers before the text of each of its {len(lines)} lines, as "
                "labels of HTK or TIMIT; expected the text alone: remove the numbers, or write a manifest with times"
            )
            yield Row(path, number, reason)
        else:
            name = os.path.relpath(stem, folder).replace(os.sep, "/")
            yield Row(path, number, {"audio": path, "text": " ".join(" ".join(numbered).split()), "id": name})


def _lines_of_text(path: str) -> list[tuple[int, str]]:
    """The lines of a text with their numbers. Raises OSError, or ValueError with the reason why it is no text."""
    lines: list[tuple[int, str]] = []
    n_characters = 0
    for number, line, reason in text_lines(path):
        n_characters += len(line)
        if reason is not None or n_characters > MAX_TEXT_CHARACTERS:
            raise ValueError(reason or f"it is longer than {MAX_TEXT_CHARACTERS} characters")
        lines.append((number, line))
    return lines


def _labels(path: str, audio: str, lines: list[tuple[int, str]]) -> list[Row] | None:
    """A row for each label with a text and a length of a label track of Audacity; None where the lines are none."""
    found = [(number, _LABEL.fullmatch(line)) for number, line in lines if not line.startswith("\\")]
    rows, has_text = [], False
    for number, label in found:
        if label is None:
            return None
        start, stop = (float(time.replace(",", ".")) for time in label.group(1, 2))
        text = " ".join((label[3] or "").split())
        has_text = has_text or bool(text)
        if text and stop != start:
            rows.append(Row(path, number, {"audio": audio, "start": start, "stop": stop, "text": text}))
    if has_text and not rows:
        return [Row(path, 1, "labels of points alone; expected some with a start and a stop: label regions")]
    return rows or None


def _without_sample_numbers(lines: list[str]) -> list[str] | None:
    """The lines of a transcript, that of one line without TIMIT's `0 46797` before it, which is the whole file; None
    where several have numbers of samples before them.
    """
    numbered = [_NUMBERED.fullmatch(line) for line in lines]
    spans = [(int(found[1]), int(found[2])) for found in numbered if found is not None]
    if not spans or len(spans) < len(lines) or spans[-1][1] < LEAST_LAST_SAMPLE:
        return lines
    if len(spans) == 1:
        return [lines[0] if spans[0][0] else lines[0].split(maxsplit=2)[2]]
    return lines if any(start >= stop for start, stop in spans) or spans != sorted(spans) else None


def is_librispeech(folder: str) -> bool:
    """Whether there are transcripts no deeper than corpus/subset/speaker/chapter."""
    return next(_transcripts(folder, 4), None) is not None


def read_librispeech(folder: str) -> Rows:
    """The rows of a LibriSpeech corpus, subset, speaker or chapter; the sex is from SPEAKERS.TXT above it.

    dev-clean/84/121123/84-121123.trans.txt     84-121123-0000 GO DO YOU HEAR
    dev-clean/84/121123/84-121123-0000.flac
    SPEAKERS.TXT                                84   | F | dev-clean        |  8.02 | Christie Nowak
    """
    return Rows("", _librispeech_rows(folder))


def librispeech_subsets(folder: str) -> list[str]:
    """Names of the sub-folders that are subsets when `folder` is the corpus's own: train-clean-100, test-other."""
    return [
        os.path.basename(below)
        for below in folders_in(folder)
        if next(_transcripts(below, 2), None) is None and next(_transcripts(below, 3), None) is not None
    ]


def _transcripts(folder: str, levels: int) -> Iterator[str]:
    if not os.path.isdir(folder):
        return
    yield from (os.path.join(folder, name) for name in os.listdir(folder) if name.endswith(TRANSCRIPTS))
    if levels > 1:
        for below in folders_in(folder):
            yield from _transcripts(below, levels - 1)


def _librispeech_rows(folder: str) -> Iterator[Row]:
    sexes = _sexes(folder)
    for path in files_below(folder):
        if not path.endswith(TRANSCRIPTS):
            continue
        chapter, named = os.path.dirname(path), set()
        for number, line, reason in text_lines(path):
            if reason is not None:
                yield Row(path, number, reason)
                continue
            name, _, text = line.partition(" ")
            named.add(name)
            speaker = name.split("-")[0]
            stem = os.path.join(chapter, name)
            candidates = [stem + suffix for suffix in LIBRISPEECH_SUFFIXES]
            audio = next(filter(os.path.isfile, candidates), candidates[0])
            yield Row(
                path,
                number,
                {"id": name, "audio": audio, "text": text, "speaker": speaker, "sex": sexes.get(speaker)},
            )
        prefix = os.path.basename(path).removesuffix(TRANSCRIPTS)
        for file in sorted(os.listdir(chapter)):
            stem, suffix = os.path.splitext(file)
            if suffix.lower() in LIBRISPEECH_SUFFIXES and stem.startswith(prefix) and stem not in named:
                reason = f"has no line in {os.path.basename(path)}; expected its transcript: add it"
                yield Row(os.path.join(chapter, file), 1, reason)


def _sexes(folder: str) -> dict[str, str]:
    """Speaker -> F or M of SPEAKERS.TXT, in the folder or above it: `14 | F | train-clean-360 | 25.03 | name`."""
    above = os.path.abspath(folder)
    for _ in range(LEVELS_ABOVE + 1):
        path = os.path.join(above, "SPEAKERS.TXT")
        if os.path.isfile(path):
            with open(path, encoding="utf-8", errors="replace") as file:
                rows = [line.split("|") for line in file if not line.startswith(";")]
            return {row[0].strip(): row[1].strip() for row in rows if len(row) > 1}
        above = os.path.dirname(above)
    return {}


def is_common_voice(folder: str) -> bool:
    """Whether the folder has clips/ and, beside it, a table of clips."""
    return os.path.isdir(os.path.join(folder, "clips")) and bool(_clip_tables(folder))


def read_common_voice(folder: str) -> Rows:
    """The rows of the one table of clips of a Common Voice release; its audio is in clips/.

        train.tsv           client_id   path            sentence    gender
                            5f02        common_1.mp3    Guten Tag.  female_feminine
        clips/common_1.mp3

    Raises InputError where there are several tables: they overlap, and one of them is the test set.
    """
    tables = _clip_tables(folder)
    if len(tables) > 1:
        raise InputError(
            f"{folder}: holds the tables {', '.join(tables)}; expected one: name it, as in "
            f"{os.path.join(folder, tables[0])}"
        )
    return read_table(os.path.join(folder, tables[0]), tabs=True)


def _clip_tables(folder: str) -> list[str]:
    names = sorted(name for name in os.listdir(folder) if name.endswith(".tsv"))
    return [name for name in names if _is_clip_table(os.path.join(folder, name))]


def _is_clip_table(path: str) -> bool:
    _, header, _ = next(text_lines(path) if os.path.isfile(path) else iter(()), (0, "", None))
    return {"path", "sentence"} <= set(header.split("\t"))
