"""The parts of `experiments.results` as a list: which systems are measured on which data, and which models are trained.

A new part is a line in PARTS, a new system one in `result_parts.systems`. `command_of` turns a part into the command
that a user would type, of `finetune/train.py` or `benchmark/run.py`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.harness import trainings
from experiments.harness.trainings import is_finished_run
from experiments.result_parts.systems import (
    ON_DIGITS,
    ON_ENGLISH,
    OTHER_ENGLISH,
    READ_ENGLISH,
    SPOKEN_DIGITS,
    SYSTEMS,
    WHISPERS,
    SystemUsed,
)
from preprocessing.cli.errors import UsageError

QUICK_UTTERANCES = 3


@dataclass(frozen=True)
class Training:
    """A model that is trained by a configuration of configs/finetune.

    corpora: manifests in the data folder, or built by the experiment. validation: a manifest there, where it is not
    held out of these. run: its folder below --runs; default the configuration's name. base: the size of Whisper that it
    starts from, where it does. options: further ones, by name.
    """

    name: str
    title: str
    minutes: int
    config: str
    base: str | None = None
    corpora: Sequence[str] = ("digits/train.jsonl",)
    run: str = ""
    validation: str | None = None
    options: Sequence[tuple[str, str]] = ()

    @property
    def folder(self) -> str:
        """The name of its folder below --runs."""
        return self.run or self.config


@dataclass(frozen=True)
class Measured:
    """A benchmark of some systems on one corpus: `data` is a manifest in the data folder, or built by the experiment
    (`experiments.result_parts.corpora.BUILT`).

    minutes: about, on 2 quiet cores. profiles: the first one is the one that decides, and the fair one.
    condition_utterances: under each condition other than clean.
    timed: speeds are meant to be read, so nothing else may run meanwhile. words: their confidence and times are meant
    to be read. note: what a reader of the figures must know.
    """

    name: str
    title: str
    minutes: int
    data: str
    systems: Sequence[str]
    profiles: Sequence[str] = ("basic:en", "librispeech", "whisper-english")
    conditions: str = "clean"
    condition_utterances: int = 60
    language: str = "en"
    timed: bool = False
    words: bool = False
    note: str = ""


@dataclass(frozen=True)
class Command:
    """Another command that later parts need the outcome of.

    words: of the command, with {data} and {runs} for these folders. inputs: files that decide what comes out. makes:
    the file or folder that is there afterwards.
    """

    name: str
    title: str
    minutes: int
    words: Sequence[str]
    inputs: Sequence[str]
    makes: str


Part = Training | Command | Measured
TEXTS = "{data}/text/librispeech-train-clean-100.txt.gz"
ON_LIBRISPEECH: Mapping[str, Any] = {"corpora": ("librispeech/train.jsonl",), "validation": "librispeech/dev.jsonl"}
ON_GERMAN: Mapping[str, Any] = {"corpora": ("german/train.jsonl",)}
WORDS_LM = "{runs}/librispeech-words.arpa"
WHISPER_CTC = "{runs}/librispeech-mini-whisper-ctc"
LANGUAGE_MODEL = "language_model"  # in a run's folder
NOISY = "clean,noise:10,reverb,telephone"
PARTS: tuple[Part, ...] = (
    Training("train-digits", "wav2vec2 fine-tuned on spoken digits", 7, "digits"),
    Training("train-digits-lstm", "an LSTM trained on spoken digits", 10, "digits-lstm"),
    Training("train-digits-whisper-ctc", "Whisper's encoder fine-tuned on digits", 3, "digits-whisper-ctc", "tiny.en"),
    Training(
        "train-digits-strings",
        "wav2vec2 fine-tuned on digits and on strings of them",
        8,
        "digits",
        corpora=("digits/train.jsonl", "built:digits-joined-train"),
        run="digits-strings",
    ),
    Training(
        "train-librispeech-whisper-ctc",
        "a CTC head on Whisper base's encoder, trained on 4.9 h of read English",
        29,
        "librispeech-mini-whisper-ctc",
        "base",
        **ON_LIBRISPEECH,
    ),
    Training(
        "train-librispeech-whisper",
        "Whisper tiny.en fine-tuned on 4.9 h of read English",
        29,
        "librispeech-mini-whisper",
        "tiny.en",
        **ON_LIBRISPEECH,
    ),
    Training(
        "train-librispeech-lstm",
        "an LSTM trained on 4.9 h of read English",
        25,
        "librispeech-mini-lstm",
        run="librispeech-mini-lstm-plain",
        options=(("model.spec_augment", "none"), ("data.augment", "[]")),
        **ON_LIBRISPEECH,
    ),
    Training(
        "train-librispeech-wav2vec2",
        "a small wav2vec2 trained from scratch on 4.9 h of read English",
        29,
        "librispeech-mini-wav2vec2",
        **ON_LIBRISPEECH,
    ),
    Training("train-german", "wav2vec2 fine-tuned on 1 h of German", 29, "german", **ON_GERMAN),
    Training(
        "train-german-whisper-ctc",
        "a CTC head on Whisper base's encoder, trained on 1 h of German",
        20,
        "german-whisper-ctc",
        "base",
        **ON_GERMAN,
    ),
    Training(
        "train-german-whisper",
        "Whisper base fine-tuned on 1 h of German",
        29,
        "german-whisper-base",
        "base",
        **ON_GERMAN,
    ),
    Command(
        "lm-librispeech",
        "a language model of words from the texts of LibriSpeech's train-clean-100",
        1,
        (
            "python",
            "-m",
            "finetune.language_model",
            "build",
            TEXTS,
            WORDS_LM,
            "--order",
            "3",
            "--profile",
            "librispeech",
        ),
        inputs=(TEXTS,),
        makes=WORDS_LM,
    ),
    Command(
        "lm-tuned-whisper-ctc",
        "its weight, chosen on LibriSpeech's dev",
        3,
        (
            "python",
            "-m",
            "finetune.language_model",
            "tune",
            WHISPER_CTC,
            "{data}/librispeech/dev.jsonl",
            "--lm",
            WORDS_LM,
        ),
        inputs=(WORDS_LM, "{data}/librispeech/dev.jsonl", f"{WHISPER_CTC}/model.safetensors"),
        makes=f"{WHISPER_CTC}/{LANGUAGE_MODEL}",
    ),
    Measured("digits", "Spoken digits, one at a time", 28, "digits/test.jsonl", SPOKEN_DIGITS),
    Measured(
        "digits-joined",
        "Strings of 4 to 8 digits",
        8,
        "built:digits-joined",
        SPOKEN_DIGITS,
        note="The strings are the test's 300 recordings with pauses of 0.1 to 0.3 s, each once. A model that has been "
        "trained on single digits has never seen a space between two: it writes one long word, which counts as wrong "
        "whatever its letters are. wav2vec2-strings was trained on strings made in the same way of the training set. "
        "`whisper-english` joins a string in words to one number and leaves “4, 1” apart: it cannot be used here.",
    ),
    Measured(
        "test-other",
        "Read English, hard speakers",
        10,
        "librispeech/test-other.jsonl",
        (*READ_ENGLISH, "whisper-tiny-librispeech", "whisper-base-german"),
    ),
    Measured("ljspeech", "Read English, one clear speaker", 9, "ljspeech/test.jsonl", OTHER_ENGLISH),
    Measured("arctic-prompts", "Short English prompts", 4, "arctic-prompts/test.jsonl", OTHER_ENGLISH),
    Measured(
        "german",
        "German",
        6,
        "german/test.jsonl",
        ("wav2vec2-german", "whisper-ctc-german", "whisper-base-german", *WHISPERS[1:]),
        profiles=("basic:de", "verbatim"),
        language="de",
    ),
    Measured("long-form", "One chapter, 26 minutes", 25, "long-form/test.jsonl", (*ON_ENGLISH, *WHISPERS)),
    Measured(
        "conditions-digits",
        "Digits under noise, in rooms, on the telephone",
        25,
        "built:digits-60",
        SPOKEN_DIGITS,
        conditions=NOISY,
    ),
    Measured(
        "conditions-test-other",
        "Read English under noise, in rooms, on the telephone",
        28,
        "librispeech/test-other.jsonl",
        (*ON_ENGLISH, *WHISPERS),  # PocketSphinx alone takes over an hour under noise
        conditions=NOISY,
        condition_utterances=40,
    ),
    Measured(
        "silence",
        "Recordings without speech: words invented",
        10,
        "built:noises",
        (*ON_DIGITS, *ON_ENGLISH, *WHISPERS, "pocketsphinx"),
    ),
    Measured(
        "words-digits",
        "Confidence and times of words, strings of digits",
        10,
        "built:digits-joined",
        ("wav2vec2-strings", *WHISPERS[:3]),
        profiles=("basic:en",),
        words=True,
        note="A digit begins and ends with the first and last 10 ms of its recording that are within 35 dB of its "
        "loudest 10 ms.",
    ),
    Measured(
        "words-test-other",
        "Confidence of words, read English",
        15,
        "librispeech/test-other.jsonl",
        (*ON_ENGLISH, *WHISPERS[:3]),
        words=True,
    ),
    Measured("latency-digits", "Speed on spoken digits", 15, "built:digits-60", SPOKEN_DIGITS, timed=True),
    Measured(
        "latency-test-other", "Speed on read English", 25, "librispeech/test-other.jsonl", READ_ENGLISH, timed=True
    ),
)


@dataclass(frozen=True)
class Folders:
    """Where things are. whisper: a folder of .pt files and faster/SIZE; None takes the published sizes by name."""

    data: Path
    runs: Path
    whisper: Path | None
    output: Path
    quick: bool = False

    def training(self, name: str) -> Path:
        """The folder that a model is trained into; with --quick one that keeps away from trained models."""
        return self.output / "runs" / name if self.quick else self.runs / name

    def run(self, name: str) -> Path:
        """The folder of a trained model."""
        found = self.runs / name
        return found if not self.quick or is_finished_run(found) else self.training(name)

    def result(self, part: Part) -> Path:
        """The folder of a benchmark's results."""
        return self.output / part.name

    def named(self, path: str) -> str:
        """A path of a Command with its folders put in."""
        return path.format(data=self.data, runs=self.runs)

    def manifest(self, corpus: str) -> Path:
        """The manifest of a part's corpus: below the data folder, or of built:NAME below --output_dir."""
        built = corpus.removeprefix("built:")
        return self.data / corpus if built == corpus else self.output / "corpora" / built / "manifest.jsonl"


def reference(system: SystemUsed, folders: Folders) -> str:
    """The checkpoint as `--models NAME=FAMILY:CHECKPOINT` names it; "" of a system with one checkpoint."""
    if system.source == "run":
        return str(folders.run(system.checkpoint))
    if system.source == "package" or folders.whisper is None:
        return system.checkpoint
    if system.source == "faster-whisper":
        return str(folders.whisper / "faster" / system.checkpoint)
    return str(folders.whisper / f"{system.checkpoint}.pt")


def systems_of(part: Measured, folders: Folders) -> tuple[list[SystemUsed], list[SystemUsed]]:
    """The systems that can be measured, and those whose run is not there."""
    wanted = [SYSTEMS[name] for name in part.systems]
    missing = [one for one in wanted if one.trained_here and not _is_there(one, folders.run(one.checkpoint))]
    return [one for one in wanted if one not in missing], missing


def _is_there(system: SystemUsed, run: Path) -> bool:
    """Whether its training has ended, and the run carries a language model where the system decodes with one."""
    return is_finished_run(run) and (not system.family.endswith("+lm") or (run / LANGUAGE_MODEL).is_dir())


def command_of(part: Part, folders: Folders) -> list[str]:
    """The words of the part's command, from the repository's root, without --overwrite."""
    if isinstance(part, Command):
        return [folders.named(word) for word in part.words]
    return _training(part, folders) if isinstance(part, Training) else _benchmark(part, folders)


def _training(part: Training, folders: Folders) -> list[str]:
    words = ["accelerate", "launch", "--config_file", "configs/accelerate/one.yaml", "finetune/train.py"]
    words += ["--config", f"configs/finetune/{part.config}.yaml", "--output_dir", str(folders.training(part.folder))]
    words += ["--data.train", f"[{', '.join(str(folders.manifest(corpus)) for corpus in part.corpora)}]"]
    if part.validation is not None:
        words += ["--data.validation", str(folders.manifest(part.validation))]
    if part.base is not None:
        base = part.base if folders.whisper is None else str(folders.whisper / f"{part.base}.pt")
        words += ["--model.base", base, "--model.feature_cache", str(folders.runs / "features")]
    for option, value in part.options:
        words += [f"--{option}", value]
    if folders.quick:
        words += ["--max_steps", "2", "--head_only_steps", "0", "--eval_steps", "2", "--logging_steps", "1"]
    return words


def _benchmark(part: Measured, folders: Folders) -> list[str]:
    systems, _ = systems_of(part, folders)
    models = [
        one.name if one.source == "package" else f"{one.name}={one.family}:{reference(one, folders)}" for one in systems
    ]
    words = ["python", "benchmark/run.py", "--models", ",".join(models), "--data", str(folders.manifest(part.data))]
    words += ["--output_dir", str(folders.result(part)), "--language", part.language, "--conditions", part.conditions]
    words += ["--profiles", f"[{', '.join(part.profiles)}]"]
    if part.conditions != "clean":
        words += ["--noise", str(folders.data / "noise"), "--rooms", str(folders.data / "rir")]
        words += ["--condition_utterances", str(2 if folders.quick else part.condition_utterances)]
    for one in systems:
        for option, value in one.options:
            words += [f"--system_options.{one.name}.{option}", value]
    if part.words:
        words += ["--word_timestamps", "true"]
    if not part.timed:
        words += ["--rounds", "1", "--latency_utterances", "1"]
    if folders.quick:
        words += ["--limit", str(QUICK_UTTERANCES)]
        words += ["--rounds", "1", "--latency_utterances", "1"] if part.timed else []
    return words


def shown(words: Sequence[str], folders: Folders) -> str:
    """The command as a line to copy, with folders that differ from machine to machine as variables."""
    names = [(folders.whisper, "$ASR_REAL_MODELS"), (folders.data, "$ASR_DATA_DIR")]
    return trainings.shown(words, [*names, (folders.output, "runs/results"), (folders.runs, "runs")])


def select(names: Sequence[str]) -> list[Part]:
    """The parts of these names in the order of PARTS, all without names; a group such as `conditions` is all parts
    whose names begin with it. Raises UsageError on a name that is neither.
    """
    if not names:
        return list(PARTS)
    chosen: set[str] = set()
    for name in names:
        exact = [part.name for part in PARTS if part.name == name]
        found = exact or [part.name for part in PARTS if part.name.startswith(f"{name}-")]
        if not found:
            known = ", ".join(part.name for part in PARTS)
            raise UsageError(f"{name!r} is not a part; expected {known}: choose one of them")
        chosen.update(found)
    return [part for part in PARTS if part.name in chosen]
