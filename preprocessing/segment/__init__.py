"""Uniform dimensions: one duration for all, overlapping chunks and their joining, pieces of a recording as files.

`python -m preprocessing.segment FILE OUT_FOLDER` is the command. Where pauses are, `preprocessing.segment.voice_activity` says.
"""

from preprocessing.frames import WAV2VEC2_GRID, FrameGrid
from preprocessing.segment.chunks import (
    Chunk,
    Chunking,
    chunk_stream,
    chunks,
    join,
    keep,
    pad_or_trim,
)

__all__ = [
    "WAV2VEC2_GRID",
    "Chunk",
    "Chunking",
    "FrameGrid",
    "chunk_stream",
    "chunks",
    "join",
    "keep",
    "pad_or_trim",
]
