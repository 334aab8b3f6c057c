"""`python -m finetune.transcribe`: recordings that are cut into pieces, their times and language, and going on."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor

from finetune.systems.transcript import Transcript, Word
from finetune.transcription.recordings import Recording, pieces
from finetune.transcription.results import ResultsFolder
from preprocessing import audio
from preprocessing.audio import SAMPLE_RATE
from preprocessing.errors import InputError
from tests.finetune.transcription.transcribing import AUDIO, ECHO, NAMES, Echo, read, run

pytestmark = pytest.mark.usefixtures("no_batches")


def test_long_recordings_are_cut_at_pauses(tmp_path: Path) -> None:
    spoken_parts = [part for name in NAMES for part in (audio.load(AUDIO / f"{name}.opus"), torch.zeros(12_000))]
    waveform = torch.cat(spoken_parts)
    audio.save(tmp_path / "long.wav", waveform)
    longest = 1.5 * max(len(part) for part in spoken_parts) / SAMPLE_RATE
    parts = list(pieces(tmp_path / "long.wav", longest))
    assert len(parts) > 2 and torch.equal(torch.cat([part for _, part in parts]), waveform)
    assert all(len(part) <= round(longest * SAMPLE_RATE) for _, part in parts)
    for begin, _ in parts[1:]:
        around = waveform[round(begin * SAMPLE_RATE) - 1_600 : round(begin * SAMPLE_RATE) + 1_600]
        assert not around.any()
    audio.save(tmp_path / "whole.wav", waveform[:16_000])
    assert [begin for begin, _ in pieces(tmp_path / "whole.wav", 1.0)] == [0.0]


class Ending(Echo):
    """Writes a word of the first second, and nothing after it."""

    words: "list[Word]" = [Word(" yes", 0.2, 1.0, 0.9)]  # noqa: RUF012

    def transcribe(self, waveforms: Sequence[Tensor], **_: object) -> list[Transcript]:  # type: ignore[override]
        return [Transcript.of_words("yes" if self.words else "", self.words) for _ in waveforms]


def test_speech_after_the_last_word_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    """Where more than 10 s are between the word's end and the speech's; the text is written all the same. Speech
    that is faint beside the recording's, as from another room, is none."""
    names = ("missed", "near", "quiet", "faint")
    command, pause = audio.load(AUDIO / "test-0000.opus"), torch.zeros(9 * SAMPLE_RATE)
    for name, after in (
        ("missed", [pause, command]),
        ("near", [pause[: -len(command)], command]),
        ("quiet", [pause] * 2),
        ("faint", [pause, 0.006 * command]),
    ):
        audio.save(tmp_path / f"{name}.wav", torch.cat([command[:SAMPLE_RATE], *after]))
    run(f"{__name__}:Ending", *(tmp_path / f"{name}.wav" for name in names))
    found = capsys.readouterr()
    assert found.out.count(": yes\n") == 4
    (note,) = [line for line in found.err.splitlines() if line.startswith("note: ")]
    assert note.startswith(f"note: {tmp_path}/missed.wav: the text ends at 1.0 s, but there is speech until 1")
    assert note.endswith(" s; check it")
    monkeypatch.setattr(Ending, "may_end_at_pause", True)
    monkeypatch.setattr(Ending, "words", [])
    soundfile.write(tmp_path / "call.wav", np.stack([audio.load(tmp_path / "missed.wav")] * 2, axis=1), SAMPLE_RATE)
    run(f"{__name__}:Ending", tmp_path / "call.wav", "--channel", "1")
    note = capsys.readouterr().err
    assert f"note: {tmp_path}/call.wav, channel 1: there is no text, but speech until 1" in note
    assert "a Whisper may write the rest" in note and "apad=whole_dur=31" in note


class Detecting(Echo):
    """Hears another language in each piece that it is given, unless it knows the language."""

    languages = ("de", "cy", "nn")
    known: str | None = None

    @contextmanager
    def in_language(self, language: str | None) -> Iterator[None]:
        self.known = language
        yield
        self.known = None

    def transcribe(self, waveforms: Sequence[Tensor], **_: object) -> list[Transcript]:  # type: ignore[override]
        self.batches.append([len(one) for one in waveforms])
        language = self.known or self.languages[len(self.batches) - 1]
        return [Transcript.of_text(language, len(waveforms[0]) / SAMPLE_RATE, language)]


def test_the_parts_of_a_recording_are_in_the_language_of_its_beginning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Echo, "longest_in_batch_seconds", 1.0)
    audio.save(tmp_path / "long.wav", torch.zeros(5 * SAMPLE_RATE))
    run(f"{__name__}:Detecting", tmp_path / "long.wav", "-o", tmp_path / "out", "-f", "json")
    assert len(Echo.batches) == 3 and read(tmp_path / "out" / "long.json")["text"] == "de de de"
    assert read(tmp_path / "out" / "long.json")["language"] == "de"


class Dying(Detecting):
    """Transcribes so many pieces, each as a word of its language and samples, and fails on the next."""

    languages = ("de", "cy", "nn") * 2
    left = 100
    failure: BaseException = KeyboardInterrupt()

    def transcribe(self, waveforms: Sequence[Tensor], **_: object) -> list[Transcript]:  # type: ignore[override]
        if not self.left:
            raise self.failure
        type(self).left -= 1
        (found,) = super().transcribe(waveforms)
        seconds = len(waveforms[0]) / SAMPLE_RATE
        word = Word(f" {found.text}-{len(waveforms[0])}", 0.1, seconds / 3, 1 / 3)
        return [Transcript.of_words(word.word, [word], found.language)]


@pytest.mark.parametrize("failure", [KeyboardInterrupt(), RuntimeError("no more memory")])
def test_a_long_recording_goes_on_after_its_last_finished_piece(
    failure: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    """With the language of its first piece, and to the same files, of a line that a kill cut short too."""
    monkeypatch.setattr(Echo, "longest_in_batch_seconds", 1.0)
    monkeypatch.setattr(Dying, "failure", failure)
    soundfile.write(tmp_path / "long.wav", np.zeros((5 * SAMPLE_RATE, 2)), SAMPLE_RATE)
    words = (f"{__name__}:Dying", tmp_path / "long.wav", "-f", "json,srt", "--speakers", "Ann", "Bob")
    run(*words, "-o", tmp_path / "whole")
    n_pieces = len(Echo.batches)
    assert n_pieces == 6 and not list((tmp_path / "whole").rglob(".*.pieces"))
    Echo.batches.clear()
    out = tmp_path / "out"
    monkeypatch.setattr(Dying, "left", 5)  # all of the first channel, and two of the second's three
    with pytest.raises((KeyboardInterrupt, InputError)):
        run(*words, "-o", out)
    kept = sorted(out.rglob(".*.pieces"))
    assert [len(path.read_text().splitlines()) for path in kept] == [4, 3] and not list(out.glob("*.json"))
    with kept[1].open("a") as file:
        file.write('{"end": 5.0, "trans')
    monkeypatch.setattr(Dying, "left", 100)
    capsys.readouterr()
    Echo.batches[:] = Echo.batches[:1]  # one to go, which would hear another language
    run(*words, "-o", out)
    said = capsys.readouterr().err
    assert "long.wav, channel 0: resuming after 5 s" in said and "long.wav, channel 1: resuming after" in said
    assert len(Echo.batches) == 2 and not list(out.rglob(".*.pieces"))
    for name in ("long.json", "long.srt"):
        assert (out / name).read_text() == (tmp_path / "whole" / name).read_text()


def test_pieces_of_another_model_are_not_gone_on_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Echo, "longest_in_batch_seconds", 1.0)
    monkeypatch.setattr(Dying, "left", 2)
    audio.save(tmp_path / "long.wav", torch.zeros(5 * SAMPLE_RATE))
    with pytest.raises(KeyboardInterrupt):
        run(f"{__name__}:Dying", tmp_path / "long.wav", "-o", tmp_path / "out")
    Echo.batches.clear()
    run(ECHO, tmp_path / "long.wav", "-o", tmp_path / "out")
    assert sum(n for (n,) in Echo.batches) == 5 * SAMPLE_RATE and not list((tmp_path / "out").rglob(".*.pieces"))


def test_pieces_of_a_recording_that_changes_before_its_turn_are_not_gone_on_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Echo, "longest_in_batch_seconds", 1.0)
    monkeypatch.setattr(Dying, "left", 2)
    words = (f"{__name__}:Dying", tmp_path / "long.wav", "-o", tmp_path / "out")
    audio.save(tmp_path / "long.wav", torch.zeros(5 * SAMPLE_RATE))
    with pytest.raises(KeyboardInterrupt):
        run(*words)
    Echo.batches.clear()
    monkeypatch.setattr(Dying, "left", 100)
    pending = ResultsFolder.pending

    def change(self: ResultsFolder, recordings: Sequence[Recording]) -> list[Recording]:
        remaining = pending(self, recordings)
        audio.save(tmp_path / "long.wav", torch.zeros(6 * SAMPLE_RATE))
        return remaining

    monkeypatch.setattr(ResultsFolder, "pending", change)
    run(*words)
    assert sum(n for (n,) in Echo.batches) == 6 * SAMPLE_RATE and not list((tmp_path / "out").rglob(".*.pieces"))


def test_a_system_without_word_times_gives_a_segment_for_each_piece(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Echo, "longest_in_batch_seconds", 1.0)
    audio.save(tmp_path / "long.wav", torch.zeros(5 * SAMPLE_RATE))
    run(ECHO, tmp_path / "long.wav", "-o", tmp_path / "out", "-f", "json")
    segments = read(tmp_path / "out" / "long.json")["segments"]
    assert [segment["start"] for segment in segments][1:] == [segment["end"] for segment in segments][:-1]
    assert segments[-1]["end"] == 5.0 and sum(n for (n,) in Echo.batches) == 5 * SAMPLE_RATE
