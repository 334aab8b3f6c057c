"""A Hub that is slow, wrong, half there or gone, at every step of a push; and the token, which must appear nowhere.

Each failure is either repeated away or one sentence; the run stays as it was, the repository never holds half a commit,
and the same push succeeds once the Hub is well.
"""

import itertools
import logging
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

from huggingface_hub import HfApi
from huggingface_hub.utils import disable_progress_bars

from finetune.hub.card import CardOptions
from finetune.hub.push import Repository, Target, publish
from preprocessing.errors import InputError
from tests.attack.jobs import PUSHED_TO, TOKEN, finish, push
from tests.attack.trials import Attack, Setting, Trial
from tests.finetune.runs import content, tiny_run
from tests.loopback_hub import Fault, Hub, serve

STEPS = (
    ("POST", "/api/repos/create"),
    ("GET", "/auth-check/write"),
    ("GET", f"/api/models/{PUSHED_TO}/revision"),
    ("POST", "/validate-yaml"),
    ("POST", "/preupload/"),
    ("POST", "/objects/batch"),
    ("PUT", "/lfs/"),
    ("POST", "/lfs-verify/"),
    ("POST", "/commit/"),
)
KINDS = ("error", "drop", "lost", "echo", "expired", "garbage")
LARGE = 50_000  # bytes, from which a file is large: the weights of a tiny run are above
EVERY_TIME = 1000


@contextmanager
def _serving() -> Iterator[Hub]:
    with (
        mock.patch("huggingface_hub.constants.HF_HUB_DISABLE_XET", True),
        mock.patch("huggingface_hub.constants.HF_HUB_OFFLINE", False),
        mock.patch("huggingface_hub.utils._http.time.sleep", lambda seconds: None),
        serve(Hub(tokens={TOKEN: "write"}, large_from=LARGE)) as hub,
    ):
        disable_progress_bars()
        logging.getLogger("huggingface_hub").setLevel(logging.CRITICAL)
        yield hub


def _push(run: Path, endpoint: str) -> str | None:
    """Push once. Returns what was said of a failure; None where it succeeded. Any other exception passes."""
    repository = Repository(Target(PUSHED_TO), HfApi(endpoint, token=TOKEN), pauses=(0.0, 0.0))
    try:
        publish(run, Target(PUSHED_TO), CardOptions(PUSHED_TO), repository=repository)
    except InputError as error:
        return str(error)
    return None


def failing(setting: Setting) -> Iterator[Trial]:
    """Each kind of failure at each step, once and every time."""
    run = tiny_run(setting.folder / "run")
    before = content(run)
    with _serving() as hub:
        assert _push(run, hub.endpoint) is None
        expected = {name: blob.oid for name, blob in hub.repositories[PUSHED_TO].branches["main"][-1].files.items()}
        for (method, part), kind, times in itertools.product(STEPS, KINDS, (1, EVERY_TIME)):
            hub.repositories.clear()
            hub.large.clear()
            hub.faults[:] = [Fault(method, part, kind, times)]  # type: ignore[arg-type]
            trials = _tried(run, hub, lambda: content(run) == before, expected)
            yield Trial(f"a Hub with {kind} answers", "hub push", trials and f"{method} {part}: {trials}")


def _tried(run: Path, hub: Hub, is_as_before: Callable[[], bool], expected: dict[str, str]) -> str | None:
    """What was lost by a push to a Hub with a fault, and by the push after it without one."""
    try:
        said = _push(run, hub.endpoint)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    if said is not None and (TOKEN in said or "\n" in said):
        return "the token is in the message" if TOKEN in said else "a message of several lines"
    if said is not None and not said.endswith("repeats the push"):
        return f"no remedy in {said}"
    if not is_as_before():
        return "the run has changed"
    if PUSHED_TO in hub.repositories:
        commits = hub.repositories[PUSHED_TO].branches["main"][1:]
        if [commit for commit in commits if {name: blob.oid for name, blob in commit.files.items()} != expected]:
            return "half a commit"
    hub.faults.clear()
    if (again := _push(run, hub.endpoint)) is not None:
        return f"the push after it failed: {again}"
    found = hub.repositories[PUSHED_TO].branches["main"][-1].files
    return None if {name: blob.oid for name, blob in found.items()} == expected else "other files"


def gone(setting: Setting) -> Iterator[Trial]:
    """No server at the address; and one that takes a fifth of a second for each answer."""
    run = tiny_run(setting.folder / "run")
    before = content(run)
    with _serving() as hub:
        hub.delay_seconds = 0.2
        lost = _push(run, hub.endpoint)
        yield Trial("a Hub that is slow", "hub push", lost)
    with _serving(), socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # nobody listens there
        said = _push(run, f"http://127.0.0.1:{unused.getsockname()[1]}")
    lost = None if said is not None and "cannot be reached" in said and content(run) == before else f"said: {said}"
    yield Trial("a Hub that is gone", "hub push", lost)


def token(setting: Setting) -> Iterator[Trial]:
    """The real command with a token in its environment, on a Hub that is well, refuses it, or repeats it."""
    for fault in (
        None,
        Fault("POST", "/preupload/", "echo", EVERY_TIME),
        Fault("POST", "/commit/", "expired", EVERY_TIME),
    ):
        folder = setting.folder / (fault.kind if fault else "well")
        folder.mkdir()
        with push(folder) as (job, hub):
            hub.faults[:] = [] if fault is None else [fault]
            ended, _ = finish(job, folder / "out", folder / "said.txt")
            held = [
                str(path.relative_to(folder))
                for path in folder.rglob("*")
                if path.is_file() and TOKEN.encode() in path.read_bytes()
            ]
            sent = [name for one in hub.repositories.values() for name, blob in one.branches["main"][-1].files.items()
                    if TOKEN.encode() in blob.content]  # fmt: skip
        lost = f"the token is in {', '.join([*held, *sent])}" if held or sent else None
        if (ended.code == 0) != (fault is None) or "Traceback" in ended.said:
            lost = lost or f"ended with {ended.code}: {ended.said[-200:]}"
        yield Trial("the token in log, card, config", "hub push", lost)


ATTACKS: dict[str, Attack] = {"failing": failing, "gone": gone, "token": token}
