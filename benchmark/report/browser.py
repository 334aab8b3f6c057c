"""What the utterance browser of the page is given: every utterance with what each system made of it, as JSON.

page.js turns it into rows. Numbers and places stand for names that recur, so that 5,000 utterances of three systems
are a few megabytes. The layout is in `Row` and `Heard`.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from markupsafe import Markup

from benchmark.report.listening import Clip
from benchmark.report.utterances import Outcome, Utterance, most_errors
from finetune.metrics.word_alignment import Alignment

MAX_UTTERANCES = 5_000
MAX_CHARACTERS = 5_000_000  # of all texts together
Heard = list[Any]  # hypothesis, S, D, I, pieces, latency in ms or null, error or null, 1 where it repeated itself


@dataclass(frozen=True, slots=True)
class Shown:
    """The utterances of the browser, in the corpus' order, and a sentence where they are not all."""

    utterances: Sequence[Utterance]
    sentence: str = ""


@dataclass(slots=True)
class _Names:
    """Names by their place of first appearance; None is -1."""

    found: dict[str, int] = field(default_factory=dict)

    def place(self, name: str | None) -> int:
        return -1 if name is None else self.found.setdefault(name, len(self.found))


def choose(utterances: Sequence[Utterance], limit: int = MAX_UTTERANCES, n_characters: int = MAX_CHARACTERS) -> Shown:
    """All utterances where they fit; else the worst ones for one half and evenly spaced others for the other."""
    sizes = [_characters(utterance) for utterance in utterances]
    if len(utterances) <= limit and sum(sizes) <= n_characters:
        return Shown(utterances)
    worst = sorted(range(len(utterances)), key=lambda at: -most_errors(utterances[at]))
    head, rest = worst[: limit // 2], sorted(worst[limit // 2 :])
    step = max(1, math.ceil(len(rest) / max(1, limit - limit // 2)))
    kept: list[int] = []
    left = n_characters
    for at in [*head, *rest[::step]]:
        if sizes[at] <= left:
            kept.append(at)
            left -= sizes[at]
    sentence = (
        f"{len(kept):,} of {len(utterances):,} utterances are shown, as a page holds no more: the worst ones, and "
        "others taken evenly from the corpus. utterances.csv beside this page has all."
    )
    return Shown([utterances[at] for at in sorted(kept)], sentence)


def browser_json(
    shown: Shown,
    systems: Sequence[str],
    latencies: Mapping[tuple[str, str], float],
    loops: Mapping[str, Sequence[str]],
    sounds: Mapping[tuple[str, str], Clip],
) -> Markup:
    """The data as JSON that cannot end its script element, whatever the texts hold.

    latencies: seconds by system and utterance. loops: utterances in which a system repeated itself, by system.
    """
    conditions, speakers, domains, languages = _Names(), _Names(), _Names(), _Names()
    repeated = {name: set(ids) for name, ids in loops.items()}
    rows: list[list[Any]] = []
    for utterance in shown.utterances:
        first = utterance.first
        words = _reference(utterance)
        heard = [
            _heard(
                utterance.outcomes[name], latencies.get((name, utterance.id)), utterance.id in repeated.get(name, ())
            )
            if name in utterance.outcomes
            else 0
            for name in systems
        ]
        rows.append(
            [
                utterance.id,
                conditions.place(utterance.condition),
                speakers.place(first.speaker),
                domains.place(first.domain),
                languages.place(first.language),
                round(first.audio_seconds, 2),
                first.reference,
                0 if words == first.reference else words,
                heard,
            ]
        )
    places = {(utterance.id, utterance.condition): at for at, utterance in enumerate(shown.utterances)}
    content = {
        "systems": list(systems),
        "conditions": list(conditions.found),
        "speakers": list(speakers.found),
        "domains": list(domains.found),
        "languages": list(languages.found),
        "rows": rows,
        "clips": {
            str(places[at]): [clip.audio, clip.log_mel, round(clip.seconds, 2)]
            for at, clip in sounds.items()
            if at in places
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


def pieces(alignment: Alignment) -> list[Any]:
    """An alignment against its reference words: 3 alike, -2 deleted, "a b" inserted, ["a b"] in place of as many.

    >>> from finetune.metrics.word_alignment import align
    >>> pieces(align("the cat sat down", "so a cat sat", str.lower))
    ['so', ['a'], 2, -1]
    """
    found: list[Any] = []
    for piece in alignment.pieces:
        match piece.kind:
            case "equal":
                found.append(len(piece.reference))
            case "delete":
                found.append(-len(piece.reference))
            case "insert":
                found.append(" ".join(piece.hypothesis))
            case "substitute":
                found.append([" ".join(piece.hypothesis)])
    return found


def _heard(outcome: Outcome, latency: float | None, repeated: bool) -> Heard:
    found = outcome.alignment
    return [
        outcome.sample.hypothesis,
        found.substitutions,
        found.deletions,
        found.insertions,
        pieces(found),
        None if latency is None else round(1000 * latency, 2),
        outcome.sample.error,
        int(repeated),
    ]


def _reference(utterance: Utterance) -> str:
    """The words that were compared."""
    outcome = next(iter(utterance.outcomes.values()))
    return " ".join(word for piece in outcome.alignment.pieces for word in piece.reference)


def _characters(utterance: Utterance) -> int:
    first = utterance.first
    heard = sum(len(outcome.sample.hypothesis) + 40 for outcome in utterance.outcomes.values())
    return len(first.reference) + heard + 60
