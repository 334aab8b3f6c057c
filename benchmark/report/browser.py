"""The JSON that the page's utterance browser reads: every utterance with each system's words.

page.js turns it into rows. A recurring name is written once and referred to by its index, so that 5,000 utterances of
three systems take a few megabytes. The layout is that of `_row` and `_hypothesis`.
"""

import json
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from markupsafe import Markup

from benchmark.report.clips import Clip
from benchmark.report.utterances import AlignedSample, ComparedUtterance, max_errors
from benchmark.report.words import LEVELS, WRITTEN_BELOW, percent_of
from benchmark.results import CLEAN, Summary
from finetune.metrics.word_alignment import Alignment

MAX_UTTERANCES = 5_000
MAX_CHARACTERS = 5_000_000  # of all texts together


@dataclass(frozen=True, slots=True)
class BrowserSelection:
    """The utterances that the browser lists, in the corpus' order; `sentence` says so where they are not all."""

    utterances: Sequence[ComparedUtterance]
    sentence: str = ""


@dataclass(frozen=True, slots=True)
class BrowserSection:
    """The browser of the page. json: as page.js reads it. sentence: where it does not list all utterances."""

    json: Markup
    sentence: str
    n_clips: int

    @classmethod
    def of(
        cls,
        summary: Summary,
        utterances: Sequence[ComparedUtterance],
        latencies: Mapping[tuple[str, str], float],
        clips: Mapping[tuple[str, str], Clip],
    ) -> "BrowserSection":
        """latencies: seconds by system and utterance id. clips: by utterance id and condition."""
        selection = select_utterances(utterances)
        return cls(browser_json(summary, selection, latencies, clips), selection.sentence, len(clips))


def select_utterances(
    utterances: Sequence[ComparedUtterance], limit: int = MAX_UTTERANCES, n_characters: int = MAX_CHARACTERS
) -> BrowserSelection:
    """All utterances where they fit; else half of `limit` with most errors, and others evenly from the corpus."""
    sizes = [_n_characters(utterance) for utterance in utterances]
    if len(utterances) <= limit and sum(sizes) <= n_characters:
        return BrowserSelection(utterances)
    ranked = sorted(range(len(utterances)), key=lambda index: -max_errors(utterances[index]))
    worst, others = ranked[: limit // 2], sorted(ranked[limit // 2 :])
    step = max(1, math.ceil(len(others) / max(1, limit - limit // 2)))
    kept: list[int] = []
    room = n_characters
    for index in [*worst, *others[::step]]:
        if sizes[index] <= room:
            kept.append(index)
            room -= sizes[index]
    sentence = (
        f"The list shows {len(kept):,} of {len(utterances):,} utterances to keep the page small: those with most "
        "errors, and others spread evenly over the corpus. utterances.csv next to this page lists all."
    )
    return BrowserSelection([utterances[index] for index in sorted(kept)], sentence)


def browser_json(
    summary: Summary,
    selection: BrowserSelection,
    latencies: Mapping[tuple[str, str], float],
    clips: Mapping[tuple[str, str], Clip],
) -> Markup:
    """The browser's data as JSON that is safe inside a <script> element, whatever the texts hold.

    latencies: seconds by system and utterance id. clips: by utterance id and condition.
    """
    systems = [system.facts.name for system in summary.systems]
    indices = {name: _NameIndex() for name in ("conditions", "speakers", "domains", "languages")}
    looping = {
        (system.facts.name, condition, id)
        for system in summary.systems
        for condition, ids in system.loops_by_condition().items()
        for id in ids
    }
    rows = [_row(utterance, systems, latencies, looping, indices) for utterance in selection.utterances]
    positions = {(utterance.id, utterance.condition): index for index, utterance in enumerate(selection.utterances)}
    content = {
        "systems": systems,
        "metric": summary.metric.upper(),
        "unit": summary.error_unit,
        "levels": LEVELS,
        "writtenBelow": WRITTEN_BELOW,
        **{name: list(index.found) for name, index in indices.items()},
        "rows": rows,
        "clips": {
            str(positions[key]): [clip.audio, clip.log_mel, round(clip.seconds, 2)]
            for key, clip in clips.items()
            if key in positions
        },
    }
    return script_json(content)


def script_json(content: object) -> Markup:
    """JSON for a <script type="application/json">: no "<", ">" or "&", no line separators, no lone surrogates."""
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
    text = text.encode("utf-8", "replace").decode("utf-8")
    for symbol in "<>&\u2028\u2029":
        text = text.replace(symbol, f"\\u{ord(symbol):04x}")
    return Markup(text)


def alignment_code(alignment: Alignment) -> list[Any]:
    """An alignment by its reference words: 3 equal words, -2 deleted, "a b" inserted, ["a b"] substituted for as many.

    >>> from finetune.metrics.word_alignment import align
    >>> alignment_code(align("the cat sat down", "so a cat sat", str.lower))
    ['so', ['a'], 2, -1]
    """
    code: list[Any] = []
    for piece in alignment.pieces:
        match piece.kind:
            case "equal":
                code.append(len(piece.reference))
            case "delete":
                code.append(-len(piece.reference))
            case "insert":
                code.append(" ".join(piece.hypothesis))
            case "substitute":
                code.append([" ".join(piece.hypothesis)])
    return code


@dataclass(slots=True)
class _NameIndex:
    """Names by the order of their first appearance; None is -1."""

    found: dict[str, int] = field(default_factory=dict)

    def of(self, name: str | None) -> int:
        return -1 if name is None else self.found.setdefault(name, len(self.found))


def _row(
    utterance: ComparedUtterance,
    systems: Sequence[str],
    latencies: Mapping[tuple[str, str], float],
    looping: Collection[tuple[str, str, str]],
    indices: Mapping[str, _NameIndex],
) -> list[Any]:
    """Id, index of condition, speaker, domain and language, seconds, reference, normalised reference (0: the same), and
    a hypothesis of each system (0: no sample).
    """
    first = utterance.first
    pieces = next(iter(utterance.by_system.values())).alignment.pieces
    normalised = " ".join(word for piece in pieces for word in piece.reference)
    return [
        utterance.id,
        indices["conditions"].of(utterance.condition),
        indices["speakers"].of(first.speaker),
        indices["domains"].of(first.domain),
        indices["languages"].of(first.language),
        round(first.audio_seconds, 2),
        first.reference,
        0 if normalised == first.reference else normalised,
        [
            _hypothesis(
                aligned,
                latencies.get((name, utterance.id)) if utterance.condition == CLEAN else None,
                (name, utterance.condition, utterance.id) in looping,
            )
            if (aligned := utterance.by_system.get(name))
            else 0
            for name in systems
        ],
    ]


def _hypothesis(aligned: AlignedSample, latency: float | None, is_loop: bool) -> list[Any]:
    """Text, substitutions, deletions, insertions, alignment, milliseconds or null, error or null, 1 for a loop.

    Where there are words also a list of two numbers for each word of the hypothesis: the second that it starts at and
    its confidence in percent, each -1 where it is not known.
    """
    counts = aligned.alignment.counts
    return [
        aligned.sample.hypothesis,
        counts.substitutions,
        counts.deletions,
        counts.insertions,
        alignment_code(aligned.alignment),
        None if latency is None else round(1000 * latency, 2),
        aligned.sample.error,
        int(is_loop),
        *([_times_and_percents(aligned)] if aligned.tokens else []),
    ]


def _times_and_percents(aligned: AlignedSample) -> list[float]:
    found: list[float] = []
    for token in aligned.tokens:
        found.append(-1 if token is None else round(max(token.start, 0.0), 2))
        found.append(-1 if token is None or token.probability is None else percent_of(token.probability))
    return found


def _n_characters(utterance: ComparedUtterance) -> int:
    """About the size of the utterance's row in the JSON."""
    hypotheses = sum(
        len(aligned.sample.hypothesis) + 40 + 8 * len(aligned.tokens) for aligned in utterance.by_system.values()
    )
    return len(utterance.first.reference) + hypotheses + 60
