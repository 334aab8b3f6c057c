"""What the loopback Hub holds: repositories with branches of commits, large files by their hash, tokens, failures."""

import hashlib
import threading
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class Blob:
    """A file's content. Its id is git's for a small file and SHA-256 for a large one, as the Hub has them."""

    content: bytes
    large: bool

    @property
    def oid(self) -> str:
        if self.large:
            return hashlib.sha256(self.content).hexdigest()
        return hashlib.sha1(b"blob %d\0" % len(self.content) + self.content).hexdigest()


@dataclass(frozen=True)
class Commit:
    oid: str
    message: str
    files: Mapping[str, Blob]


@dataclass
class Repository:
    """Branches, each a list of commits; a commit holds all files."""

    private: bool = False
    branches: dict[str, list[Commit]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.branches:
            self.branches["main"] = [Commit("0" * 40, "initial commit", {})]

    def at(self, revision: str) -> Commit | None:
        """The commit of a branch's name or of a commit's id."""
        if revision in self.branches:
            return self.branches[revision][-1]
        commits = (commit for branch in self.branches.values() for commit in branch)
        return next((commit for commit in commits if commit.oid == revision), None)

    def commit(self, branch: str, message: str, files: Mapping[str, Blob], deleted: Collection[str] = ()) -> Commit:
        before = self.branches[branch][-1]
        changes = [blob.oid for blob in files.values()], sorted(deleted)
        oid = hashlib.sha1(f"{before.oid}{message}{changes}".encode()).hexdigest()
        kept = {name: blob for name, blob in before.files.items() if name not in deleted}
        self.branches[branch].append(Commit(oid, message, {**kept, **files}))
        return self.branches[branch][-1]


@dataclass
class Fault:
    """What goes wrong with the next `times` requests of a method whose path has `part` in it.

    error: answers 500. drop: closes the connection in the middle of the body. lost: does as asked, and closes the
    connection instead of answering. echo: answers 400 and repeats the Authorization header, as no server should.
    expired: answers 401, as to a token that was withdrawn. garbage: answers 200 with a page where JSON is expected.
    """

    method: str
    part: str
    kind: Literal["error", "drop", "lost", "echo", "expired", "garbage"]
    times: int = 1


@dataclass
class Hub:
    """The state of a Hub. `tokens` maps a token to what it may do in the namespace `you`."""

    tokens: dict[str, Literal["read", "write"]] = field(default_factory=dict)
    large_from: int = 1 << 20  # bytes; the Hub's answer to "preupload" says which file is large
    repositories: dict[str, Repository] = field(default_factory=dict)
    large: dict[str, bytes] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)  # "METHOD /path", in their order
    endpoint: str = ""
    delay_seconds: float = 0.0  # before each answer
    lock: threading.Lock = field(default_factory=threading.Lock)

    def blob(self, content: bytes) -> Blob:
        return Blob(content, len(content) >= self.large_from)

    def fault(self, method: str, path: str) -> str | None:
        """Note a request, and use up the failure that waits for it."""
        with self.lock:
            self.requests.append(f"{method} {path}")
            for fault in self.faults:
                if fault.times > 0 and fault.method == method and fault.part in path:
                    fault.times -= 1
                    return fault.kind
        return None
