"""STM, NIST's reference transcripts with times, as sclite reads them and TED-LIUM is laid out: a line for each segment.

    ;; file channel speaker start end <labels> text
    talk1 1 ann 0.50 2.25 <o,f0,female> good morning

Source: infmts.htm of NIST's SCTK (https://github.com/usnistgov/SCTK), the formats stm and the alternation in a text.
"""

import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from preprocessing.audio import AudioError, probe
from preprocessing.cli.notes import note_once
from preprocessing.corpus.readers.folders import SPLIT_FOLDERS
from preprocessing.corpus.readers.rows import AUDIO_SUFFIXES, SEXES, Row, Rows, folders_in, text_lines
from preprocessing.errors import InputError, counted

SUFFIX = ".stm"
STM_FOLDER = "stm"  # of TED-LIUM, beside the folder of its audio
AUDIO_FOLDERS = ("sph", "wav", "flac")
COMMENT = ";;"
IGNORED = "ignore_time_segment_in_scoring"  # as the whole text, in any case: what is said there is not to be judged
NO_SPEAKERS = frozenset(("inter_segment_gap", "excluded_region"))  # names of stretches in which no speaker is named
NO_ALTERNATION = "a '{' or '}' by itself; expected alternatives as in { um / uh / @ }: correct the text"
NULL_WORD = "@"  # in alternatives: nothing is said
_LABELS = re.compile(r"<([^<>\s]*)>(?:\s+|$)")


def is_stm(path: str) -> bool:
    """Whether the path is an .stm file, or a folder with such or with stm/ that has some."""
    return (path.lower().endswith(SUFFIX) and os.path.isfile(path)) or bool(_stm_files(path))


def read_stm(path: str) -> Rows:
    """The segments of an .stm file, or of all in a folder; their audio is beside it, or in sph/, wav/ or flac/ in its
    folder or beside that.

    stm/talk1.stm       talk1 1 ann 0.50 2.25 <o,f0,female> good morning
    sph/talk1.sph

    Of audio with several channels, the one of the line is read: 1 or A is the first. Of alternatives, { um / uh / @ },
    the first is read, as a text is one sequence of words; a note says so, for sclite counts each as correct. Segments
    that are not to be scored are left out, and a note says how many. The sex is read from labels such as female or F.
    Raises InputError where files in a folder are named after different splits.
    """
    if os.path.isfile(path):
        return Rows("", _rows(path, [path]))
    files = _stm_files(path)
    splits = [os.path.basename(file) for file in files if _split_of(file) is not None]
    if len({_split_of(file) for file in files} - {None}) > 1:
        raise InputError(
            f"{path}: holds {', '.join(splits)}; expected one split: name the file, as in "
            f"{os.path.join(os.path.dirname(files[0]), splits[0])}"
        )
    return Rows("", _rows(path, files))


def stm_splits(folder: str) -> list[str]:
    """Names of the folders in a folder that have .stm files, as train/ and test/ of TED-LIUM."""
    below = [path for path in folders_in(folder) if os.path.basename(path) != STM_FOLDER and os.access(path, os.R_OK)]
    return [os.path.basename(path) for path in below if is_stm(path)]


def _stm_files(folder: str) -> list[str]:
    """The .stm files in a folder, else those in its stm/; in order of their names."""
    for place in (folder, os.path.join(folder, STM_FOLDER)):
        if os.path.isdir(place):
            paths = [os.path.join(place, name) for name in os.listdir(place) if name.lower().endswith(SUFFIX)]
            if found := sorted(filter(os.path.isfile, paths)):
                return found
    return []


def _split_of(path: str) -> str | None:
    return SPLIT_FOLDERS.get(os.path.splitext(os.path.basename(path))[0].lower())


def _rows(reference: str, files: Sequence[str]) -> Iterator[Row]:
    """The rows of .stm files in one folder; where the reference is a folder, also one for each audio without a line."""
    audio = _AudioFiles(os.path.dirname(files[0]))
    n_left_out = n_with_alternatives = 0
    for path in files:
        for number, line, reason in text_lines(path):
            if reason is not None:
                yield Row(path, number, reason)
                continue
            if line.startswith(COMMENT):
                continue
            try:
                segment = _Segment.of_line(line)
                if segment.is_ignored:
                    audio.named.add(segment.file)
                    n_left_out += 1
                    continue
                fields = segment.fields(audio)
            except InputError as error:
                yield Row(path, number, str(error))
                continue
            n_with_alternatives += segment.has_alternatives
            yield Row(path, number, fields)
    if os.path.isdir(reference):
        for path in audio.without_line():
            reason = f"has no line in {' or '.join(map(os.path.basename, files[:3]))}; expected its segments: add them"
            yield Row(path, 1, reason)
    if n_left_out:
        note_once(
            f"ignored segments of {reference}",
            f"{reference}: without {counted(n_left_out, 'segment')} whose text is {IGNORED}",
        )
    if n_with_alternatives:
        note_once(
            f"alternatives of {reference}",
            f"{reference}: {counted(n_with_alternatives, 'segment')} with alternatives, of which the first is read; "
            "sclite counts each of them as correct, so a WER here may be higher than its",
        )


class _AudioFiles:
    """The audio that lines of .stm files in a folder may name. named: the files that lines have named so far."""

    def __init__(self, folder: str) -> None:
        self.named: set[str] = set()
        self._paths: dict[str, str] = {}  # by the name without suffix
        self._n_channels: dict[str, int] = {}
        above = os.path.join(folder, os.pardir)
        below = (os.path.normpath(os.path.join(at, name)) for at in (folder, above) for name in AUDIO_FOLDERS)
        for place in (folder, *below):
            for name in sorted(os.listdir(place or ".")) if os.path.isdir(place or ".") else ():
                stem, suffix = os.path.splitext(name)
                if suffix.lower() in AUDIO_SUFFIXES:
                    self._paths.setdefault(stem, os.path.join(place, name))

    def path(self, file: str) -> str:
        """The audio of the name that a line gives. Raises InputError where there is none."""
        self.named.add(file)
        if file not in self._paths:
            raise InputError(
                f"no audio file {file!r:.80} beside it, or in sph/, wav/ or flac/ there or beside its folder; expected "
                f"{file:.80}.sph or the like: add it"
            )
        return self._paths[file]

    def n_channels(self, path: str) -> int:
        """How many channels a file has by its header, which is read once."""
        if path not in self._n_channels:
            self._n_channels[path] = 1
            with suppress(AudioError):  # which is said of every segment of the file
                self._n_channels[path] = probe(path).n_channels
        return self._n_channels[path]

    def without_line(self) -> list[str]:
        """Paths of the audio that no line names."""
        return [path for stem, path in self._paths.items() if stem not in self.named]


@dataclass(frozen=True)
class _Segment:
    """A line of an .stm file. file: the name of its audio without suffix. words: with all alternatives."""

    file: str
    channel: str
    speaker: str
    start: str
    stop: str
    labels: str
    words: Sequence[str]

    @classmethod
    def of_line(cls, line: str) -> "_Segment":
        """Raises InputError where the line is none."""
        parts = line.split(maxsplit=5)
        if len(parts) < 5:
            raise InputError(
                f"{counted(len(parts), 'field')}; expected 'file channel speaker start end <labels> text' as in STM: "
                "correct the line"
            )
        name, channel, speaker, start, stop = parts[:5]
        transcript = "".join(parts[5:])
        labels = _LABELS.match(transcript)
        words = transcript[labels.end() if labels else 0 :].split()
        stem, suffix = os.path.splitext(os.path.basename(name))
        file = stem if suffix.lower() in AUDIO_SUFFIXES else os.path.basename(name)
        if words and words[-1].startswith(f"({file}-") and words[-1].endswith(")"):
            words.pop()  # the segment's id, in TED-LIUM's first release
        return cls(
            file=file, channel=channel, speaker=speaker, start=start, stop=stop, labels=labels[1] if labels else "",
            words=words,
        )  # fmt: skip

    @property
    def is_ignored(self) -> bool:
        """Whether the segment is not to be scored."""
        return [word.lower() for word in self.words] == [IGNORED]

    @property
    def has_alternatives(self) -> bool:
        """Whether a word of its text may be another."""
        return "{" in self.words

    def fields(self, audio: _AudioFiles) -> dict[str, Any]:
        """Its row. Raises InputError where its audio is missing, or has several channels and not the one it names, and
        where its alternatives are none.
        """
        path = audio.path(self.file)
        text = " ".join(first_alternatives(self.words))
        fields: dict[str, Any] = {"audio": path, "start": self.start, "stop": self.stop, "text": text}
        if self.speaker.lower() not in NO_SPEAKERS:
            fields["speaker"] = self.speaker
        sexes = {SEXES[name] for name in re.split(r"[,_]", self.labels.lower()) if name in ("f", "m", "female", "male")}
        if len(sexes) == 1:
            fields["sex"] = sexes.pop()
        n_channels = audio.n_channels(path)
        if n_channels > 1:
            fields["channel"] = _channel(self.channel, n_channels)
        return fields


def _channel(name: str, n_channels: int) -> int:
    """The number, from 0, of a channel 1, 2 or A, B. Raises InputError where the audio has none of that name."""
    number = ord(name.upper()) - ord("A") if len(name) == 1 and name.isascii() and name.isalpha() else -1
    number = int(name[:9]) - 1 if name.isascii() and name.isdecimal() else number
    if not 0 <= number < n_channels:
        raise InputError(
            f"channel {name!r:.40} of audio with {n_channels} channels; expected 1 to {n_channels}, or A for the first "
            "one and so on: correct it"
        )
    return number


def first_alternatives(words: Sequence[str]) -> list[str]:
    """The words with the first of each alternation's alternatives, which may hold others; @ is no word there.

    >>> first_alternatives("i've { { um / uh } / @ } as { @ / far } {NOISE}".split())
    ["i've", 'um', 'as', '{NOISE}']

    Raises InputError where braces that stand by themselves are not in pairs around two alternatives or more.
    """
    places: list[list[str]] = [[]]  # the words of the text, and of the first alternative in each open brace
    n_alternatives = Counter[int]()  # by how many braces are open
    for word in words:
        depth = len(places) - 1
        if word == "{":
            places.append([])
            n_alternatives[depth + 1] = 1
        elif word == "/" and depth:
            n_alternatives[depth] += 1
        elif word == "}":
            if n_alternatives[depth] < 2:
                raise InputError(NO_ALTERNATION)
            first = places.pop()
            if n_alternatives[depth - 1] < 2:
                places[-1] += first
        elif n_alternatives[depth] < 2 and not (depth and word == NULL_WORD):
            places[-1].append(word)
    if len(places) > 1:
        raise InputError(NO_ALTERNATION)
    return places[0]
