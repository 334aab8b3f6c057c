"""Labels and tiers beside audio: which of Audacity's, Praat's and ELAN's are utterances, their times and speakers."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from preprocessing.corpus import open_corpus
from preprocessing.errors import InputError
from tests.preprocessing import corpora
from tests.preprocessing.corpora import SPOKEN

LONG_TEXTGRID = """File type = "ooTextFile"
Object class = "TextGrid"

xmin = 0
xmax = 2
tiers? <exists>
size = 4
item []:
    item [1]:
        class = "IntervalTier"
        name = "Ann"
        xmin = 0
        xmax = 2
        intervals: size = 2
        intervals [1]:
            xmin = 0
            xmax = 0.5
            text = ""
        intervals [2]:
            xmin = 0.5
            xmax = 2
            text = "She said ""ẹ̀kọ́"" 5
 times! "
    item [2]:
        class = "TextTier"
        name = "bell"
        xmin = 0
        xmax = 2
        points: size = 1
        points [1]:
            number = 1.5
            mark = "ding"
    item [3]:
        class = "IntervalTier"
        name = "Ann - words"
        xmin = 0
        xmax = 2
        intervals: size = 1
        intervals [1]:
            xmin = 0.5
            xmax = 2
            text = "she"
    item [4]:
        class = "IntervalTier"
        name = "Bob"
        xmin = 0
        xmax = 2
        intervals: size = 1
        intervals [1]:
            xmin = 0
            xmax = 1
            text = "yes"
"""
SHORT_TEXTGRID = (
    '"ooTextFile"\n"TextGrid"\n\n0\n2 ! all of it\n<exists>\n1\n"IntervalTier"\n"{}"\n0\n2\n1\n0\n2\n"mate"\n'
)
SLOTS = [("ts1", "100"), ("ts2", "1500"), ("ts3", "")]


def elan(*tiers: str, header: str = "") -> str:
    times = "".join(f'<TIME_SLOT TIME_SLOT_ID="{name}" TIME_VALUE="{time}"/>' for name, time in SLOTS)
    content = f"<HEADER>{header}</HEADER><TIME_ORDER>{times}</TIME_ORDER>{''.join(tiers)}"
    return f'<?xml version="1.0"?><ANNOTATION_DOCUMENT>{content}</ANNOTATION_DOCUMENT>'


def aligned(attributes: str, text: str, stop: str = "ts2") -> str:
    slots = f'ANNOTATION_ID="a1" TIME_SLOT_REF1="ts1" TIME_SLOT_REF2="{stop}"'
    value = f"<ANNOTATION_VALUE>{text}</ANNOTATION_VALUE>"
    annotation = f"<ALIGNABLE_ANNOTATION {slots}>{value}</ALIGNABLE_ANNOTATION>"
    return f"<TIER {attributes}><ANNOTATION>{annotation}</ANNOTATION></TIER>"


def referring(attributes: str, *texts: str) -> str:
    annotations = (
        f'<ANNOTATION><REF_ANNOTATION ANNOTATION_REF="a1"><ANNOTATION_VALUE>{text}</ANNOTATION_VALUE></REF_ANNOTATION>'
        "</ANNOTATION>"
        for text in texts
    )
    return f"<TIER {attributes}>{''.join(annotations)}</TIER>"


SENTENCE = aligned('TIER_ID="ref@ANN"', "sess.001")
TRANSLATION = aligned('TIER_ID="ft" PARENT_REF="tx"', "I understand")


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        (
            "a.txt",  # Audacity; a point and a label without text are no utterances, a backslash begins frequencies
            "0.500000\t0.750000\tgood  morning\n\\\t100.0\t900.5\n0.8\t0.8\tding\n0,8\t0,9\t\n0.80\t1\tyes\n",
            [("a-0000500-0000750", 0.5, 0.75, "good morning"), ("a-0000800-0001000", 0.8, 1.0, "yes")],
        ),
        ("a.TXT", "0 46797 She had your dark suit\n", [("a", 0.0, None, "She had your dark suit")]),
        ("a.lab", "hello\nthere", [("a", 0.0, None, "hello there")]),
        ("a.txt", "1\t2\n", [("a", 0.0, None, "1 2")]),
        ("a.txt", "1 2 Polizei\n3 4 Offizier", [("a", 0.0, None, "1 2 Polizei 3 4 Offizier")]),
        ("a.txt", "1 500 men", [("a", 0.0, None, "1 500 men")]),
        ("a.txt", "00 4930 is to dial", [("a", 0.0, None, "00 4930 is to dial")]),
        ("a.lab", "0 2500000 sil\n2500000 8000000 hello\n", "a.lab has two numbers before the text of each of its 2"),
        ("a.txt", "0.5\t0.5\tding\n", "labels of points alone; expected some with a start and a stop"),
    ],
)  # fmt: skip
def test_texts_beside_audio_may_have_times(
    tmp_path: Path, name: str, content: str, expected: list[tuple[str, float, float | None, str]] | str
) -> None:
    corpora.write_audio(tmp_path / "a.wav", SPOKEN[0])
    corpora.write_audio(tmp_path / "b.WAV", SPOKEN[1])
    (tmp_path / "b.TXT").write_text("ONE")
    (tmp_path / name).write_text(content)
    corpus = open_corpus(str(tmp_path))
    found = [(one.id, one.start, one.stop, one.text) for one in corpus.utterances if one.id != "b"]
    assert len(corpus.utterances) > len(found), "b.TXT"
    if isinstance(expected, str):
        (reject,) = corpus.rejects
        assert reject.reason.startswith(expected) and not found
    else:
        assert found == expected and not corpus.rejects


def test_a_lab_beside_a_textgrid_does_not_hide_it(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros(32_000), 16_000)
    (tmp_path / "a.lab").write_text("mate")
    (tmp_path / "a.TextGrid").write_text(SHORT_TEXTGRID.format("Kofi"))
    assert [one.speaker for one in open_corpus(str(tmp_path)).utterances] == ["Kofi"]
    (tmp_path / "a.txt").write_text("mate")
    assert [one.speaker for one in open_corpus(str(tmp_path)).utterances] == [None]


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        (
            "talk.TextGrid",
            LONG_TEXTGRID.encode("utf-16"),
            [(0, 1, "Bob", "yes"), (0.5, 2, "Ann", 'She said "ẹ̀kọ́" 5 times!')],
        ),
        ("talk.TextGrid", SHORT_TEXTGRID.format("Kofi").encode(), [(0, 2, "Kofi", "mate")]),
        ("talk.textgrid", SHORT_TEXTGRID.format("utterances").encode("utf-8-sig"), [(0, 2, None, "mate")]),
        (
            "talk.eaf",
            elan(aligned('TIER_ID="tx" PARTICIPANT="Kofi"', "Mate &amp; aseɛ"), TRANSLATION).encode(),
            [(0.1, 1.5, "Kofi", "Mate & aseɛ")],
        ),
        ("talk.eaf", elan(aligned('TIER_ID="default"', "Mate")).encode(), [(0.1, 1.5, None, "Mate")]),
        ("talk.TextGrid", SHORT_TEXTGRID.format("annotations").encode(), [(0, 2, None, "mate")]),
        (
            "talk.eaf",
            elan(
                SENTENCE,
                referring('TIER_ID="tx@ANN" PARENT_REF="ref@ANN"', "bore", "da"),
                referring('TIER_ID="ft@ANN" PARENT_REF="ref@ANN"', "good morning"),
            ).encode(),
            [(0.1, 1.5, "ANN", "bore da")],
        ),
        (
            "talk.eaf",
            elan(
                aligned('TIER_ID="ref" PARTICIPANT="Ann"', "1"),
                aligned('TIER_ID="tx" PARENT_REF="ref"', "bore da"),
                header='<MEDIA_DESCRIPTOR MEDIA_URL="file:///C:/x/talk.mp4" TIME_ORIGIN="250"/>'
                '<MEDIA_DESCRIPTOR MEDIA_URL="file:///C:/x/other.wav" TIME_ORIGIN="99"/>',
            ).encode(),
            [(0.35, 1.75, "Ann", "bore da")],
        ),
        (
            "talk.eaf",
            elan(
                aligned('TIER_ID="Ann"', "bore da"),
                aligned('TIER_ID="tx_words" PARENT_REF="Ann"', "da", stop="ts3"),
            ).encode(),
            [(0.1, 1.5, "Ann", "bore da")],
        ),
    ],
)  # fmt: skip
def test_tiers_of_praat_and_elan_are_read_by_their_utterances(
    tmp_path: Path, name: str, content: bytes, expected: list[tuple[float, float, str | None, str]]
) -> None:
    soundfile.write(tmp_path / "talk.wav", np.zeros(32_000), 16_000)
    (tmp_path / name).write_bytes(content)
    for reference in (tmp_path, tmp_path / name):
        utterances = open_corpus(str(reference)).require_complete().utterances
        assert [(one.start, one.stop, one.speaker, one.text) for one in utterances] == expected
        assert all(one.audio == str(tmp_path / "talk.wav") for one in utterances)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.TextGrid", SHORT_TEXTGRID.format("phones"), "no utterance in the tiers 'phones'"),
        (
            "a.TextGrid",
            SHORT_TEXTGRID.format("silences").replace("mate", "sounding"),
            "no utterance in the tiers 'silences'",
        ),
        (
            "a.eaf",
            elan(SENTENCE, referring('TIER_ID="ge" PARENT_REF="ref@ANN"', "good")),
            "tier 'ref@ANN', on which 'ge' depend, has numbers of sentences such as 'sess.001'; expected the",
        ),
        (
            "a.eaf",
            elan(SENTENCE, *(referring(f'TIER_ID="{name}" PARENT_REF="ref@ANN"', "good") for name in ("tx", "txt@A"))),
            "tier 'ref@ANN', on which 'tx', 'txt@A' depend, has several transcripts; expected the transcript in one",
        ),
        ("a.TextGrid", SHORT_TEXTGRID.format("Ann")[:60], "no TextGrid at its value"),
        ("a.TextGrid", "mate\n", "no TextGrid at its value 1; expected Praat's text format"),
        ("a.TextGrid", LONG_TEXTGRID.replace("size = 4", "size = 9"), "no TextGrid at its value"),
        ("a.TextGrid", LONG_TEXTGRID.replace("ẹ", "\udcff"), "neither UTF-8 nor UTF-16"),
        ("a.eaf", "<a", "not XML"),
        ("a.eaf", elan(TRANSLATION), "no annotation that is aligned with time"),
        ("a.eaf", elan(aligned('TIER_ID="tx"', "Mate", stop="ts3")), "annotation 'a1' has no time"),
        (
            "a.TextGrid",
            '"ooTextFile" "TextGrid" 0 2 <exists> 2 '
            + "".join(f'"IntervalTier" "{tier}" 0 2 2 0 1 "x" 1 2 "y" ' for tier in ("twi", "gloss")),
            "tiers 'twi' and 'gloss' have the same intervals",
        ),
    ],
)
def test_tiers_that_are_no_utterances_are_set_aside_with_the_reason(
    tmp_path: Path, name: str, content: str, reason: str
) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros(32_000), 16_000)
    (tmp_path / name).write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(InputError, match=reason):
        open_corpus(str(tmp_path))


def test_elan_names_the_audio_and_where_in_it_its_time_begins(tmp_path: Path) -> None:
    for name in ("my talk.wav", "other.wav"):
        soundfile.write(tmp_path / name, np.zeros(64_000), 16_000)
    descriptor = '<MEDIA_DESCRIPTOR MEDIA_URL="file:///C:/x/my%20talk.wav" RELATIVE_MEDIA_URL="" TIME_ORIGIN="2000"/>'
    content = elan(aligned('TIER_ID="default"', "Mate"), header=descriptor)
    (tmp_path / "talk_ann.eaf").write_text(content)
    corpus = open_corpus(str(tmp_path))
    assert [one.where.rpartition("/")[2] for one in corpus.rejects] == ["other.wav:2"]
    for utterances in (corpus.utterances, open_corpus(str(tmp_path / "talk_ann.eaf")).utterances):
        assert [(one.audio, one.start, one.stop) for one in utterances] == [(str(tmp_path / "my talk.wav"), 2.1, 3.5)]
    (tmp_path / "second.eaf").write_text(content)
    with pytest.raises(InputError, match=r"second\.eaf and talk_ann\.eaf beside it; expected one of them"):
        open_corpus(str(tmp_path))


@pytest.mark.parametrize(
    ("names", "speakers"),
    [(("Kofi",), ["Kofi"]), (("Kofi", "Kofi"), [None, None]), (("Kofi", "Ama", "Kofi"), ["Kofi", "Ama", "Kofi"])],
)
def test_the_one_tier_of_all_files_names_no_speaker(
    tmp_path: Path, names: tuple[str, ...], speakers: list[str | None]
) -> None:
    for number, name in enumerate(names):
        soundfile.write(tmp_path / f"{number}.wav", np.zeros(32_000), 16_000)
        (tmp_path / f"{number}.TextGrid").write_text(SHORT_TEXTGRID.format(name))
    assert [one.speaker for one in open_corpus(str(tmp_path)).utterances] == speakers


def test_the_one_tier_of_some_files_names_a_speaker_of_others(tmp_path: Path) -> None:
    short = SHORT_TEXTGRID.format("Kofi")
    tier = short[short.index('"IntervalTier"') :]
    of_ama = tier.replace("Kofi", "Ama").replace('0\n2\n"mate"', '1\n2\n"aane"')
    for number, text in enumerate([short.replace("<exists>\n1\n", "<exists>\n2\n") + of_ama, short, short]):
        soundfile.write(tmp_path / f"{number}.wav", np.zeros(32_000), 16_000)
        (tmp_path / f"{number}.TextGrid").write_text(text)
    corpus = open_corpus(str(tmp_path)).require_complete()
    assert [one.speaker for one in corpus.utterances] == ["Kofi", "Ama", "Kofi", "Kofi"]
