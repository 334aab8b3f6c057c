"""Recordings inside the page: Ogg Opus to play, and a grey log-mel spectrogram as WebP.

A recording that is no longer where its sample says, or cannot be read, has no clip.
"""

import base64
import io
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass

from benchmark.report.utterances import ComparedUtterance

MAX_BYTES = 8_000_000  # of all clips together, as base64
MAX_SECONDS = 60.0  # of one clip
_MAX_COLUMNS = 640  # of a log-mel
_DYNAMIC_RANGE_DB = 60.0  # what is fainter is drawn white


@dataclass(frozen=True, slots=True)
class Clip:
    """Data URIs of a recording and of its log-mel spectrogram (time to the right, 0 to 8 kHz upwards)."""

    audio: str
    log_mel: str
    seconds: float


def clips(utterances: Sequence[ComparedUtterance], max_bytes: int = MAX_BYTES) -> dict[tuple[str, str], Clip]:
    """Clips of these utterances by id and condition, in their order as long as all fit into `max_bytes`.

    Under every condition the clip is the corpus' recording, without what the condition added. Recordings longer than
    MAX_SECONDS have none.
    """
    found: dict[tuple[str, str], Clip] = {}
    by_source: dict[tuple[str, float, float | None, int | None], Clip | None] = {}
    left = max_bytes
    for utterance in utterances:
        sample = utterance.first
        if sample.audio is None or sample.audio_seconds > MAX_SECONDS:
            continue
        source = sample.audio, sample.start, sample.stop, sample.channel
        if source not in by_source:
            by_source[source] = _clip(*source)
        clip = by_source[source]
        if clip is None:
            continue
        size = len(clip.audio) + len(clip.log_mel)
        if size > left:
            continue
        left -= size
        found[utterance.id, utterance.condition] = clip
    return found


def _clip(path: str, start: float, stop: float | None, channel: int | None) -> Clip | None:
    # Imported here, as a report without clips needs no torch.
    import numpy as np
    import soundfile
    import torch
    from PIL import Image

    from preprocessing import audio
    from preprocessing.features import LogMel
    from preprocessing.features.plot import decibels_below_peak

    extractor = LogMel()
    try:
        waveform = audio.load(path, start=start, stop=stop, channel=channel)
    except audio.AudioError:
        return None
    if len(waveform) < extractor.shortest:
        return None
    with tempfile.TemporaryFile() as file:  # soundfile calls back to write to one in memory, where Ctrl-C would be lost
        samples = waveform.numpy()
        soundfile.write(file.fileno(), samples, audio.SAMPLE_RATE, format="OGG", subtype="OPUS", closefd=False)
        file.seek(0)
        encoded = file.read()
    with torch.no_grad():
        decibels = decibels_below_peak(extractor(waveform)).numpy()
    loudness = np.clip(1 + decibels / _DYNAMIC_RANGE_DB, 0, 1)
    picture = Image.fromarray((255 * (1 - loudness[::-1])).astype(np.uint8))
    if picture.width > _MAX_COLUMNS:
        picture = picture.resize((_MAX_COLUMNS, picture.height), Image.Resampling.BOX)
    image = io.BytesIO()
    picture.save(image, "WEBP", quality=40, method=4)
    seconds = len(waveform) / audio.SAMPLE_RATE
    return Clip(_uri("audio/ogg", encoded), _uri("image/webp", image.getvalue()), seconds)


def _uri(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
