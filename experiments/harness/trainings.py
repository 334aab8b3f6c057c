"""Trainings that a study needs, one after the other by finetune/train.py: each once, resumable, with the time left.

Beside what a training or a benchmark leaves, a small JSON file, `State`, says what it was made of: the command, and the
SHA-256 of its inputs. What has ended is not done again while both are the same; `experiments.results` keeps its parts
by the same rule. Nothing heavy is imported here.
"""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import chdir, contextmanager, redirect_stdout
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetune.training.log import LOG, has_ended, read_log
from preprocessing.cli.processes import end_with_parent
from preprocessing.errors import InputError, UsageError
from preprocessing.storage.atomic_write import write_text_atomically

if TYPE_CHECKING:
    from finetune.config import TrainConfig

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = ROOT / "configs" / "finetune"
STATE = "training.json"
WATCH_SECONDS = 1.0  # between looks at the log of a training


@dataclass(frozen=True)
class State:
    """What something was made of.

    inputs: SHA-256 by file, such as a configuration or a manifest. systems: of a benchmark, what each was, by name:
    checkpoint, options and SHA-256 of its weights. finished: UTC, None while it is not.
    """

    command: list[str]
    inputs: dict[str, str]
    systems: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    finished: str | None = None

    def is_of(self, other: "State") -> bool:
        """Whether both are of the same command and the same inputs."""
        return (self.command, self.inputs, self.systems) == (other.command, other.inputs, other.systems)

    def ended(self, seconds: float) -> "State":
        """The state of what has ended now, after so many seconds."""
        return replace(self, seconds=seconds, finished=datetime.now(UTC).isoformat(timespec="seconds"))


def read_state(path: Path) -> State | None:
    """The state in a file; None where there is none that can be read."""
    try:
        return State(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def write_state(path: Path, state: State) -> None:
    """Write a state, complete or not at all."""
    write_text_atomically(path, json.dumps(asdict(state), indent=1, ensure_ascii=False) + "\n")


def is_finished_run(folder: Path) -> bool:
    """Whether the folder holds a trained model whose training has ended, as its own log and configuration say.

    It ends after its last step, or where early stopping ends it. A model without log and configuration, as one that
    was downloaded, is finished.
    """
    if not any((folder / name).is_file() for name in ("model.safetensors", "whisper.pt")):
        return False
    config, log = folder / "config.yaml", folder / LOG
    if not (config.is_file() and log.is_file()):
        return True
    import yaml

    return has_ended(read_log(folder), yaml.safe_load(config.read_text(encoding="utf-8")))


def executable(words: Sequence[str]) -> list[str]:
    """The command with this Python in place of `python` and `accelerate`."""
    if words[0] == "python":
        return [sys.executable, *words[1:]]
    return [sys.executable, "-m", "accelerate.commands.accelerate_cli", *words[1:]]


def environment() -> Mapping[str, str]:
    """This process's environment with the repository on PYTHONPATH, as `accelerate launch` starts from a module."""
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


@dataclass(frozen=True)
class Training:
    """A run of a recipe.

    name: of its folder. config: a YAML file of finetune/train.py. options: values over it by dotted key, such as
    {"max_steps": 200}.
    """

    name: str
    config: Path
    options: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0

    def words(self, folder: Path) -> list[str]:
        """The command, from the repository's root, that trains into `folder`."""
        path = self.config.relative_to(ROOT) if self.config.is_relative_to(ROOT) else self.config
        words = ["python", "finetune/train.py", "--config", str(path), "--output_dir", str(folder)]
        words += ["--seed", str(self.seed)]
        for key, value in self.options.items():
            words += [f"--{key}", value if isinstance(value, str) else json.dumps(value, default=str)]
        return words

    def parsed(self, folder: Path) -> "TrainConfig":
        """The configuration that the command has, unchecked. Raises UsageError where it cannot be read."""
        from finetune.config import TrainConfig
        from preprocessing.cli.options import parse_command

        with chdir(ROOT):
            return parse_command(
                TrainConfig, program="finetune/train.py", description="", arguments=self.words(folder)[2:]
            )

    def resolved(self, folder: Path) -> "TrainConfig":
        """The configuration that the command has. Raises UsageError where it cannot be used, or its length is in
        epochs: studies compare runs, and state their lengths, by steps.
        """
        config = self.parsed(folder)
        if config.num_train_epochs is not None:
            raise UsageError(
                f"{self.config}: num_train_epochs is {config.num_train_epochs:g}; expected a recipe of a study to "
                "state its length in steps: set max_steps in its place"
            )
        with chdir(ROOT):
            config.check()
        return config


def run_trainings(
    trainings: Sequence[Training], folder: Path, *, here: bool = False, cores: int | None = None
) -> dict[str, Path]:
    """Train one after the other what has not ended yet, into folders of `folder`, and return these by name.

    here: in this process, which saves the 15 s in which another one imports its libraries; for small cases. cores: CPU
    cores that a training may use, None for all. A training that was stopped goes on; one whose command or data have
    changed begins anew. Raises InputError where one fails; Ctrl-C passes through once it has saved.
    """
    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    configs = {one.name: one.resolved(folder / one.name) for one in trainings}
    wanted = {one.name: State(one.words(folder / one.name), _inputs(one, configs[one.name])) for one in trainings}
    left = [one for one in trainings if not _has_ended(folder / one.name, wanted[one.name])]
    steps = {one.name: configs[one.name].max_steps for one in left}
    begun = {one.name: _begun(folder / one.name, wanted[one.name]) for one in left}
    done = {name: 0 if before is None else _step(folder / name) for name, before in begun.items()}
    if not left:
        return {one.name: folder / one.name for one in trainings}
    from experiments.harness.command import progress

    with progress("training", sum(steps.values()) - sum(done.values()), "steps") as advance:
        for number, one in enumerate(left, start=1):
            own, state, before = folder / one.name, wanted[one.name], begun[one.name]
            print(f"[{number}/{len(left)}] {one.name}: {steps[one.name]} steps", file=sys.stderr, flush=True)
            spent = 0.0 if before is None else before.seconds
            if before is None:
                shutil.rmtree(own, ignore_errors=True)  # of another command or other inputs
            own.mkdir(exist_ok=True)
            write_state(own / STATE, replace(state, seconds=spent))
            began = time.monotonic()
            try:
                with _watched(own, done[one.name], advance):
                    _train_here(state.command, own) if here else _train_apart(state.command, own, cores)
            finally:
                spent += time.monotonic() - began
                write_state(own / STATE, replace(state, seconds=spent))
            if not is_finished_run(own):  # Ctrl-C: it has saved, and ended well
                raise KeyboardInterrupt
            write_state(own / STATE, state.ended(spent))
    return {one.name: folder / one.name for one in trainings}


def resolve_reference(reference: str | Path) -> str:
    """A corpus or file with its path made absolute, from the current folder or else from the repository; a data set of
    the Hub, `hf:NAME`, as it is.
    """
    if str(reference).startswith("hf:"):
        return str(reference)
    here = Path(reference).resolve()
    return str(here if here.exists() else ROOT / reference)


def whisper_weights(size: str) -> Path | str:
    """OpenAI's weights of a size, as --model.base takes them: $ASR_REAL_MODELS/SIZE.pt where it is set, else the name,
    which openai-whisper downloads.
    """
    folder = os.environ.get("ASR_REAL_MODELS")
    return Path(folder) / f"{size}.pt" if folder and (Path(folder) / f"{size}.pt").is_file() else size


def recipe_path(reference: str | Path, flag: str) -> Path:
    """A configuration of finetune/train.py, as `resolve_reference` finds it.

    Raises UsageError naming the flag where it is no file.
    """
    path = Path(resolve_reference(reference))
    if not path.is_file():
        raise UsageError(
            f"{flag} names {reference}, which is no file; expected a YAML configuration of finetune/train.py: correct "
            "the path"
        )
    return path


def recipe_paths(references: Iterable[str | Path], flag: str) -> list[Path]:
    """Configurations as of `recipe_path`. Raises UsageError also where two files have the same name, which is that of
    their runs and of their rows.
    """
    paths = [recipe_path(one, flag) for one in references]
    names = [path.name for path in paths]
    if doubled := next((name for name in names if names.count(name) > 1), None):
        raise UsageError(
            f"{flag} names {names.count(doubled)} files {doubled}; expected different names, as runs are named after "
            "them: rename or copy them"
        )
    return paths


def base_options(recipe: Path, folder: Path) -> dict[str, Any]:
    """What a recipe needs over itself to start from a Whisper of $ASR_REAL_MODELS, and to keep features in `folder`.

    Raises UsageError where the recipe cannot be read.
    """
    model = Training(recipe.stem, recipe).parsed(folder).model
    options: dict[str, Any] = {}
    if model.family in ("whisper", "whisper-ctc") and model.base:
        options["model.base"] = str(whisper_weights(model.base))
    if model.feature_cache:
        options["model.feature_cache"] = str(folder / "features")
    return options


def length_options(recipe: Path, max_steps: int | None, evaluations: int) -> dict[str, Any]:
    """What a recipe needs over itself to have so many steps and evaluations: of its head alone it trains the share of
    steps that it has by itself. Nothing where max_steps is None.

    Raises UsageError where the recipe cannot be read.
    """
    if max_steps is None:
        return {}
    options = {"max_steps": max_steps, "eval_steps": max(max_steps // evaluations, 1)}
    own = Training(recipe.stem, recipe).parsed(ROOT)
    if own.head_only_steps > 0:
        options["head_only_steps"] = own.head_only_steps * max_steps // max(own.max_steps, 1)
    return options


def quick_options() -> dict[str, Any]:
    """Options that make of any recipe a few steps on the embedded demo corpus, for --quick."""
    return {
        "data.train": [str(ROOT / "demo" / "corpus" / "train.jsonl")],
        "data.validation": None,
        "data.validation_share": 0.03,
        "data.profile": "librispeech",
        "data.max_seconds": 4,
        "data.max_batch_seconds": 12,
        "max_steps": 3,
        "head_only_steps": 0,
        "eval_steps": 3,
        "logging_steps": 1,
        "report_to": "none",
        "mixed_precision": "no",
    }


TINY_LSTM = {"features": "log_mel", "subsampling": "conv", "subsampling_factor": 2, "conv_channels": 4,
             "hidden_size": 16, "num_layers": 1}  # fmt: skip


def _inputs(training: Training, config: "TrainConfig") -> dict[str, str]:
    """SHA-256 of the configuration and of the manifests that are files."""
    files = [training.config, *map(Path, config.data.train), *map(Path, filter(None, [config.data.validation]))]
    return {str(path): content_sha256(ROOT / path) for path in files if (ROOT / path).is_file()}


def content_sha256(path: Path) -> str:
    """SHA-256 of a file in hexadecimal; of a YAML file that of its values, which comments do not change."""
    from finetune.systems.identity import sha256_of

    if path.suffix not in (".yaml", ".yml"):
        return sha256_of(path)
    import yaml

    values = yaml.safe_load(path.read_text(encoding="utf-8"))
    return hashlib.sha256(json.dumps(values, sort_keys=True, default=str).encode()).hexdigest()


def _begun(folder: Path, wanted: State) -> State | None:
    """The state of a training in the folder that is of the wanted command and inputs; None without one."""
    before = read_state(folder / STATE)
    return before if before is not None and before.is_of(wanted) else None


def _has_ended(folder: Path, wanted: State) -> bool:
    before = _begun(folder, wanted)
    return before is not None and before.finished is not None and is_finished_run(folder)


def _step(folder: Path) -> int:
    """The step that a run would resume from."""
    steps = [int(path.name.rpartition("-")[2]) for path in (folder / "checkpoints").glob("*-[0-9]*")]
    return max(steps, default=0)


def _has_logged(folder: Path) -> bool:
    """Whether the log has grown since the training's state was written: before, it may be of another training."""
    log = folder / LOG
    return log.is_file() and log.stat().st_mtime_ns >= (folder / STATE).stat().st_mtime_ns


@contextmanager
def _watched(folder: Path, done: int, advance: Callable[[int], None]) -> Iterator[None]:
    """Call `advance` with the steps that a training in the folder newly logs while the block runs."""
    ended = threading.Event()
    reported = done

    def look() -> None:
        nonlocal reported
        step = max((int(line["step"]) for line in read_log(folder)), default=0) if _has_logged(folder) else done
        if step > reported:
            advance(step - reported)
            reported = step

    def watch() -> None:
        while not ended.wait(WATCH_SECONDS):
            look()

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()
        look()


def _train_here(words: Sequence[str], folder: Path) -> None:
    """The training in this process; what it prints goes to train.log."""
    from accelerate.state import AcceleratorState, GradientState

    from finetune.config import TrainConfig
    from finetune.training_run import train
    from preprocessing.cli.options import parse_command

    AcceleratorState._reset_state(reset_partial_state=True)  # of the training before
    GradientState._reset_state()
    with (folder / "train.log").open("w", encoding="utf-8") as log, redirect_stdout(log), chdir(ROOT):
        train(parse_command(TrainConfig, program="finetune/train.py", description="", arguments=words[2:]))


def _train_apart(words: Sequence[str], folder: Path, cores: int | None) -> None:
    """The training as a command; what it prints goes to train.log. It ends with this process, however that ends."""

    def prepare() -> None:
        end_with_parent()
        if cores is not None:
            os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])

    with (folder / "train.log").open("a", encoding="utf-8") as log:
        process = subprocess.Popen(
            executable(words), cwd=ROOT, env=environment(), stdout=log, stderr=subprocess.STDOUT, preexec_fn=prepare
        )
    try:
        code = process.wait()
    except KeyboardInterrupt:
        process.wait()  # Ctrl-C has reached it too: it saves, and ends
        raise
    except BaseException:
        process.kill()
        process.wait()
        raise
    if code not in (0, 130, -signal.SIGINT):
        last = (folder / "train.log").read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:]
        raise InputError(
            f"{folder.name}: training ended with exit code {code} ({' '.join(last)}); expected it to end well: see "
            f"{folder / 'train.log'}"
        )
