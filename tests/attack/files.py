"""Files that must be decoded or refused in bounded time and memory: mutated, lying about their length, hours long."""

import functools
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.attack.bombs import bombs, silence
from tests.attack.mutations import Mutations, run
from tests.attack.mutations_worker import CONTAINERS
from tests.attack.trials import Attack, Setting, Trial
from tests.conftest import ROOT

CASES = 20  # for each round
KEPT = Path("runs/attack")  # files that were not handled
MEGABYTES = 100  # that streaming may add to what the imports take, however long the file is
STREAM = """
import json, resource, sys, time
from preprocessing import audio
list(audio.stream("demo/corpus/audio/test-0001.opus"))
before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
seconds = audio.probe(sys.argv[1]).duration
samples = sum(len(block) for block in audio.stream(sys.argv[1]))
more = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
print(json.dumps([seconds, samples / audio.SAMPLE_RATE, more, time.monotonic() - began]))
"""


def mutated(kind: str, setting: Setting) -> Iterator[Trial]:
    """Bytes flipped, cut off, spliced and inserted, numbers of headers made extreme."""
    cases = CASES * setting.rounds
    ends = run(Mutations(cases, KEPT, kind, setting.seed))
    setting.say(f"{ends['accepted']} read, {ends['refused']} refused")
    faults = sorted(set(ends) - {"accepted", "refused"})
    what = "mutated manifests" if kind == "manifest" else f"mutated files: {kind}"
    yield Trial(what, "open_corpus" if kind == "manifest" else "audio.load", "; ".join(faults) or None, times=cases)


def ten_hours_announced(setting: Setting) -> Iterator[Trial]:
    """A header of ten hours before next to nothing."""
    count = len(bombs())
    ends = run(Mutations(count, KEPT, "bomb"))
    faults = sorted(set(ends) - {"accepted", "refused"})
    setting.say(f"{ends['accepted']} read, {ends['refused']} refused")
    yield Trial("10 hours announced in 4 KB", "audio.load", "; ".join(faults) or None, times=count)


def ten_hours_of_silence(setting: Setting) -> Iterator[Trial]:
    """A megabyte that is ten hours."""
    path = setting.folder / "silence.flac"
    n_bytes = silence(path)
    done = subprocess.run(
        [sys.executable, "-c", STREAM, str(path)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    lost = None if done.returncode == 0 else done.stderr[-300:]
    if lost is None:
        stated, heard, megabytes, seconds = json.loads(done.stdout)
        setting.say(f"{n_bytes / 1e6:.2f} MB, {heard / 3600:.2f} h, {megabytes:.0f} MB more, {seconds:.0f} s")
        if stated != heard or heard != 36_000:
            lost = f"{heard} s of 36000"
        elif megabytes > MEGABYTES:
            lost = f"{megabytes:.0f} MB more memory"
    yield Trial("10 hours of silence in 1 MB", "audio.stream", lost)


ATTACKS: dict[str, Attack] = {
    **{kind: functools.partial(mutated, kind) for kind in (*CONTAINERS, "audio", "manifest")},
    "bombs": ten_hours_announced,
    "silence": ten_hours_of_silence,
}
