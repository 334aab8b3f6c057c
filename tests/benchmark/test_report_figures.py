"""Figures put what they show in proportion, leave out what has no value, and come out as files."""

import itertools
import math
import re
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg

from benchmark.report import views
from benchmark.report.fairness import best_system
from benchmark.report.figures import accuracy, robustness, speed
from benchmark.report.figures.speed import OperatingPoint
from benchmark.report.figures.style import Drawing
from benchmark.report.verdict import differences_to_best
from benchmark.results import CallCost, ConditionUsed, Slice, Spread
from finetune.metrics import Rate
from preprocessing.plot_style import PALETTE
from tests.benchmark.reported import full_run, run

RATE = Rate(0.1, 0.05, 0.2)
NONE = Rate(math.nan, math.nan, math.nan)


def text_of(drawing: Drawing | None) -> str:
    assert drawing is not None
    return drawing.inline("drawing")


@given(st.integers(0, 40), st.integers(1, 20))
def test_an_error_bin_holds_the_rates_that_its_label_says(n_errors: int, words: int) -> None:
    labels = {0: n_errors == 0, 11: n_errors > words}
    tenth = [10 * n_errors > (n - 1) * words and 10 * n_errors <= n * words for n in range(1, 11)]
    assert [n for n, holds in {**labels, **dict(enumerate(tenth, 1))}.items() if holds] == [
        accuracy.error_bin(n_errors / words)
    ]


@pytest.mark.parametrize("place", [0, 1, 2, 3000])
def test_many_points_are_thinned_but_the_slowest_is_kept(place: int) -> None:
    points = [(1.0 + n % 300, 0.01 * (1 + n % 17)) for n in range(5000)]
    points[place] = (points[place][0], 99.0)
    kept = speed.thin_points([*points, (0.0, 1.0), (1.0, 0.0)])
    assert max(second for _, second in kept) == 99.0 and 400 < len(kept) <= speed.MAX_POINTS
    assert kept == sorted(kept) and set(kept) <= set(points)


def test_without_values_there_is_no_figure() -> None:
    assert accuracy.forest([("a", None), ("b", NONE)], "p") is None
    assert accuracy.differences_to_best("a", [(1, "b", NONE)]) is None
    assert accuracy.wer_by_slice([("a", [])], "sex", 330) is None
    assert (
        speed.wer_against_rtfx(
            [OperatingPoint(0, "a", RATE, Spread(1, 1, 1)), OperatingPoint(1, "b", RATE, Spread(0, 0, 0))]
        )
        is None
    )
    assert speed.latency_against_duration([("a", [])]) is None and speed.latency_percentiles([]) is None
    noise = robustness.NoiseKind("babble", ((10.0, "b10"),))
    assert robustness.wer_against_snr(noise, [("a", None, {"other": RATE})], 1.0) is None
    assert sum(accuracy.bin_shares([0.0, 0.2, 3.0, math.inf])) == 1


def test_the_fitted_line_of_a_call_goes_through_points_that_lie_on_it() -> None:
    """On both logarithmic axes it is a curve, so it is compared point by point with the markers of such utterances."""
    cost = CallCost(Rate(2.0, 1.9, 2.1), Rate(0.1, 0.0, 0.2), 20, 1.0, 20.0)
    durations = [20.0 ** (step / 40) for step in range(41)]
    points = [(duration, 2.0 + 0.1 * duration) for duration in durations]
    unfitted = CallCost(None, None, 3, 1.0, 2.0, "too few")
    svg = text_of(speed.latency_against_duration([("a", points), ("b", points[:2])], costs=[cost, unfitted]))
    curve = max(re.findall(r'd="(M [^"]*)"', svg), key=lambda path: path.count("L"))
    numbers = [float(number) for number in re.findall(r"-?[\d.]+", curve)]
    drawn = list(zip(numbers[::2], numbers[1::2], strict=True))
    markers = [(float(x), float(y)) for x, y in re.findall(r'<use href="#[^"]*" x="([\d.]+)" y="([\d.]+)"', svg)]
    assert len(drawn) > 10
    for x, y in drawn:
        assert min(math.hypot(x - at[0], y - at[1]) for at in markers) < 0.5
    assert "d=" in text_of(speed.latency_against_duration([("a", points)], costs=[None]))


@pytest.mark.parametrize("longest", [1.5, 2.5, 12.0, 90.0, 3000.0])
@pytest.mark.parametrize("width", [330.0, 660.0])
def test_ticks_of_logarithmic_axes_are_several_and_do_not_touch(longest: float, width: float) -> None:
    points = [(1.2 * (longest / 1.2) ** (step / 20), 0.02 * (1 + step)) for step in range(21)]
    drawing = speed.latency_against_duration([("a", points)], width)
    assert drawing is not None
    canvas = FigureCanvasAgg(drawing.figure)
    canvas.draw()
    renderer = canvas.get_renderer()
    [axes] = drawing.figure.axes
    for axis, side in ((axes.xaxis, 0), (axes.yaxis, 1)):
        low, high = axis.get_view_interval()
        shown = [tick.label1 for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]
        boxes = [label.get_window_extent(renderer) for label in shown]
        ends = sorted((box.min[side], box.max[side]) for box in boxes)
        assert len(ends) >= 2 and all(left[1] + 3 < right[0] for left, right in itertools.pairwise(ends))


def test_names_of_systems_have_room_in_narrow_figures() -> None:
    name = "faster-whisper tiny.en"
    rates, fast = [(name, RATE)], Spread(2.0, 1.0, 3.0)
    system = full_run(10)[0].systems[0]
    assert system.speed is not None
    drawings = [
        accuracy.forest(rates, "p", 330),
        speed.latency_percentiles([(0, name, system.speed)], 330),
        speed.wer_against_rtfx([OperatingPoint(n, name, RATE, fast) for n in range(2)], 330),
    ]
    for drawing in drawings:
        assert f">{name}<" in text_of(drawing)


def test_intervals_lie_where_their_rates_say() -> None:
    svg = text_of(accuracy.forest([("a", RATE), ("b", None), ("c", Rate(0.15, 0.1, 0.3))], "p"))
    lines = re.findall(r'd="M ([\d.]+) ([\d.]+)  L ([\d.]+) \2"[^>]*series', svg)
    dots = re.findall(r'<use href="#[^"]*" x="([\d.]+)" y="([\d.]+)"', svg)
    rows = [(float(left), float(right)) for left, _, right in lines]
    low, high = rows[0][0], rows[1][1]  # 5 % and 30 %
    middles = [float(next(x for x, at in reversed(dots) if at == y)) for _, y, _ in lines]
    found = [*rows[0], *rows[1], *middles]
    for place, rate in zip(found, (0.05, 0.2, 0.1, 0.3, 0.1, 0.15), strict=True):
        assert place == pytest.approx(low + (high - low) * (rate - 0.05) / 0.25, abs=0.2)


def test_differences_are_of_the_others_to_the_best() -> None:
    summary = full_run(40)[0]
    wers = {one.facts.name: one.scores["verbatim"].wer.value for one in summary.systems}
    best = min(wers, key=lambda name: wers[name])
    assert best_system(summary) == best
    found = differences_to_best(summary)
    assert [name for _, name, _ in found] == [name for name in wers if name != best]
    for _, name, rate in found:
        assert rate.value == pytest.approx(wers[name] - wers[best])
        assert rate.low < rate.value < rate.high


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), min_size=1, max_size=7))
def test_the_front_holds_just_those_that_none_beats(at: list[tuple[int, int]]) -> None:
    places = [
        OperatingPoint(n, str(n), Rate(wer, wer, wer), Spread(fast, fast, fast)) for n, (wer, fast) in enumerate(at)
    ]
    front = {one.series for one in speed.pareto_front(places)}
    for n, (wer, fast) in enumerate(at):
        beaten = any(a <= wer and b >= fast and (a, b) != (wer, fast) for a, b in at)
        assert (n in front) != beaten


def test_names_stand_clear_of_each_other() -> None:
    names = ["wav2vec2-base", "faster-whisper", "whisper small", "yours"]
    wers = (0.05, 0.055, 0.06, 0.05)
    places = [
        OperatingPoint(n, name, Rate(wer, wer - 0.005, wer + 0.005), Spread(9 + n, 9, 13))
        for n, (name, wer) in enumerate(zip(names, wers, strict=True))
    ]
    drawing = speed.wer_against_rtfx(places)
    assert drawing is not None
    renderer = FigureCanvasAgg(drawing.figure).get_renderer()
    boxes = [text.get_window_extent(renderer) for text in drawing.figure.axes[0].texts if text.get_text() in names]
    assert len(boxes) == 4
    assert not any(one.overlaps(other) for at, one in enumerate(boxes) for other in boxes[:at])
    page = drawing.figure.bbox
    assert all(page.x0 <= box.x0 and box.x1 <= page.x1 and page.y0 <= box.y0 and box.y1 <= page.y1 for box in boxes)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("babble 5 dB", "babble"),
        ("noise-10dB", "noise"),
        ("white at -5 dB", "white"),
        ("pink@SNR 0", "pink"),
        ("dB 10", "dB"),
        ("street_2.5db", "street"),
        ("5 dB", "noise"),
    ],
)
def test_kinds_of_noise_come_from_the_names_of_conditions(name: str, kind: str) -> None:
    (found,) = robustness.noise_kinds([ConditionUsed(name, "", 5.0), ConditionUsed("silence", "", 5.0, speech=False)])
    assert found.kind == kind and found.levels == ((5.0, name),)


def test_a_property_of_many_values_shows_those_with_most_words() -> None:
    own = [Slice("speaker", str(n), n, 10 * n, RATE) for n in range(30)]
    shown = accuracy.largest_slices([("a", own)], "speaker")
    assert shown == [(str(n), n) for n in range(18, 30)]
    svg = text_of(accuracy.wer_by_slice([("a", own)], "speaker", 330))
    assert ">29<" in svg and ">17<" not in svg and 'role="img"' in svg


def test_stage_bars_are_in_proportion() -> None:
    total = 0.01 + 0.02 + 0.3 + 0.004  # the stages of both systems in `scored`
    bars = views.stage_bars(run()[0].systems)
    assert len(bars) == 2
    for own in bars.values():
        drawn = [bar.percent_of_slowest * total / 100 for bar in own]
        assert drawn == pytest.approx([0.01, 0.02, 0.3, 0.004], abs=1e-5)


def test_a_drawing_comes_out_as_files(tmp_path) -> None:  # type: ignore[no-untyped-def]
    drawing = accuracy.forest([("a$b$ <c>", RATE)], "p", palette=PALETTE)
    assert drawing is not None
    drawing.save(tmp_path, "forest")
    assert (tmp_path / "forest.png").read_bytes().startswith(b"\x89PNG")
    svg = (tmp_path / "forest.svg").read_text(encoding="utf-8")
    assert ElementTree.fromstring(svg).tag.endswith("svg") and PALETTE.of(0) in svg
    assert "var(" not in svg and "#0102" not in svg
    assert "var(--series-0" in text_of(accuracy.forest([("a", RATE)], "p"))
