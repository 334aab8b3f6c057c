"""Kinds of parts of `experiments.results`: a training, a benchmark, another command; and the folders that they use.

A part is data: what it runs, what that is made of, and how it is seen to have ended. The list is in
`result_parts.parts`; `result_parts.running` runs it, and knows no kind.
"""

import shlex
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from experiments.harness.trainings import ROOT, is_finished_run
from experiments.result_parts.systems import SYSTEMS, SystemUsed
from finetune.systems.families import spelling

QUICK_UTTERANCES = 3
LANGUAGE_MODEL = "language_model"  # in a run's folder


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

    def result(self, part: "Part") -> Path:
        """The folder of a benchmark's results."""
        return self.output / part.name

    def named(self, path: str) -> str:
        """A path of a Command with its folders put in."""
        return path.format(data=self.data, runs=self.runs)

    def manifest(self, corpus: str) -> Path:
        """The manifest of a part's corpus: below the data folder, or of built:NAME below --output_dir."""
        built = corpus.removeprefix("built:")
        return self.data / corpus if built == corpus else self.output / "corpora" / built / "manifest.jsonl"


@dataclass(frozen=True)
class Part(ABC):
    """A command whose outcome is kept. minutes: about, on 2 quiet cores.

    takes_overwrite: whether the command has --overwrite. may_begin_elsewhere: whether a user may have run it without
    `experiments.results`, so that what it makes, finished or not, is there without a state.
    """

    takes_overwrite: ClassVar[bool] = True
    may_begin_elsewhere: ClassVar[bool] = False

    name: str
    title: str
    minutes: int

    @abstractmethod
    def command(self, folders: Folders) -> list[str]:
        """The words of the command, from the repository's root, without --overwrite."""

    @abstractmethod
    def output(self, folders: Folders) -> Path:
        """The file or folder that the command makes."""

    @abstractmethod
    def has_ended(self, folders: Folders) -> bool:
        """Whether the command, or another one with the same output, has ended."""

    @abstractmethod
    def input_files(self, folders: Folders) -> list[Path]:
        """The files that decide what comes out, beside the systems, whether they are there or not."""

    @property
    def used_corpora(self) -> Sequence[str]:
        """Manifests in the data folder, or corpora that the experiment builds, as built:NAME."""
        return ()

    @property
    def keeps_records(self) -> bool:
        """Whether the records of unchanged systems stay where others have changed."""
        return False

    def identities(self, folders: Folders) -> dict[str, str]:
        """What each system of a benchmark is: checkpoint, options and SHA-256 of its weights; of others, {}."""
        return {}

    def missing(self, folders: Folders) -> list[str]:
        """The systems that are to be measured and whose run is not there, with the run's name."""
        return []

    def obstacle(self, folders: Folders) -> str | None:
        """Why the command cannot be run now, after "as"; None where it can."""
        return None


@dataclass(frozen=True)
class Training(Part):
    """A model that is trained by a configuration of configs/finetune.

    corpora: manifests in the data folder, or built by the experiment. validation: a manifest there, where it is not
    held out of these. run: its folder below --runs; default the configuration's name. base: the size of Whisper that it
    starts from, where it does. options: further ones, by name.
    """

    may_begin_elsewhere: ClassVar[bool] = True

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

    @property
    def used_corpora(self) -> Sequence[str]:
        return self.corpora

    def command(self, folders: Folders) -> list[str]:
        words = ["accelerate", "launch", "--config_file", "configs/accelerate/one.yaml", "finetune/train.py"]
        words += ["--config", f"configs/finetune/{self.config}.yaml", "--output_dir", str(self.output(folders))]
        words += ["--data.train", f"[{', '.join(str(folders.manifest(corpus)) for corpus in self.corpora)}]"]
        if self.validation is not None:
            words += ["--data.validation", str(folders.manifest(self.validation))]
        if self.base is not None:
            base = self._whisper(self.base, folders)
            words += ["--model.base", base, "--model.feature_cache", str(folders.runs / "features")]
        for option, value in self.options:
            words += [f"--{option}", value]
        if folders.quick:
            words += ["--max_steps", "2", "--head_only_steps", "0", "--eval_steps", "2", "--logging_steps", "1"]
        return words

    def output(self, folders: Folders) -> Path:
        return folders.training(self.folder)

    def has_ended(self, folders: Folders) -> bool:
        return is_finished_run(self.output(folders))

    def input_files(self, folders: Folders) -> list[Path]:
        config = ROOT / "configs" / "finetune" / f"{self.config}.yaml"
        return [*map(folders.manifest, self.corpora), config, *self._weights_of_base(config, folders)]

    def _whisper(self, size: str, folders: Folders) -> str:
        """The Whisper of a size as --model.base takes it."""
        return size if folders.whisper is None else str(folders.whisper / f"{size}.pt")

    def _weights_of_base(self, config: Path, folders: Folders) -> list[Path]:
        """The weights that a training starts from, as far as they are on this machine."""
        import yaml

        from finetune.systems.identity import weights_of

        if self.base is not None:
            return weights_of("whisper", self._whisper(self.base, folders))
        base = yaml.safe_load(config.read_text(encoding="utf-8"))["model"].get("base")
        return [] if base is None else weights_of("wav2vec2", str(ROOT / base) if (ROOT / base).exists() else base)


@dataclass(frozen=True)
class Measured(Part):
    """A benchmark of some systems on one corpus: `data` is a manifest in the data folder, or built by the experiment
    (`experiments.result_parts.corpora.BUILT`).

    profiles: the first one is the one that decides, and the fair one. condition_utterances: under each condition other
    than clean. timed: speeds are meant to be read, so nothing else may run meanwhile. words: their confidence and times
    are meant to be read. note: what a reader of the figures must know.
    """

    data: str
    systems: Sequence[str]
    profiles: Sequence[str] = ("basic:en", "librispeech", "whisper-english")
    conditions: str = "clean"
    condition_utterances: int = 60
    language: str = "en"
    timed: bool = False
    words: bool = False
    note: str = ""

    @property
    def used_corpora(self) -> Sequence[str]:
        return (self.data,)

    @property
    def keeps_records(self) -> bool:
        return not self.timed

    def command(self, folders: Folders) -> list[str]:
        systems, _ = systems_of(self, folders)
        models = [
            one.name if one.source == "package" else f"{one.name}={one.family}:{reference(one, folders)}"
            for one in systems
        ]
        words = ["python", "benchmark/run.py", "--models", ",".join(models), "--data", str(folders.manifest(self.data))]
        words += ["--output_dir", str(self.output(folders)), "--language", self.language]
        words += ["--conditions", self.conditions]
        words += ["--profiles", f"[{', '.join(self.profiles)}]"]
        if self.conditions != "clean":
            words += ["--noise", str(folders.data / "noise"), "--rooms", str(folders.data / "rir")]
            words += ["--condition_utterances", str(2 if folders.quick else self.condition_utterances)]
        for one in systems:
            for option, value in one.options:
                words += [f"--system_options.{one.name}.{option}", value]
        if self.words:
            words += ["--word_timestamps", "true"]
        if not self.timed:
            words += ["--rounds", "1", "--latency_utterances", "1"]
        if folders.quick:
            words += ["--limit", str(QUICK_UTTERANCES)]
            words += ["--rounds", "1", "--latency_utterances", "1"] if self.timed else []
        return words

    def output(self, folders: Folders) -> Path:
        return folders.result(self)

    def has_ended(self, folders: Folders) -> bool:
        return (self.output(folders) / "summary.json").is_file()

    def input_files(self, folders: Folders) -> list[Path]:
        return [folders.manifest(self.data)]

    def identities(self, folders: Folders) -> dict[str, str]:
        from finetune.systems.identity import sha256_of, weights_of

        found = {}
        for one in systems_of(self, folders)[0]:
            checkpoint = reference(one, folders)
            weights = weights_of(one.family, checkpoint) if one.source != "package" else []
            if spelling(one.family).decodes_with_lm:
                weights += sorted(path for path in (Path(checkpoint) / LANGUAGE_MODEL).iterdir() if path.is_file())
            found[one.name] = " ".join([one.family, checkpoint, *map("=".join, one.options), *map(sha256_of, weights)])
        return found

    def missing(self, folders: Folders) -> list[str]:
        return [f"{one.name} ({folders.run(one.checkpoint).name})" for one in systems_of(self, folders)[1]]

    def obstacle(self, folders: Folders) -> str | None:
        return None if systems_of(self, folders)[0] else "none of its systems is there"


@dataclass(frozen=True)
class Command(Part):
    """Another command that later parts need the outcome of.

    words: of the command, with {data} and {runs} for these folders. inputs: files that decide what comes out. makes:
    the file or folder that is there afterwards.
    """

    takes_overwrite: ClassVar[bool] = False

    words: Sequence[str]
    inputs: Sequence[str]
    makes: str

    def command(self, folders: Folders) -> list[str]:
        return [folders.named(word) for word in self.words]

    def output(self, folders: Folders) -> Path:
        return Path(folders.named(self.makes))

    def has_ended(self, folders: Folders) -> bool:
        return self.output(folders).exists()

    def input_files(self, folders: Folders) -> list[Path]:
        return [Path(folders.named(path)) for path in self.inputs]

    def obstacle(self, folders: Folders) -> str | None:
        return "--quick trains nothing that it could use" if folders.quick else None


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
    return is_finished_run(run) and (not spelling(system.family).decodes_with_lm or (run / LANGUAGE_MODEL).is_dir())


def command_line(words: Sequence[str], folders: Folders) -> str:
    """The command as a line to copy, with folders that differ from machine to machine as variables."""
    line = shlex.join(words)
    names = [(folders.whisper, "$ASR_REAL_MODELS"), (folders.data, "$ASR_DATA_DIR")]
    for folder, name in (*names, (folders.output, "runs/results"), (folders.runs, "runs")):
        if folder is not None:
            line = line.replace(f"{folder}/", f"{name}/")
    return line
