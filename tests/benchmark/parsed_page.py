"""A report's page parsed back by the standard library, and the page of any results as text."""

from collections.abc import Sequence
from html.parser import HTMLParser

from benchmark.report.page import prepare, render
from benchmark.results import Sample, Summary, Timing
from preprocessing.text import profile

VOID = {"meta", "link", "br", "img", "hr", "input", "wbr"}


def page_of(summary: Summary, samples: Sequence[Sample], timings: Sequence[Timing] = (), **counts: int) -> str:
    return render(prepare(summary, samples, timings, profile("verbatim")), **counts)


class Page(HTMLParser):
    """Elements, ids, loads, and the results table; fails on markup that is not nested."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text, self.open, self.rows = "", [], []  # type: ignore[var-annotated]
        self.feed(html)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append((tag, dict(attrs).get("class")))
        if ("table", "results") in self.open:
            if tag == "tr":
                self.rows.append([])
            if tag in ("th", "td"):
                self.rows[-1].append(["", None])
            if tag == "data":
                self.rows[-1][-1][1] = float(dict(attrs)["value"] or "nan")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop()[0] == tag

    def handle_data(self, data: str) -> None:
        if not {"style", "title", "script"} & {tag for tag, _ in self.open}:
            self.text += data
        if ("table", "results") in self.open and self.rows and self.rows[-1]:
            self.rows[-1][-1][0] += data

    def table(self) -> dict[str, list[tuple[str, float | None]]]:
        return {cells[0][0].strip(): [(" ".join(t.split()), v) for t, v in cells[1:]] for cells in self.rows}
