"""Transcripts that exist already, of a cloud service or another toolkit: `--models google=transcripts:google.jsonl`.

They are scored beside the systems that run here, on the same corpus, under the same text profiles. Their audio was not
transcribed here, so they have no speed, no memory, and no results under conditions other than clean.
"""

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from pathlib import Path, PurePath
from typing import Any, NamedTuple

from benchmark.config import BenchmarkConfig
from benchmark.dataset import EvaluationSet
from benchmark.results import CLEAN, SystemRun
from benchmark.results.store import ResultsStore
from benchmark.runner import make_sample
from benchmark.worker import Hypothesis
from finetune.systems.base import SystemSpec
from preprocessing.corpus import Utterance
from preprocessing.corpus.readers.manifest import SUFFIXES, read_rows
from preprocessing.corpus.readers.rows import AUDIO_KEYS, ID_KEYS, TEXT_KEYS, files_below, text_lines
from preprocessing.errors import InputError, UsageError, counted

HYPOTHESIS_KEYS = ("hypothesis", "hyp", "pred_text", "predicted_text", "prediction", "pred")
TRANSCRIPT_KEYS = (*HYPOTHESIS_KEYS, *TEXT_KEYS)  # the first that a row has counts
# Last words of the names of columns that hold texts of unknown origin: beside one of them, "text" may be the reference.
_TEXT_WORDS = frozenset(
    ("text", "transcript", "transcription", "sentence", "asr", "stt", "output", "recognized", "recognised", "decoded")
) | {"predicted", "predictions", "hypotheses", "transcribed", "whisper"}
_TRN = re.compile(r"(.*)\(([^()]+)\)")  # of sclite: the text, then the id in parentheses


class Entry(NamedTuple):
    """One transcript. where: its file and line. name: an utterance's id, or its audio file, with folders or without."""

    where: str
    name: str
    text: str


@dataclass(frozen=True)
class Transcripts:
    """The transcripts of one system, matched with the utterances of a corpus.

    texts: by the id of the utterance. missing: ids of utterances that have none. unused: names of transcripts that are
    of no utterance. are_references: every text is the reference of its utterance, to the letter.
    """

    spec: SystemSpec
    texts: Mapping[str, str]
    missing: Sequence[str]
    unused: Sequence[str]
    are_references: bool = False

    @property
    def run(self) -> SystemRun:
        """The system's entry in run.json."""
        pairs = "".join(f"{id}\n{text}\n" for id, text in sorted(self.texts.items()))
        sha256 = hashlib.sha256(pairs.encode()).hexdigest()
        facts = self.spec.facts(
            0, {"texts": f"SHA-256 {sha256}", "audio": "transcribed elsewhere: no speed, no memory"}
        )
        return SystemRun(facts)

    def notices(self, conditions: int) -> list[str]:
        """Sentences on what a reader of the results must know. conditions: how many the run has."""
        name, path, found = self.spec.name, self.spec.checkpoint, []
        if self.missing:
            found.append(
                f"{name}: {path} has no transcript of {counted(len(self.missing), 'utterance')}, such as "
                f"{self.missing[0]}; all their words count as deleted."
            )
        if self.unused:
            found.append(
                f"{name}: {counted(len(self.unused), 'transcript')} of {path}, such as {self.unused[0]}, "
                f"{'is' if len(self.unused) == 1 else 'are'} of no utterance of the corpus, and not used."
            )
        if self.are_references:
            found.append(
                f"{name}: all transcripts of {path} are the references, to the letter; expected what a system "
                "recognised: check that the file holds hypotheses."
            )
        if conditions > 1:
            found.append(f"{name} has results on clean speech only: its transcripts are of the recordings as they are.")
        return found

    def record(self, evaluation_set: EvaluationSet, store: ResultsStore) -> None:
        """Add a sample for each utterance of clean speech, unless it has been recorded."""
        for place, utterance in enumerate(evaluation_set.utterances[0]):
            text = self.texts.get(utterance.id)
            reason = None if text is not None else f"no transcript in {self.spec.checkpoint}"
            sample = make_sample(evaluation_set, self.spec.name, (0, place), Hypothesis(text or "", reason))
            if store.samples.get((self.spec.name, CLEAN, utterance.id)) != sample:
                store.add_sample(sample)


def match_transcripts(spec: SystemSpec, utterances: Sequence[Utterance]) -> Transcripts:
    """The transcripts that a system of the family `transcripts` names, by utterance.

    A name is that of the utterance with this id, else of the only utterance of the file that is called so, whatever its
    suffix; of several files, the one whose folders agree. Raises InputError where the transcripts cannot be read, one
    is of several utterances, an utterance has two, or none has any.
    """
    by_id = {one.id: one for one in utterances}
    by_stem: dict[str, list[Utterance]] = defaultdict(list)
    for one in utterances:
        if not isinstance(one.audio, bytes):
            by_stem[PurePath(one.audio).stem].append(one)
    texts: dict[str, str] = {}
    places: dict[str, str] = {}
    unused = []
    for entry in read_transcripts(Path(spec.checkpoint)):
        path = PurePath(entry.name)
        found = by_id.get(entry.name) or _of_file(entry, by_stem.get(path.name) or by_stem.get(path.stem, []))
        if found is None:
            unused.append(entry.name)
            continue
        if found.id in texts:
            raise InputError(
                f"{entry.where}: a second transcript of the utterance {found.id}, after {places[found.id]}; expected "
                "one each: remove one of them"
            )
        texts[found.id], places[found.id] = entry.text, entry.where
    if not texts:
        named = f"such as {unused[0]}" if unused else "as it holds none"
        raise InputError(
            f"{spec.checkpoint}: no transcript is of an utterance of the corpus, {named}; expected names such as "
            f"{utterances[0].id}, the ids or file names of --data: correct them"
        )
    missing = [one.id for one in utterances if one.id not in texts]
    are_references = any(texts.values()) and all(texts[one.id] == one.text for one in utterances if one.id in texts)
    return Transcripts(spec, texts, missing, unused, are_references)


def read_transcripts(path: Path) -> Iterator[Entry]:
    """The transcripts of a file or folder.

        {"id": "call-1", "hyp": "good morning"}     JSON Lines, JSON, CSV or TSV: an id or an audio file, and a text
        good morning (call-1)                       .trn, of sclite
        call-1 good morning                         any other suffix, as Kaldi writes it
        call-1.txt                                  a folder of text files

    Raises InputError where it cannot be read, or a line has no name, no text, or two of which one may be the reference.
    """
    try:
        if path.is_dir():
            yield from _text_files(path)
        elif path.suffix.lower() in SUFFIXES:
            yield from (_of_row(f"{path}:{row.number}", row.fields) for row in read_rows(str(path)))
        else:
            yield from _lines(path, is_trn=path.suffix.lower() == ".trn")
    except OSError as error:
        raise InputError(f"{error.filename}: {error.strerror}; expected a readable file: fix its permissions") from None


def _of_file(entry: Entry, candidates: Sequence[Utterance]) -> Utterance | None:
    """The utterance whose file has the most folders of the entry's name, from the last one on; None of no candidates.

    Raises InputError where several have as many.
    """
    folders = PurePath(entry.name).parts[-2::-1]
    common = [_agreeing(folders, PurePath(str(one.audio)).parts[-2::-1]) for one in candidates]
    best = [one for one, count in zip(candidates, common, strict=True) if count == max(common)]
    if len(best) > 1:
        raise InputError(
            f"{entry.where}: {entry.name} is the name of {len(best)} utterances, such as {best[0].id} and "
            f"{best[1].id}; expected the name of one: write their ids"
        )
    return best[0] if best else None


def _agreeing(first: Sequence[str], second: Sequence[str]) -> int:
    """How many elements two sequences share from their beginning on.

    >>> _agreeing(("wav", "train", "a"), ("wav", "train", "b", "data"))
    2
    """
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(first, second, strict=False)))


def _of_row(where: str, fields: Mapping[str, Any] | str) -> Entry:
    if isinstance(fields, str):
        raise InputError(f"{where}: {fields}")
    name = next((value for key in (*ID_KEYS, *AUDIO_KEYS) if (value := fields.get(key)) not in (None, "")), None)
    key = next((key for key in TRANSCRIPT_KEYS if fields.get(key) is not None), "")
    text = fields.get(key)
    for value, kind, keys in ((name, "utterance", "id or audio"), (text, "transcript", ", ".join(TRANSCRIPT_KEYS))):
        if not isinstance(value, str | int) or isinstance(value, bool):
            columns = ", ".join(map(repr, list(fields)[:20])) or "none"
            raise InputError(f"{where}: no {kind} among the fields {columns}; expected one under {keys}: add it")
    others = [other for other in fields if other != key and _holds_text(other, fields[other])]
    if key in TEXT_KEYS and others:
        raise InputError(
            f"{where}: the fields {key!r} and {others[0]!r} both hold a text, one of which may be the reference; "
            f"expected the transcript under one of {', '.join(HYPOTHESIS_KEYS)}: rename its field"
        )
    return Entry(where, str(name).strip(), str(text))


def _holds_text(name: str, value: object) -> bool:
    """Whether a field may be the transcript of a row, or its reference.

    >>> _holds_text("google_transcript", "good morning"), _holds_text("transcript_path", "a.txt"), _holds_text("asr", 2)
    (True, False, False)
    """
    words = [word for word in re.split(r"[^a-z]+", name.lower()) if word]
    return isinstance(value, str) and (name in HYPOTHESIS_KEYS or bool(words and words[-1] in _TEXT_WORDS))


def _lines(path: Path, *, is_trn: bool) -> Iterator[Entry]:
    for number, line, reason in text_lines(str(path)):
        where = f"{path}:{number}"
        if reason is not None:
            raise InputError(f"{where}: {reason}")
        if not is_trn:
            name, _, text = line.replace("\t", " ", 1).partition(" ")
            yield Entry(where, name, text.strip())
        elif (parts := _TRN.fullmatch(line)) is None:
            raise InputError(f"{where}: no id in parentheses at its end; expected TEXT (ID), as sclite has it: add it")
        else:
            yield Entry(where, parts[2].strip(), parts[1].strip())


def _text_files(folder: Path) -> Iterator[Entry]:
    paths = [path for path in map(Path, files_below(str(folder))) if path.suffix.lower() == ".txt"]
    if not paths:
        raise InputError(f"{folder}: holds no .txt file; expected one for each recording, named as it is: name another")
    for path in paths:
        try:
            text = path.read_text(encoding="utf-8-sig")
        except UnicodeDecodeError as error:
            raise InputError(f"{path}: not UTF-8 at byte {error.start}; expected UTF-8: convert the file") from None
        yield Entry(str(path), str(path.relative_to(folder).with_suffix("")), " ".join(text.split()))


def with_clean_speech(config: BenchmarkConfig) -> BenchmarkConfig:
    """The configuration of a run of transcripts alone, whose default conditions are clean speech.

    Raises UsageError where it names others.
    """
    if config.conditions not in ("default", CLEAN):
        raise UsageError(
            f"--conditions is {config.conditions}, and --models names only transcripts, which are of the recordings as "
            "they are; expected clean: leave it out, or add a system that runs here"
        )
    return replace(config, conditions=CLEAN)
