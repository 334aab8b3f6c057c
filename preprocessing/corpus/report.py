"""A corpus's statistics as tables on a terminal, and as JSON. What they mean is said in `statistics` and `leaks`."""

import dataclasses
import json
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from preprocessing.corpus.statistics import LONG_WORDS, UNNAMED, Finding, Leaks, SoundFacts, Spread, Statistics

SHOWN = 5  # of each list; all are in the JSON
NAMES_SHOWN = 4
WIDEST_CELL = 110


def print_report(console: Console, found: Statistics, leaks: Leaks | None) -> None:
    _print(console, found.reference, _overview(found))
    _print(console, "Over utterances", _spreads(found))
    sections: list[tuple[str, Sequence[Finding]]] = [
        ("set aside when opened", found.set_aside),
        ("transcript too long for CTC", found.text.do_not_fit),
        ("unlikely characters a second", found.text.unlikely_rates),
    ]
    if found.sound is not None:
        sections += _sound_sections(found.sound)
    _print(console, "To look at", _findings(sections))
    if leaks is not None:
        _print(console, f"Shared with {leaks.other} ({leaks.other_utterances:,} utterances)", _leaks(found, leaks))


def _print(console: Console, title: str, table: Table) -> None:
    console.print(_plain(title), style="bold")
    console.print(table)


def as_json(found: Statistics, leaks: Leaks | None) -> str:
    """All of it; a figure that is not finite is null."""
    told = dataclasses.asdict(found) | {"leaks": None if leaks is None else dataclasses.asdict(leaks)}
    return json.dumps(_finite(told), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _table(*headings: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_header=bool(headings), padding=(0, 2, 0, 0), pad_edge=False)
    for number, heading in enumerate(headings):
        table.add_column(heading, justify="left" if number == 0 else "right", no_wrap=number == 0)
    return table


def _plain(text: str) -> Text:
    """Text from a corpus: on one line, cut, and never read as markup."""
    return Text(_cut(text, WIDEST_CELL))


def _cut(text: str, length: int) -> str:
    line = " ".join(text.split())
    return line if len(line) <= length else f"{line[: length - 1]}…"


def _overview(found: Statistics) -> Table:
    table = _table()
    speakers = {name: minutes for name, minutes in found.minutes_by_speaker.items() if name != UNNAMED}
    rows = [
        ("utterances", f"{found.utterances:,}" + (f", {len(found.set_aside):,} set aside" if found.set_aside else "")),
        ("hours", f"{found.hours:.2f}"),
        ("speakers", _speakers(speakers, found)),
        ("sexes", _shares(found.hours_by_sex)),
        ("languages", _shares(found.hours_by_language)),
        ("domains", _shares(found.hours_by_domain)),
        ("texts", f"{found.text.distinct:,} different, {found.text.empty:,} empty, under {found.text.profile}"),
    ]
    if found.text.repeated:
        rows.append(
            ("most repeated", "; ".join(f"{count:,} × {_cut(text, 32)}" for text, count in found.text.repeated[:3]))
        )
    if found.sound is not None and found.sound.duplicates:
        rows.append(("duplicate audio", _duplicates(found.sound)))
    for name, value in rows:
        table.add_row(name, _plain(value))
    return table


def _speakers(speakers: Mapping[str, float], found: Statistics) -> str:
    unnamed = found.minutes_by_speaker.get(UNNAMED)
    without = "" if unnamed is None else f"{unnamed:.1f} min without a speaker"
    if not speakers:
        return without
    most, minutes = next(iter(speakers.items()))
    median = statistics.median(speakers.values())
    told = f"{len(speakers):,}; the most, {most}, {minutes:.1f} min, the median {median:.1f}, "
    told += f"the least {min(speakers.values()):.1f}; Gini {found.gini:.2f}"
    return f"{told}; {without}" if without else told


def _shares(hours: Mapping[str, float]) -> str:
    total = sum(hours.values()) or 1.0
    told = [f"{name} {value / total:.0%}" for name, value in list(hours.items())[:NAMES_SHOWN]]
    return ", ".join(told) + (f" and {len(hours) - NAMES_SHOWN} more" if len(hours) > NAMES_SHOWN else "")


def _duplicates(sound: SoundFacts) -> str:
    first = ", ".join(sound.duplicates[0][:3])
    told = f"{len(sound.duplicates):,} held more than once ({first})"
    return told + f"; {sound.duplicates_of_other_text:,} of them under different texts"


def _spreads(found: Statistics) -> Table:
    table = _table("", "least", "5 %", "median", "95 %", "most")
    rows: list[tuple[str, Spread, int]] = [
        ("seconds", found.duration_seconds, 2),
        ("characters a second", found.text.characters_per_second, 1),
    ]
    if found.sound is not None:
        rows += [
            ("level, dBFS RMS", found.sound.rms_dbfs, 1),
            ("peak, dBFS", found.sound.peak_dbfs, 1),
            ("silence before, s", found.sound.leading_silence_seconds, 2),
            ("silence after, s", found.sound.trailing_silence_seconds, 2),
        ]
    for name, spread, digits in rows:
        values = (spread.low, spread.p5, spread.median, spread.p95, spread.high)
        table.add_row(name, *("–" if math.isnan(value) else f"{value:.{digits}f}" for value in values))
    return table


def _sound_sections(sound: SoundFacts) -> list[tuple[str, Sequence[Finding]]]:
    return [
        ("cannot be decoded", sound.failed),
        ("duration is not the audio's", sound.wrong_durations),
        (f"clipped ({100.0 * sound.full_scale_share:.4f} % of samples at full scale)", sound.clipped),
        ("more than 1 s of silence at an end", sound.long_silence),
        ("nothing but silence", [Finding(name, "") for name in sound.silent]),
    ]


def _findings(sections: Iterable[tuple[str, Sequence[Finding]]]) -> Table:
    table = _table()
    table.add_column(justify="right", no_wrap=True)
    table.add_column()
    for name, findings in sections:
        table.add_row(f"{len(findings):,}", name, style=None if findings else "dim")
        for finding in findings[:SHOWN]:
            table.add_row("", _plain(f"  {finding.id}: {finding.why}" if finding.why else f"  {finding.id}"))
        if len(findings) > SHOWN:
            table.add_row("", f"  ... {len(findings) - SHOWN:,} more in the JSON")
    return table


def _leaks(found: Statistics, leaks: Leaks) -> Table:
    table = _table()
    table.add_column(no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_column()
    total = max(found.utterances, 1)
    rows: list[tuple[str, int, str]] = [
        ("speakers", leaks.utterances_of_shared_speakers, ", ".join(leaks.speakers[:SHOWN])),
        ("sentences", leaks.utterances_with_shared_text, "; ".join(leaks.shared_texts[:2])),
        (f"of {LONG_WORDS} words or more", leaks.utterances_with_long_shared_text, ""),
        ("ids", len(leaks.ids), ", ".join(leaks.ids[:SHOWN])),
        ("files", len(leaks.files), ", ".join(leaks.files[:SHOWN])),
    ]
    if leaks.audio is not None:
        rows.append(("audio", len(leaks.audio), ", ".join(f"{a} = {b}" for a, b in leaks.audio[:SHOWN])))
    for name, count, names in rows:
        style = "bold red" if count and name in ("audio", "files") else None if count else "dim"
        table.add_row(name, f"{count:,} of {total:,}", _plain(names), style=style)
    return table
