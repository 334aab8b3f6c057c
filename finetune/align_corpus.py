"""`python -m finetune.align_corpus MODEL RECORDINGS TRANSCRIPTS OUT`: long recordings and their texts as training data.

Each recording is aligned with its running text (`finetune.alignment.forced`, stars between all words), cut into
pieces (`finetune.alignment.pieces`), and written as FLAC with a line of manifest.jsonl for each certain piece
and one of rejects.jsonl for each doubtful one. The same command resumes after a stop, and aligns again what has changed
(`finetune.alignment.folder`). A recording that fails is in rejects.jsonl with its reason, and is tried again.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from finetune.align import read_text
from finetune.alignment.folder import REJECTS, AlignmentFolder, Line, Pair, Result, input_state
from preprocessing.cli.options import check_counts, parse_command, run_command
from preprocessing.errors import InputError, UsageError, counted, printable
from preprocessing.storage.folder_lock import only_writer

if TYPE_CHECKING:
    from finetune.alignment.pieces import PieceOptions
    from finetune.systems.ctc_model import CTCModel

DESCRIPTION = (
    "Cut long recordings with their transcripts into training segments; segments with low alignment scores go to "
    "rejects.jsonl."
)
TEXT_SUFFIX = ".txt"
# Suffixes of files beside recordings, which may have the same name and so a text; others with a text are recordings.
BESIDE = {
    *(TEXT_SUFFIX, ".json", ".jsonl", ".srt", ".vtt", ".tsv", ".csv", ".textgrid", ".eaf", ".lab", ".ctm", ".stm"),
    *(".trs", ".xml", ".html", ".md", ".pdf", ".doc", ".docx", ".odt", ".rtf", ".log", ".png", ".jpg"),
}
OPENING = "([{¿¡“‘„«「『（［｛《〈【〔〖"  # punctuation that stays with what follows
MOST_NAMED = 5  # failed recordings in the last message
CUTTING = 2  # raised where the same recordings and options give other pieces
# Options that decide nothing about the pieces, and inputs that are compared for each recording by their content.
NOT_DECISIVE = ("output_dir", "overwrite", "device", "model", "recordings", "transcripts")


@dataclass(frozen=True)
class AlignCorpusConfig:
    """What to align, how it is cut, and where to."""

    renamed: ClassVar[Mapping[str, str]] = {"output": "output_dir"}

    model: str
    """CTC model: a run's folder, a transformers folder or a Hub id; or FAMILY=CHECKPOINT, as for benchmark/run.py."""
    recordings: Path
    """Audio file of any length, or a folder of them, searched at all levels."""
    transcripts: Path
    """The recording's text file, or a folder with NAME.txt for each recording NAME, in the same subfolder."""
    output_dir: Path
    """Folder for pieces/, manifest.jsonl and rejects.jsonl."""
    profile: str | None = None
    """Text normalisation profile of the model's labels. Default: that of its training, else one fitted to its units."""
    language: str | None = None
    """Language of an MMS model whose adapter is used, such as deu or de. Default: the model's own."""
    max_seconds: float = 10.0
    """Longest segment, in seconds."""
    min_seconds: float = 1.0
    """Shortest segment, in seconds."""
    min_score: float = -3.0
    """Lowest accepted score of a segment's worst word: its log-probability minus that of the model's own greedy output,
    in nats per unit. 0 rejects every word that the model transcribes differently."""
    channel: int | None = None
    """Channel to align and cut, from 0, such as one side of a call. Default: the mix of all channels."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Device that the model runs on; auto takes a GPU if there is one."""
    overwrite: bool = False
    """Start again: remove first what an earlier run of this command made in the folder."""

    def pieces(self) -> "PieceOptions":
        """The options of the cutting. Raises UsageError on a value that cannot be used."""
        from finetune.alignment.pieces import PieceOptions

        check_counts(("--channel", self.channel, 0))
        options = PieceOptions(self.max_seconds, self.min_seconds, self.min_score)
        options.check()
        return options


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
    """Align every recording that is not done, then write manifest and rejects.

    Raises UserError; also at the end, where recordings failed.
    """
    options = config.pieces()
    pairs = list(find_pairs(config.recordings, config.transcripts, leave_out=config.output_dir))
    folder = AlignmentFolder(config.output_dir, config.channel)
    with only_writer(config.output_dir):
        folder.check(_fingerprint(config), overwrite=config.overwrite)
        _align(config, options, folder, pairs)


def _align(config: AlignCorpusConfig, options: "PieceOptions", folder: AlignmentFolder, pairs: Sequence[Pair]) -> None:
    from rich.console import Console

    from finetune.systems.ctc_model import family_and_checkpoint, load_ctc
    from finetune.systems.identity import weights_state
    from preprocessing import audio
    from preprocessing.cli.cores import keep_threads_to_quota
    from preprocessing.cli.progress import CappedProgress, Steps

    console = Console(stderr=True, highlight=False, soft_wrap=True)
    reference = family_and_checkpoint(config.model)

    def pending() -> list[Pair]:
        return [pair for pair in pairs if config.overwrite or not folder.is_done(pair, input_state(pair, weights))]

    weights = weights_state(*reference)
    remaining, failed = pending(), dict[Pair, Result]()
    if remaining:
        keep_threads_to_quota()
        model = load_ctc(config.model, config.device, config.language)  # before anything is removed
        weights = weights_state(*reference)  # again: a model of the Hub may have been downloaded just now
        remaining = pending()
    folder.begin(_fingerprint(config), overwrite=config.overwrite)
    if len(remaining) < len(pairs):
        console.print(f"resuming: {len(pairs) - len(remaining)} of {len(pairs)} recordings are done")
    if changed := sum(folder.holds(pair) for pair in remaining):
        console.print(f"aligning again: {counted(changed, 'recording')}, as audio, text, weights or segments changed")
    if remaining:
        durations = [_seconds(pair.recording) for pair in remaining]
        with Steps(console, 1, "seconds").step("aligning", sum(durations)) as advance:
            progress = CappedProgress(advance)
            for pair, seconds in zip(remaining, durations, strict=True):
                progress.begin(seconds)
                # Before its files are read: a change meanwhile is noticed next time.
                current = input_state(pair, weights)
                folder.remove(pair)
                try:
                    result = align_recording(model, pair, config, options, folder, progress)
                except (InputError, audio.AudioError) as error:
                    line = {"id": folder.id_of(pair), "audio": pair.source, "reason": str(error)}
                    failed[pair] = Result(rejected=[line])
                    console.print(printable(f"{pair.source}: {error}"), markup=False)
                else:
                    folder.write(pair, current, result)
                progress.end()
    _report(config, folder.assemble(pairs, failed), [pair.source for pair in failed], len(pairs))


def _report(config: AlignCorpusConfig, result: Result, failed: Sequence[str], n_recordings: int) -> None:
    """Prints what was kept. Raises InputError where recordings failed, or nothing was kept.

    failed: recordings that could not be aligned, by name.
    """
    seconds_kept = sum(line["duration"] for line in result.kept)
    print(
        f"{config.output_dir / 'manifest.jsonl'}: {len(result.kept)} segments, {seconds_kept / 60:.1f} min; "
        f"{len(result.rejected)} in rejects.jsonl"
    )
    if failed:
        more = f" and {len(failed) - MOST_NAMED:,} more" if len(failed) > MOST_NAMED else ""
        raise InputError(
            f"{', '.join(failed[:MOST_NAMED])}{more}: {len(failed):,} of {counted(n_recordings, 'recording')} could "
            f"not be aligned, for the reasons in {config.output_dir / REJECTS}; expected audio and the text that is "
            "spoken in it: fix or leave out what is named there, and run the same command"
        )
    if not result.kept:
        raise InputError(
            f"no segment of {counted(n_recordings, 'recording')} could be kept; expected one or more: see the reasons "
            f"in {config.output_dir / REJECTS}"
        )


def align_recording(
    model: "CTCModel", pair: Pair, config: AlignCorpusConfig, options: "PieceOptions", folder: AlignmentFolder,
    advance: Callable[[float], None] | None = None,
) -> Result:  # fmt: skip
    """The pieces of one recording, certain ones written to the folder.

    Raises InputError or AudioError where it cannot be aligned, UsageError where a piece cannot be written.
    """
    from finetune.alignment.forced import align, check_text, spells_characters
    from finetune.alignment.pieces import cut
    from preprocessing import audio

    splits_unspaced = spells_characters(model.vocabulary)
    written, words, text = split_words(
        read_text(str(pair.transcript)), model.normaliser(config.profile), splits_unspaced=splits_unspaced
    )
    check_text(text, model.vocabulary)
    waveform = audio.load(pair.recording, channel=config.channel)
    log_probs = model.log_probs(waveform, advance)
    found = align(log_probs, text, model.vocabulary, model.times, stars="everywhere", splits_unspaced=splits_unspaced)
    if len(found.words) != len(words):
        raise InputError(
            f"{pair.transcript}: {len(words)} words become {len(found.words)} in the model's units; expected the same "
            "number: use a model whose units spell every word"
        )
    result = Result()
    pieces = cut(found, len(waveform) / audio.SAMPLE_RATE, options, written)
    digits = max(4, len(str(len(pieces))))
    for number, piece in enumerate(pieces):
        name = f"{folder.id_of(pair)}-{number:0{digits}d}"
        line: Line = {
            "id": name,
            "text": "".join(written[piece.first : piece.stop]).strip(),
            "duration": round(piece.seconds, 3),
            "score": round(piece.score, 3),
            "source": pair.source,
            "recording_id": pair.source,
            "source_start": round(piece.start, 3),
            "source_stop": round(piece.end, 3),
        } | ({} if config.channel is None else {"source_channel": config.channel})
        if piece.reason is not None:
            result.rejected.append(line | {"reason": piece.reason})
            continue
        first, stop = (round(seconds * audio.SAMPLE_RATE) for seconds in (piece.start, piece.end))
        try:
            audio.save(folder.piece(name), waveform[first:stop])
        except audio.AudioError as error:  # a full disk is no fault of the recording: it is not set aside
            raise UsageError(f"{error}; run the same command again to resume") from None
        result.kept.append({"audio": f"pieces/{name}.flac"} | line)
    return result


def split_words(
    text: str, normalise: Callable[[str], str], *, splits_unspaced: bool = False
) -> tuple[list[str], list[str], str]:
    """A text's words as they are written and as they are aligned, one to one, and the normalised text.

    The text is normalised as a whole: "$5 million" is FIVE MILLION DOLLARS. What becomes several words (21: TWENTY ONE)
    stands at the first of them, with "" at the others; what becomes none (a dash) is written after the word before.
    Written words have the space before them, so that joined they are the text.

    splits_unspaced: whether characters of scripts that are written without spaces between words are words, as `align`
    takes them; punctuation stays with them.

    >>> from preprocessing.text import profile
    >>> split_words("21 apples — no more.", profile("basic:en"))[:2]
    (['21', '', ' apples —', ' no', ' more.'], ['twenty', 'one', 'apples', 'no', 'more'])
    >>> split_words("It cost $5 million.", profile("basic:en"))[0]
    ['It', ' cost', ' $5 million.', '', '']
    >>> split_words("我有21个。「好」", profile("basic:zh"), splits_unspaced=True)[0]
    ['我', '有', '21', '', '', '个。', '「好」']
    """
    from rapidfuzz.distance import Levenshtein

    from finetune.alignment.forced import split_unspaced

    def split(normalised: str) -> list[str]:
        return split_unspaced(normalised) if splits_unspaced else normalised.split()

    tokens: list[str] = []
    for word in text.split():
        parts = _characters(word) if splits_unspaced else [word]
        tokens += [f" {parts[0]}" if tokens else parts[0], *parts[1:]]
    of_token = {token: split(normalise(token)) for token in set(tokens)}
    alone = [of_token[token] for token in tokens]  # the words that each makes by itself
    own = [word for words in alone for word in words]
    normalised = " ".join(normalise(text).split())
    whole = split(normalised)
    place_in_whole: dict[int, int] = {}
    for chunk in Levenshtein.opcodes(own, whole):
        if chunk.tag == "equal":
            offset = chunk.dest_start - chunk.src_start
            place_in_whole |= {place: place + offset for place in range(chunk.src_start, chunk.src_end)}
    written = [""] * len(whole)
    group: list[str] = []  # tokens that other words are made of as a whole than one by one
    first, begun = 0, 0  # words of `own` and of `whole` that are behind
    for token, words in zip(tokens, alone, strict=True):
        places = [place_in_whole.get(place) for place in range(first, first + len(words))]
        first += len(words)
        start = places[0] if places else None
        if start is not None and places == list(range(start, start + len(words))):
            _write(written, group, begun, start)
            group, begun = [], start + len(words)
            written[start] = token
        else:
            group.append(token)
    _write(written, group, begun, len(whole))
    return written, whole, normalised


def _characters(word: str) -> list[str]:
    """What is written without spaces, split at the characters that are words by themselves, with their punctuation."""
    from finetune.alignment.forced import split_unspaced

    characters: list[str] = []
    opening = ""
    for part in split_unspaced(word):
        part = opening + part
        begin = 0
        if characters:
            begin = next((i for i, one in enumerate(part) if one.isalnum() or one in OPENING), len(part))
            characters[-1] += part[:begin]
        own = part[begin:].rstrip(OPENING)
        characters += [own] if own else []
        opening = part[begin + len(own) :]
    return [*characters[:-1], characters[-1] + opening] if characters else [opening]


def _write(written: list[str], group: Sequence[str], first: int, stop: int) -> None:
    """Put a group of tokens at the first of the words that it becomes, from `first` to `stop`; where it becomes none,
    after the word before, or nowhere at the beginning.
    """
    if not group:
        return
    if first < stop:
        written[first] = "".join(group)
        return
    before = next((place for place in range(first - 1, -1, -1) if written[place]), None)
    if before is not None:
        written[before] += "".join(group)


def find_pairs(recordings: Path, transcripts: Path, *, leave_out: Path | None = None) -> Iterator[Pair]:
    """Each recording with its text file, those of a folder at all levels, hidden files left out.

    leave_out: a folder whose files are no recordings, as the output may lie among them. Raises UsageError where a
    recording has no text, two have the same name, or there is none.
    """
    if not recordings.exists():
        raise UsageError(f"{recordings}: no such file or folder; expected recordings: check the name")
    if recordings.is_file():
        text = transcripts / f"{recordings.stem}{TEXT_SUFFIX}" if transcripts.is_dir() else transcripts
        if not text.is_file():
            raise UsageError(f"{text}: no such file; expected the text of {recordings.name}: check the name")
        yield Pair(recordings, text, recordings.name)
        return
    if not transcripts.is_dir():
        raise UsageError(f"{transcripts}: is not a folder; expected one with NAME.txt for each recording: name it")
    from finetune.transcription.recordings import VIDEO_SUFFIXES
    from preprocessing.corpus.readers.rows import AUDIO_SUFFIXES, files_below

    seen: dict[str, Path] = {}
    for path in map(Path, files_below(str(recordings))):
        below = path.relative_to(recordings)
        hidden = any(part.startswith(".") for part in below.parts)
        text = transcripts / f"{below.with_suffix('')}{TEXT_SUFFIX}"
        suffix = path.suffix.lower()
        is_other = suffix not in AUDIO_SUFFIXES | VIDEO_SUFFIXES and (suffix in BESIDE or not text.is_file())
        if hidden or is_other:
            continue
        if leave_out is not None and leave_out.resolve() in path.resolve().parents:
            continue
        pair = Pair(path, text, str(below))
        if pair.name in seen:
            raise UsageError(
                f"{path} and {seen[pair.name].name} have the same name; expected a different name for each recording: "
                "rename one"
            )
        seen[pair.name] = path
        if not text.is_file():
            raise UsageError(
                f"{path}: {transcripts} has no {pair.name}{TEXT_SUFFIX}; expected the text of each recording: add it, "
                "or move the recording away"
            )
        yield pair
    if not seen:
        raise UsageError(f"{recordings}: holds no recordings; expected audio files: name another folder")


def _seconds(recording: Path) -> int:
    from preprocessing import audio

    try:
        return max(round(audio.probe(recording).duration), 1)
    except audio.AudioError:
        return 1  # what is wrong with it is said when it is loaded


def _fingerprint(config: AlignCorpusConfig) -> str:
    """The options that decide the pieces, as a hash."""
    chosen = {name: value for name, value in asdict(config).items() if name not in NOT_DECISIVE}
    chosen["cutting"] = CUTTING
    return hashlib.sha256(json.dumps(chosen, sort_keys=True, default=str).encode()).hexdigest()[:16]


if __name__ == "__main__":
    run_command(main)
