"""The statistics and leaks of a corpus (`preprocessing.corpus.statistics`) as tables on a terminal, and as JSON."""

import dataclasses
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from statistics import median

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from preprocessing.corpus.statistics import (
    LONG_WORDS,
    UNNAMED,
    AudioStatistics,
    Finding,
    Leaks,
    Percentiles,
    Statistics,
    rare_limit,
)
from preprocessing.errors import counted, one_line, printable
from preprocessing.storage.atomic_write import finite
from preprocessing.text.steps import is_mark

SHOWN = 5  # of each list; all are in `as_json`
NAMES_SHOWN = 4
WIDEST_CELL = 110
WIDEST_NAME = 24  # of a speaker or an id among others: those of Common Voice's speakers have 128 characters
WIDEST_FINDING = 400  # a reason ends with what to do


def print_report(console: Console, statistics: Statistics, leaks: Leaks | None, *, remedy: str = "") -> None:
    """Print an overview, the percentiles, the utterances to look at and, where they were looked for, the leaks.

    remedy: what follows the number of findings that are not shown: how to see them, where the command has a way.
    """
    _print(console, statistics.reference, _overview(statistics))
    _print(console, "Over utterances", _percentiles(statistics))
    limit = rare_limit(statistics.utterances)
    sections: list[tuple[str, Sequence[Finding]]] = [
        ("rejected when opened", statistics.set_aside),
        ("transcript too long for CTC", statistics.text.do_not_fit),
        ("unlikely number of characters per second", statistics.text.unlikely_rates),
        (f"annotations that are words under {statistics.text.profile}", statistics.text.annotations),
        ("words that mix Latin, Greek and Cyrillic letters", statistics.text.mixed_alphabets),
    ]
    if limit > 1:
        sections.append((f"characters in fewer than {counted(limit, 'text')}", statistics.text.rare_characters))
    if statistics.sound is not None:
        sections += _audio_sections(statistics.sound)
    _print(console, "To look at", _findings(sections, remedy))
    if leaks is not None:
        _print(console, f"Shared with {leaks.other} ({leaks.other_utterances:,} utterances)", _leaks(statistics, leaks))


def _print(console: Console, title: str, table: Table) -> None:
    console.print(_plain(title), style="bold")
    console.print(table)


def as_json(statistics: Statistics, leaks: Leaks | None) -> str:
    """All statistics and leaks as a JSON text; a figure that is not finite is null."""
    fields = dataclasses.asdict(statistics) | {"leaks": None if leaks is None else dataclasses.asdict(leaks)}
    return json.dumps(finite(fields), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _table(*headings: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_header=bool(headings), padding=(0, 2, 0, 0), pad_edge=False)
    for number, heading in enumerate(headings):
        table.add_column(heading, justify="left" if number == 0 else "right", no_wrap=number == 0)
    return table


def _plain(text: str, length: int = WIDEST_CELL) -> Text:
    """Text from a corpus: on one line, cut, and never read as markup."""
    return Text(printable(one_line(text, length)))


def _overview(statistics: Statistics) -> Table:
    table = _table()
    speakers = {name: minutes for name, minutes in statistics.minutes_by_speaker.items() if name != UNNAMED}
    text, n_rejects = statistics.text, len(statistics.set_aside)
    rows = [
        ("utterances", f"{statistics.utterances:,}" + (f", {n_rejects:,} rejected" if n_rejects else "")),
        ("speech", _amount(statistics.hours)),
        ("speakers", _speakers(speakers, statistics)),
        ("sexes", _shares(statistics.hours_by_sex)),
        ("languages", _shares(statistics.hours_by_language)),
        ("domains", _shares(statistics.hours_by_domain)),
        ("texts", f"{text.distinct:,} different, {text.empty:,} empty, under {text.profile}"),
    ]
    if text.characters:
        rows.append(("characters", f"{len(text.characters):,} different: {' '.join(map(_shown, text.characters))}"))
    if text.repeated:
        repeated = "; ".join(f"{count:,} × {one_line(words, 32)}" for words, count in text.repeated[:3])
        rows.append(("most repeated", repeated))
    if statistics.sound is not None and statistics.sound.duplicates:
        rows.append(("duplicate audio", _duplicates(statistics.sound)))
    for name, value in rows:
        table.add_row(name, _plain(value))
    return table


def _amount(hours: float) -> str:
    """An amount of speech in the unit that leaves it digits.

    >>> _amount(2.5), _amount(0.05), _amount(0.003)
    ('2.50 h', '3.0 min', '10.8 s')
    """
    return f"{hours:.2f} h" if hours >= 0.1 else _minutes(60 * hours)


def _minutes(minutes: float) -> str:
    return f"{minutes:.1f} min" if minutes >= 1.0 else f"{60 * minutes:.1f} s"


def _shown(character: str) -> str:
    """The character; a combining mark on a dotted circle."""
    return f"◌{character}" if is_mark(character) else character


def _speakers(speakers: Mapping[str, float], statistics: Statistics) -> str:
    unnamed = statistics.minutes_by_speaker.get(UNNAMED)
    without = "" if unnamed is None else f"{_minutes(unnamed)} without a speaker"
    if not speakers:
        return without
    longest, minutes = next(iter(speakers.items()))
    middle, least = median(speakers.values()), min(speakers.values())
    summary = f"{len(speakers):,}; the most, {one_line(longest, WIDEST_NAME)}, {_minutes(minutes)}, "
    summary += f"the median {_minutes(middle)}, the least {_minutes(least)}; "
    summary += f"Gini {statistics.gini:.2f}"
    return f"{summary}; {without}" if without else summary


def _shares(hours: Mapping[str, float]) -> str:
    total = sum(hours.values()) or 1.0
    shares = [f"{name} {value / total:.0%}" for name, value in list(hours.items())[:NAMES_SHOWN]]
    return ", ".join(shares) + (f" and {len(hours) - NAMES_SHOWN} more" if len(hours) > NAMES_SHOWN else "")


def _duplicates(audio: AudioStatistics) -> str:
    first, n_other_text = ", ".join(audio.duplicates[0][:3]), audio.duplicates_of_other_text
    return (
        f"{len(audio.duplicates):,} occurring more than once ({first}); {n_other_text:,} of them under different texts"
    )


def _percentiles(statistics: Statistics) -> Table:
    table = _table("", "minimum", "5 %", "median", "95 %", "maximum")
    rows: list[tuple[str, Percentiles, int]] = [
        ("seconds", statistics.duration_seconds, 2),
        ("characters a second", statistics.text.characters_per_second, 1),
    ]
    if statistics.sound is not None:
        rows += [
            ("level, dBFS RMS", statistics.sound.rms_dbfs, 1),
            ("peak, dBFS", statistics.sound.peak_dbfs, 1),
            ("silence before, s", statistics.sound.leading_silence_seconds, 2),
            ("silence after, s", statistics.sound.trailing_silence_seconds, 2),
        ]
    for name, row, digits in rows:
        values = (row.low, row.p5, row.median, row.p95, row.high)
        table.add_row(name, *("–" if math.isnan(value) else f"{value:.{digits}f}" for value in values))
    return table


def _audio_sections(audio: AudioStatistics) -> list[tuple[str, Sequence[Finding]]]:
    return [
        ("cannot be decoded", audio.failed),
        ("duration is not the audio's", audio.wrong_durations),
        (f"clipped ({100.0 * audio.full_scale_share:.4f} % of samples at full scale)", audio.clipped),
        ("more than 1 s of silence at an end", audio.long_silence),
        ("nothing but silence", [Finding(name, "") for name in audio.silent]),
    ]


def _findings(sections: Iterable[tuple[str, Sequence[Finding]]], remedy: str = "") -> Table:
    table = _table()
    table.add_column(justify="right", no_wrap=True)
    table.add_column()
    for name, findings in sections:
        table.add_row(f"{len(findings):,}", name, style=None if findings else "dim")
        for finding in findings[:SHOWN]:
            table.add_row(
                "", _plain(f"  {finding.id}: {finding.why}" if finding.why else f"  {finding.id}", WIDEST_FINDING)
            )
        if len(findings) > SHOWN:
            table.add_row("", f"  ... {len(findings) - SHOWN:,} more{remedy}")
    return table


def _names(names: Sequence[str]) -> str:
    return ", ".join(one_line(name, WIDEST_NAME) for name in names[:SHOWN])


def _leaks(statistics: Statistics, leaks: Leaks) -> Table:
    table = _table()
    table.add_column(no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_column()
    total = max(statistics.utterances, 1)
    rows: list[tuple[str, int, str]] = [
        ("speakers", leaks.utterances_of_shared_speakers, _names(leaks.speakers)),
        ("sentences", leaks.utterances_with_shared_text, "; ".join(leaks.shared_texts[:2])),
        (f"of {LONG_WORDS} words or more", leaks.utterances_with_long_shared_text, ""),
        ("ids", len(leaks.ids), _names(leaks.ids)),
        ("files", len(leaks.files), _names(leaks.files)),
    ]
    if leaks.audio is not None:
        rows.append(("audio", len(leaks.audio), ", ".join(f"{a} = {b}" for a, b in leaks.audio[:SHOWN])))
    for name, count, names in rows:
        style = "bold red" if count and name in ("audio", "files") else None if count else "dim"
        table.add_row(name, f"{count:,} of {total:,}", _plain(names), style=style)
    return table
