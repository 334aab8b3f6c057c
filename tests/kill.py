"""`python -m tests.kill --times 50`: a demo training killed at random moments, and what it becomes, byte by byte.

Each time the same command is begun again and killed a random while after it has begun to train, saving included, until
it has been killed so often and is let finish. Its last checkpoint's weights must equal those of a run that nobody
killed. Exit 1 where they do not, or where a run ends otherwise than by the kill.
"""

import argparse
import hashlib
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.conftest import DEMO, ROOT, absolute, write_manifest


def command(train: Path, output: Path, updates: int) -> list[str]:
    """Checkpoints after every update, so that many kills fall into saving."""
    options = {
        "output_dir": output,
        "data.train": f"[{train}]",
        "data.validation_share": 0.15,
        "data.max_batch_seconds": 20,
        "data.augment": "[{name: speed, factors: [0.95, 1.05], probability: 0.5}]",
        "max_steps": updates,
        "ema_decay": 0.9,
        "eval_steps": 1,
        "logging_steps": 1,
    }
    flags = [part for key, value in options.items() for part in (f"--{key}", str(value))]
    return [sys.executable, "finetune/train.py", "--config", "configs/finetune/demo.yaml", *flags]


def run_until_killed(arguments: list[str], output: Path, seconds: float) -> int | None:
    """Begin, wait for a checkpoint, then kill -9 `seconds` later. Returns the exit code where it ended before."""
    before = _mark(output)
    process = subprocess.Popen(arguments, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 580
    while process.poll() is None and _mark(output) == before and time.monotonic() < deadline:
        time.sleep(0.01)
    try:
        process.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.wait()
        return None
    if process.returncode != 0:
        print(process.stderr.read() if process.stderr else "")
    return process.returncode


def _mark(output: Path) -> tuple[str, ...]:
    """Changes with each checkpoint that a run has begun or finished to write: no kill comes before it has moved."""
    return tuple(sorted(path.name for path in output.glob("checkpoints/step-*")))


def weights(output: Path) -> str:
    """Digest of the last checkpoint's weights and average."""
    last = max(output.glob("checkpoints/step-*[0-9]"))
    content = b"".join((last / name).read_bytes() for name in ("weights.safetensors", "average.safetensors"))
    return f"{last.name} {hashlib.sha256(content).hexdigest()[:16]}"


def kill_often(folder: Path, times: int, updates: int, seed: int) -> tuple[int, str, str]:
    """Returns how often it was killed, and both digests: of the killed run and of the whole one."""
    train = write_manifest(folder / "train.jsonl", absolute(DEMO / "corpus" / "train.jsonl", 26))
    whole, killed = folder / "whole", folder / "killed"
    subprocess.run(command(train, whole, updates), cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    chance, count = random.Random(seed), 0
    arguments = command(train, killed, updates)
    while count < times:
        ended = run_until_killed(arguments, killed, chance.uniform(0.0, 1.5))
        if ended is not None:
            assert ended == 0, f"ended with {ended}"
            break
        count += 1
        print(f"\rkilled {count} of {times} times, at {_mark(killed)[-1:]}", end="", flush=True)
    print()
    subprocess.run(arguments, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    return count, weights(killed), weights(whole)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.kill", description=__doc__)
    parser.add_argument("--times", type=int, default=50)
    parser.add_argument("--max_steps", type=int, default=120)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        count, killed, whole = kill_often(Path(folder), options.times, options.max_steps, options.seed)
    print(f"killed {count} times: {killed}; never: {whole}")
    sys.exit(killed != whole)


if __name__ == "__main__":
    main()
