"""`python -m preprocessing.split DATA OUT`: train.jsonl, validation.jsonl and test.jsonl without a shared speaker.

Thin: options in, the corpus opened, divided by `preprocessing.corpus.split`, the manifests written and counted.
"""

import functools
import os
import shlex
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from preprocessing.cli.options import check_shares, parse_command, run_command
from preprocessing.errors import InputError, UsageError, counted
from preprocessing.storage.atomic_write import json_line, write_output

if TYPE_CHECKING:
    from preprocessing.corpus import Utterance

DESCRIPTION = (
    "Divide a corpus into manifests for training, validation and test, by speaker or by recording. No audio is copied."
)
REJECTS = "rejects.jsonl"


@dataclass(frozen=True)
class SplitConfig:
    """Which corpus to divide, and how."""

    renamed: ClassVar[Mapping[str, str]] = {"output": "output_dir"}

    data: str
    """A manifest (JSONL, CSV, TSV), or a folder or file of any layout in docs/corpora.md whose audio is in
    files."""
    output_dir: Path
    """Folder for train.jsonl, validation.jsonl and test.jsonl, whose audio paths are relative to it, and
    rejects.jsonl."""
    by: Literal["speaker", "recording"] = "speaker"
    """What is never in two parts: a speaker with the recordings that they are in, or a recording alone, such as a call
    of an agent who takes many."""
    validation_share: float = 0.1
    """Share of the speech for validation; 0 for none."""
    test_share: float = 0.1
    """Share of the speech for the test; 0 for none."""
    seed: int = 0
    """Seed of the division."""
    overwrite: bool = False
    """Replace the manifests of an earlier division."""

    def shares(self) -> dict[str, float]:
        """The share of each part that is not empty. Raises UsageError where they are none."""
        check_shares(("--validation_share", self.validation_share), ("--test_share", self.test_share))
        train = 1.0 - self.validation_share - self.test_share
        if not 1e-9 < train < 1.0:
            raise UsageError(
                f"--validation_share {self.validation_share:g} and --test_share {self.test_share:g} leave "
                f"{max(train, 0.0):.0%} for training; expected less than all, more than nothing: change one of them"
            )
        parts = {"train": train, "validation": self.validation_share, "test": self.test_share}
        return {part: share for part, share in parts.items() if share > 0.0}


def main(arguments: Sequence[str] | None = None) -> None:
    config = parse_command(
        SplitConfig,
        program="python -m preprocessing.split",
        description=DESCRIPTION,
        arguments=arguments,
        positional=True,
    )
    shares = config.shares()
    present = {part for part in ("train", "validation", "test") if (config.output_dir / f"{part}.jsonl").exists()}
    own = [config.output_dir / f"{part}.jsonl" for part in shares if part in present]
    if own and not config.overwrite:
        raise UsageError(f"{own[0]}: exists; expected a new folder: name another, or add --overwrite true")
    if any(path.samefile(config.data) for path in own if Path(config.data).exists()):
        raise UsageError(f"{config.data} would be overwritten by a part of itself; expected another folder: name one")
    if own and (others := present - set(shares)):
        raise UsageError(
            f"{config.output_dir / f'{min(others)}.jsonl'}: is of an earlier division, and this one has no such part; "
            "expected none, as its speakers may be in other parts now: delete it, or name another folder"
        )
    from preprocessing.corpus import open_corpus
    from preprocessing.corpus.split import split_corpus

    _check_has_files(config.data)
    corpus = open_corpus(config.data, columns=None)
    try:
        parts = split_corpus(corpus.utterances, shares, config.by, config.seed)
    except InputError as error:
        raise InputError(f"{config.data}: {error}") from None
    rejects = [{"where": reject.where, "reason": reject.reason} for reject in corpus.rejects]
    speakers_of = {
        part: {str(utterance.speaker) for utterance in utterances if utterance.speaker is not None}
        for part, utterances in parts.items()
    }
    written = {part: _lines(utterances, config.output_dir) for part, utterances in parts.items()}
    total = sum(utterance.duration for utterance in corpus.utterances)
    for part, utterances in parts.items():
        path = config.output_dir / f"{part}.jsonl"
        write_output(path, "--output_dir", written[part].encode())
        seconds = sum(utterance.duration for utterance in utterances)
        n_speakers = counted(len(speakers_of[part]), "speaker")
        of_speech = f"{seconds / 3600:.2f} h ({seconds / total:.1%} of the speech)"
        print(f"{path}: {counted(len(utterances), 'utterance')}, {of_speech}, {n_speakers}")
    own_parts = {part: shlex.quote(str(config.output_dir / f"{part}.jsonl")) for part in parts}
    for_training = [f"--data.{part} {own_parts[part]}" for part in ("train", "validation") if part in parts]
    print(f"for training: {' '.join(for_training)}")
    if "test" in parts:
        print(f"for the benchmark: --data {own_parts['test']}")
    n_parts = Counter(speaker for speakers in speakers_of.values() for speaker in speakers)
    shared = [speaker for speaker, count in n_parts.items() if count > 1]
    if shared:
        print(f"{counted(len(shared), 'speaker')} in several of them, such as {min(shared)!r}", file=sys.stderr)
    path = config.output_dir / REJECTS
    if own and not rejects:
        path.unlink(missing_ok=True)  # of the earlier division
    if rejects:
        write_output(path, "--output_dir", "".join(map(json_line, rejects)).encode("utf-8", "backslashreplace"))
        print(f"{counted(len(rejects), 'line')} rejected, in {path}", file=sys.stderr)


def _check_has_files(data: str) -> None:
    """Raises InputError where the audio at the beginning of the corpus is in its rows, before all of it is read."""
    from preprocessing.corpus import Utterance, stream_corpus

    first = next((one for one in stream_corpus(data) if isinstance(one, Utterance)), None)
    if first is not None and isinstance(first.audio, bytes):
        raise InputError(
            f"{data}: its audio is in the rows of a dataset; expected audio in files, which manifests name: run "
            f"`python -m preprocessing.prepare {shlex.quote(data)} PREPARED` first, and divide PREPARED/manifest.jsonl"
        )


def _lines(utterances: "Sequence[Utterance]", folder: Path) -> str:
    """The manifest of a part. Raises InputError on audio that is in no file."""
    from preprocessing.corpus import manifest_fields

    manifests_folder = os.path.realpath(folder)

    @functools.cache
    def relative(place: str) -> str:
        return os.path.relpath(os.path.realpath(place), manifests_folder)

    lines = []
    for utterance in utterances:
        if not isinstance(utterance.audio, bytes):
            place, name = os.path.split(utterance.audio)
            utterance = replace(utterance, audio=f"{relative(place)}/{name}")
        lines.append(json_line(manifest_fields(utterance)))
    return "".join(lines)


if __name__ == "__main__":
    run_command(main)
