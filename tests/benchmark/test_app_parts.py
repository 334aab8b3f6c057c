"""The page's parts without a browser: what is read, heard, compared, drawn and written as HTML."""

import io
import socket
from html.parser import HTMLParser
from pathlib import Path

import jiwer
import matplotlib.image
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from benchmark.app import AppConfig, chosen_port, render
from benchmark.app import __main__ as command
from benchmark.app.render import DARK, LIGHT, waveform_and_log_mel
from benchmark.app.transcribing import Recording, Systems, Transcription, compare, read_recording
from benchmark.results import StageSeconds
from finetune.systems.base import LoadOptions
from finetune.systems.registry import parse_models
from preprocessing import audio
from preprocessing.errors import InputError, UsageError
from tests.benchmark.app_systems import MARKUP
from tests.commands import run

HERE = "tests.benchmark.app_systems"
OPTIONS = LoadOptions("cpu", None)
TAGS = {"section", "p", "div", "article", "h3", "bdi", "span", "del", "ins", "em"}


def transcription(system: str, hypothesis: str, error: str | None = None) -> Transcription:
    return Transcription(system, hypothesis, error, StageSeconds(0.1, 0.2, 0.6, 0.1), 4.0)


class Read(HTMLParser):
    """A browser's view: which tags there are, which attributes, and the text between them."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.texts: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


@pytest.mark.parametrize(
    "values", [{"port": -1}, {"port": 70_000}, {"max_seconds": 0.0}, {"max_seconds": float("nan")}]
)
def test_values_that_cannot_be_are_refused_by_their_flag(values: dict[str, float]) -> None:
    (flag,) = values
    with pytest.raises(UsageError, match=f"--{flag}"):
        AppConfig(**values).check()  # type: ignore[arg-type]


def test_a_taken_port_is_refused_and_zero_finds_a_free_one() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UsageError, match=rf"--port {port}: .*choose another port"):
            chosen_port("127.0.0.1", port)
        free = chosen_port("127.0.0.1", 0)
    assert free not in (0, port)


def test_without_gradio_the_command_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r'pip install "\.\[app\]" in the checkout$'):
        command.main([])


def test_help_needs_neither_gradio_nor_torch() -> None:
    listed = run("-X", "importtime", "-m", "benchmark.app", "--help")
    assert listed.returncode == 0
    assert "--max_seconds" in listed.stdout
    imported = {line.rsplit("|", 1)[-1].strip() for line in listed.stderr.splitlines() if "|" in line}
    assert not imported & {"gradio", "torch", "matplotlib"}


def test_a_long_file_is_heard_up_to_the_limit_and_the_page_says_so(tmp_path: Path) -> None:
    whole = 0.1 * torch.randn(3 * 16_000, generator=torch.Generator().manual_seed(0))
    audio.save(tmp_path / "long.wav", whole)
    recording = read_recording(tmp_path / "long.wav", 1.25)
    assert torch.equal(recording.waveform, audio.load(tmp_path / "long.wav")[:20_000])
    assert recording.file_seconds == pytest.approx(3.0)
    assert "lasts 3 s; only the first 1.25 s" in " ".join(render.recording_facts(recording))
    assert read_recording(tmp_path / "long.wav", 3.0).file_seconds is None


def test_an_unreadable_file_is_named_without_its_folder(tmp_path: Path) -> None:
    (tmp_path / "it's broken.wav").write_bytes(b"RIFF and nothing of use" * 20)
    with pytest.raises(InputError, match=r"^it's broken\.wav: ") as told:
        read_recording(tmp_path / "it's broken.wav", 300.0)
    assert str(tmp_path) not in str(told.value)


def test_a_system_that_fails_does_not_stop_the_others() -> None:
    lines: list[str] = []
    specs = parse_models(f"{HERE}:Fails,{HERE}:Unloadable,{HERE}:Length")
    systems = Systems(specs, OPTIONS, lines.append)
    assert systems.names == (f"{HERE}:Fails", f"{HERE}:Length")
    assert any("Unloadable: ValueError: no weights" in line for line in lines)
    failed, heard = systems.transcribe(Recording("r", torch.zeros(8_000), 0.5, None))
    assert failed.error is not None and "no room" in failed.error
    assert heard.hypothesis == "8000 samples"
    assert heard.seconds.total >= 0.5  # decoding counts
    assert heard.rtfx == pytest.approx(0.5 / heard.seconds.total)


def test_no_system_at_all_ends_the_command() -> None:
    with pytest.raises(InputError, match=r"none of .*Unloadable can be loaded"):
        Systems(parse_models(f"{HERE}:Unloadable"), OPTIONS)


def test_words_are_compared_with_what_was_said_or_with_the_chosen_system() -> None:
    heard = [transcription("a", "the cat"), transcription("b", "The hat sat"), transcription("c", "", error="no room")]
    typed = compare(heard, "the cat sat", "a", str.lower)
    assert typed.reference_system is None
    assert [one and one.counts.errors for one in typed.alignments] == [1, 1, None]
    among = compare(heard, "  ", "b", str.lower)
    assert (among.reference, among.reference_system) == ("The hat sat", "b")
    assert [one and one.counts.errors for one in among.alignments] == [2, None, None]
    for without in (compare(heard, "", "c", str.lower), compare(heard[1:], "", "a", str.lower)):
        assert without.reference is None
        assert not any(without.alignments)


@given(st.text(max_size=40), st.text(max_size=40), st.text(max_size=20), st.text(max_size=20))
def test_whatever_is_heard_said_or_raised_stays_text(hypothesis: str, said: str, name: str, error: str) -> None:
    shown = render.PageState(
        (name,), (transcription(name, hypothesis + MARKUP), transcription("b", "", error + MARKUP)), (name + MARKUP,)
    )
    page = Read(render.results(shown, said + MARKUP, name, str.lower))
    assert page.tags <= TAGS
    assert page.attributes <= {"class", "title", "dir", "aria-label"}
    flat = "".join(page.texts).replace("\r\n", "\n")
    assert (hypothesis + MARKUP).replace("\r\n", "\n") in flat
    assert (error + MARKUP).replace("\r\n", "\n") in flat
    assert Read(render.message(hypothesis + MARKUP)).tags == {"p"}


@given(st.lists(st.sampled_from("abc"), min_size=1), st.lists(st.sampled_from("abc")))
def test_the_card_counts_what_jiwer_counts(said: list[str], heard: list[str]) -> None:
    page = render.results(render.PageState((), (transcription("s", " ".join(heard)),), ()), " ".join(said), "s", str)
    counted = jiwer.process_words(" ".join(said), " ".join(heard))
    errors = counted.substitutions + counted.deletions + counted.insertions
    assert f"· {errors} difference{'s' * (errors != 1)} in {len(said)} word{'s' * (len(said) != 1)}<" in page
    assert "1.00 s · RTFx 4.0" in page


@pytest.mark.parametrize("n_samples", [1, 399, 401, 16_000, 40_001])
def test_any_waveform_can_be_drawn(n_samples: int) -> None:
    waveform = audio.quantise(0.3 * torch.sin(torch.arange(n_samples) / 7.0))
    light, dark = (matplotlib.image.imread(io.BytesIO(waveform_and_log_mel(waveform, one))) for one in (LIGHT, DARK))
    assert light.shape == dark.shape == (396, 1320, 4)
    assert (light != dark).any()
    assert light[0, 0, 3] == 0.0  # what is behind shows


def test_a_click_is_drawn_where_it_is() -> None:
    waveform = torch.zeros(16_000)
    waveform[12_000] = 0.5
    drawn = matplotlib.image.imread(io.BytesIO(waveform_and_log_mel(waveform, LIGHT)))
    above = drawn[12:120, 70:1310]  # the waveform's panel, its labels and axes left out
    columns = (above[..., 3] > 0.5).sum(axis=0)
    expected = (0.75 - (70 / 1320 - 0.045) / 0.95) * 0.95 * 1320
    assert abs(int(columns.argmax()) - expected) < 4
