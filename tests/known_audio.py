"""Files with a known content in every format that is read: written by soundfile or by FFmpeg's encoders."""

import io
from typing import Any

import av
import numpy as np
import soundfile
from numpy.typing import NDArray

PITCH_HZ = 440.0
LEVEL = 0.5

SOUNDFILE = {  # name -> container, subtype, sampling rate
    "wav-u8": ("WAV", "PCM_U8", 16_000),
    "wav-16": ("WAV", "PCM_16", 16_000),
    "wav-24": ("WAV", "PCM_24", 48_000),
    "wav-32": ("WAV", "PCM_32", 44_100),
    "wav-float": ("WAV", "FLOAT", 16_000),
    "wav-double": ("WAV", "DOUBLE", 22_050),
    "wav-mu-law": ("WAV", "ULAW", 8_000),
    "wav-a-law": ("WAV", "ALAW", 8_000),
    "wav-ima-adpcm": ("WAV", "IMA_ADPCM", 16_000),
    "wav-ms-adpcm": ("WAV", "MS_ADPCM", 16_000),
    "wav-gsm": ("WAV", "GSM610", 8_000),
    "wav-g721": ("WAV", "G721_32", 8_000),
    "wav-nms-adpcm": ("WAV", "NMS_ADPCM_32", 8_000),
    "rf64": ("RF64", "PCM_16", 16_000),
    "flac": ("FLAC", "PCM_16", 16_000),
    "flac-24": ("FLAC", "PCM_24", 96_000),
    "ogg-vorbis": ("OGG", "VORBIS", 44_100),
    "ogg-opus": ("OGG", "OPUS", 48_000),
    "mp3": ("MP3", "MPEG_LAYER_III", 44_100),
    "aiff": ("AIFF", "PCM_16", 16_000),
    "sphere": ("NIST", "PCM_16", 16_000),
    "sphere-mu-law": ("NIST", "ULAW", 8_000),
}
FFMPEG = {  # name -> container, codec, sampling rate
    "m4a": ("ipod", "aac", 16_000),
    "m4a-44": ("mp4", "aac", 44_100),
    "m4a-lossless": ("ipod", "alac", 16_000),
    "webm-opus": ("webm", "libopus", 48_000),
    "webm-vorbis": ("webm", "vorbis", 48_000),
    "mka": ("matroska", "pcm_s16le", 16_000),
    "mka-mp3": ("matroska", "libmp3lame", 16_000),
    "mp4-with-video": ("mp4", "aac", 48_000),
}


def sine(rate: int, seconds: float, n_channels: int = 1) -> NDArray[np.float32]:
    """[samples, channels], in phase."""
    time = np.arange(round(rate * seconds)) / rate
    return np.repeat((LEVEL * np.sin(2 * np.pi * PITCH_HZ * time)).astype(np.float32)[:, None], n_channels, axis=1)


def known_file(name: str, seconds: float, n_channels: int = 1) -> bytes:
    """The encoded file. FFmpeg's own Vorbis encoder wants two channels."""
    file = io.BytesIO()
    if name in SOUNDFILE:
        container, subtype, rate = SOUNDFILE[name]
        soundfile.write(file, sine(rate, seconds, n_channels), rate, format=container, subtype=subtype)
        return file.getvalue()
    container, codec, rate = FFMPEG[name]
    layout = "stereo" if codec == "vorbis" or n_channels == 2 else "mono"
    with av.open(file, "w", format=container) as output:
        options = {"strict": "experimental"} if codec == "vorbis" else {}
        video = output.add_stream("mpeg4", rate=10) if "video" in name else None
        if video is not None:
            video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        stream = output.add_stream(codec, rate=rate, layout=layout, options=options)
        planes = np.ascontiguousarray(sine(rate, seconds, 2 if layout == "stereo" else 1).T)
        if codec.startswith("pcm") or codec == "alac":
            planes = np.rint(planes * 32767).astype(np.int16)
        for at in range(0, planes.shape[1], 960):
            block = np.ascontiguousarray(planes[:, at : at + 960])
            frame = av.AudioFrame.from_ndarray(
                block, format="s16p" if block.dtype == np.int16 else "fltp", layout=layout
            )
            frame.rate, frame.pts = rate, at
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
        if video is not None:
            for number in range(round(10 * seconds)):
                picture = av.VideoFrame.from_ndarray(np.full((48, 64, 3), number, np.uint8), format="rgb24")
                picture.pts = number
                output.mux(video.encode(picture))
            output.mux(video.encode(None))
    return file.getvalue()


def mp3_without_length(samples: NDArray[np.float32], rate: int, **options: str) -> bytes:
    """An MP3 of [samples, channels] without a Xing header. options: of the encoder, such as its bit rate."""
    file, layout = io.BytesIO(), "mono" if samples.shape[1] == 1 else "stereo"
    with av.open(file, "w", format="mp3", options={"write_xing": "0", "id3v2_version": "0"}) as output:
        stream = output.add_stream("libmp3lame", rate=rate, layout=layout, options=options)
        for at in range(0, len(samples), 1152):
            block = np.ascontiguousarray(samples[at : at + 1152].T)
            frame = av.AudioFrame.from_ndarray(block, format="fltp", layout=layout)
            frame.rate, frame.pts = rate, at
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return file.getvalue()


class _Pipe(io.RawIOBase):
    """Keeps what is written to it, and cannot seek."""

    def __init__(self) -> None:
        self.content = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, block: Any) -> int:
        self.content += bytes(block)
        return len(block)


def webm_without_duration(seconds: float) -> bytes:
    """As a browser's MediaRecorder writes it: in one go, so that no length is filled in afterwards."""
    pipe = _Pipe()
    with av.open(io.BytesIO(known_file("webm-opus", seconds))) as given, av.open(pipe, "w", format="webm") as output:
        track = output.add_stream_from_template(given.streams.audio[0])
        for packet in given.demux(given.streams.audio[0]):
            if packet.dts is not None:
                packet.stream = track
                output.mux(packet)
    return bytes(pipe.content)


def interrupted_video(
    container: str, codec: str, *, begins: float, pause: float, pictures: bool = True, stays_open: bool = False
) -> bytes:
    """A video from 0 s on, the sine from `begins` on, 1 s of it, then `pause` seconds of no packets, then 1 s more.

    stays_open: written to a pipe, without the length of the whole.
    """
    file, rate = _Pipe() if stays_open else io.BytesIO(), 48_000
    with av.open(file, "w", format=container) as output:
        if pictures:
            video = output.add_stream("libvpx" if container == "webm" else "mpeg4", rate=10)
            video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        stream = output.add_stream(codec, rate=rate, layout="mono")
        if pictures:
            for number in (0, round(10 * (begins + pause + 2.0)) - 1):
                picture = av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), format="rgb24")
                picture.pts = number
                output.mux(video.encode(picture))
            output.mux(video.encode(None))
        for at in range(0, 2 * rate, 960):
            block = np.ascontiguousarray(sine(rate, 2.0)[at : at + 960].T)
            frame = av.AudioFrame.from_ndarray(block, format="fltp", layout="mono")
            frame.rate, frame.pts = rate, round((begins + (pause if at >= rate else 0.0)) * rate) + at
            output.mux(
                [
                    packet
                    for own in av.AudioResampler(stream.format.name).resample(frame)
                    for packet in stream.encode(own)
                ]
            )
        output.mux(stream.encode(None))
    return bytes(file.content) if isinstance(file, _Pipe) else file.getvalue()
