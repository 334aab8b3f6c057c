"""STM: lines, labels, alternatives, channels and the places of the audio, beside NIST's description of the format."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from preprocessing.cli import notes
from preprocessing.corpus import open_corpus
from preprocessing.corpus.readers.stm import first_alternatives
from preprocessing.errors import InputError

TWO = ["talk1 1 ann 0.5 1.25 <o,f0,female> good morning", "talk1 1 bob 2.0 3.0 <F0_M> yes"]


@pytest.fixture(autouse=True)
def nothing_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notes, "_noted", set())


def write_silence(path: Path, n_channels: int = 1) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.zeros((64_000, n_channels)), 16_000, format="WAV" if path.suffix == ".sph" else None)


def write_stm(path: Path, lines: list[str]) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return str(path)


def test_lines_are_segments_with_speakers_and_sexes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_silence(tmp_path / "talk1.sph")
    lines = [
        ';; LABEL "O" "Overall" "Overall"',
        *TWO,
        "",
        "talk1 1 inter_segment_gap 1.25 2.0 <o,,unknown> ignore_time_segment_in_scoring",
        "talk1 1 excluded_region 3.0 3.25 IGNORE_TIME_SEGMENT_IN_SCORING",
        "talk1.sph A 2345-b 3.25 3.5 dog  walking {NOISE} a(2) (talk1-3.25-3.50-F0_M-S2)",
        "talk1 1 inter_segment_gap 3.5 4.0 <O,M,F>",
    ]
    corpus = open_corpus(write_stm(tmp_path / "all.stm", lines)).require_complete()
    assert [(u.text, u.speaker, u.sex, u.start, u.stop, u.duration) for u in corpus.utterances] == [
        ("good morning", "ann", "F", 0.5, 1.25, 0.75),
        ("yes", "bob", "M", 2.0, 3.0, 1.0),
        ("dog walking {NOISE} a(2)", "2345-b", None, 3.25, 3.5, 0.25),
        ("", None, None, 3.5, 4.0, 0.5),
    ]
    assert {u.channel for u in corpus.utterances} == {None}
    said = capsys.readouterr().err
    assert said.count("without 2 segments whose text is ignore_time_segment_in_scoring") == 1 == said.count("note: ")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("i've { um / uh / @ } as far", "i've um as far"),  # that of NIST's description
        ("{ @ / uh } yes", "yes"),
        ("a { { b / c } d / { e / f } } g", "a b d g"),
        ("{BREATH} and / or @ me", "{BREATH} and / or @ me"),
        ("a { b / c", None),
        ("a { b } c", None),
        ("a } b", None),
    ],
)
def test_the_first_of_alternatives_is_read(text: str, expected: str | None) -> None:
    if expected is None:
        with pytest.raises(InputError, match="by itself; expected alternatives"):
            first_alternatives(text.split())
    else:
        assert first_alternatives(text.split()) == expected.split()


def test_a_note_says_that_sclite_takes_any_alternative(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_silence(tmp_path / "talk1.wav")
    lines = ["talk1 1 ann 0.5 1.25 { um / uh } yes", "talk1 1 ann 2 3 { um"]
    corpus = open_corpus(write_stm(tmp_path / "talk1.stm", lines))
    assert [one.text for one in corpus.utterances] == ["um yes"] and len(corpus.rejects) == 1
    assert "1 segment with alternatives, of which the first is read; sclite counts each" in capsys.readouterr().err


def test_lines_that_cannot_be_used_are_set_aside_with_reasons(tmp_path: Path) -> None:
    write_silence(tmp_path / "talk1.wav")
    lines = ["talk1 1 ann", "talk2 1 ann 0 1 hello", "talk1 1 ann x 1 hello", "talk1 1 ann 2 1 hello", *TWO]
    lines += ["talk1 1 ann 3 9 <o> too late", "talk1 1 ann 0.1 0.2 caf\udce9"]
    (tmp_path / "a.stm").write_bytes("\n".join(lines).encode(errors="surrogateescape"))
    corpus = open_corpus(str(tmp_path / "a.stm"))
    assert len(corpus.utterances) == 2
    assert [reject.where.rsplit(":", 1)[1] for reject in corpus.rejects] == ["1", "2", "3", "4", "7", "8"]
    expected = (
        "3 fields; expected 'file channel speaker start end",
        "no audio file 'talk2' beside it, or in sph/",
        "'start' is 'x'; expected seconds",
        "start 2 s",
        "beyond the audio's end at 4.00 s",
        "not UTF-8",
    )
    for reject, part in zip(corpus.rejects, expected, strict=True):
        assert part in reject.reason


def test_channels_are_those_of_the_file(tmp_path: Path) -> None:
    write_silence(tmp_path / "call.wav", 2)
    write_silence(tmp_path / "mono.wav")
    lines = [f"call {name} ann {place}.0 {place}.5 yes" for place, name in enumerate(("1", "B", "a"))]
    lines += ["mono B bob 0 1 no", "call 3 eve 3.0 3.5 no", "call mix eve 3.5 4.0 no", "call 0 eve 3.2 3.7 no"]
    corpus = open_corpus(write_stm(tmp_path / "calls.stm", lines))
    assert [(one.id, one.channel) for one in corpus.utterances] == [
        ("call-0-0000000-0000500", 0),
        ("call-1-0001000-0001500", 1),
        ("call-0-0002000-0002500", 0),
        ("mono-0000000-0001000", None),
    ]
    assert [one.reason.partition(";")[0] for one in corpus.rejects] == [
        f"channel {name!r} of audio with 2 channels" for name in ("3", "mix", "0")
    ]


@pytest.mark.parametrize("audio", ["train/stm/talk1.WAV", "train/sph/talk1.sph", "train/stm/wav/talk1.flac"])
@pytest.mark.parametrize("named", ["train", "train/stm", "train/stm/talk1.stm", "."])
def test_audio_is_found_beside_and_as_ted_lium_lays_it_out(
    tmp_path: Path, audio: str, named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_silence(tmp_path / audio)
    write_stm(tmp_path / "train" / "stm" / "talk1.stm", TWO)
    for reference in (str(tmp_path / named), named):
        monkeypatch.chdir(tmp_path)
        corpus = open_corpus(reference).require_complete()
        assert [Path(str(one.audio)).resolve() for one in corpus.utterances] == [tmp_path / audio] * 2


def test_a_folder_is_read_whole_but_not_several_splits(tmp_path: Path) -> None:
    for split in ("train", "test"):
        write_silence(tmp_path / split / "sph" / "talk1.sph")
        write_silence(tmp_path / split / "sph" / "talk2.sph")
        write_stm(tmp_path / split / "stm" / "talk1.stm", TWO)
    with pytest.raises(InputError, match="holds the splits test, train; expected one: name it"):
        open_corpus(str(tmp_path))
    corpus = open_corpus(str(tmp_path / "train"))
    (reject,) = corpus.rejects
    assert reject.where.endswith("talk2.sph:1") and "has no line in talk1.stm" in reject.reason
    write_stm(
        tmp_path / "train" / "stm" / "talk2.stm", ["talk2 1 inter_segment_gap 0 4 ignore_time_segment_in_scoring"]
    )
    assert len(open_corpus(str(tmp_path / "train")).require_complete().utterances) == 2
    for name in ("dev", "test"):
        write_stm(tmp_path / "one" / f"{name}.stm", TWO)
    write_silence(tmp_path / "one" / "talk1.wav")
    with pytest.raises(InputError, match=r"holds dev\.stm, test\.stm; expected one split: name the file, as in"):
        open_corpus(str(tmp_path / "one"))
    assert len(open_corpus(str(tmp_path / "one" / "dev.stm")).utterances) == 2
