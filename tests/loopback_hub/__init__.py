"""A Hub on the loopback interface for the real huggingface_hub client: repositories in memory, and failures on demand.

It speaks what that client asks of models over HTTP, without Xet (HF_HUB_DISABLE_XET=1): tokens, repositories,
branches, small files in commits, large files over LFS, ranges of downloads, validation of cards.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.loopback_hub.server import serve
from tests.loopback_hub.store import Fault, Hub, Repository

__all__ = ["TOKEN", "Fault", "Hub", "Repository", "loopback_hub", "serve"]
TOKEN = "hf_thisIsNobodysToken0123456789abcd"


@contextmanager
def loopback_hub(repositories: Mapping[str, Path]) -> Iterator[str]:
    """Serve `repositories` (id -> folder) to anyone, read-only; yields the endpoint for HF_ENDPOINT."""
    hub = Hub()
    for repo_id, folder in repositories.items():
        hub.repositories[repo_id] = Repository()
        content = {file.name: file.read_bytes() for file in sorted(folder.iterdir())}
        hub.repositories[repo_id].commit("main", "as it was", {name: hub.blob(data) for name, data in content.items()})
    with serve(hub):
        yield hub.endpoint
