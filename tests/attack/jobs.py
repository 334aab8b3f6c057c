"""The commands that are attacked: small jobs on the demo, what they promise to write, and whether a file is whole."""

import atexit
import hashlib
import itertools
import json
import os
import re
import shutil
import signal
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import safetensors
import soundfile
import yaml

from finetune.hub.push import Target, push_command
from finetune.training.log import read_log
from preprocessing import audio
from tests.conftest import DEMO, absolute, write_manifest
from tests.finetune.runs import TINY, tiny_run
from tests.forker import Forker, Request
from tests.loopback_hub import TOKEN, Hub, serve

MARK = "ASR_ATTACK"  # variable of the environment by which every process of a job is found, whoever its parent is
BEGINS_WITHIN = 400  # seconds: imports on a busy machine
ENDS_WITHIN = 90  # seconds after a signal: a launcher gives its processes 30
PUSHED_TO = "you/model"


@dataclass(frozen=True)
class Job:
    """A command. arguments: its words, for an output folder. progress: changes as the command works on its output;
    artefacts: what it promises to be the same after any interruption, name -> digest; both of the output folder.
    is_complete: whether all is there, so that the same command has nothing to go on with.
    """

    name: str
    arguments: Callable[[Path], list[str]]
    progress: Callable[[Path], object]
    artefacts: Callable[[Path], dict[str, str]]
    environment: Mapping[str, str] = field(default_factory=dict)
    imports: str | None = None  # the module with all that the command imports, where it can be forked with them
    clear: Callable[[Path], None] = lambda output: shutil.rmtree(output, ignore_errors=True)
    is_complete: Callable[[Path], bool] = lambda output: False


@dataclass(frozen=True)
class Ended:
    """How a command ended: its exit code, and what it said on stdout and stderr."""

    code: int
    said: str

    @property
    def traceback(self) -> str | None:
        """The first traceback that was printed, apart from that of accelerate's launcher, which nothing prevents when
        one of its processes fails.
        """
        blocks = re.findall(r"^ *Traceback \(most recent call last\):\n(?: .*\n)*.*", self.said, re.MULTILINE)
        return next((block for block in blocks if "accelerate/commands/launch.py" not in block), None)

    @property
    def sentence(self) -> str | None:
        """What is wrong with how a refusal was said; None where it is one sentence."""
        errors = [line for line in self.said.splitlines() if line.startswith("error: ")]
        if self.traceback is not None:
            return f"a traceback: {self.traceback.splitlines()[-1][:200]}"
        return None if errors else f"exit code {self.code} without a sentence"


_cores = itertools.cycle(sorted(os.sched_getaffinity(0)))
_forkers: dict[str, Forker] = {}  # by the module that they have imported


@atexit.register
def close_forkers() -> None:
    """End the processes that commands are forked from."""
    while _forkers:
        _forkers.popitem()[1].close()


class Started:
    """A running command, in a session of its own. Its processes are found by session and by `MARK`.

    file_limit: bytes that it may write to a file (RLIMIT_FSIZE).
    """

    def __init__(
        self, job: Job, output: Path, said: Path, *, file_limit: int | None = None, **environment: str
    ) -> None:
        self.mark = uuid.uuid4().hex
        self._said, self._status = said, said.with_name(f"status-{self.mark}")
        common = {"HF_HUB_OFFLINE": "1", "COLUMNS": "200", "OMP_NUM_THREADS": "1"}
        own = {**common, **job.environment, **environment, MARK: self.mark}
        anew = job.imports is None or "PYTHONPATH" in environment  # which is read when Python starts
        module = "os" if anew or job.imports is None else job.imports
        if module not in _forkers:
            _forkers[module] = Forker(os.environ | common, module)
        self.pid = _forkers[module].start(
            Request(
                job.arguments(output),
                os.environ | own,
                stdout=str(said),
                stderr=str(said),
                status=str(self._status),
                cores=[next(_cores)],  # threads of one command wait for each other on a busy machine
                anew=anew,
                file_limit=file_limit,
            )
        )

    def all(self) -> list[psutil.Process]:
        """Its processes that live, those included that others have become the parents of."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error, OSError):
                if process.status() != psutil.STATUS_ZOMBIE and (
                    os.getsid(process.pid) == self.pid or process.environ().get(MARK) == self.mark
                ):
                    found.append(process)
        return found

    def children(self) -> list[psutil.Process]:
        return [process for process in self.all() if process.pid != self.pid]

    def has_ended(self) -> bool:
        return self._status.exists()

    def wait(self, seconds: float) -> Ended | None:
        """How it ended; None where it goes on after so many seconds."""
        deadline = time.monotonic() + seconds
        while not self.has_ended():
            if time.monotonic() > deadline:
                return None
            time.sleep(0.005)
        return Ended(int(self._status.read_text().split()[0]), self._said.read_text(encoding="utf-8", errors="replace"))

    def left(self, seconds: float) -> str | None:
        """The processes that are still there after so many seconds, which are killed; None where there are none."""
        deadline = time.monotonic() + seconds
        while found := self.all():
            if time.monotonic() > deadline:
                names = ", ".join(" ".join(process.cmdline())[-80:] for process in found)
                self.kill()
                return f"{len(found)} processes left: {names}"
            time.sleep(0.1)
        return None

    def kill(self) -> None:
        for process in self.all():
            with suppress(psutil.Error):
                process.kill()
        self.wait(ENDS_WITHIN)

    def wait_for_progress(self, job: Job, output: Path, before: object) -> None:
        """Until it works on its output, or has ended."""
        deadline = time.monotonic() + BEGINS_WITHIN
        while not self.has_ended() and job.progress(output) == before and time.monotonic() < deadline:
            time.sleep(0.01)


@contextmanager
def started(
    job: Job, output: Path, said: Path, *, file_limit: int | None = None, **environment: str
) -> Iterator[Started]:
    """The job's processes, none of which outlives the block."""
    one = Started(job, output, said, file_limit=file_limit, **environment)
    try:
        yield one
    finally:
        one.kill()


def finish(
    job: Job, output: Path, said: Path, *, file_limit: int | None = None, **environment: str
) -> tuple[Ended, float]:
    """Run the command to its end; also the seconds for which it worked on its output."""
    before = job.progress(output)
    with started(job, output, said, file_limit=file_limit, **environment) as running:
        running.wait_for_progress(job, output, before)
        began = time.monotonic()
        ended = running.wait(BEGINS_WITHIN)
    assert ended is not None, f"{job.name} does not end"
    return ended, time.monotonic() - began


def differences(expected: Mapping[str, str], found: Mapping[str, str]) -> str | None:
    """Which artefacts are not those of an undisturbed run; None where all are."""
    names = [name for name in sorted({*expected, *found}) if expected.get(name) != found.get(name)]
    return f"other than undisturbed: {', '.join(names[:5])}" if names else None


def torn_files(folder: Path) -> str | None:
    """The files under final names that are not whole; None where all are. A last line without its end is no loss of
    files that are appended to: it is dropped when the run goes on.
    """
    torn = []
    for path in sorted(folder.rglob("*")):
        parts = path.relative_to(folder).parts
        if path.is_file() and not any(part.startswith(".") or part.endswith(".partial") for part in parts):
            try:
                _check_whole(path)
            except Exception as error:
                torn.append(f"{path.relative_to(folder)} ({type(error).__name__})")
    return f"torn: {', '.join(torn)}" if torn else None


def _check_whole(path: Path) -> None:
    match path.suffix:
        case ".json":
            json.loads(path.read_text(encoding="utf-8"))
        case ".jsonl":
            for line in path.read_text(encoding="utf-8").split("\n")[:-1]:
                json.loads(line)
        case ".yaml":
            yaml.safe_load(path.read_text(encoding="utf-8"))
        case ".safetensors":
            with safetensors.safe_open(path, "pt") as held:
                held.keys()
        case ".flac" | ".wav":
            with soundfile.SoundFile(path) as sound:
                assert len(sound.read()) == sound.frames
        case ".png":
            assert path.read_bytes().rstrip().endswith(b"IEND\xaeB`\x82")
        case ".html":
            assert path.read_text(encoding="utf-8").rstrip().endswith("</html>")


def digests(folder: Path, *patterns: str) -> dict[str, str]:
    """Digest of each file below a folder that one of the patterns matches."""
    files = sorted({path for pattern in patterns for path in folder.glob(pattern) if path.is_file()})
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()[:16] for path in files}


def _names(*patterns: str) -> Callable[[Path], object]:
    """Progress as the files that match, with their sizes."""

    def progress(output: Path) -> object:
        found = []
        for pattern in patterns:
            for path in output.glob(pattern):
                with suppress(OSError):
                    found.append((str(path), path.stat().st_size))
        return sorted(found)

    return progress


def prepare(folder: Path) -> Job:
    rows = absolute(DEMO / "corpus" / "train.jsonl", 160)
    rows.insert(9, {"id": "gone", "audio": "gone.wav", "text": "gone", "duration": 1.0})
    manifest = write_manifest(folder / "prepare.jsonl", rows)
    words = ["-m", "preprocessing.prepare", str(manifest)]
    return Job(
        "prepare",
        lambda output: [*words, str(output), "--shard_seconds", "20", "--workers", "2"],
        _names("shards/*", "manifest.jsonl"),
        lambda output: digests(output, "**/*"),
        imports="preprocessing.prepare.run",
    )


def train(folder: Path, *, processes: int = 1, updates: int = 8, workers: int = 0) -> Job:
    """A small wav2vec 2.0; checkpoints after every second update, so that many interruptions fall into saving."""
    config = {
        "report_to": "none",
        "model": {"scratch": TINY},
        "data": {
            "train": [str(write_manifest(folder / "train.jsonl", absolute(DEMO / "corpus" / "train.jsonl", 26)))],
            "validation_share": 0.15,
            "profile": "librispeech",
            "max_batch_seconds": 10.0,
            "max_seconds": 10.0,
            "augment": [{"name": "speed", "factors": [0.95, 1.05], "probability": 0.5}],
        },
        "max_steps": updates,
        "ema_decay": 0.9,
        "eval_steps": 2,
        "logging_steps": 3,
        "dataloader_num_workers": workers,
    }
    path = folder / f"train-{workers}.yaml"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    launcher = ["-m", "accelerate.commands.launch", "--config_file", "configs/accelerate/cpu-2.yaml"]
    words = [*(launcher if processes == 2 else []), "finetune/train.py", "--config", str(path)]

    def artefacts(output: Path) -> dict[str, str]:
        last = max(output.glob("checkpoints/step-*[0-9]"), default=Path())
        log = read_log(output)
        keys = ("kind", "step", "loss", "grad_norm", "padding_share", "skipped_steps", "wer", "cer", "samples")
        results = [{key: line.get(key) for key in keys} for line in log]
        rates = _digest([line for line in results if line["kind"] in ("train", "validation", "average")])
        names = ("*.safetensors", "samples.jsonl", "rejects.jsonl", "vocab.json", "config.json")
        unplaced = [*output.rglob("*partial*"), *output.glob("best-step-*")]
        left = {str(path.relative_to(output)): "left" for path in unplaced}
        return {f"last checkpoint, {last.name}": _digest(digests(last, "*.safetensors")), "figures of log.jsonl": rates,
                **digests(output, *names), **left}  # fmt: skip

    return Job(
        "train" if processes == 1 else f"train, {processes} processes",
        lambda output: [*words, "--output_dir", str(output)],
        lambda output: tuple(sorted(path.name for path in output.glob("checkpoints/step-*"))),
        artefacts,
        imports="finetune.training_run" if processes == 1 else None,
    )


def train_lstm(folder: Path) -> Job:
    """A small LSTM language model; checkpoints every 0.2 s, so that many interruptions fall into saving."""
    texts = [row["text"] for row in absolute(DEMO / "corpus" / "train.jsonl", 400)]
    (folder / "text.txt").write_text("\n".join(texts), encoding="utf-8")
    code = (
        "import sys; from finetune.language_model import train, __main__ as command; from preprocessing.cli.options "
        "import run_command; train.CHECKPOINT_SECONDS = 0.2; run_command(command.main)"
    )
    options = ["--units", "words", "--hidden_size", "256", "--num_train_epochs", "8", "--batch_tokens", "256"]
    return Job(
        "language_model train",
        lambda output: ["-c", code, "train", str(folder / "text.txt"), str(output), *options],
        _names("checkpoint.pt"),
        lambda output: digests(output, "**/*"),
    )


def benchmark(folder: Path) -> Job:
    manifest = write_manifest(folder / "benchmark.jsonl", absolute(DEMO / "corpus" / "test.jsonl", 16))
    words = ["benchmark/run.py", "--models", "wav2vec2=demo/wav2vec2", "--data", str(manifest), "--rounds", "1"]
    words += ["--conditions", "clean,noise:10", "--latency_utterances", "4"]

    def artefacts(output: Path) -> dict[str, str]:
        lines = (output / "samples.jsonl").read_text(encoding="utf-8").splitlines()
        samples = {f"{one['condition']}/{one['id']}": one for one in map(json.loads, lines)}
        found = {f"sample {name}": sample_digest(one) for name, one in samples.items()}
        summary = json.loads((output / "summary.json").read_text(encoding="utf-8"))
        for system in summary["systems"]:
            found[f"scores of {system['facts']['name']}"] = _digest([system["scores"], system.get("conditions")])
        # What libraries print, if anything, is theirs.
        names = {path.name: "there" for path in output.iterdir() if not path.name.startswith((".", "printed"))}
        return {**found, "lines": str(len(lines)), **names}

    return Job(
        "benchmark",
        lambda output: [*words, "--output_dir", str(output)],
        _names("*.jsonl", "*.json"),
        artefacts,
        imports="benchmark.session",
        is_complete=lambda output: (output / "summary.json").exists(),
    )


def sample_digest(sample: Mapping[str, Any]) -> str:
    """Of a line of samples.jsonl apart from its times."""
    return _digest({key: value for key, value in sample.items() if key not in ("seconds", "stages")})


def align_corpus(folder: Path) -> Job:
    import torch

    recordings, texts = folder / "recordings", folder / "texts"
    recordings.mkdir(exist_ok=True)
    texts.mkdir(exist_ok=True)
    rows = absolute(DEMO / "corpus" / "train.jsonl", 60)
    for number in range(12):
        own = rows[5 * number : 5 * number + 5]
        pause = torch.zeros(audio.SAMPLE_RATE // 2)
        audio.save(
            recordings / f"r{number:02}.flac",
            torch.cat([part for row in own for part in (audio.load(row["audio"]), pause)]),
        )
        (texts / f"r{number:02}.txt").write_text(" ".join(row["text"] for row in own), encoding="utf-8")
    words = ["-m", "finetune.align_corpus", "demo/wav2vec2", str(recordings), str(texts)]
    return Job(
        "align_corpus",
        lambda output: [*words, str(output), "--min_score", "-30"],
        _names("pieces/*", "recordings/*"),
        lambda output: digests(output, "**/*"),
        imports="finetune.systems.ctc_model",
    )


def transcribe(folder: Path) -> Job:
    recordings = folder / "to-transcribe"
    recordings.mkdir(exist_ok=True)
    for row in absolute(DEMO / "corpus" / "test.jsonl", 30):
        shutil.copy(row["audio"], recordings)
    words = ["-m", "finetune.transcribe", "demo/wav2vec2", str(recordings), "-f", "txt,json,srt"]
    return Job(
        "transcribe",
        lambda output: [*words, "-o", str(output)],
        _names("*.txt", "*.srt"),
        lambda output: digests(output, "**/*"),
        imports="finetune.systems.ctc_model",
    )


@contextmanager
def push(folder: Path) -> Iterator[tuple[Job, Hub]]:
    """A push of a small run to a Hub on the loopback interface, which takes a twentieth of a second for each answer."""
    run = tiny_run(folder / "run")
    with serve(Hub(tokens={TOKEN: "write"}, large_from=50_000, delay_seconds=0.05)) as hub:

        def artefacts(_: Path) -> dict[str, str]:
            branch = hub.repositories[PUSHED_TO].branches["main"]
            found = {name: blob.oid for name, blob in branch[-1].files.items()}
            half = [commit.oid for commit in branch[1:] if set(commit.files) != set(branch[-1].files)]
            return {**found, **dict.fromkeys(half, "a commit of some files")}

        def clear(output: Path) -> None:
            hub.repositories.clear()
            hub.large.clear()
            shutil.rmtree(output, ignore_errors=True)

        words = push_command(run, Target(PUSHED_TO)).split()[1:]
        environment = {"HF_ENDPOINT": hub.endpoint, "HF_TOKEN": TOKEN, "HF_HUB_OFFLINE": "0"}
        environment |= {"HF_HUB_DISABLE_XET": "1", "HF_HOME": str(folder / "hf")}
        yield Job("hub push", lambda _: words, lambda _: len(hub.requests), artefacts, environment, clear=clear), hub


def interrupt(running: Started, which: signal.Signals) -> None:
    """SIGINT goes to all its processes, as Ctrl-C in a terminal does; others to the command alone."""
    with suppress(ProcessLookupError):
        if which == signal.SIGINT:
            os.killpg(running.pid, which)
        else:
            os.kill(running.pid, which)


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]
