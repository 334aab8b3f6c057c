"""What cannot be used is refused in one sentence by load, probe and the command; what is odd but legal is heard."""

import errno
import io
import os
import resource
import struct
import unicodedata
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from preprocessing import audio
from preprocessing.audio import AudioError
from preprocessing.audio.contract import open_source
from preprocessing.audio.sndfile import stated_length
from preprocessing.audio.waveform import open_decoder
from preprocessing.cli import notes
from preprocessing.corpus import Utterance
from preprocessing.corpus.utterance import missing_files
from tests.conftest import DEMO
from tests.known_audio import known_file, sine, webm_without_duration

PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\x02\0\0\0\x90wS\xde"


def wav(samples: np.ndarray, *, rate: int = 16_000, n_channels: int = 1, promised: int | None = None) -> bytes:
    """A WAV of 32-bit floats whose header says what it is told to."""
    content = samples.astype("<f4").tobytes()
    length = len(content) if promised is None else promised
    form = struct.pack("<HHIIHH", 3, n_channels, rate, rate * 4, 4, 32)
    return b"RIFF" + struct.pack("<I", 36) + b"WAVEfmt " + struct.pack("<I", 16) + form + b"data" + struct.pack(
        "<I", length & 0xFFFFFFFF
    ) + content  # fmt: skip


def flac_of(total: int) -> bytes:
    """Two seconds whose header says `total` samples (36 bits)."""
    content = bytearray(known_file("flac", 2.0))
    content[21] = (content[21] & 0xF0) | total >> 32
    content[22:26] = struct.pack(">I", total & 0xFFFFFFFF)
    return bytes(content)


def half(name: str) -> bytes:
    content = known_file(name, 4.0)
    return content[: len(content) // 2]


REFUSED = {
    "empty": (b"", "empty"),
    "one byte": (b"R", "not audio"),
    "text": (b"not audio at all\n" * 40, "not audio"),
    "playlist": (b"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:9,\nfile:///etc/hostname\n", "not audio"),
    "picture": (PNG, "not audio"),
    "no channel": (wav(np.zeros(9), n_channels=0), "channels|not audio"),
    "500 kHz": (wav(np.zeros(9), rate=500_000), "500000 Hz"),
    "no samples": (wav(np.zeros(0)), "no audio samples"),
    "NaN": (wav(np.array([0.0, np.nan])), "NaN"),
    "infinite": (wav(np.array([0.0, -np.inf])), "infinite"),
    "integers as floats": (wav(np.array([0.0, 12_345.0])), "1.23e.04 times full scale"),
    "8-bit integers as floats": (wav(127 * sine(16_000, 0.1)), "63.5 times full scale"),
    "a WAV cut off": (half("wav-16"), "ends after 2.00 s; expected the 4.00 s"),
    "an AIFF cut off": (half("aiff"), "ends after 2.00 s; expected the 4.00 s"),
    "a SPHERE cut off": (half("sphere"), r"ends after 1\.98 s; expected the 4\.00 s"),
    "a FLAC cut off": (half("flac"), "ends after|damaged"),
    "an Opus cut off": (half("ogg-opus"), "in the middle of an Ogg page"),
    "an MP3 cut off": (half("mp3"), "expected the 4.00 s"),
    "an M4A cut off": (half("m4a"), "not audio"),  # its table of samples is at the end
    "a WebM cut off": (half("webm-opus"), "expected the 4"),
    "2^36 samples promised": (flac_of((1 << 36) - 1), "expected the 4294967.30 s|ends after"),
}
IN_THE_HEADER = ("empty", "one byte", "text", "playlist", "picture", "no channel", "500 kHz", "a WAV cut off",
                 "an AIFF cut off", "an Opus cut off", "an M4A cut off")  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refused_in_one_sentence(tmp_path: Path, name: str) -> None:
    content, found = REFUSED[name]
    path = tmp_path / "it is\n\u270b.wav"
    path.write_bytes(content)
    for source in (content, path):
        attempts = [audio.load, lambda given: list(audio.stream(given))]
        for attempt in [*attempts, audio.probe] if name in IN_THE_HEADER else attempts:
            with pytest.raises(AudioError, match=found) as caught:
                attempt(source)
            message = str(caught.value)
            assert "\n" not in message and "; expected" in message and ": " in message.split("; expected")[1]
            assert (audio.describe_source(source)) in message
    output = tmp_path / "out.wav"
    with pytest.raises(AudioError, match=found):
        audio.transcode(path, output)
    assert not output.exists() and len(list(tmp_path.iterdir())) == 1


def test_paths_that_are_no_files(tmp_path: Path) -> None:
    link, pipe = tmp_path / "link.wav", tmp_path / "pipe.wav"
    link.symlink_to(tmp_path / "nowhere")
    os.mkfifo(pipe)
    for path, found in (
        (tmp_path, "is a folder"),
        (tmp_path / "missing.wav", "no such file"),
        (link, "is a broken link"),
        (pipe, "a pipe or device"),
        ("a\0b.wav", "is not a valid file name"),
        ("x" * 5000, "File name too long"),
    ):
        for attempt in (audio.load, audio.probe):
            with pytest.raises(AudioError, match=found):
                attempt(path)


def test_a_name_in_another_unicode_form_is_said_to_be_there(tmp_path: Path) -> None:
    composed, decomposed = (unicodedata.normalize(form, "Grüße.wav") for form in ("NFC", "NFD"))
    for there, told in ((composed, decomposed), (decomposed, composed)):
        (tmp_path / there).write_bytes(b"x")
        sentence = "no such file, but one whose name has its accents in another Unicode form"
        with pytest.raises(AudioError, match=sentence):
            audio.probe(tmp_path / told)
        (reject,) = missing_files([Utterance("u", tmp_path / told, "text", 1.0)])
        assert sentence in reject.reason
        (tmp_path / there).unlink()


def test_no_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    path = tmp_path / "private.wav"
    path.write_bytes(known_file("wav-16", 0.1))
    monkeypatch.setattr("builtins.open", refuse)  # root may read everything
    with pytest.raises(AudioError, match=r"Permission denied.*change its permissions"):
        audio.load(path)


def test_text_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_text("RIFF and more of it")
    with path.open(encoding="utf-8") as file, pytest.raises(AudioError, match=r"open as text.*'rb'"):
        audio.load(file)  # type: ignore[arg-type]


def test_silence_one_sample_and_a_short_tail_are_heard() -> None:
    assert torch.equal(audio.load(wav(np.zeros(100))), torch.zeros(100))
    assert audio.load(wav(np.array([0.25]))).tolist() == [0.25]
    samples = sine(16_000, 1.0)
    assert len(audio.load(wav(samples, promised=4 * 17_000))) == 16_000  # 62 ms are missing
    for unknown in (0xFFFFFFFF, 4 * 16_000):  # a WAV written to a pipe does not know its length
        assert len(audio.load(wav(samples, promised=unknown))) == 16_000


def streamed(name: str, length: int) -> bytes:
    """A WAV or AIFF of 2 s whose chunk of samples states `length` bytes."""
    content = bytearray(known_file(name, 2.0))
    is_aiff = name == "aiff"
    at = content.index(b"SSND" if is_aiff else b"data") + 4
    content[at : at + 4] = struct.pack(">I" if is_aiff else "<I", length)
    return bytes(content)


@pytest.mark.parametrize(
    ("name", "length"),
    [
        *[("wav-16", length) for length in (0, 0x7FFFF000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0xFFFFFFDB)],
        ("wav-24", 0x7FFFF000 - 0x7FFFF000 % 3),  # sox rounds down to whole samples
        ("wav-float", 0xFFFFFFDB),
        ("wav-mu-law", 0),
        ("wav-16", 32_000),  # what follows has passed 4 GiB, or the recorder was killed before it corrected the header
        ("wav-24", 3 * 4_801),
        ("wav-ima-adpcm", 0x80000000),
        ("aiff", 0x7F000008),  # sox
    ],
)
def test_what_was_written_to_a_pipe_is_heard_to_its_end(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, name: str, length: int
) -> None:
    monkeypatch.setattr(notes, "_noted", set())
    content, whole = streamed(name, length), known_file(name, 2.0)
    for _ in range(2):
        assert torch.equal(audio.load(content), audio.load(whole))
    assert audio.probe(content).n_samples == audio.probe(whole).n_samples
    note = capsys.readouterr().err
    assert note.count("note: ") == 1 and "its header does not state its length" in note


@pytest.mark.parametrize("length", [64_000 + 16_000, 0x7FFFEFF0, 0x7FFFF002])
def test_a_length_that_could_be_true_is_held_to(length: int) -> None:
    with pytest.raises(AudioError, match=r"ends after 2\.00 s; expected the"):
        audio.load(streamed("wav-16", length))


def test_a_wav_over_4_gib_is_not_as_long_as_what_is_left_of_its_length(tmp_path: Path) -> None:
    """Five hours of silence in a sparse file; the 32 bits of its header hold 200 s."""
    path, n_bytes = tmp_path / "long.wav", (1 << 32) + 48_000_000
    with path.open("wb") as file:
        file.write(wav(np.zeros(0), rate=60_000, promised=n_bytes))
        file.truncate(file.tell() + n_bytes)
    assert stated_length(open_source(path)).is_streamed


@pytest.mark.parametrize(
    "after",
    [
        b"\x00" * 200_000,
        b"TAG" + b"x" * 125,
        b"LIST" + struct.pack("<I", 40_000) + b"x" * 40_000,
        b"id3 " + struct.pack("<I", 40_001) + b"x" * 40_001,
    ],
)
@pytest.mark.parametrize("is_padded", [True, False])
def test_what_follows_the_samples_of_a_wav_is_not_heard(after: bytes, is_padded: bool) -> None:
    """Padding, a tag, chunks; these also where the odd number of bytes before them has no pad byte."""
    samples = io.BytesIO()
    soundfile.write(samples, sine(16_000, 1.0000625), 16_000, format="WAV", subtype="PCM_U8")
    content = samples.getvalue()
    assert content[40:44] == struct.pack("<I", 16_001)
    content = content[: 44 + 16_001] + b"\x00" * is_padded + after
    assert len(audio.load(content)) == 16_001


def test_a_wav_without_samples_but_with_chunks_after_them_is_empty() -> None:
    content = wav(np.zeros(0)) + b"LIST" + struct.pack("<I", 4) + b"INFO"
    with pytest.raises(AudioError, match="no audio samples"):
        audio.load(content)


@pytest.mark.parametrize("make", [lambda: webm_without_duration(2.0), lambda: flac_of(0)])
def test_where_no_length_is_stated_samples_are_counted(make: Callable[[], bytes]) -> None:
    content = make()
    with open_decoder(content) as decoder:
        assert decoder.info.n_samples == 0
    assert audio.probe(content).duration == pytest.approx(2.0, abs=0.03)
    assert len(audio.load(content)) == pytest.approx(32_000, abs=500)


def test_a_boundless_header_allocates_nothing() -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for content in (flac_of((1 << 36) - 1), wav(np.zeros(16_000), promised=0xFFFFFFFE)):
        with pytest.raises(AudioError):
            audio.load(content)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # kB


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".opus"])
def test_a_name_that_is_not_utf_8_is_read(suffix: str, tmp_path: Path) -> None:
    """As old archives hold them: its bytes are the name."""
    audio.save(tmp_path / "ok.flac", torch.zeros(16_000))
    source = tmp_path / "ok.flac"
    if suffix == ".opus":
        source = DEMO / "corpus" / "audio" / "test-0001.opus"
    elif suffix == ".wav":
        source = tmp_path / "ok.wav"
        soundfile.write(source, np.zeros(16_000, np.float32), 16_000)
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9" + suffix.encode()))
    path.write_bytes(source.read_bytes())
    assert torch.equal(audio.load(path), audio.load(source))
    assert audio.probe(path).duration == audio.probe(source).duration


@pytest.fixture
def noted(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[[], str]:
    """The notes since the last call, the first of a kind again."""

    def notes_now() -> str:
        monkeypatch.setattr(notes, "_noted", set())
        return capsys.readouterr().err

    notes_now()
    return notes_now


@pytest.mark.parametrize("rate", [16_000, 44_100])
def test_floats_beyond_full_scale_are_clipped_with_a_note(noted: Callable[[], str], rate: int) -> None:
    """Not of a codec that overshoots a little, nor of integers, which cannot."""
    assert audio.load(wav(4 * sine(rate, 0.5), rate=rate)).abs().max() == 1.0
    assert "its floats reach 2 times full scale and are clipped to it" in noted()
    audio.load(wav(2.1 * sine(rate, 0.5), rate=rate))
    audio.load(known_file("wav-16", 0.5))
    assert not noted()


def test_channels_that_cancel_each_other_are_noted(noted: Callable[[], str]) -> None:
    def load(left: np.ndarray, right: np.ndarray, channel: int | None = None) -> str:
        file = io.BytesIO()
        soundfile.write(file, np.concatenate([left, right], axis=1), 16_000, format="WAV")
        audio.load(file, channel=channel)
        return noted()

    tone, noise = sine(16_000, 0.5), np.random.default_rng(0).normal(0, 0.1, (2, 8_000, 1))
    for right in (-tone, -0.9 * tone):
        note = load(tone, right)
        assert "its channels cancel each other" in note and "--channel" in note
    for left, right in (
        (tone, tone),
        (tone, 0 * tone),
        (0 * tone, 0 * tone),
        (noise[0], noise[1]),
        (tone, -0.5 * tone),
    ):
        assert not load(left, right)
    assert not load(tone, -tone, channel=1)
