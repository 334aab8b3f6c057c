"""`python -m finetune.align_corpus MODEL RECORDINGS TRANSCRIPTS OUT`: long recordings and their texts as training data.

Each recording is aligned with its running text (`finetune.decoding.alignment`, stars between all words), cut into
pieces (`finetune.decoding.alignment_pieces`), and written as FLAC with a line of manifest.jsonl for each certain piece
and one of rejects.jsonl for each doubtful one. A recording is done when its line files are there, so that the same
command goes on after a stop.
"""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from finetune.align import read_text
from preprocessing.cli.errors import InputError, UsageError, counted, printable
from preprocessing.cli.folder_lock import LOCK, only_writer
from preprocessing.cli.options import parse_command, run_command

if TYPE_CHECKING:
    from finetune.decoding.alignment_pieces import PieceOptions
    from finetune.systems.ctc_model import CTCModel

DESCRIPTION = (
    "Cut long recordings with their transcripts into training segments; segments with low alignment scores go to "
    "rejects.jsonl."
)
TEXT_SUFFIX = ".txt"
FINGERPRINT = "fingerprint"  # of model and options, in OUT


@dataclass(frozen=True)
class AlignCorpusConfig:
    """What to align, how it is cut, and where to."""

    model: str
    """CTC model: a run's folder, a transformers folder or a Hub id; or FAMILY=CHECKPOINT, as for benchmark/run.py."""
    recordings: Path
    """Audio file of any length, or a folder of them."""
    transcripts: Path
    """The recording's text file, or a folder with NAME.txt for each recording NAME."""
    output: Path
    """Output folder for pieces/, manifest.jsonl and rejects.jsonl."""
    profile: str | None = None
    """Text normalisation profile of the model's labels. Default: that of its training, else one fitted to its units."""
    max_seconds: float = 10.0
    """Longest segment, in seconds."""
    min_seconds: float = 1.0
    """Shortest segment, in seconds."""
    min_score: float = -3.0
    """Lowest accepted score of a segment's worst word: its log-probability minus that of the model's own greedy output,
    in nats per unit. 0 rejects every word that the model transcribes differently."""
    device: Literal["cpu", "cuda"] = "cpu"
    """Device that the model runs on."""
    overwrite: bool = False
    """Start again if the folder was made with another model or other options."""

    def pieces(self) -> "PieceOptions":
        """The options of the cutting. Raises UsageError on a value that cannot be used."""
        from finetune.decoding.alignment_pieces import PieceOptions

        options = PieceOptions(self.max_seconds, self.min_seconds, self.min_score)
        options.check()
        return options


@dataclass(frozen=True)
class Result:
    """What became of one recording."""

    recording: Path
    kept: list[dict[str, Any]] = field(default_factory=list)
    rejected: list[dict[str, Any]] = field(default_factory=list)


def main(arguments: Sequence[str] | None = None) -> None:
    config = parse_command(
        AlignCorpusConfig,
        program="python -m finetune.align_corpus",
        description=DESCRIPTION,
        arguments=arguments,
        positional=True,
    )
    run(config)


def run(config: AlignCorpusConfig) -> None:
    """Align every recording that is not done, then write manifest and rejects. Raises UserError."""
    import torch

    options = config.pieces()
    if config.device == "cuda" and not torch.cuda.is_available():
        raise UsageError("--device is cuda, but torch finds no GPU here; expected one: choose cpu")
    pairs = list(find_pairs(config.recordings, config.transcripts))
    with only_writer(config.output):
        _check_folder(config)
        _align(config, options, pairs)


def _align(config: AlignCorpusConfig, options: "PieceOptions", pairs: Sequence[tuple[Path, Path]]) -> None:
    from rich.console import Console

    from finetune.systems.ctc_model import load_ctc
    from preprocessing import audio
    from preprocessing.cli.progress import Steps

    console = Console(stderr=True, highlight=False, soft_wrap=True)
    remaining = [pair for pair in pairs if not _part(config.output, pair[0]).is_file()]
    if len(remaining) < len(pairs):
        console.print(f"resuming: {len(pairs) - len(remaining)} of {len(pairs)} recordings are done")
    if remaining:
        model = load_ctc(config.model, config.device)
        durations = [_seconds(recording) for recording, _ in remaining]
        with Steps(console, 1, "seconds").step("aligning", sum(durations)) as advance:
            for (recording, transcript), seconds in zip(remaining, durations, strict=True):
                done = 0.0

                def count(more: float) -> None:
                    nonlocal done
                    done += more
                    advance(more)

                try:
                    result = align_recording(model, recording, transcript, config, options, count)
                except (InputError, audio.AudioError) as error:
                    result = Result(recording, rejected=[{"id": recording.stem, "audio": recording.name,
                                                          "reason": str(error)}])  # fmt: skip
                    console.print(printable(f"{recording.name}: {error}"), markup=False)
                _write_part(config.output, result)
                advance(seconds - done)
    kept, rejected = _assemble(config.output, [recording for recording, _ in pairs])
    seconds_kept = sum(line["duration"] for line in kept)
    print(
        f"{config.output / 'manifest.jsonl'}: {len(kept)} segments, {seconds_kept / 60:.1f} min; {len(rejected)} in "
        "rejects.jsonl"
    )
    if not kept:
        raise InputError(
            f"no segment of {counted(len(pairs), 'recording')} could be kept; expected one or more: see the reasons in "
            f"{config.output / 'rejects.jsonl'}"
        )


def align_recording(
    model: "CTCModel", recording: Path, transcript: Path, config: AlignCorpusConfig, options: "PieceOptions",
    advance: Callable[[float], None] | None = None,
) -> Result:  # fmt: skip
    """The pieces of one recording, certain ones written to OUT/pieces. Raises InputError where it cannot be aligned."""
    from finetune.decoding.alignment import align, check_text
    from finetune.decoding.alignment_pieces import cut
    from preprocessing import audio

    raw, words, may_begin = split_words(read_text(str(transcript)), config.profile or model.profile)
    check_text(" ".join(words), model.vocabulary)
    waveform = audio.load(recording)
    log_probs = model.log_probs(waveform, advance)
    found = align(log_probs, " ".join(words), model.vocabulary, model.times, stars="everywhere")
    if len(found.words) != len(words):
        raise InputError(
            f"{transcript}: {len(words)} words become {len(found.words)} in the model's units; expected the same "
            "number: use a model whose units spell every word"
        )
    folder = config.output / "pieces"
    folder.mkdir(parents=True, exist_ok=True)
    result = Result(recording)
    pieces = cut(found, len(waveform) / audio.SAMPLE_RATE, options, may_begin)
    digits = max(4, len(str(len(pieces))))
    for number, piece in enumerate(pieces):
        name = f"{recording.stem}-{number:0{digits}d}"
        line: dict[str, Any] = {
            "id": name,
            "text": " ".join(raw[place] for place in range(piece.first, piece.stop) if raw[place]),
            "duration": round(piece.seconds, 3),
            "score": round(piece.score, 3),
            "source": recording.name,
            "source_start": round(piece.start, 3),
            "source_stop": round(piece.end, 3),
        }
        if piece.reason is not None:
            result.rejected.append(line | {"reason": piece.reason})
            continue
        first, stop = (round(seconds * audio.SAMPLE_RATE) for seconds in (piece.start, piece.end))
        try:
            audio.save(folder / f"{name}.flac", waveform[first:stop])
        except audio.AudioError as error:  # a full disk is no fault of the recording: it is not set aside
            raise UsageError(f"{error}, or free some space; run the same command again to resume") from None
        result.kept.append({"audio": f"pieces/{name}.flac"} | line)
    return result


def split_words(text: str, profile_name: str) -> tuple[list[str], list[str], list[bool]]:
    """A text's words as they are written and as they are aligned, one to one.

    A written word that becomes several (21: TWENTY ONE) stands at the first of them, with "" at the others; one that
    becomes none (a dash) is written after the word before. Returns the written ones, the aligned ones, and whether a
    piece may begin with each.

    >>> split_words("21 apples — no more.", "basic:en")
    (['21', '', 'apples —', 'no', 'more.'], ['twenty', 'one', 'apples', 'no', 'more'], [True, False, True, True, True])
    """
    from preprocessing.text import profile

    normalise = profile(profile_name)
    raw: list[str] = []
    words: list[str] = []
    may_begin: list[bool] = []
    for written in text.split():
        own = normalise(written).split()
        if not own and raw:
            place = max(place for place in range(len(raw)) if raw[place])
            raw[place] += f" {written}"
        for number, word in enumerate(own):
            raw.append("" if number else written)
            words.append(word)
            may_begin.append(number == 0)
    return raw, words, may_begin


def find_pairs(recordings: Path, transcripts: Path) -> Iterator[tuple[Path, Path]]:
    """Each recording with its text file. Raises UsageError where one has none, or two have the same name."""
    if not recordings.exists():
        raise UsageError(f"{recordings}: no such file or folder; expected recordings: check the name")
    if recordings.is_file():
        text = transcripts / f"{recordings.stem}{TEXT_SUFFIX}" if transcripts.is_dir() else transcripts
        if not text.is_file():
            raise UsageError(f"{text}: no such file; expected the text of {recordings.name}: check the name")
        yield recordings, text
        return
    if not transcripts.is_dir():
        raise UsageError(f"{transcripts}: is not a folder; expected one with NAME.txt for each recording: name it")
    texts = {path.stem: path for path in sorted(transcripts.glob(f"*{TEXT_SUFFIX}"))}
    seen: dict[str, Path] = {}
    for path in sorted(recordings.iterdir()):
        if not path.is_file() or path.name.startswith(".") or path.suffix.lower() in (TEXT_SUFFIX, ".json", ".jsonl"):
            continue
        if path.stem in seen:
            raise UsageError(
                f"{path} and {seen[path.stem].name} have the same name; expected a different name for each recording: "
                "rename one"
            )
        seen[path.stem] = path
        if path.stem not in texts:
            raise UsageError(
                f"{path}: {transcripts} has no {path.stem}{TEXT_SUFFIX}; expected the text of each recording: add it, "
                "or move the recording away"
            )
        yield path, texts[path.stem]
    if not seen:
        raise UsageError(f"{recordings}: holds no recordings; expected audio files: name another folder")


def _seconds(recording: Path) -> int:
    from preprocessing import audio

    try:
        return max(round(audio.probe(recording).duration), 1)
    except audio.AudioError:
        return 1  # what is wrong with it is said when it is loaded


def _part(output: Path, recording: Path) -> Path:
    return output / "recordings" / f"{recording.name}.json"


def _check_folder(config: AlignCorpusConfig) -> None:
    """Make the folder, or go on in it. Raises UsageError where it was made otherwise or cannot be written."""
    chosen = {name: value for name, value in asdict(config).items() if name not in ("output", "overwrite", "device")}
    ours = hashlib.sha256(json.dumps(chosen, sort_keys=True, default=str).encode()).hexdigest()[:16]
    path = config.output / FINGERPRINT
    try:
        theirs = path.read_text(encoding="utf-8").strip() if path.is_file() else None
        if theirs != ours and any(path.name != LOCK for path in config.output.iterdir()):
            if theirs is None or not config.overwrite:
                made = "holds other files" if theirs is None else "was made with other inputs or options"
                remedy = "choose another folder" + ("" if theirs is None else ", or --overwrite true")
                raise UsageError(
                    f"{config.output}: {made}; expected a new folder, or the same options to resume: {remedy}"
                )
            for name in ("pieces", "recordings"):
                shutil.rmtree(config.output / name, ignore_errors=True)
        (config.output / "recordings").mkdir(parents=True, exist_ok=True)
        path.write_text(ours + "\n", encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{config.output}: {error.strerror}; expected a writable folder: choose another") from None


def _write_part(output: Path, result: Result) -> None:
    from preprocessing.cli.atomic_write import write_text_atomically

    content = json.dumps({"kept": result.kept, "rejected": result.rejected}, ensure_ascii=False)
    try:
        write_text_atomically(_part(output, result.recording), content)
    except OSError as error:
        raise UsageError(
            f"{output}: {error.strerror}; expected free disk space: free some, and run the same command again again to "
            "resume"
        ) from None


def _assemble(output: Path, recordings: Sequence[Path]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Write manifest and rejects of all recordings; returns the lines of both."""
    from preprocessing.cli.atomic_write import write_text_atomically

    kept: list[dict[str, Any]] = []
    rejected: list[dict[str, Any]] = []
    for recording in recordings:
        part = json.loads(_part(output, recording).read_text(encoding="utf-8"))
        kept += part["kept"]
        rejected += part["rejected"]
    for name, lines in (("manifest.jsonl", kept), ("rejects.jsonl", rejected)):
        text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
        write_text_atomically(output / name, text)
    return kept, rejected


if __name__ == "__main__":
    run_command(main)
