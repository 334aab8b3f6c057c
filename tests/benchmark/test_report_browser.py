"""The page in a real browser: it lists, filters, sorts, searches, opens and plays utterances, and loads nothing."""

import dataclasses
import itertools
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmark.report import browser
from benchmark.results import Comparison, SystemFacts, SystemSummary
from finetune.metrics import Rate
from tests.benchmark.parsed_page import page_of
from tests.benchmark.reported import HOSTILE, full_run, run_of, sample, scored, wide_run, with_words
from tests.benchmark.test_report_files import demo_samples

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on PATH")


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with sync_api.sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield launched
        launched.close()


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two systems of three have words with confidences."""
    summary, samples, timings = full_run(90, n_noisy=10)
    summary, samples = with_words(summary, samples)
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(page_of(summary, samples, timings, n_audio=0), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def playable(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One system with words, and the recordings of four utterances."""
    samples = [dataclasses.replace(one, hypothesis=one.reference + " <b>&") for one in demo_samples(4)]
    summary = dataclasses.replace(run_of(samples, [scored("only", samples)]), comparisons=[])
    path = tmp_path_factory.mktemp("playable") / "report.html"
    path.write_text(page_of(*with_words(summary, samples, 0)), encoding="utf-8")
    return path


@pytest.fixture
def page(chromium: Any, shown: Path) -> Iterator[Any]:
    yield from opened(chromium, shown)


def opened(chromium: Any, path: Path, **context: Any) -> Iterator[Any]:
    """The page; fails at the end where anything was logged, raised, or asked for beyond the file itself."""
    context = chromium.new_context(viewport={"width": 1280, "height": 900}, **context)
    page = context.new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: said.append(request.url) if not request.url.startswith("data:") else None)
    page.goto(path.as_uri(), timeout=120_000)
    yield page
    context.close()
    assert said == [path.as_uri()]


def search(page: Any, text: str) -> None:
    """Enter searches at once; typing alone waits a moment for more."""
    page.fill("#search", text)
    page.press("#search", "Enter")


def ids(page: Any) -> list[str]:
    return list(page.locator("button.row .id").all_inner_texts())


@pytest.mark.parametrize("scrolled", [0, 200])
def test_the_caption_of_a_table_that_scrolls_is_not_in_its_shadow(page: Any, scrolled: int) -> None:
    page.set_viewport_size({"width": 420, "height": 900})
    covered = page.locator("[aria-labelledby=table-caption]").evaluate(
        """(region, scrolled) => {
             region.scrollLeft = scrolled;
             const caption = region.querySelector('caption > span'), at = caption.getBoundingClientRect();
             const [own, paper] = [caption, document.body].map(one => getComputedStyle(one).backgroundColor);
             const [around, head] = [region, region.querySelector('thead')].map(one => one.getBoundingClientRect());
             const apart = [at.left - around.left, at.right - around.right, at.bottom - head.top];
             return [region.scrollLeft, own === paper, ...apart];
           }""",
        scrolled,
    )
    assert covered[:2] == [scrolled, True] and covered[2:] == pytest.approx([0, 0, 0], abs=1)


@pytest.mark.slow
def test_filters_sorts_and_search_find_what_the_results_hold(page: Any) -> None:
    _, samples, _ = full_run(90, n_noisy=10)
    status = page.locator("#matches")
    assert status.inner_text() == "100 utterances" and status.get_attribute("aria-live") == "polite"
    page.select_option("#by-condition", label="babble 10 dB")
    assert status.inner_text() == "10 of 100 utterances" and len(ids(page)) == 10
    page.select_option("#by-condition", "")
    page.select_option("#by-speaker", label="103")
    expected = {s.id for s in samples if s.speaker == "103"}
    assert set(ids(page)) == expected
    page.select_option("#by-speaker", "")
    page.select_option("#sort", "longest")
    seconds = {s.id: s.audio_seconds for s in samples}
    found = [seconds[id] for id in ids(page)]
    assert found == sorted(seconds[s.id] for s in samples if s.system == samples[0].system)[::-1][:25]
    page.select_option("#by-system", label="pocketsphinx")
    page.select_option("#by-error", "loop")
    assert set(ids(page)) == {"1089-0002", "1089-0009", "1089-0016", "1089-0023", "1089-0030", "1089-0037"}
    page.select_option("#by-error", "")
    needle = samples[40].reference[:24]
    search(page, needle.upper())
    match = {s.id for s in samples if needle in s.reference or needle in s.hypothesis}
    assert set(ids(page)) == match and samples[40].id in match
    search(page, "nothing like this")
    assert status.inner_text() == "0 of 100 utterances" and not ids(page)


def test_an_opened_utterance_shows_every_word_of_every_system(page: Any) -> None:
    _, samples, _ = full_run(90, n_noisy=10)
    search(page, "1089-0033")
    assert ids(page) == ["1089-0033"]
    page.locator("button.row").click()
    rows = page.locator(".opened table.words").evaluate_all(
        """tables => tables.map(t => [...t.rows].map(r => [...r.cells].slice(1).map(c =>
             c.querySelector('del') ? '' : (c.querySelector('bdi')?.textContent ?? ''))))"""
    )
    texts = [[word for table in rows for word in table[line] if word] for line in range(4)]
    own = [s for s in samples if s.id == "1089-0033"]
    assert texts == [own[0].reference.split(), *(s.hypothesis.split() for s in own)]
    assert page.locator(".opened th[scope=row]").count() == 4 * len(rows)
    marks = page.locator(".opened .mark").evaluate_all(
        "all => all.map(m => [m.textContent, getComputedStyle(m.querySelector('del') ?? m).textDecorationLine])"
    )
    assert marks and all(re.match("(substituted|deleted|inserted): ", text) for text, _ in marks)
    assert all(line == ("line-through" if text.startswith("deleted") else "underline") for text, line in marks)


def test_the_keyboard_alone_is_enough(page: Any) -> None:
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "search"
    page.keyboard.press("ArrowDown")
    for _ in range(25):
        page.keyboard.press("ArrowDown")
    assert page.locator("#page").inner_text() == "Page 2 of 4"
    page.keyboard.press("Enter")
    focused = page.evaluate("[document.activeElement.className, document.activeElement.getAttribute('aria-expanded')]")
    assert focused == ["row", "true"] and page.locator(".opened").count() == 1
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.keyboard.press("Enter")
    page.keyboard.press("ArrowUp")
    assert page.locator("#page").inner_text() == "Page 1 of 4" and page.locator(".opened").count() == 0
    page.keyboard.press("Home")
    page.keyboard.press("ArrowUp")
    assert page.evaluate("document.activeElement.id") == "search"


@pytest.mark.slow
def test_every_verdict_is_in_sight(chromium: Any, tmp_path: Path) -> None:
    summary, samples, timings = full_run(12, n_systems=4, n_noisy=2)
    path = tmp_path / "report.html"
    path.write_text(page_of(summary, samples, timings, n_audio=0), encoding="utf-8")
    for page in opened(chromium, path):
        table = page.locator("[aria-labelledby=pairs-caption]")
        assert table.locator("th").last.inner_text() == "Verdict"
        assert table.evaluate("region => region.scrollWidth <= region.clientWidth")


def test_nothing_overflows_sideways(chromium: Any, shown: Path) -> None:
    for page in opened(chromium, shown):
        for width, scheme in ((1280, "light"), (390, "dark")):
            page.emulate_media(color_scheme=scheme)
            page.set_viewport_size({"width": width, "height": 800})
            page.select_option("#by-condition", label="clean")
            page.locator("button.row").nth(width % 7).click()
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            right = "all => Math.max(...all.map(t => t.getBoundingClientRect().right))"
            assert page.locator(".opened").last.locator("table.words").evaluate_all(right) <= width
            ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
            assert (max(map(int, re.findall(r"\d+", ground))) < 64) == (scheme == "dark")
            page.locator("button.row").nth(width % 7).click()


def test_five_systems_fit_beside_each_other(chromium: Any, tmp_path: Path) -> None:
    summary, _ = wide_run(5)
    named = [
        dataclasses.replace(one, facts=dataclasses.replace(one.facts, name=f"system {place}"))
        for place, one in enumerate(summary.systems)
    ]
    path = tmp_path / "report.html"
    path.write_text(page_of(dataclasses.replace(summary, systems=named), [], n_audio=0), encoding="utf-8")
    for page in opened(chromium, path):
        table = page.locator("[aria-labelledby=table-caption]")
        assert table.evaluate("region => region.scrollWidth <= region.clientWidth")
        page.set_viewport_size({"width": 400, "height": 900})
        tops = "all => all.map(one => [...one.children].map(part => part.getBoundingClientRect().bottom))"
        for key, name in page.locator(".conditions thead .system").evaluate_all(tops):
            assert key == pytest.approx(name, abs=8)  # in one line


def test_without_javascript_and_on_paper_the_worst_utterances_stand(chromium: Any, shown: Path) -> None:
    for page in opened(chromium, shown, java_script_enabled=False):
        assert page.locator("#worst li").count() == 30 and not page.locator("#browser").is_visible()
        assert page.locator("table.results").is_visible() and page.locator(".verdict p").count() == 4
    for page in opened(chromium, shown):
        assert page.locator("#browser").is_visible() and not page.locator("#worst").is_visible()
        page.emulate_media(media="print")
        assert not page.locator("#browser").is_visible() and page.locator("#worst").is_visible()


@pytest.mark.parametrize("n_systems", [5, 9, 12])
def test_on_paper_no_table_is_wider_than_the_page(chromium: Any, tmp_path: Path, n_systems: int) -> None:
    """A4 upright has 688 px between its margins."""
    path = tmp_path / "report.html"
    path.write_text(page_of(*wide_run(n_systems), n_audio=0), encoding="utf-8")
    for page in opened(chromium, path):
        page.set_viewport_size({"width": 688, "height": 1000})
        page.emulate_media(media="print")
        ends = "all => all.filter(t => t.checkVisibility()).map(t => t.getBoundingClientRect().right)"
        found = page.locator("table").evaluate_all(ends)
        assert found and max(found) <= 688.5


def test_on_paper_further_sentences_are_open_and_comparisons_legible(chromium: Any, tmp_path: Path) -> None:
    summary, samples = wide_run(9)
    pairs_of_names = itertools.combinations((one.facts.name for one in summary.systems), 2)
    compared = [
        Comparison(*pair, Rate(-0.2, -0.3, -0.1), " and ".join(pair), "clean", 0.001, 0.036, True)
        for pair in pairs_of_names
    ]
    path = tmp_path / "report.html"
    path.write_text(page_of(dataclasses.replace(summary, comparisons=compared), samples, n_audio=0), encoding="utf-8")
    for page in opened(chromium, path):
        page.set_viewport_size({"width": 688, "height": 1000})
        folded, pairs = page.locator("details.caveat p").first, page.locator("[aria-labelledby=pairs-caption] table")
        assert not folded.is_visible()
        page.emulate_media(media="print")
        assert folded.is_visible()
        assert pairs.evaluate("table => parseFloat(getComputedStyle(table).fontSize)") > 10.0
        assert pairs.evaluate("table => table.getBoundingClientRect().right") <= 688.5


@pytest.mark.slow
def test_hostile_texts_are_shown_as_text(chromium: Any, tmp_path: Path) -> None:
    texts = [
        HOSTILE,
        "</script><script>alert(1)</script>",
        "<!-- \u2028 \u2029",
        "\ud800 lone",
        "مرحبا بكم في",
        " ".join(f"w{n}" for n in range(10_000)),
    ]
    samples = [
        sample("<b>a</b>", f"u{n} {HOSTILE}", text, text[::-1], speaker=f"s{n}{HOSTILE}", domain=HOSTILE, error=e)
        for n, text in enumerate(texts)
        for e in [HOSTILE if n == 1 else None]
    ]
    plain = [dataclasses.replace(s, hypothesis="x") for s in samples]
    facts = SystemFacts("<b>a</b>", "f", "c", 1)
    system: SystemSummary = dataclasses.replace(scored("<b>a</b>", plain), facts=facts, loops=[HOSTILE])
    summary = dataclasses.replace(run_of(samples, [system]), comparisons=[])
    path = tmp_path / "report.html"
    path.write_text(page_of(*with_words(summary, samples, 0)), encoding="utf-8")
    for page in opened(chromium, path):
        before = page.evaluate("document.querySelectorAll('script, img, b').length")
        page.select_option("#sort", "corpus")
        for button in page.locator("button.row").all():
            button.click()
        assert page.locator(".opened").count() == len(texts)
        assert page.evaluate("document.querySelectorAll('script, img, b').length") == before
        assert "<script>alert(1)</script>" in page.locator(".opened .raw").first.inner_text()
        assert page.locator("table.words[dir=rtl]").count() >= 1
        assert page.locator("button.more").count() >= 1
        assert page.locator(".opened .sure").count() > 1000


def test_json_for_a_script_element_cannot_end_it() -> None:
    text = browser.script_json({"a": ["</script><!-- & \u2028\u2029 \ud800 é"]})
    assert not set("<>&\u2028\u2029\ud800") & set(text)
    assert json.loads(text) == {"a": ["</script><!-- & \u2028\u2029 ? é"]}


def test_words_are_shaded_by_their_confidence(page: Any) -> None:
    """Every word of the two systems that have words, and none of the third; doubtful ones have their number."""
    _, samples = with_words(*full_run(90, n_noisy=10)[:2])
    own = [one for one in samples if one.id == "1089-0033"]
    search(page, "1089-0033")
    page.locator("button.row").click()
    shown = page.locator(".opened .sure").evaluate_all(
        """all => all.map(node => [node.querySelector('bdi').textContent, node.className.slice(-1), node.title,
             node.querySelector('small')?.textContent ?? '', node.tagName])"""
    )
    for one in own[:2]:
        for word in one.words or ():
            percent = round(100 * (word.probability or 0))
            found = [row for row in shown if row[2] == f"confidence {percent}\u00a0%, at {word.start:.2f}\u00a0s"]
            assert found and found[0][0] == word.word.strip() and found[0][4] == "SPAN"
            assert found[0][1] == str(sum(percent >= bound for bound in (50, 70, 85, 95)))
            assert found[0][3] == (f"{percent}%" if percent < 70 else "")
    assert own[2].words is None and len(shown) == sum(len(one.words or ()) for one in own)
    grounds = page.locator(".shades .sure").evaluate_all("all => all.map(n => getComputedStyle(n).backgroundColor)")
    assert len(set(grounds)) == 5


def test_a_click_on_a_word_plays_from_there(chromium: Any, playable: Path) -> None:
    for page in opened(chromium, playable):
        page.locator("button.row:has(.ear)").first.click()
        words = page.locator(".opened button.sure")
        place = "document.querySelector('.opened audio').currentTime"
        for keys, nth in ((False, 2), (True, 1)):
            start = float(words.nth(nth).get_attribute("title").split("at ")[1].split("\u00a0")[0])
            if keys:
                words.nth(nth).focus()
                page.keyboard.press("Enter")
            else:
                words.nth(nth).click()
            page.wait_for_function(f"{place} >= {start} && {place} < {start + 5}")
            assert page.evaluate("!document.querySelector('.opened audio').paused")
            page.evaluate("document.querySelector('.opened audio').pause()")
        assert "<b>&" in words.locator("bdi").all_inner_texts()


def test_without_javascript_words_are_shaded_text(chromium: Any, shown: Path) -> None:
    for page in opened(chromium, shown, java_script_enabled=False):
        words = page.locator("#worst .utterances .sure")
        assert words.count() > 100 and page.locator("#worst .utterances button").count() == 0
        assert re.fullmatch("confidence [0-9]+\u00a0%, at [0-9.]+\u00a0s", words.first.get_attribute("title"))
        assert page.locator("#worst .sure small").count() > 10 and page.locator("#worst .shades").is_visible()


def test_a_recording_can_be_played(chromium: Any, playable: Path) -> None:
    samples = demo_samples(4)
    for page in opened(chromium, playable):
        page.locator("button.row:has(.ear)").first.click()
        seconds = page.evaluate(
            """() => new Promise((done, fail) => {
                 const a = document.querySelector('.opened audio');
                 if (a.readyState) done(a.duration);
                 a.onloadedmetadata = () => done(a.duration); a.onerror = fail; })"""
        )
        expected = {round(s.audio_seconds, 1) for s in samples}
        assert any(abs(seconds - one) < 0.1 for one in expected)
        picture = page.locator(".mel img")
        assert picture.evaluate("async image => { await image.decode(); return image.naturalHeight }") == 80
        assert picture.get_attribute("alt")


@pytest.mark.slow
def test_five_thousand_utterances_open_within_two_seconds(chromium: Any, tmp_path: Path) -> None:
    summary, samples, _ = full_run(5000, n_noisy=0)
    path = tmp_path / "report.html"
    path.write_text(page_of(summary, samples, n_audio=0), encoding="utf-8")
    assert path.stat().st_size < 15_000_000
    page = chromium.new_page()
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})
    page.goto(path.as_uri(), timeout=120_000)
    metrics = {one["name"]: one["value"] for one in session.send("Performance.getMetrics")["metrics"]}
    assert page.locator("#matches").inner_text() == "5,000 utterances" and page.locator("button.row").count() == 25
    assert metrics["TaskDuration"] < 2.0  # of the processor's time, which a busy machine does not stretch
    page.close()


@pytest.mark.slow
@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 400)])
def test_axe_finds_nothing_that_keeps_anybody_out(
    chromium: Any, shown: Path, playable: Path, scheme: str, width: int
) -> None:
    """axe-core's rules for keyboards, screen readers and contrast, with the first utterance open: words shaded, and in
    the page with recordings to be clicked.
    """
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")
    for page in opened(chromium, playable if scheme == "dark" else shown, color_scheme=scheme):
        page.set_viewport_size({"width": width, "height": 900})
        if scheme == "light":
            page.select_option("#by-condition", label="clean")  # its words are shaded
        page.locator("button.row").first.click()
        assert page.locator(".opened .sure").count() > 5
        found = axe.Axe().run(page).response
        assert len(found["passes"]) > 30
        assert [(one["id"], one["impact"], one["nodes"][0]["html"][:200]) for one in found["violations"]] == []
