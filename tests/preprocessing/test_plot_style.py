"""The one style of pictures: what is written is complete, repeatable and named by its flag when it cannot be."""

import warnings
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
from matplotlib.figure import Figure

from preprocessing.errors import UsageError
from preprocessing.plot_style import (
    PALETTE,
    PICTURE_SUFFIXES,
    check_picture_suffix,
    empty_panel,
    new_figure,
    save_figure,
    style_axes,
    write_heading,
    write_note,
)


def drawn() -> Figure:
    figure = new_figure(4.0, 3.0)
    write_heading(figure, "a $file$\nof two lines", "3 s of 4 s", left=0.1)
    axes = figure.add_axes((0.1, 0.1, 0.8, 0.6))
    axes.plot([0, 1], [1, 2], color=PALETTE.main, clip_on=True)
    style_axes(axes, "語 Panel", grid=True)
    write_note(axes, "$1 to $2")
    return figure


@pytest.mark.parametrize("suffix", PICTURE_SUFFIXES)
def test_the_same_figure_is_the_same_bytes(suffix: str, tmp_path: Path) -> None:
    first, second = tmp_path / f"first{suffix}", tmp_path / f"second{suffix}"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        save_figure(drawn(), first)
        save_figure(drawn(), second)
    assert first.read_bytes() == second.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == [first.name, second.name]


def test_a_figure_is_written_complete_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "picture.png"
    save_figure(drawn(), path)
    before = path.read_bytes()
    figure = drawn()
    monkeypatch.setattr(figure, "savefig", lambda file, **_: (Path(file).write_bytes(b"half"), 1 / 0))
    with pytest.raises(ZeroDivisionError):
        save_figure(figure, path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["picture.png"]


def test_a_path_that_cannot_be_written_is_named_with_its_flag(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"--output .*file/picture\.png: .*; expected a writable path"):
        save_figure(drawn(), tmp_path / "file" / "picture.png", flag="--output")
    with pytest.raises(OSError):
        save_figure(drawn(), tmp_path / "no folder" / "picture.png")
    save_figure(drawn(), tmp_path / "new" / "picture.PNG", flag="--output")
    assert matplotlib.image.imread(tmp_path / "new" / "picture.PNG", format="png").shape == (360, 480, 4)


def test_a_suffix_is_checked_by_flag() -> None:
    check_picture_suffix(None, "--plot")
    for suffix in (*PICTURE_SUFFIXES, ".PNG"):
        check_picture_suffix(Path(f"page{suffix}"), "--plot")
    for name in ("page.gif", "page", ".png"):
        with pytest.raises(UsageError, match=r"--plot .*; expected one of \.png, \.pdf, \.svg: choose one of them"):
            check_picture_suffix(Path(name), "--plot")


def test_colours_of_series_can_be_read_on_paper() -> None:
    """WCAG 2's contrast of text, 4.5, of every colour that text or a line has."""

    def luminance(colour: str) -> float:
        parts = np.array([int(colour[at : at + 2], 16) for at in (1, 3, 5)]) / 255
        linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    paper = luminance(PALETTE.paper)
    for colour in (PALETTE.ink, PALETTE.faint, *PALETTE.series):
        assert (paper + 0.05) / (luminance(colour) + 0.05) >= 4.8
    assert PALETTE.of(len(PALETTE.series)) == PALETTE.series[0] == PALETTE.main


def test_an_empty_panel_says_why(tmp_path: Path) -> None:
    axes = new_figure(2.0, 2.0).add_subplot()
    empty_panel(axes, "Level", "the audio was not decoded")
    assert axes.get_title(loc="left") == "Level"
    assert [text.get_text() for text in axes.texts] == ["the audio was not decoded"]
