"""The process in which `tests.attack.mutations` runs its cases: one JSON line each on stdout."""

import json
import os
import random
import resource
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

import torch

from preprocessing import audio
from preprocessing.corpus import open_corpus
from preprocessing.errors import UserError
from tests.attack.bombs import bombs
from tests.attack.mutations import mutate
from tests.known_audio import FFMPEG, SOUNDFILE, known_file

MORE_MEMORY = 2 << 30  # bytes of address space a case may add
REAL_FILES = 12  # from ASR_DATA_DIR, where it is set
LARGEST_BYTES = 200_000
CONTAINERS = {
    "wav": ("wav-u8", "wav-16", "wav-24", "wav-float", "wav-mu-law", "wav-ima-adpcm", "wav-ms-adpcm", "rf64"),
    "flac": ("flac", "flac-24"),
    "ogg": ("ogg-vorbis",),
    "opus": ("ogg-opus",),
    "mp3": ("mp3",),
    "m4a": ("m4a", "m4a-44", "m4a-lossless", "mp4-with-video"),
    "webm": ("webm-opus", "webm-vorbis"),
}

ROWS = [
    {"id": "a", "audio": "a.wav", "text": "hello", "duration": 0.3, "speaker": "s", "sex": "f"},
    {"id": "b", "audio": "a.wav", "text": "Grüße, 世界", "start": 0.1, "stop": 0.2, "language": "de"},
    {"audio": "a.wav", "transcription": "", "domain": "quiet"},
]


def audio_case(content: bytes, path: Path, case: int) -> str:
    source: audio.AudioSource = content if case % 3 else path
    try:
        audio.probe(source)
    except UserError as error:
        assert "\n" not in str(error), "a sentence of several lines"
    try:
        waveform = audio.load(source)
    except UserError as error:
        assert "\n" not in str(error), "a sentence of several lines"
        waveform = None
    try:
        blocks = list(audio.stream(source, block_seconds=0.1))
    except UserError:
        assert waveform is None, "load accepts a file that stream refuses"
        return "refused"
    assert waveform is not None, "stream accepts a file that load refuses"
    assert torch.isfinite(waveform).all(), "samples that are not finite"
    assert torch.equal(torch.cat(blocks), waveform), "stream differs from load"
    return "accepted"


def bomb_case(content: bytes, path: Path, case: int) -> str:
    end = audio_case(content, path, case)
    assert end == "refused" or len(audio.load(content)) < 10 * audio.SAMPLE_RATE, "samples that the file does not hold"
    return end


def manifest_case(content: bytes, path: Path, case: int) -> str:
    try:
        open_corpus(str(path))
    except UserError as error:
        assert "\n" not in str(error), "a sentence of several lines"
        return "refused"
    return "accepted"


def audio_files() -> list[bytes]:
    files = [known_file(name, 0.3) for name in (*SOUNDFILE, *FFMPEG)]
    folder = os.environ.get("ASR_DATA_DIR")
    real = sorted(path for path in Path(folder).rglob("*") if path.is_file()) if folder else []
    sounds = [path for path in real if path.suffix in (".wav", ".flac", ".ogg", ".opus", ".mp3")]
    chosen = [path for path in sounds if path.stat().st_size < LARGEST_BYTES]
    return files + [path.read_bytes() for path in random.Random(0).sample(chosen, min(REAL_FILES, len(chosen)))]


def manifest_files(folder: Path) -> list[bytes]:
    (folder / "a.wav").write_bytes(known_file("wav-16", 0.3))
    lines = [json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in ROWS]
    return [b"".join(lines), lines[1], b"\xef\xbb\xbf" + b"".join(lines[:2])]


def main() -> None:
    kind, first, last, folder = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4])
    attempt: Callable[[bytes, Path, int], str] = audio_case
    if kind in CONTAINERS:
        contents = [known_file(name, 0.3) for name in CONTAINERS[kind]]
    elif kind == "manifest":
        contents, attempt = manifest_files(folder), manifest_case
    elif kind == "bomb":
        contents, attempt = list(bombs().values()), bomb_case
    else:
        contents = audio_files()
    for content in contents:  # memory of the first use is not counted to a case
        audio_case(content, folder / "case", 1)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + MORE_MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    print("#", flush=True)
    for case in range(first, last):
        chance = random.Random(case)
        content = contents[case % len(contents)]
        if kind != "bomb":
            content = mutate(chance.choice(contents), contents, chance)
        path = folder / f"case-{case}"
        path.write_bytes(content)
        try:
            end = attempt(content, path, case)
        except Exception:
            end = " <- ".join(reversed(traceback.format_exc().strip().splitlines()[-3:]))
        if end in ("accepted", "refused"):
            path.unlink()
        print(json.dumps({"end": end}), flush=True)


if __name__ == "__main__":
    main()
