"""The page says where things are: a tone at its frequency, a click at its second, a mask where it was drawn."""

import subprocess
import sys
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
import soundfile
import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from torch import Tensor

from preprocessing import audio, show
from preprocessing.cli.options import run_command
from preprocessing.errors import UsageError
from preprocessing.recording_page import Heading, page
from tests.conftest import ROOT

START = 2.0  # seconds into a file that the pages are made to begin at


def tone(frequency_hz: float, seconds: float = 3.0) -> Tensor:
    return 0.3 * torch.sin(2 * torch.pi * frequency_hz * torch.arange(round(seconds * 16_000)) / 16_000)


def drawn(waveform: Tensor, seed: int = 0) -> Figure:
    return page(waveform, Heading("a $file$.wav", audio.AudioInfo(16_000, 1, 0, "WAV"), START), seed=seed)


def panel(figure: Figure, title: str) -> Axes:
    return next(axes for axes in figure.axes if axes.get_title(loc="left").startswith(title))


def image(axes: Axes) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Values [rows, columns] and where the centre of each row and column lies on the axes."""
    (shown,) = [child for child in axes.get_children() if isinstance(child, AxesImage)]
    values = np.ma.filled(np.ma.asarray(shown.get_array(), dtype=float), np.nan)
    left, right, bottom, top = shown.get_extent()
    rows, columns = values.shape
    width, height = (right - left) / columns, (top - bottom) / rows
    return values, bottom + (np.arange(rows) + 0.5) * height, left + (np.arange(columns) + 0.5) * width


@pytest.mark.parametrize(("frequency_hz", "label"), [(500, "500"), (1_000, "1k"), (2_000, "2k"), (4_000, "4k")])
def test_a_tone_is_at_its_label(frequency_hz: int, label: str) -> None:
    axes = panel(drawn(tone(frequency_hz)), "Log-mel")
    values, heights, _ = image(axes)
    labels = [text.get_text() for text in axes.get_yticklabels()]
    assert abs(heights[values[:, 150].argmax()] - axes.get_yticks()[labels.index(label)]) <= 0.75  # bins
    assert axes.get_ylabel() == "hertz"


def test_a_click_is_at_its_second_in_every_panel() -> None:
    waveform = torch.zeros(32_000)
    waveform[12_000] = 0.9
    figure = drawn(waveform)
    seconds = START + 12_000 / 16_000
    values, _, times = image(panel(figure, "Log-mel"))
    loudest = times[values.sum(axis=0) > values.sum(axis=0).max() - 1.0]
    assert abs(loudest.mean() - seconds) <= 0.005
    values, _, times = image(panel(figure, "Mel-frequency"))
    assert abs(times[values[0] > values[0].max() - 0.5].mean() - seconds) <= 0.01
    assert all(axes.get_xlim() == (START, START + 2.0) for axes in figure.axes if axes.get_title(loc="left"))


def test_what_no_frame_covers_is_blank_and_not_silent() -> None:
    """As after the last frame of 0.298 s, and before the first of Kaldi's."""
    figure = drawn(tone(440.0, seconds=0.298))
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    pixels = np.asarray(canvas.buffer_rgba())[..., :3]
    for title in ("Log-mel", "Mel-frequency", "LB"):
        axes = panel(figure, title)
        (shown,) = [child for child in axes.get_children() if isinstance(child, AxesImage)]
        end = shown.get_extent()[1]
        assert end < START + 0.298 - 0.004
        x, y = axes.transData.transform(((end + START + 0.298) / 2, np.mean(axes.get_ylim())))
        assert pixels[round(pixels.shape[0] - y), round(x)].min() > 240, title
        low = axes.transData.transform((START + 0.1, axes.get_ylim()[0] + 0.2))
        if title == "Log-mel":
            box = axes.get_window_extent()
            shown_pixels = pixels[round(pixels.shape[0] - box.y1) : round(pixels.shape[0] - box.y0)]
            assert len(np.unique(shown_pixels.reshape(-1, 3), axis=0)) > 50, "the frames cover what is drawn below"
            assert pixels[round(pixels.shape[0] - low[1]), round(low[0])].max() < 60, "below the lowest filter's centre"


def test_the_four_policies_hide_and_tell() -> None:
    figure = drawn(tone(440.0))
    for name, meaning in (("LB", "basic"), ("LD", "double"), ("SM", "mild"), ("SS", "strong")):
        axes = panel(figure, name)
        values, _, _ = image(axes)
        hidden = np.isnan(values)
        rows, columns = hidden.all(axis=1), hidden.all(axis=0)
        assert hidden.any()
        assert np.array_equal(hidden, rows[:, None] | columns)
        assert meaning in axes.get_title(loc="left")
    again, other = drawn(tone(440.0)), drawn(tone(440.0), seed=1)
    masked = [np.isnan(image(panel(each, "LD"))[0]) for each in (figure, again, other)]
    assert np.array_equal(masked[0], masked[1])
    assert not np.array_equal(masked[0], masked[2])


@pytest.mark.slow
def test_the_command_writes_the_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recording, output = tmp_path / "a recording.wav", tmp_path / "new folder" / "page.png"
    audio.save(recording, tone(440.0))
    show.main([str(recording), "-o", str(output), "--start", "1"])
    pixels = matplotlib.image.imread(output)
    assert pixels.shape[0] > 1_000
    assert pixels.shape[1] > 1_000
    assert len(np.unique(pixels.reshape(-1, pixels.shape[2]), axis=0)) > 100
    assert capsys.readouterr().out == f"{output}\n"
    assert sorted(path.name for path in output.parent.iterdir()) == ["page.png"]


def test_one_channel_is_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    call = tmp_path / "call.wav"
    sides = audio.quantise(torch.stack([tone(440.0), tone(880.0)], 1))
    soundfile.write(call, sides.numpy(), 16_000)
    drawn_pages: list[tuple[Tensor, Heading]] = []

    def recorded(waveform: Tensor, heading: Heading, *, seed: int) -> Figure:
        drawn_pages.append((waveform, heading))
        return Figure()

    monkeypatch.setattr("preprocessing.recording_page.page", recorded)
    show.main([str(call), "-o", str(tmp_path / "page.png"), "--channel", "1"])
    ((waveform, heading),) = drawn_pages
    assert torch.equal(waveform, sides[:, 1])
    figure = page(waveform, heading, seed=0)
    assert any("stereo   ·   read as channel 1 at 16 kHz" in text.get_text() for text in figure.texts)


def test_wrong_usage_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recording = tmp_path / "short.wav"
    audio.save(recording, tone(440.0, seconds=0.01))
    for arguments, code, message in (
        (["no-such.wav"], 1, "no-such.wav: no such file"),
        ([str(recording)], 1, "short.wav: 160 samples at 16 kHz; expected 400 or more"),
        ([str(recording), "-o", "page.gif"], 2, "--output page.gif: suffix '.gif'; expected one of .png, .pdf, .svg"),
        ([str(recording), "--channel", "-1"], 2, "--channel is -1"),
        ([str(recording), "--channel", "1"], 1, "has no channel 1; expected 0 alone"),
        ([], 2, "file"),
    ):
        with pytest.raises(SystemExit) as ended:
            run_command(lambda arguments=arguments: show.main(arguments))  # type: ignore[misc]
        printed = capsys.readouterr().err
        assert ended.value.code == code
        assert message in printed
        assert printed.count("\n") == 1
    with pytest.raises(UsageError):
        show.main([str(recording), "--colour", "red"])


def test_reading_options_imports_nothing_heavy() -> None:
    """What keeps --help under a second."""
    check = "import sys, preprocessing.show; print({'torch', 'matplotlib', 'numpy'} & set(sys.modules))"
    ran = subprocess.run(
        [sys.executable, "-c", check], check=True, timeout=60, capture_output=True, text=True, cwd=ROOT
    )
    assert ran.stdout == "set()\n"
