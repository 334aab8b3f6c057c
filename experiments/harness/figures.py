"""What a comparison with peers found: figures beside what they must reach, as a table, as JSON, as an exit code."""

import dataclasses
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import ParamSpec, TypeVar

import numpy as np
import torch
from rich import box
from rich.console import Console
from rich.table import Table

from benchmark.environment import describe_machine
from preprocessing.cli.errors import UserError

P = ParamSpec("P")
Result = TypeVar("Result")
NARROWEST = 120  # cells: the table cannot be had with less


class FallsShortError(UserError):
    """A figure below what it must reach; exit 1."""


@dataclass(frozen=True)
class Figure:
    """One quantity of ours beside a peer's."""

    what: str
    peer: str
    ours: float
    theirs: float
    unit: str  # of these two
    advantage: float
    low: float  # quartiles of the advantage over the single measurements
    high: float
    advantage_unit: str  # "x" for a ratio, else a difference
    at_least: float | None  # what the advantage must reach; None: told, not demanded
    at_most: float | None = None  # what it may not exceed, where less is better

    @property
    def holds(self) -> bool:
        reached = self.at_least is None or self.advantage >= self.at_least
        return reached and (self.at_most is None or self.advantage <= self.at_most)

    @property
    def demand(self) -> str:
        """What must hold, in words for a table."""
        bounds = [("", self.at_least), ("at most ", self.at_most)]
        words = [f"{word}{bound:g} {self.advantage_unit}" for word, bound in bounds if bound is not None]
        return " ".join(words) + ("" if self.holds else " (SHORT)")


@dataclass(frozen=True)
class Missing:
    """A peer that could not be measured."""

    peer: str
    reason: str


def speed_up(what: str, peer: str, ours: Sequence[float], theirs: Sequence[float], at_least: float | None) -> Figure:
    """How many times faster: the median of pairwise ratios of seconds, beside both medians in milliseconds."""
    low, middle, high = (float(q) for q in np.quantile(np.array(theirs) / np.array(ours), [0.25, 0.5, 0.75]))
    ours_ms, theirs_ms = (1000.0 * float(np.median(seconds)) for seconds in (ours, theirs))
    return Figure(what, peer, ours_ms, theirs_ms, "ms", middle, low, high, "x", at_least)


def rate_ratio(
    what: str, peer: str, ours: Sequence[float], theirs: Sequence[float], unit: str, at_least: float | None
) -> Figure:
    """How many times the peer's rate: the median of pairwise ratios of rates, beside both medians."""
    low, middle, high = (float(q) for q in np.quantile(np.array(ours) / np.array(theirs), [0.25, 0.5, 0.75]))
    return Figure(what, peer, float(np.median(ours)), float(np.median(theirs)), unit, middle, low, high, "x", at_least)


def gain_in_db(what: str, peer: str, ours: Sequence[float], theirs: Sequence[float], at_least: float | None) -> Figure:
    """How many dB better on average, beside both means."""
    differences = np.array(ours) - np.array(theirs)
    low, high = (float(q) for q in np.quantile(differences, [0.25, 0.75]))
    ours_db, theirs_db = (float(np.mean(values)) for values in (ours, theirs))
    return Figure(what, peer, ours_db, theirs_db, "dB", float(differences.mean()), low, high, "dB", at_least)


def at_most(what: str, peer: str, ours: float, theirs: float, unit: str, most: float) -> Figure:
    """A ratio of costs, ours over theirs, that may not exceed `most`; measured once."""
    ratio = ours / theirs
    return Figure(what, peer, ours, theirs, unit, ratio, ratio, ratio, "x", None, most)


@contextmanager
def one_thread() -> Iterator[None]:
    """torch on one thread, as the peers run; two would also count the time that they wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def processor_seconds(function: Callable[P, Result], *args: P.args, **kwargs: P.kwargs) -> tuple[float, Result]:
    """Processor time of a call, a fair figure for one thread on a machine that does other things, too; its result."""
    start = time.process_time()
    result = function(*args, **kwargs)
    return time.process_time() - start, result


def report(
    title: str,
    figures: Sequence[Figure],
    missing: Sequence[Missing],
    settings: str,
    path: Path | None,
    *,
    device: str = "cpu",
    details: Mapping[str, object] | None = None,
) -> None:
    """Print the table, write it as JSON where `path` is given, name what is missing. Raises FallsShortError.

    details: what only the JSON tells besides.
    """
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("", no_wrap=True)
    table.add_column("beside", min_width=12)
    for heading in ("ours", "theirs", "ratio or gain", "quartiles"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("must be", no_wrap=True)
    for one in figures:
        table.add_row(
            one.what,
            one.peer,
            f"{one.ours:.1f} {one.unit}",
            f"{one.theirs:.1f} {one.unit}",
            f"{one.advantage:.1f} {one.advantage_unit}",
            f"{one.low:.1f} to {one.high:.1f}",
            one.demand,
        )
    console = Console(width=max(Console().width, NARROWEST))
    console.print(table)
    console.print(settings)
    for peer in missing:
        console.print(f"{peer.peer} is missing: {peer.reason}")
    if path is not None:
        found = {
            "title": title,
            "settings": settings,
            "figures": [dataclasses.asdict(one) | {"holds": one.holds} for one in figures],
            "missing": [dataclasses.asdict(peer) for peer in missing],
            "machine": describe_machine(device),
        } | dict(details or {})
        path.write_text(json.dumps(found, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    short = [f"{one.what} beside {one.peer}" for one in figures if not one.holds]
    if short:
        raise FallsShortError(f"{len(short)} of {len(figures)} figures fall short: {'; '.join(short)}")


def peak_gflops(precision: str, device: str, threads: int, size: int = 2048) -> float:
    """The fastest of some large matrix products, in 10^9 operations a second."""
    dtype = {"bf16": torch.bfloat16, "fp32": torch.float32}[precision]
    size = size * 4 if device == "cuda" else size
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    matrix = torch.randn(size, size).to(device, dtype)
    fastest = float("inf")
    for _ in range(6):
        began = time.perf_counter()
        matrix @ matrix
        if device == "cuda":
            torch.cuda.synchronize()
        fastest = min(fastest, time.perf_counter() - began)
    torch.set_num_threads(before)
    return 2.0 * size**3 / fastest / 1e9
