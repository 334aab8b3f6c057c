"""Every format, channel count, rate and kind of source gives back the sine that went in, whole and cut."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from preprocessing import audio
from preprocessing.audio import SAMPLE_RATE, AudioError
from preprocessing.audio.waveform import open_decoder
from tests.known_audio import (
    FFMPEG,
    LEVEL,
    PITCH_HZ,
    SOUNDFILE,
    interrupted_video,
    known_file,
    mp3_without_length,
    sine,
)

SECONDS = 2.0
PADDED = dict.fromkeys(("wav-ima-adpcm", "wav-ms-adpcm", "wav-g721"), 0.05)  # their container counts whole blocks
EXACT = 1e-9


LEVEL_ERROR = {  # relative, of what does not keep each sample
    **dict.fromkeys(("wav-u8", "wav-a-law", "wav-ima-adpcm", "wav-ms-adpcm", "wav-mu-law", "sphere-mu-law"), 0.005),
    **dict.fromkeys(("wav-g721", "wav-nms-adpcm"), 0.005),
    "wav-gsm": 0.05,
    **dict.fromkeys(("ogg-vorbis", "ogg-opus", "mp3", "m4a", "m4a-44", "webm-opus", "webm-vorbis"), 0.01),
    "mp4-with-video": 0.02,
    "mka-mp3": 0.06,  # FFmpeg's encoder writes it 5 % low
}


def check_sine(waveform: torch.Tensor, level_error: float = 1e-4) -> None:
    """Level as told, relative; frequency within 0.5 Hz by the padded spectrum's peak."""
    middle = waveform[3200:-3200].double().numpy()
    spectrum = np.abs(np.fft.rfft(middle * np.hanning(len(middle)), 1 << 18))
    assert abs(spectrum.argmax() * SAMPLE_RATE / (1 << 18) - PITCH_HZ) < 0.5
    assert abs(np.sqrt(2 * np.mean(middle**2)) - LEVEL) < level_error * LEVEL


@pytest.mark.parametrize("name", [*SOUNDFILE, *FFMPEG])
def test_duration_level_and_frequency(name: str) -> None:
    content = known_file(name, SECONDS)
    waveform = audio.load(content)
    assert abs(len(waveform) / SAMPLE_RATE - SECONDS) <= PADDED.get(name, EXACT)
    check_sine(waveform, LEVEL_ERROR.get(name, 1e-4))
    assert abs(audio.probe(content).duration - SECONDS) <= PADDED.get(
        name, 0.08 if "webm" in name or "mka" in name else 0
    )


@pytest.mark.parametrize("n_channels", range(1, 9))
@pytest.mark.parametrize("name", ["wav-16", "flac", "aiff"])
def test_one_to_eight_channels(name: str, n_channels: int) -> None:
    check_sine(audio.load(known_file(name, 1.0, n_channels)))


@pytest.mark.parametrize(
    "rate", [4_000, 8_000, 11_025, 16_000, 22_050, 32_000, 44_100, 48_000, 88_200, 96_000, 192_000]
)
def test_rates(tmp_path: Path, rate: int) -> None:
    path = tmp_path / "sine.wav"
    soundfile.write(path, sine(rate, 1.0), rate, subtype="FLOAT")
    waveform = audio.load(path)
    assert len(waveform) == SAMPLE_RATE
    check_sine(waveform)


class Pipe(io.RawIOBase):
    """An open file that cannot seek."""

    def __init__(self, content: bytes) -> None:
        self._rest = io.BytesIO(content)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._rest.readinto(buffer)


@pytest.mark.parametrize("name", ["wav-16", "flac", "ogg-opus", "mp3", "m4a", "webm-opus"])
def test_sources_agree(tmp_path: Path, name: str) -> None:
    content = known_file(name, 0.5)
    path = tmp_path / "a name with spaces,\na new line and 🎤.raw"
    path.write_bytes(content)
    expected = audio.load(content)
    assert torch.equal(audio.load(path), expected)
    assert torch.equal(audio.load(str(path)), expected)
    assert torch.equal(audio.load(io.BytesIO(content)), expected)
    assert torch.equal(audio.load(io.BufferedReader(Pipe(content))), expected)
    with path.open("rb") as file:
        assert audio.probe(file) == audio.probe(content)
        assert torch.equal(audio.load(file), expected)  # from the beginning again
        assert not file.closed


@pytest.mark.parametrize("name", [*SOUNDFILE, *FFMPEG])
def test_a_cut_is_a_slice_of_the_whole(name: str) -> None:
    """At the file's own rate. Lossy codecs lean on what came before: they agree after a pre-roll, not to the bit
    (an AAC decoder fills bands with noise of its own)."""
    content = known_file(name, SECONDS)

    def samples(first: int, last: int | None) -> np.ndarray:
        with open_decoder(content) as decoder:
            return np.concatenate(list(decoder.blocks(first, last, 1 << 20)))

    with open_decoder(content) as decoder:
        rate = decoder.info.sample_rate
    whole = samples(0, None)
    for first, last in ((round(1.2345 * rate), round(1.6 * rate)), (7, 1009), (round(1.9 * rate) + 1, None)):
        cut = samples(first, last)
        assert cut.shape == whole[first:last].shape
        assert np.abs(cut - whole[first:last]).max() < (
            5e-3 if name in ("webm-opus", "m4a-44", "mp4-with-video") else EXACT
        )


def test_a_cut_of_a_long_m4a_does_not_decode_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    from preprocessing.audio import ffmpeg

    content, decoded = known_file("m4a", 30.0), []
    original = ffmpeg.FfmpegDecoder._to_float
    monkeypatch.setattr(
        ffmpeg.FfmpegDecoder,
        "_to_float",
        lambda self, frame: decoded.append(frame.samples) or original(self, frame),  # type: ignore[func-returns-value]
    )
    assert len(audio.load(content, start=25.0, stop=25.5)) == SAMPLE_RATE // 2
    assert sum(decoded) < 2 * SAMPLE_RATE


@pytest.mark.parametrize(("n_samples", "n_blocks"), [(1 << 62, 2), (20_000, 4), (1, 79)])
def test_blocks_of_ffmpeg_are_not_as_short_as_the_codecs_packets(n_samples: int, n_blocks: int) -> None:
    """Whose 1,024 samples cost more to mix and to resample than to decode."""
    with open_decoder(known_file("m4a", 5.0)) as decoder:
        blocks = list(decoder.blocks(0, None, n_samples))
    assert len(blocks) == n_blocks
    assert np.array_equal(np.concatenate(blocks), decoded(known_file("m4a", 5.0)))


VIDEOS = [("mp4", "aac"), ("matroska", "pcm_s16le"), ("matroska", "aac"), ("webm", "libopus"), ("mpegts", "aac")]

TIMES = [(1.5, 0.0), (0.0, 1.2), (1.5, 1.2), (30.0, 20.0)]  # of the sound's beginning, and of its pause


@pytest.mark.parametrize(
    ("container", "codec", "begins", "pause"),
    [(*video, *times) for video in VIDEOS for times in TIMES if video[0] != "mpegts" or max(times) < 10.0],
)
def test_sound_is_where_a_player_of_the_video_has_it(container: str, codec: str, begins: float, pause: float) -> None:
    """Within 40 ms: an AAC encoder's packets do not end where the sound does."""
    content = interrupted_video(container, codec, begins=begins, pause=pause)
    waveform = audio.load(content)
    assert len(waveform) / SAMPLE_RATE == pytest.approx(begins + 2.0 + pause, abs=0.04)
    assert audio.probe(content).duration == pytest.approx(len(waveform) / SAMPLE_RATE, abs=0.04)
    loud = (waveform.unfold(0, 160, 160).abs().amax(dim=1) > 0.2).numpy()
    edges = np.flatnonzero(np.diff(loud, prepend=False, append=False)) / 100
    sounding = (
        [begins, begins + 2.0] if not pause else [begins, begins + 1.0, begins + 1.0 + pause, begins + 2.0 + pause]
    )
    assert edges == pytest.approx(sounding, abs=0.04)
    assert torch.equal(torch.cat(list(audio.stream(content, block_seconds=0.7))), waveform)
    middle = begins + pause + 1.72
    cut, whole = audio.load(content, start=middle), waveform[round(middle * SAMPLE_RATE) :]
    assert len(cut) == len(whole) and (cut - whole)[160:-160].abs().max() < 5e-3
    silent = begins + pause / 2 + 1.0 if pause else begins / 2
    assert not audio.load(content, start=silent - 0.1, stop=silent + 0.1).abs().gt(0.02).any()


def test_the_length_of_an_interrupted_recording_is_counted_where_none_is_stated() -> None:
    content = interrupted_video("webm", "libopus", begins=0.0, pause=1.2, pictures=False, stays_open=True)
    assert audio.probe(content).duration == pytest.approx(3.2, abs=0.04)
    assert len(audio.load(content)) / SAMPLE_RATE == pytest.approx(3.2, abs=0.04)


def test_a_timestamp_hours_later_is_damage_not_hours_of_zeros() -> None:
    with pytest.raises(AudioError, match=r"damaged after 1\.\d+ s \(by its timestamps, no sound for 4000 s\)"):
        audio.load(interrupted_video("matroska", "pcm_s16le", begins=0.0, pause=4000.0))


ID3V2 = b"ID3\x04\x00\x00\x00\x00\x02\x00" + b"\xff\xfb\x90\x00" * 64  # as long as it says, frames in its picture
ID3V1 = b"TAG" + b"\x00" * 125
APE = b"APETAGEX" + (2000).to_bytes(4, "little") * 2 + b"\x00" * 16 + b"\xff\xfb\x90\x00" * 500


def decoded(content: bytes, first: int = 0, last: int | None = None) -> np.ndarray:
    with open_decoder(content) as decoder:
        return np.concatenate(list(decoder.blocks(first, last, 1 << 20)))


@pytest.mark.parametrize(
    ("name", "tags"),
    [
        *((name, b"") for name in ("mp3", "ogg-vorbis", "ogg-opus", "wav-16", "flac", "flac-24")),
        ("mp3", ID3V2),
        ("flac", ID3V2),
        ("mp3", APE + ID3V1 + ID3V2),
    ],
)
def test_recordings_one_after_another_are_all_read(name: str, tags: bytes) -> None:
    """As `cat` joins them, and a radio stream in chained Ogg: no decoder goes on after the first by itself."""
    parts = [known_file(name, seconds) for seconds in (2.0, 0.5, 1.0)]
    content = tags.join(parts)
    expected = np.concatenate([decoded(part) for part in parts])
    assert np.array_equal(decoded(content), expected)
    rate = round(len(expected) / 3.5)
    for first, last in ((round(1.9 * rate), round(2.7 * rate)), (round(2.6 * rate), None), (0, 7)):
        assert np.array_equal(decoded(content, first, last), expected[first:last])
    assert audio.probe(content).duration == 3.5
    waveform = audio.load(content)
    assert len(waveform) == 3.5 * SAMPLE_RATE
    assert torch.equal(torch.cat(list(audio.stream(content, block_seconds=0.3))), waveform)


def test_flac_streams_of_one_length_and_with_pictures_of_flac_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each begins where its magic stands after the metadata of the first, across the blocks of the search, too."""
    from preprocessing.audio import joined

    part = known_file("flac", 1.0)
    picture = b"fLaC\x00\x00\x00\x22" * 4  # in a block of application data, after STREAMINFO, which is not the last
    first = (
        part[:4]
        + bytes([part[4] & 0x7F])
        + part[5:42]
        + b"\x02"
        + len(picture).to_bytes(3, "big")
        + picture
        + part[42:]
    )
    assert part[4] == 0  # other blocks follow STREAMINFO
    for searched in (1 << 16, 1000, 97):
        monkeypatch.setattr(joined, "FLAC_SEARCHED_BYTES", searched)
        assert len(audio.load(first)) == SAMPLE_RATE
        assert len(audio.load(ID3V2 + first)) == SAMPLE_RATE
        assert len(audio.load(first + part + part)) == len(audio.load(ID3V2 + first + part + part)) == 3 * SAMPLE_RATE


def test_a_part_of_a_flac_is_read_without_a_search_for_more_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    from preprocessing.audio import joined

    part = known_file("flac", 2.0)
    content, whole, original, n_bytes = part + part, decoded(part + part), joined._read, 0

    def read(*arguments: Any) -> bytes:
        nonlocal n_bytes
        found = original(*arguments)
        n_bytes += len(found)
        return found

    monkeypatch.setattr(joined, "_read", read)
    for start, stop, is_searched in ((0.5, 1.0, False), (1.5, 2.0, False), (1.5, 2.1, True), (3.5, 4.0, True)):
        n_bytes = 0
        cut = audio.load(content, start=start, stop=stop)
        assert np.array_equal(cut, whole[round(start * SAMPLE_RATE) : round(stop * SAMPLE_RATE), 0])
        assert (n_bytes > len(part)) == is_searched and (n_bytes < 200) != is_searched
    n_bytes = 0
    assert len(audio.load(ID3V2 + part, stop=1.0)) == SAMPLE_RATE and n_bytes < 200


@pytest.mark.parametrize("rate", [8_000, 44_100])
def test_a_part_that_ends_where_another_flac_begins_is_resampled_with_its_beginning(rate: int) -> None:
    content = b""
    for seed in (0, 1):
        file, noise = io.BytesIO(), np.random.default_rng(seed).normal(scale=0.1, size=2 * rate)
        soundfile.write(file, noise, rate, format="FLAC", subtype="PCM_16")
        content += file.getvalue()
    whole = audio.load(content)
    for start, stop in ((0.5, 1.0), (1.5, 2.0), (1.5, 1.99)):
        part = whole[round(start * SAMPLE_RATE) : round(stop * SAMPLE_RATE)]
        assert torch.equal(audio.load(content, start=start, stop=stop), part)


@pytest.mark.parametrize("tags", [ID3V1, APE, APE + ID3V1, b"\x00" * 3000])
def test_tags_after_an_mp3_are_no_recording(tags: bytes) -> None:
    content = known_file("mp3", 1.0)
    assert np.array_equal(decoded(content + tags), decoded(content))


def test_recordings_one_after_another_may_differ_in_channels_not_in_rate() -> None:
    mono, stereo = known_file("mp3", 1.0), known_file("mp3", 1.0, 2)
    check_sine(audio.load(mono + stereo), LEVEL_ERROR["mp3"])
    assert audio.probe(stereo + mono).n_channels == 1
    with pytest.raises(AudioError, match=r"has no channel 1"):
        audio.load(stereo + mono, channel=1)
    other = io.BytesIO()
    soundfile.write(other, sine(22_050, 1.0), 22_050, format="MP3")
    with pytest.raises(AudioError, match=r"2 recordings one after another, at 22050 and 44100 Hz; expected one"):
        audio.load(mono + other.getvalue())


@pytest.mark.parametrize("name", ["mp3", "ogg-opus", "wav-16", "flac"])
def test_a_cut_off_last_one_of_several_recordings_is_refused(name: str) -> None:
    content = known_file(name, 1.0) + known_file(name, 2.0)
    with pytest.raises(AudioError, match="damaged after" if name == "flac" else "ends after"):
        audio.load(content[: -len(content) // 4])


MP3_RATE = 44_100
BIT_RATES = {
    "constant": {"b": "64000"},
    "variable": {"global_quality": "472", "flags": "+qscale"},
    "average": {"b": "64000", "abr": "1"},
}


def noise_before_sine(n_channels: int = 1) -> np.ndarray:
    """Long frames first, and short ones: by the former a decoder guesses too short a recording."""
    noise = np.random.default_rng(0).normal(0, 0.2, (MP3_RATE, n_channels)).clip(-1, 1).astype(np.float32)
    return np.concatenate([noise, sine(MP3_RATE, 3.0, n_channels)])


@pytest.mark.parametrize("bit_rate", BIT_RATES)
def test_an_mp3_without_a_stated_length_is_read_to_its_end(bit_rate: str) -> None:
    content = mp3_without_length(noise_before_sine(), MP3_RATE, **BIT_RATES[bit_rate])
    assert b"Xing" not in content and b"Info" not in content
    waveform = audio.load(content)
    assert len(waveform) / SAMPLE_RATE == pytest.approx(4.0, abs=0.08)  # an encoder's padding
    check_sine(waveform[round(1.1 * SAMPLE_RATE) : round(3.9 * SAMPLE_RATE)], LEVEL_ERROR["mka-mp3"])
    assert audio.probe(content).duration == pytest.approx(len(waveform) / SAMPLE_RATE, abs=1e-3)
    assert torch.equal(torch.cat(list(audio.stream(content, block_seconds=0.7))), waveform)
    whole = decoded(content)
    assert np.array_equal(decoded(content, 100_001, 123_456), whole[100_001:123_456])
    for tags in (ID3V2, APE + ID3V1, b""):
        both = decoded(content + tags + content)  # the headers in these tags cost some of the silence after them
        assert len(both) == pytest.approx(2 * len(whole), abs=5 * 1152)
    for end in (ID3V1, APE, b"\x00" * 3000):
        assert np.array_equal(decoded(content + end), whole)
    assert len(decoded(content[:-100])) == len(whole)


def test_an_mp3_without_a_stated_length_may_change_its_channels() -> None:
    mono, stereo = (mp3_without_length(noise_before_sine(n), MP3_RATE, b="64000") for n in (1, 2))
    for content, n_channels in ((mono + stereo, 1), (stereo + mono, 2)):
        both = decoded(content)
        assert both.shape[1] == n_channels and len(both) / MP3_RATE == pytest.approx(8.0, abs=0.2)
        assert audio.load(content, channel=n_channels - 1)[-2 * SAMPLE_RATE :].abs().amax() > 0.9 * LEVEL


@pytest.mark.parametrize("damage", [bytes(16_000), np.random.default_rng(0).bytes(4000)])
def test_damage_in_an_mp3_without_a_stated_length_is_refused(damage: bytes) -> None:
    content = mp3_without_length(noise_before_sine(), MP3_RATE, b="64000")
    middle = len(content) // 2
    with pytest.raises(AudioError, match=r"damaged after (1\.9|2\.0)\d s"):
        audio.load(content[:middle] + damage + content[middle + len(damage) :])
