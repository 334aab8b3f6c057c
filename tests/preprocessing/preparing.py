"""Corpora that tests prepare, and what is in the folders that are made of them."""

import hashlib
from pathlib import Path

from preprocessing.prepare.__main__ import main

SHARD_SECONDS = 20.0


def prepare(manifest: Path, output: Path, *options: str) -> Path:
    main([str(manifest), str(output), "--shard_seconds", str(SHARD_SECONDS), *options])
    return output


def bytes_of(folder: Path) -> dict[str, str]:
    """Digest of every file below a folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
