"""What `python -m finetune.transcribe` writes: every format beside openai-whisper's own, and the times of words."""

import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given
from hypothesis import strategies as st

from finetune.systems.base import LoadOptions
from finetune.systems.facts import SystemOptions
from finetune.systems.registry import load_system, parse_model
from finetune.systems.transcript import (
    MAX_SEGMENT_CHARACTERS,
    MAX_SEGMENT_SECONDS,
    Segment,
    Transcript,
    Word,
    fitted,
    joined,
    segments_of,
)
from finetune.transcription.by_channel import merged
from finetune.transcription.recordings import Recording
from finetune.transcription.results import StandardOutput
from finetune.transcription.writers import Subtitles, rendered, textgrid
from preprocessing import audio
from preprocessing.audio import SAMPLE_RATE
from preprocessing.corpus import open_corpus
from tests.conftest import DEMO
from tests.finetune.transcription.transcribing import AUDIO, NAMES, WAV2VEC2, read, run


@pytest.fixture(scope="module")
def commands(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three commands of the demo, transcribed by the embedded wav2vec2 in every format."""
    out = tmp_path_factory.mktemp("commands")
    run(WAV2VEC2, *(AUDIO / f"{name}.opus" for name in NAMES), "--output_dir", out, "--format", "all")
    return out


def test_a_ctc_model_gives_the_benchmarks_text_and_words_with_times(commands: Path) -> None:
    system = load_system(parse_model(WAV2VEC2), LoadOptions("cpu", None))
    for name in NAMES:
        waveform = audio.load(AUDIO / f"{name}.opus")
        (expected,) = system.text(system.forward(system.features([waveform])))
        found = read(commands / f"{name}.json")
        assert set(found) == {"text", "segments", "language"} and found["text"] == expected != ""
        words = [word for segment in found["segments"] for word in segment["words"]]
        assert [word["word"].strip() for word in words] == expected.split()
        assert all(set(word) == {"word", "start", "end", "probability"} for word in words)
        times = [time for word in words for time in (word["start"], word["end"])]
        assert times == sorted(times) and times[0] >= 0 and times[-1] <= len(waveform) / SAMPLE_RATE + 1e-3
        assert all(0 < word["probability"] <= 1 for word in words)
        assert (commands / f"{name}.txt").read_text().split() == expected.split()
        assert (commands / f"{name}.srt").read_text().startswith("1\n00:00:0")
        assert (commands / f"{name}.vtt").read_text().startswith("WEBVTT\n")
        assert (commands / f"{name}.tsv").read_text().splitlines()[0] == "start\tend\ttext"


def read_textgrid(text: str) -> tuple[float, dict[str, list[tuple[float, float, str]]]]:
    """A TextGrid in its long form, read by the grammar of Praat's manual: its xmax, and each tier's intervals."""
    assert text.startswith('File type = "ooTextFile"\nObject class = "TextGrid"\n\nxmin = 0\n')
    tokens = re.findall(r'"(?:[^"]|"")*"|<exists>|-?\d+(?:\.\d+)?(?!\]?:)', re.sub(r"\[\d*\]:?", "", text))
    values: Iterator[str] = iter(tokens[2:])
    assert float(next(values)) == 0.0
    xmax = float(next(values))
    assert next(values) == "<exists>"
    tiers = {}
    for _ in range(int(next(values))):
        assert next(values) == '"IntervalTier"'
        name = next(values)[1:-1]
        assert (float(next(values)), float(next(values))) == (0.0, xmax)
        tiers[name] = [
            (float(next(values)), float(next(values)), next(values)[1:-1].replace('""', '"'))
            for _ in range(int(next(values)))
        ]
    assert next(values, None) is None
    return xmax, tiers


def test_textgrids_are_what_praat_reads(commands: Path) -> None:
    for name in NAMES:
        xmax, tiers = read_textgrid((commands / f"{name}.TextGrid").read_text())
        assert xmax == pytest.approx(audio.probe(AUDIO / f"{name}.opus").duration, abs=0.01)
        assert list(tiers) == ["words", "segments"]
        text = read(commands / f"{name}.json")["text"]
        assert [" ".join(span[2] for span in spans if span[2]) for spans in tiers.values()] == [text, text]


WORDS = st.lists(
    st.tuples(st.floats(0, 2), st.floats(0, 3), st.sampled_from(["A", 'say "no"', "end.", "é\n"])), max_size=40
)


def spoken(durations: Sequence[tuple[float, float, str]]) -> list[Word]:
    """Words of pauses before them, durations and texts."""
    words, at = [], 0.0
    for pause, seconds, text in durations:
        words.append(Word(f" {text}", at + pause, at + pause + seconds, 0.5))
        at += pause + seconds
    return words


@given(WORDS)
def test_segments_hold_all_words_and_intervals_are_contiguous(durations: list[tuple[float, float, str]]) -> None:
    words = spoken(durations)
    segments = segments_of(words)
    assert [word for segment in segments for word in segment.words or ()] == words
    for segment in segments:
        assert segment.words and (segment.start, segment.end) == (segment.words[0].start, segment.words[-1].end)
        fits = (
            segment.end - segment.start <= MAX_SEGMENT_SECONDS and len(segment.text.strip()) <= MAX_SEGMENT_CHARACTERS
        )
        assert fits or len(segment.words) == 1
    xmax, tiers = read_textgrid(textgrid(Transcript("", segments), 1.0))
    for spans in tiers.values():
        assert spans[0][0] == 0.0 and spans[-1][1] == xmax
        assert all(start < end for start, end, _ in spans)
        assert all(before[1] == after[0] for before, after in pairwise(spans))
    assert [span[2] for span in tiers["words"] if span[2]] == [" ".join(word.word.split()) for word in words]


def test_a_long_segment_is_cut_after_a_comma_where_the_pauses_are_equal() -> None:
    words = spoken([(0.25, 0.75, "A," if place == 2 else "A") for place in range(8)])
    assert [len(segment.words or ()) for segment in segments_of(words)] == [3, 5]


def test_speakers_are_named_in_every_format_and_their_words_keep_their_order(tmp_path: Path) -> None:
    words = {
        "Ann": [(1.0, 1.4, " YES"), (1.4, 2.5, " SURE"), (6.0, 6.5, " BYE")],
        "Bob": [(0.0, 1.2, " OKAY"), (2.0, 3.0, " SO")],
    }
    parts = {
        name: Transcript.of_words("", [Word(word, start, end, 0.5) for start, end, word in own])
        for name, own in words.items()
    }
    call = merged(parts)
    assert call is not None and call.text == "OKAY YES SURE SO BYE"
    assert merged({**parts, "Eve": None}) is None
    blocks = rendered(call, "srt", 7.0).strip().split("\n\n")
    assert [block.split("\n")[1:] for block in blocks] == [
        ["00:00:00,000 --> 00:00:01,200", "Bob: OKAY"],
        ["00:00:01,000 --> 00:00:02,500", "Ann: YES SURE"],
        ["00:00:02,000 --> 00:00:03,000", "Bob: SO"],
        ["00:00:06,000 --> 00:00:06,500", "Ann: BYE"],
    ]
    for suffix, underlined in (("srt", "Ann: <u>YES</u> SURE"), ("vtt", "<v Ann><u>YES</u> SURE")):  # nested, as <v> is
        assert f"\n{underlined}\n" in rendered(call, suffix, 7.0, Subtitles(highlight_words=True))
    narrow = rendered(call, "vtt", 7.0, Subtitles(max_line_width=10))
    assert "<v Ann>YES SURE\n" in narrow, "a voice tag is not shown"
    arrow = replace(call, segments=tuple(replace(one, speaker="a-->b") for one in call.segments))
    assert "<v a->b>OKAY" in rendered(arrow, "vtt", 7.0)
    _, tiers = read_textgrid(rendered(call, "textgrid", 7.0))
    for name, own in words.items():
        expected = [(start, end, word.strip()) for start, end, word in own]
        assert [one for one in tiers[f"{name} - words"] if one[2]] == expected
    soundfile.write(tmp_path / "call.wav", np.zeros(7 * 16_000), 16_000)
    for suffix in ("vtt", "textgrid"):
        path = tmp_path / f"call.{suffix}"
        path.write_text(rendered(call, suffix, 7.0), encoding="utf-8")
        read_back = sorted((u.start, u.speaker, u.text) for u in open_corpus(str(path)).require_complete().utterances)
        assert read_back == [(0.0, "Bob", "OKAY"), (1.0, "Ann", "YES SURE"), (2.0, "Bob", "SO"), (6.0, "Ann", "BYE")]


def test_a_recognisers_own_segments_fit_subtitles_and_do_not_overlap() -> None:
    """Those that fit stay; those without words' times too."""
    long = spoken([(0.0, 0.9, f"word{place}") for place in range(20)])
    own = [
        Segment(0.0, 18.0, " long", tuple(long)),
        Segment(19.0, 21.1, " A B", (Word(" A", 19.0, 20.0, 0.5), Word(" B", 21.05, 21.1, 0.5))),
        Segment(21.0, 40.0, " without words"),
        Segment(39.0, 41.0, " end"),
    ]
    found = fitted(own)
    assert found[:-3] == segments_of(long) and len(found) > 5
    assert found[-3] == Segment(19.0, 21.0, " A B", (Word(" A", 19.0, 20.0, 0.5), Word(" B", 21.0, 21.0, 0.5)))
    assert found[-2:] == (Segment(21.0, 39.0, " without words"), own[-1])
    assert fitted([]) == () and fitted(own[-1:]) == (own[-1],)
    assert [one.end for one in fitted([own[-1], own[1]])] == [39.0, 21.1], "it does not end before it begins"


def test_a_long_segment_is_cut_where_a_sentence_ends() -> None:
    words = spoken(
        [(0.1, 0.9, text) for text in ("one", "two", "three", "four", "five.", "six", "seven", "eight", "nine", "ten")]
    )
    assert [segment.text for segment in segments_of(words)] == [
        " one two three four five.",
        " six seven eight nine ten",
    ]


def test_subtitles_are_openai_whispers(tmp_path: Path) -> None:
    from whisper.utils import get_writer

    transcript = Transcript.of_words("", spoken([(0.2, 0.5, "A"), (0.1, 0.4, "B"), (2.0, 0.5, "end.")]))
    for name in ("txt", "srt", "vtt", "tsv"):
        get_writer(name, str(tmp_path))(transcript.as_dict(), "x.wav")
        assert rendered(transcript, name, 5.0) == (tmp_path / f"x.{name}").read_text()
    without = Transcript("A B", (Segment(0.0, 1.0, "A B"),))
    assert rendered(without, "srt", 1.0) == "1\n00:00:00,000 --> 00:00:01,000\nA B\n\n"
    assert "words" not in without.as_dict()["segments"][0]
    assert joined([without, without.shifted(2.0)]).segments[1].start == 2.0
    for texts, expected in (
        (("one ", "", "two"), "one two"),
        (("今天天气很好。", "我们去"), "今天天气很好。我们去"),
        (("用 GPU", "我们"), "用 GPU 我们"),
    ):
        assert joined([Transcript(text) for text in texts]).text == expected


@pytest.mark.parametrize("hours", [0, 1])
def test_cues_last_half_a_second_where_there_is_room_and_never_nothing(hours: int) -> None:
    """Whisper's words may begin and end at one time. WebVTT demands that a cue ends after it begins."""
    begin, end = 3600.0 * hours, 3600.0 * hours + 10.1
    spans = [(1.0, 1.0), (1.2, 1.3), (3.0, 3.06), (5.0, 5.0), (5.0, 6.0), (7.0, 9.0), (10.0, 10.0)]
    segments = tuple(
        Segment(begin + first, begin + last, " a", (Word(" a", begin + first, begin + last, 0.5),))
        for first, last in spans
    )
    expected = [1.2, 1.7, 3.5, 5.001, 6.0, 9.0, 10.1]
    for name, times in (("srt", r"0(\d):00:(\d\d),(\d{3})"), ("vtt", r"(?:0(\d):)?00:(\d\d)\.(\d{3})")):
        found = re.findall(f"^{times} --> {times}$", rendered(Transcript("", segments), name, end), re.MULTILINE)
        assert [int(cue[0] or 0) for cue in found] == [hours] * len(spans)
        assert [(float(f"{cue[1]}.{cue[2]}"), float(f"{cue[4]}.{cue[5]}")) for cue in found] == [
            (first, last) for (first, _), last in zip(spans, expected, strict=True)
        ]
    assert (
        rendered(Transcript("", segments[:1]), "tsv", end).splitlines()[1].split()[:2]
        == [f"{begin * 1000 + 1000:.0f}"] * 2
    )


def assert_words(transcript: Transcript, expected: list[dict[str, Any]]) -> None:
    words = [word for segment in transcript.segments for word in segment.words or ()]
    assert [word.word for word in words] == [word["word"] for word in expected]
    for ours, theirs in zip(words, expected, strict=True):
        assert (ours.start, ours.end) == pytest.approx((theirs["start"], theirs["end"]), abs=0.03)
        assert ours.probability == pytest.approx(theirs["probability"], abs=1e-3)


@pytest.mark.slow
def test_whispers_words_are_openai_whispers() -> None:
    import whisper
    from whisper.timing import add_word_timestamps
    from whisper.tokenizer import get_tokenizer

    from finetune.models.whisper_formats import load_model

    checkpoint = str(DEMO / "whisper")
    waveforms = [audio.load(AUDIO / f"{name}.opus") for name in NAMES[:2]]
    system = load_system(parse_model(checkpoint), LoadOptions("cpu", None))
    found = system.transcribe([*waveforms, torch.zeros(0), torch.zeros(50)])
    assert found[2] == Transcript("") and found[3].as_dict()
    assert system.transcribe(waveforms[:1], words=False) == [
        Transcript.of_text(found[0].text, len(waveforms[0]) / SAMPLE_RATE, "en")
    ]
    options = SystemOptions(temperature=[0.0, 0.2])  # with fallback, by whisper.transcribe
    fallback = load_system(parse_model(checkpoint), LoadOptions("cpu", None, system=options))
    model = load_model(checkpoint)
    for waveform, transcript in zip(waveforms, found, strict=False):
        log_mel = whisper.log_mel_spectrogram(whisper.pad_or_trim(waveform))
        result: Any = whisper.decode(
            model, log_mel, whisper.DecodingOptions("transcribe", "en", without_timestamps=True, fp16=False)
        )
        segment = {"seek": 0, "start": 0.0, "end": len(waveform) / SAMPLE_RATE, "tokens": result.tokens}
        frames = len(waveform) // 160
        add_word_timestamps(
            segments=[segment], model=model, tokenizer=get_tokenizer(False), mel=log_mel, num_frames=frames,
            last_speech_timestamp=0.0,
        )  # fmt: skip
        assert_words(transcript, segment["words"])
        assert (transcript.text, transcript.language) == (result.text.strip(), "en")
        theirs: Any = whisper.transcribe(
            model, waveform, temperature=0.0, word_timestamps=True, without_timestamps=True, language="en", fp16=False
        )
        (first,) = [segment for segment in theirs["segments"] if segment["seek"] == 0]  # it goes on after the last word
        (ours,) = fallback.transcribe([waveform])
        if ours.text == first["text"].strip():  # not decoded again at a higher temperature
            assert_words(ours, first["words"])


def test_long_whisper_recordings_have_words_and_report_progress() -> None:
    system = load_system(parse_model(str(DEMO / "whisper")), LoadOptions("cpu", None))
    command = audio.load(AUDIO / "test-0000.opus")
    waveform = torch.cat([command, torch.zeros(29 * SAMPLE_RATE), command])
    done: list[float] = []
    (found,) = system.transcribe([waveform], advance=done.append)
    assert sum(done) == pytest.approx(len(waveform) / SAMPLE_RATE, abs=0.1) and len(done) > 1
    assert found.text == system.text(system.forward(system.features([waveform])))[0] or found.segments
    times = [word.start for segment in found.segments for word in segment.words or ()]
    assert times and max(times) > 29.0


def test_the_beams_text_has_word_times_too(tmp_path: Path) -> None:
    arpa = tmp_path / "words.arpa"
    words = ["SET", "THE", "ALARM", "FOR", "LIGHT", "TURN", "ON"]
    ngrams = "".join(f"-1.0\t{word}\t0\n" for word in ["<unk>", "<s>", "</s>", *words])
    arpa.write_text(f"\\data\\\nngram 1={len(words) + 3}\n\n\\1-grams:\n{ngrams}\n\\end\\\n")
    run(WAV2VEC2, AUDIO / "test-0000.opus", "--lm", arpa, "--beam_width", 8, "-o", tmp_path / "out", "-f", "json")
    found = read(tmp_path / "out" / "test-0000.json")
    times = [word["start"] for segment in found["segments"] for word in segment["words"]]
    assert len(times) == len(found["text"].split()) > 1 and times == sorted(times)


def test_a_name_that_is_not_utf_8_is_printed_escaped() -> None:
    file = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    output = StandardOutput("txt", Subtitles(), file)
    recordings = [Recording(Path(name), name, name) for name in ("caf\udce9", "b")]
    output.pending(recordings)
    for place, recording in enumerate(recordings):
        output.write(place, recording, Transcript("A"), 1.0)
    file.seek(0)
    assert file.read() == "caf\\udce9: A\nb: A\n"


def test_a_name_of_two_lines_is_printed_on_one() -> None:
    file = io.StringIO()
    output = StandardOutput("txt", Subtitles(), file)
    recordings = [Recording(Path(name), name, name) for name in ("a\nb\x1b[31m.wav", "c.wav")]
    output.pending(recordings)
    for place, recording in enumerate(recordings):
        output.write(place, recording, Transcript("A"), 1.0)
    assert file.getvalue() == "a␊b␛[31m.wav: A\nc.wav: A\n"
