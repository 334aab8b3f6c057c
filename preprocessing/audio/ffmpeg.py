"""Decoding by FFmpeg's libraries (PyAV): M4A/AAC, WebM, Matroska, the sound track of an MP4, and many others.

FFmpeg drops an encoder's priming samples itself (skip-samples, edit list). It keeps the padding of an AAC file's last
packet, so the last frame is cut here to its packet's stated duration. Only audio containers may be opened: a playlist
or a picture named .wav is refused, and no other file or address is read.

Sample 0 is the beginning of the file's earliest track, as in a player. Where the sound of a video begins later, or is
interrupted, there are zeros, so that times in the waveform are times in the video.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import av
import numpy as np

from preprocessing.audio.contract import (
    TAIL_SECONDS,
    AudioError,
    AudioInfo,
    OpenedSource,
    Samples,
    damage_error,
    gathered,
    one_line,
    truncation_error,
)

FORMATS = (
    "aac,ac3,aiff,amr,amrnb,amrwb,ape,asf,au,avi,caf,dsf,dts,eac3,flac,flv,gsm,loas,matroska,mov,mp3,mp4,mpc,mpc8,mpeg,"
    "mpegts,ogg,oma,rm,tak,tta,voc,w64,wav,webm,wv"
)
AV_TIME_BASE = 1_000_000  # FFmpeg's unit for the times of a whole container: microseconds
OPTIONS = {"format_whitelist": FORMATS, "protocol_whitelist": "file,pipe"}
EXACT_LENGTH = ("mov", "flac", "wav", "w64", "aiff", "caf", "au")  # containers whose length counts samples
# Raw streams, whose length FFmpeg guesses from the bit rate of their beginning.
ESTIMATED_LENGTH = ("aac", "ac3", "amr", "amrnb", "amrwb", "dts", "eac3", "gsm", "loas", "mp3")
INDEXED = ("mov", "matroska")  # containers whose timestamps hold after a seek
# Metadata in another encoding than UTF-8 is no error; since version 19 PyAV needs not be told.
LENIENT: dict[str, Any] = {} if int(av.__version__.partition(".")[0]) >= 19 else {"metadata_errors": "ignore"}
# Samples of a codec's shortest packet, to which timestamps in milliseconds are rounded.
PACKET_SAMPLES = {"opus": 120, "aac": 1024, "mp3": 576, "mp3float": 576}
PREROLL_SECONDS = 0.5  # decoded and dropped after a seek: codecs depend on earlier packets (Opus for 80 ms and more)
GATHERED_SAMPLES = 1 << 16  # of a block: mixing and resampling each of a codec's few hundred takes twice the time
MAX_CHANNELS = 8  # PyAV keeps the address of no more planes than that
COARSE_TAIL_SECONDS = 0.5  # Matroska states the length of the whole container
# What a run of bytes in an MP3 begins with that are no sound: ID3v2, ID3v1 and APE tags.
TAGS = (b"ID3", b"TAG", b"APETAGEX")
TIMED = ("mov", "matroska", "mpegts", "flv")  # containers with tracks of pictures, by whose timestamps a player goes
MIN_GAP_SECONDS = 0.1  # between two packets' times: less is jitter, priming samples, or a clock's drift
MAX_GAP_SECONDS = 3600.0  # beyond: a damaged timestamp, for which no memory is filled with zeros
# Beyond the stated duration, timestamps that jump by more begin anew, as after a cut (FFmpeg's -dts_delta_threshold).
DISCONTINUITY_SECONDS = 10.0


@contextmanager
def open_ffmpeg(opened: OpenedSource, *, to_the_end: bool = False) -> Iterator["FfmpegDecoder"]:
    """Yield the decoder. Raises AudioError when the file is no audio that FFmpeg can decode.

    to_the_end: the length in the header of a WAV is none, or an MP3 states none; all that follows are samples.
    """
    options = OPTIONS | {"ignore_length": "1"} if to_the_end else OPTIONS
    try:
        container = av.open(opened.rewound(), options=options, **LENIENT)
    except (av.FFmpegError, ValueError, OSError) as error:
        raise _not_audio(opened, error) from None
    with container:
        if not container.streams.audio:
            raise _not_audio(opened, "it has no audio track")
        yield FfmpegDecoder(opened, container, has_length=not to_the_end)


def _not_audio(opened: OpenedSource, reason: object) -> AudioError:
    return AudioError(
        f"{opened.name}: not audio that can be decoded ({one_line(reason)}); expected WAV, FLAC, Ogg, MP3, AIFF, M4A, "
        "WebM or the like: convert or remove it"
    )


class FfmpegDecoder:
    """The `Decoder` of the first audio stream of an open container."""

    is_pcm16 = False

    def __init__(self, opened: OpenedSource, container: Any, *, has_length: bool) -> None:
        self._opened, self._container = opened, container
        self._stream = container.streams.audio[0]
        context = self._stream.codec_context
        if context is None:
            raise _not_audio(opened, "its codec is unknown")
        self._format = container.format.name.split(",")[0]
        self._exact = self._format in EXACT_LENGTH and has_length
        rate = context.sample_rate or 0
        if context.channels > MAX_CHANNELS:
            raise AudioError(
                f"{opened.name}: header says {context.channels} channels; expected 1 to {MAX_CHANNELS}: export it again"
            )
        self._origin = (container.start_time or 0) / AV_TIME_BASE  # seconds
        self._seconds = (container.duration or 0) / AV_TIME_BASE
        begin = self._stream.start_time
        self._lead = 0.0 if begin is None else self._silence(0.0, float(begin * self._stream.time_base) - self._origin)
        is_known = has_length and self._format not in ESTIMATED_LENGTH
        n_samples = max(round(self._stated_seconds() * rate), 0) if is_known else 0
        self.info = AudioInfo(rate, context.channels or 0, n_samples, context.name)

    def _stated_seconds(self) -> float:
        if self._stream.duration is not None:
            return self._lead + float(self._stream.duration * self._stream.time_base)
        return self._seconds

    def _silence(self, end: float, begin: float) -> float:
        """Seconds of silence between a packet's end and the next one's beginning, both in seconds from sample 0.

        Raises AudioError where they are more than MAX_GAP_SECONDS.
        """
        gap = begin - end
        if self._format not in TIMED or gap <= MIN_GAP_SECONDS:
            return 0.0
        may_begin_anew = self._format == "mpegts" or begin > self._seconds  # a cut of several broadcasts, perhaps
        if gap > DISCONTINUITY_SECONDS and may_begin_anew:
            return 0.0
        if gap > MAX_GAP_SECONDS:
            raise damage_error(self._opened, f"by its timestamps, no sound for {gap:.0f} s", max(end, 0.0))
        return gap

    def blocks(self, first: int, last: int | None, n_samples: int) -> Iterator[Samples]:
        """See `Decoder.blocks`; the codec's blocks are joined to `n_samples` or a few more, and to GATHERED_SAMPLES."""
        return gathered(self._kept(first, last), min(n_samples, GATHERED_SAMPLES))

    def _kept(self, first: int, last: int | None) -> Iterator[Samples]:
        """Yield samples first to last - 1 in the codec's own blocks."""
        position = 0
        try:
            for position, block in self._placed(first):
                skipped = max(first - position, 0)
                kept = block[skipped : None if last is None else max(last - position, 0)]
                position += len(block)
                if len(kept):
                    yield kept
                if last is not None and position >= last:
                    return
        except (av.FFmpegError, ValueError, OSError, MemoryError) as error:
            raise damage_error(self._opened, error, position / self.info.sample_rate) from None
        self._check_length(position, last)

    def count_samples(self) -> int:
        """See `Decoder.count_samples`; by the packets' durations without decoding, where all of them have one."""
        stream, ticks, n_packets, is_complete = self._stream, 0, 0, True
        end, silence = None, self._lead
        try:
            for packet in self._container.demux(stream):
                if packet.size and not (self._format == "mp3" and memoryview(packet)[0] != 0xFF):  # a tag or padding
                    n_packets += 1
                    ticks += packet.duration or 0
                    is_complete &= bool(packet.duration)
                    begin = None if packet.pts is None else float(packet.pts * stream.time_base) - self._origin
                    if begin is not None and end is not None:
                        silence += self._silence(end, begin)
                    end = None if begin is None else begin + float((packet.duration or 0) * stream.time_base)
            if is_complete and n_packets and self.info.sample_rate:
                seconds = silence + float(ticks * stream.time_base)
                return max(round(seconds * self.info.sample_rate) - int(stream.codec_context.delay), 0)
            self._container.seek(0)
        except (av.FFmpegError, ValueError, OSError) as error:
            raise damage_error(self._opened, error, float(ticks * stream.time_base)) from None
        return sum(len(block) for block in self.blocks(0, None, 0))

    def _check_length(self, position: int, last: int | None) -> None:
        if not self._exact and (self._format != "matroska" or len(self._container.streams) > 1):
            return  # the length is estimated from the bit rate, or another stream's
        tail = TAIL_SECONDS if self._exact else COARSE_TAIL_SECONDS
        expected = self.info.n_samples if last is None else min(last, self.info.n_samples)
        if expected - position > tail * self.info.sample_rate:
            raise truncation_error(self._opened, position / self.info.sample_rate, self.info.duration)

    def _placed(self, first: int) -> Iterator[tuple[int, Samples]]:
        """Yield blocks [samples, channels] with the index of the first sample of each."""
        rate = self.info.sample_rate
        position, end = (None, first / rate) if self._seek(first) else (0, 0.0)
        tick = None
        for frame in self._cut(self._frames()):
            tick = tick or frame.time_base  # a new Fraction at each access
            begin = None if frame.pts is None else frame.pts * tick.numerator / tick.denominator - self._origin
            if position is None:
                position = min(self._index(frame), first)
            if begin is not None and (gap := self._silence(end, begin)):
                is_placed = end > 0.0 and self.can_seek  # the first packet is shorter: its priming samples are cut
                resumed = self._index(frame) if is_placed else position + round(gap * rate)
                yield from self._zeros(position, resumed)
                position = max(position, resumed)
            for block in self._to_float(frame):
                yield position, block
                position += len(block)
            end = position / rate if begin is None else begin + frame.samples / rate

    def _frames(self) -> Iterator[Any]:
        """The codec's frames. In an MP3, the bytes between frames are passed over: tags, zeros at the end, and up to
        TAIL_SECONDS of others, such as the rest of a frame where the recording was cut.
        """
        if self._format != "mp3":
            yield from self._container.decode(self._stream)
            return
        lost = lost_if_sound_follows = 0.0
        is_tag = False
        for packet in self._container.demux(self._stream):
            try:
                frames = packet.decode()
            except av.InvalidDataError:
                content = bytes(packet)
                is_tag = is_tag or content.startswith(TAGS)
                seconds = 0.0 if is_tag else 8 * len(content) / max(self._stream.codec_context.bit_rate, 8_000)
                if any(content):
                    lost, lost_if_sound_follows = lost + lost_if_sound_follows + seconds, 0.0
                else:
                    lost_if_sound_follows += seconds
                if lost > TAIL_SECONDS:
                    raise
                continue
            if frames:
                lost, lost_if_sound_follows, is_tag = lost + lost_if_sound_follows, 0.0, False
            if lost > TAIL_SECONDS:
                raise ValueError(f"{lost:.2f} s of zeros")
            yield from frames

    def _zeros(self, first: int, last: int) -> Iterator[tuple[int, Samples]]:
        """Yield silence from sample `first` to `last` - 1, a second at a time, each block with its first index."""
        for at in range(first, last, self.info.sample_rate):
            yield at, np.zeros((min(self.info.sample_rate, last - at), self.info.n_channels), np.float32)

    @property
    def can_seek(self) -> bool:
        """See `Decoder.can_seek`: whether timestamps allow to find a sample again, to the sample, after a seek."""
        coarse = self._stream.time_base * self.info.sample_rate > 1
        return self._format in INDEXED and (not coarse or self.info.codec in PACKET_SAMPLES)

    def _seek(self, first: int) -> bool:
        """Seek to before sample `first` where timestamps allow to find it again; whether it did."""
        stream = self._stream
        seconds = first / self.info.sample_rate - PREROLL_SECONDS - self._lead
        if seconds <= 0 or not self.can_seek:
            return False
        next(self._container.decode(stream))  # or the priming samples would be dropped where the seek lands
        self._container.seek(int(seconds / stream.time_base) + (stream.start_time or 0), stream=stream)
        return True

    def _index(self, frame: Any) -> int:
        """The index of a frame's first sample, to the sample even where timestamps are in milliseconds."""
        if frame.pts is None:
            raise ValueError("no timestamp after a seek")
        start = (self._stream.start_time or 0) * self._stream.time_base
        lead = round(self._lead * self.info.sample_rate)
        index = float((frame.pts * frame.time_base - start) * self.info.sample_rate)
        if frame.time_base * self.info.sample_rate <= 1:
            return lead + round(index)
        packet, delay = PACKET_SAMPLES[self.info.codec], int(self._stream.codec_context.delay)
        return lead + round((index + delay) / packet) * packet - delay

    def _cut(self, frames: Iterator[Any]) -> Iterator[Any]:
        """The frames, the last one marked (`opaque`) with the number of its samples that are not padding."""
        held = None
        for frame in frames:
            if frame.sample_rate != self.info.sample_rate:
                raise ValueError(f"the rate changes to {frame.sample_rate} Hz")
            if frame.layout.nb_channels > MAX_CHANNELS:
                raise ValueError(f"{frame.layout.nb_channels} channels")
            if held is not None:
                yield held
            held = frame
        if held is not None:
            if self._exact and held.duration:
                held.opaque = round(held.duration * held.time_base * self.info.sample_rate)
            yield held

    def _to_float(self, frame: Any) -> Iterator[Samples]:
        """A frame as blocks [samples, channels] of floats at full scale 1, converted by FFmpeg.

        Where the number of channels changes, as between two MP3 in one file, each is the mean of the frame's.
        """
        n_samples, n_channels = frame.opaque, self.info.n_channels
        is_float = frame.format.name == "fltp"
        for converted in [frame] if is_float else av.AudioResampler(format="fltp").resample(frame):
            block = converted.to_ndarray().T[:n_samples]
            if block.shape[1] != n_channels:
                block = np.repeat(block.mean(axis=1, keepdims=True), n_channels, axis=1)
            yield block
