"""Hostile manifests, and markup of every kind in texts, ids, speakers and names through everything that shows them.

A manifest's line becomes an utterance or is set aside. Nothing runs in a browser, a spreadsheet or a terminal: no
script, no address that is asked for, no formula, no control character.
"""

import csv
import dataclasses
import io
import json
import os
import re
import resource
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console

from tests.attack.jobs import BEGINS_WITHIN, Ended, Job, started
from tests.attack.trials import Attack, Setting, Trial
from tests.conftest import DEMO, absolute, read_manifest, write_manifest

ESCAPES = "\x1b]0;taken\x07\x1b[2J\x1b]52;c;dGFrZW4=\x07\x9b2J"
MARKUP = (
    ESCAPES,
    "<script>document.title='taken'</script>",
    "<img src=http://127.0.0.1:9/x onerror=\"document.title='taken'\">",
    "</td></table></script><script>document.title='taken'</script><!--",
    "[x](javascript:document.title='taken') ![x](http://127.0.0.1:9/x.png)",
    '=HYPERLINK("http://127.0.0.1:9")',
    "+1+1",
    "@SUM(1)",
    "-2+3",
    "\t=1+1",
    "| a | `code` ``` $a$ {{ 7 * 7 }} ${7 * 7}",
    "../../etc/passwd\x00",
    "\u202e\u2066abc\ud800",
)
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
MEMORY = 4 << 30  # bytes of address space in which a manifest must be read
SECONDS = 120.0  # on a busy machine


def _corpus(data: Path, *more: str) -> Job:
    words = ["-m", "preprocessing.corpus", str(data), *more]
    return Job("corpus", lambda _: words, lambda _: None, lambda _: {}, imports="preprocessing.corpus.statistics")


def manifests(setting: Setting) -> Iterator[Trial]:
    """Each hostile manifest through `preprocessing.corpus`: rows or one sentence, in bounded time and memory."""
    for name, build in _HOSTILE.items():
        folder = setting.folder / re.sub(r"\W", "-", name)
        folder.mkdir()
        data = build(folder)
        began = time.monotonic()
        with started(_corpus(data), folder, setting.folder / "said.txt") as running:
            resource.prlimit(running.pid, resource.RLIMIT_AS, (MEMORY, MEMORY))
            ended = running.wait(SECONDS)
        setting.say(f"{name}: {time.monotonic() - began:.1f} s, {_last_line(ended)}")
        yield Trial("hostile manifests", "corpus", _wrong(name, ended))
        shutil.rmtree(folder, ignore_errors=True)


def _wrong(name: str, ended: Ended | None) -> str | None:
    if ended is None:
        return f"{name}: not read within {SECONDS:g} s"
    if ended.code not in (0, 1, 2) or (ended.code and ended.sentence):
        return f"{name}: {ended.sentence or ended.code}"
    found = CONTROL.search(ended.said)
    return None if found is None else f"{name}: {found[0]!r} on the terminal"


def _last_line(ended: Ended | None) -> str:
    return "" if ended is None else next(reversed(ended.said.strip().splitlines()), "")[:150]


def _rows() -> list[dict[str, Any]]:
    return absolute(DEMO / "corpus" / "train.jsonl", 4)


def _lines(folder: Path, *lines: bytes) -> Path:
    path = folder / "corpus.jsonl"
    path.write_bytes(b"\n".join([*(json.dumps(row).encode() for row in _rows()), *lines]) + b"\n")
    return path


def _with(field: str, *values: str) -> Callable[[Path], Path]:
    """A manifest with these values in a field."""

    def build(folder: Path) -> Path:
        row = _rows()[0]
        return _lines(folder, *(json.dumps(row | {"id": f"x{n}", field: v}).encode() for n, v in enumerate(values)))

    return build


def _hundred_megabytes(folder: Path) -> Path:
    return _lines(folder, b'{"audio": "' + b"a" * 100_000_000 + b'", "text": "x"}')


def _hundred_megabytes_csv(folder: Path) -> Path:
    path = folder / "corpus.csv"
    path.write_bytes(b'audio,text\na.wav,"' + b"a" * 100_000_000 + b"\n")
    return path


def _deep(folder: Path) -> Path:
    return _lines(folder, b'{"segments": ' + b"[" * 200_000 + b"]" * 200_000 + b"}")


def _duplicates(folder: Path) -> Path:
    return _lines(folder, *(json.dumps(_rows()[0] | {"id": "same"}).encode() for _ in range(4)))


def _nul(folder: Path) -> Path:
    return _lines(folder, rb'{"id": "\u0000", "audio": "a\u0000.wav", "text": "\u0000"}', bytes(3))


def _lone_surrogates(folder: Path) -> Path:
    return _lines(folder, rb'{"id": "\ud800", "audio": "a.wav", "text": "\udfff x"}', b"\xed\xa0\x80")


def _markup_ids(folder: Path) -> Path:
    return _lines(folder, *(json.dumps(_rows()[0] | {"id": one}).encode() for one in MARKUP))


def _symlink_loop(folder: Path) -> Path:
    (folder / "inner").mkdir()
    (folder / "inner" / "back").symlink_to(folder)
    (folder / "a.wav").symlink_to(folder / "b.wav")
    (folder / "b.wav").symlink_to(folder / "a.wav")
    (folder / "a.txt").write_text("A")
    shutil.copy(_rows()[0]["audio"], folder / "c.opus")
    (folder / "c.txt").write_text("C")
    return folder


def _symlink_loop_manifest(folder: Path) -> Path:
    (folder / "corpus.jsonl").symlink_to(folder / "corpus.jsonl")
    return folder / "corpus.jsonl"


def _devices(folder: Path) -> Path:
    os.mkfifo(folder / "pipe.wav")
    row = {"id": "d", "text": "x"}
    names = ("/dev/zero", "/dev/stdin", "pipe.wav", "file:///etc/passwd", "http://127.0.0.1:9/a.wav", "/proc/self/mem")
    return _lines(folder, *(json.dumps(row | {"id": f"d{n}", "audio": a}).encode() for n, a in enumerate(names)))


def _hostile_names(folder: Path) -> Path:
    for number, name in enumerate(one.replace("/", "_").replace("\0", "")[:120] for one in MARKUP):
        path = (
            folder
            / f"{number}{name}.opus".encode("utf-8", "surrogateescape" if "\ud800" not in name else "replace").decode()
        )
        shutil.copy(_rows()[0]["audio"], path)
        path.with_suffix(".txt").write_text("A")
        Path(f"{path}.wav").write_bytes(b"RIFF nothing")
    return folder


_HOSTILE: dict[str, Callable[[Path], Path]] = {
    "NUL in every field": _nul,
    "lone surrogates": _lone_surrogates,
    "a line of 100 MB": _hundred_megabytes,
    "a CSV field of 100 MB": _hundred_megabytes_csv,
    "200,000 brackets": _deep,
    "ids with slashes": _with("id", "../../x", "/etc/passwd", "a/b", "..", "."),
    "duplicate ids": _duplicates,
    "symlink loops": _symlink_loop,
    "a manifest that is a symlink to itself": _symlink_loop_manifest,
    "devices, pipes and addresses": _devices,
    "markup in texts": _with("text", *MARKUP),
    "markup in speakers": _with("speaker", *MARKUP),
    "markup in languages": _with("language", *MARKUP),
    "markup in audio": _with("audio", *MARKUP),
    "markup in durations": _with("duration", *MARKUP),
    "markup in ids": _markup_ids,
    "markup in file names": _hostile_names,
    "an empty file": lambda folder: write_manifest(folder / "corpus.jsonl", []),
}


def prepared(setting: Setting) -> Iterator[Trial]:
    """Hostile ids and texts through `preprocessing.prepare`: the manifest holds them as they were, outside nothing is
    written.
    """
    row = _rows()[0]
    ids = [
        one for one in (*MARKUP, "../../x", "/tmp/attack-x", "a/b", "..", "") if "\ud800" not in one and "\0" not in one
    ]
    rows = [row | {"id": id, "text": id or "x", "speaker": id or "s"} for id in ids if id]
    manifest = write_manifest(setting.folder / "in.jsonl", rows)
    output = setting.folder / "place" / "out"
    words = ["-m", "preprocessing.prepare", str(manifest), str(output), "--workers", "1"]
    job = Job("prepare", lambda _: words, lambda _: None, lambda _: {}, imports="preprocessing.prepare.run")
    with started(job, output, setting.folder / "said.txt") as running:
        ended = running.wait(BEGINS_WITHIN)
    lost = _wrong("ids", ended) or (None if ended is not None and ended.code == 0 else _last_line(ended))
    if lost is None:
        kept = {one["text"] for one in read_manifest(output / "manifest.jsonl")}
        missing = [one["text"] for one in rows if one["text"] not in kept]
        aside = [one["where"] for one in read_manifest(output / "rejects.jsonl")]
        elsewhere = [str(path) for path in setting.folder.rglob("*") if path.is_file() and output not in path.parents]
        expected = {str(manifest), str(setting.folder / "said.txt")}
        if len(missing) > len(aside):
            lost = f"neither kept nor set aside: {missing}"
        elif [one for one in elsewhere if one not in expected and "status-" not in one]:
            lost = f"written elsewhere: {elsewhere}"
    yield Trial("markup and slashes in ids", "prepare", lost, times=len(rows))


def shown(setting: Setting) -> Iterator[Trial]:
    """Markup in names, texts, ids, speakers and errors of a result: report, CSV, summary.md, terminal, card and app."""
    from benchmark.report import write_reports
    from benchmark.report.table import print_table

    summary, samples = hostile_result()
    write_reports(setting.folder, summary, samples)
    yield Trial("markup in a result", "systems.csv, utterances.csv", _formulas(setting.folder), times=len(MARKUP))
    file = io.StringIO()
    print_table(summary, Console(file=file, width=120))
    found = CONTROL.search(file.getvalue().replace("\n", ""))
    yield Trial(
        "markup in a result", "terminal", None if found is None else f"{found[0]!r} is printed", times=len(MARKUP)
    )
    pages = {"report.html": setting.folder / "report.html"}
    pages["summary.md, rendered"] = _rendered(setting.folder / "summary.md")
    pages["model card, rendered"] = _rendered(_card(setting.folder))
    pages["app's cards"] = _app(setting.folder)
    with browser() as chromium:
        for name, path in pages.items():
            if chromium is None:
                yield Trial("markup in a result", name, skipped="no Chromium or playwright")
            else:
                yield Trial("markup in a result", name, opened(chromium, path), times=len(MARKUP))


def hostile_result() -> tuple[Any, list[Any]]:
    """A summary and samples with markup wherever a user, a file or a system can put text."""
    from benchmark.results import Confusion, SystemFacts
    from tests.benchmark.reported import run_of, sample, scored

    name = f"<b>{MARKUP[1]}</b>{ESCAPES}"
    samples = [
        sample(name, f"u{n} {text}", text, text[::-1], speaker=f"{text}{n}", domain=text, language=text, error=error)
        for n, text in enumerate(MARKUP)
        for error in [text if n % 5 == 1 else None]
    ]
    plain = [dataclasses.replace(one, hypothesis="x", reference="a word") for one in samples]
    facts = SystemFacts(
        name, MARKUP[0], MARKUP[2] + ESCAPES, 1, {"dtype": MARKUP[1], ESCAPES: MARKUP[4]}, MARKUP[2] + ESCAPES
    )
    system = dataclasses.replace(
        scored(name, plain),
        facts=facts,
        loops=[samples[0].id],
        confusions=[Confusion(one, one[::-1], 2) for one in MARKUP],
    )
    failed = dataclasses.replace(system, facts=dataclasses.replace(facts, name=f"=2 {name}"), scores={}, speed=None,
                                 failure=f"{MARKUP[0]}{ESCAPES}")  # fmt: skip
    summary = dataclasses.replace(
        run_of(samples, [system, failed]),
        comparisons=[],
        notices=[one for one in MARKUP if "\ud800" not in one],
        command=f"benchmark {MARKUP[0]} {ESCAPES}",
        machine={"cpu": MARKUP[1] + ESCAPES},
        settings={"data": MARKUP[2] + ESCAPES},
    )
    corpus = dataclasses.replace(summary.corpus, reference=MARKUP[0] + ESCAPES)
    return dataclasses.replace(summary, corpus=corpus), samples


def _formulas(folder: Path) -> str | None:
    """The first cell that a spreadsheet would run, or a terminal obey."""
    for name in ("systems.csv", "utterances.csv"):
        with (folder / name).open(encoding="utf-8", newline="") as lines:
            for row in csv.reader(lines):
                for cell in row:
                    if CONTROL.search(cell):
                        return f"{name} holds {CONTROL.search(cell)!r}"
                    if cell.lstrip(" \t\r\n").startswith(("=", "+", "-", "@")) and not _is_number(cell):
                        return f"{name} holds {cell[:40]!r}"
    return None


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _card(folder: Path) -> Path:
    """The model card of a run whose corpora, base model and profile are markup."""
    from finetune.hub.card import CardOptions, model_card
    from finetune.hub.folder import open_run
    from tests.finetune.runs import tiny_run

    run = open_run(tiny_run(folder / "run"))
    assert run.about is not None
    texts = tuple(one for one in MARKUP if "\ud800" not in one and "\0" not in one)
    training = dataclasses.replace(run.about.training, corpora=texts)
    about = dataclasses.replace(
        run.about, training=training, validation=training, base=texts[1], profile_description=texts[0]
    )
    path = folder / "card.md"
    card = model_card(dataclasses.replace(run, about=about), CardOptions("you/m"))
    path.write_text(card.split("\n---\n", 1)[-1], encoding="utf-8")
    return path


def _rendered(path: Path) -> Path:
    """Markdown as a page, with the HTML in it let through."""
    from markdown_it import MarkdownIt

    page = path.with_suffix(".rendered.html")
    html = MarkdownIt("commonmark", {"html": True}).enable("table").render(path.read_text(encoding="utf-8"))
    page.write_text(f"<!doctype html><meta charset=utf-8><title>safe</title>{html}", encoding="utf-8")
    return page


def _app(folder: Path) -> Path:
    """The cards of `benchmark.app`, as its server renders them."""
    from benchmark.app import render
    from benchmark.app.transcribing import Transcription
    from benchmark.results import StageSeconds

    found = [
        Transcription(f"{text}{n}", text, text if n % 5 == 1 else None, StageSeconds(0.1, 0.1, 0.1, 0.1), 1.0)
        for n, text in enumerate(MARKUP)
        if "\ud800" not in text
    ]
    state = render.PageState(tuple(MARKUP[:5]), tuple(found), (MARKUP[0],))
    html = render.results(state, MARKUP[1], MARKUP[0], str) + render.notices(MARKUP[:11])
    page = folder / "app.html"
    page.write_text(f"<!doctype html><meta charset=utf-8><title>safe</title>{html}", encoding="utf-8")
    return page


@contextmanager
def browser() -> Iterator[Any]:
    """Chromium; None where there is none."""
    executable = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        executable = None
    if executable is None:
        yield None
        return
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        yield launched
        launched.close()


def opened(chromium: Any, path: Path) -> str | None:
    """What a page did that it should not: a script's mark, a dialog, an address that was asked for."""
    context = chromium.new_context()
    page = context.new_page()
    did: list[str] = []
    page.on("dialog", lambda dialog: (did.append(f"dialog {dialog.message}"), dialog.dismiss()))
    page.on("pageerror", lambda error: did.append(str(error)))
    page.on("request", lambda asked: did.append(asked.url) if not asked.url.startswith(("data:", "file:")) else None)
    page.goto(path.as_uri(), timeout=120_000)
    for button in page.locator("button.row").all()[:20]:
        button.click()
    for image in page.locator("img").all():
        image.dispatch_event("error")
    links = page.locator("a[href]").evaluate_all("all => all.map(one => one.href)")
    did += [link for link in links if link.startswith(("javascript:", "data:text"))]
    if page.title() == "taken":
        did.append("a script ran")
    context.close()
    return "; ".join(did) or None


ATTACKS: dict[str, Attack] = {"manifests": manifests, "prepared": prepared, "shown": shown}
