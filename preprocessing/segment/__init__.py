"""Segmentation: one duration for all, overlapping chunks and their joining, segments of a recording as files.

`preprocessing.segment.voice_activity` finds speech and pauses, `python -m preprocessing.segment FILE OUT_FOLDER` is the
command. This package imports no torch, so that the command's --help does not wait for it.
"""

from preprocessing.frames import WAV2VEC2_GRID, FrameGrid
from preprocessing.segment.chunks import (
    Chunk,
    Chunking,
    chunk_stream,
    chunks,
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
    "keep",
    "pad_or_trim",
]
