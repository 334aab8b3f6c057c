"""What a reader must know before believing a verdict: single utterances that make it, a text profile that does, too few
utterances, and systems that do not decode alike. Sentences, and the rows of the table of decoding.
"""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import combinations

from benchmark.report.quantities import SPACE, percent
from benchmark.results import CLEAN, Comparison, Influence, Summary, SystemSummary
from benchmark.scoring.comparisons import FEWEST_COMPARED
from finetune.metrics import FEWEST_SPEAKERS, RUN_SEEDS, Rate, in_points, run_deviation, run_margin
from finetune.metrics import verdict as comparison_sentence
from finetune.systems.facts import NOISE_REMOVAL
from preprocessing.errors import counted

MAX_SENTENCES = 3  # of a kind, and of comparisons that are not summed up
_ASSUMED_RUNS = (
    f"assuming the run-to-run variance of {RUN_SEEDS} seeds of one recipe of this project; `python -m "
    "experiments.seeds` measures that of yours"
)
# Settings of decoding that two systems may state, under the names of openai-whisper where it has one.
DECODING = (
    *("decoding", "beam_size", "best_of", "patience", "length_penalty", "temperature", "language", "task"),
    *("initial_prompt", "timestamps", "condition_on_previous_text", "vad_filter", "precision", NOISE_REMOVAL),
)


@dataclass(frozen=True, slots=True)
class DecodingRow:
    """A setting that differs between systems: its name, and the value of each system, "" where it states none."""

    name: str
    values: Sequence[str]


def too_few(summary: Summary) -> str:
    """A sentence where the corpus has too few utterances to settle anything; "" where it has enough."""
    corpus = summary.corpus
    compared = corpus.utterances if corpus.compared is None else corpus.compared
    if compared >= FEWEST_COMPARED or not compared:
        return ""
    unit = _unit(summary)
    with_words = "" if corpus.compared in (None, corpus.utterances) or unit == "segment" else " with reference words"
    return (
        f"{counted(compared, unit)}{with_words} {'is' if compared == 1 else 'are'} too few for a significance test, "
        f"which needs {FEWEST_COMPARED} or more."
    )


def best_system(summary: Summary) -> str | None:
    """The system with the lowest rate, WER or CER, under the first profile; None where none has one."""
    profile = summary.profiles[0].name
    scored = [
        (system.scores[profile].rate(summary.metric).value, system.facts.name)
        for system in summary.systems
        if profile in system.scores
    ]
    return min(scored, key=lambda one: one[0])[1] if scored else None


def stated_comparisons(summary: Summary) -> list[Comparison]:
    """The comparisons that the verdict states, of clean speech where there are some: those with the baseline system,
    and all others, or of many those with the best system.
    """
    compared = [one for one in summary.comparisons if one.condition == CLEAN] or list(summary.comparisons)
    if len(compared) <= MAX_SENTENCES:
        return compared
    best = best_system(summary)
    with_best = [one for one in compared if best in (one.first, one.second)]
    kept = with_best or compared[:MAX_SENTENCES]
    return [one for one in compared if one.family == "baseline" or one in kept]


def decisive_utterances(summary: Summary) -> list[str]:
    """A sentence for each system whose rate is made by a few utterances, and for comparisons with and without them:
    those whose verdict changes, first of the ones that the verdict states, and of these also others that are moved.
    """
    found = [sentence for system in summary.systems if (sentence := _decisive(summary, system))]
    left = len(found) - MAX_SENTENCES
    if left > 0:
        found[MAX_SENTENCES:] = [
            f"A few utterances account for much of the {summary.metric.upper()} of {counted(left, 'further system')}."
        ]
    stated = stated_comparisons(summary)
    compared = [one for one in summary.comparisons if one.condition == CLEAN and one.without is not None]
    changed = [one for one in compared if one.different != one.different_without]
    changed.sort(key=lambda one: one not in stated)
    stays = [
        one
        for one in compared
        if one.different == one.different_without and _has_decisive(summary, one) and _is_moved(one) and one in stated
    ]
    return found + [_without(summary, one) for one in [*changed, *stays][:MAX_SENTENCES]]


def run_to_run_variance(summary: Summary) -> list[str]:
    """Sentences on significant differences within run-to-run variance, where one or both of two systems were trained
    here. A system that was not is a fixed model; one that was is compared with all such models in one sentence.
    """
    profile, metric = summary.profiles[0].name, summary.metric
    trained = {one.facts.name: one for one in summary.systems if one.facts.trained and profile in one.scores}
    beside_fixed: dict[str, list[str]] = {}
    pairs = []
    for one in summary.comparisons:
        ours = [trained[name] for name in (one.first, one.second) if name in trained]
        if one.condition != CLEAN or not one.different or not ours:
            continue
        if len(ours) == 2 and ours[0].facts.weights and ours[0].facts.weights == ours[1].facts.weights:
            continue  # one model, decoded in two ways
        spread, apart = _run_margin(summary, ours), abs(one.difference.value)
        if apart >= spread:
            continue
        if len(ours) == 2:
            pairs.append(
                f"{one.first} and {one.second} were trained here, and the test does not cover run-to-run variance: two "
                f"seeds of one recipe may differ by {in_points(spread)} points of {metric.upper()}, more than the "
                f"{in_points(apart)} points here ({_ASSUMED_RUNS}). Compare several seeds of each."
            )
        else:
            name = ours[0].facts.name
            other = one.second if one.first == name else one.first
            beside_fixed.setdefault(name, []).append(f"{other} ({in_points(apart)} points)")
    singles = [
        f"{name} was trained here with one seed, and the test does not cover run-to-run variance: its "
        f"{metric.upper()} may be {in_points(_run_margin(summary, [trained[name]]))} points off the mean of its "
        f"recipe, more than its difference from {enumerated(others)} ({_ASSUMED_RUNS}). Train it with several seeds."
        for name, others in beside_fixed.items()
    ]
    return [*singles[:MAX_SENTENCES], *pairs[:MAX_SENTENCES]]


def _run_margin(summary: Summary, trained: Sequence[SystemSummary]) -> float:
    """What seeds may make of the difference of two systems that were trained here, or of one and a fixed model."""
    profile = summary.profiles[0].name
    rates = [one.scores[profile].rate(summary.metric).value for one in trained]
    return run_margin(run_deviation(sum(rates) / len(rates)), RUN_SEEDS, len(trained))


def profile_effects(summary: Summary) -> list[str]:
    """Sentences where a text profile changes comparisons: which profile is fair and why, and what they are under both;
    those that the verdict states first.
    """
    if not summary.profile_effects:
        return []
    first = summary.profile_effects[0]
    stated = {(one.first, one.second) for one in stated_comparisons(summary)}
    effects = sorted(summary.profile_effects, key=lambda one: (one.first, one.second) not in stated)
    reasons = list(dict.fromkeys(one.reason for one in effects))
    left = len(reasons) - MAX_SENTENCES
    if left > 0:
        reasons[MAX_SENTENCES:] = [f"{counted(left, 'further system')} {'do' if left > 1 else 'does'} so, too"]
    found = [
        f"The fair text normalisation profile here is {first.fair}, not {first.profile}: {'; '.join(reasons)}; "
        f"{first.fair} maps both to one form."
    ]
    for one in effects[:MAX_SENTENCES]:
        before, now = one.difference, one.fair_difference
        found.append(
            f"Under {one.fair}, {one.first} minus {one.second} is {_signed(now.value)} points of "
            f"{summary.metric.upper()} ({_ends(now)}), under {one.profile} {_signed(before.value)} ({_ends(before)})"
            f"{': the ranking is reversed' if before.value * now.value < 0 else ''}."
        )
    left = len(effects) - MAX_SENTENCES
    if left > 0:
        found[-1] += f" {counted(left, 'further comparison')} change{'s' if left == 1 else ''} with the profile, too."
    return found


def detectable(summary: Summary) -> list[str]:
    """How small a difference the corpus shows, and which utterances ruin that; nothing of too few utterances."""
    largest, metric = summary.largest_detectable, summary.metric.upper()
    if too_few(summary):
        return []
    found = []
    if len(summary.detectable_differences) > 1:
        found.append(_detectable_of_pairs(summary))
    elif largest is not None:
        corrected = _corrected([largest.comparisons])
        undetected, exception = _undetected(summary, [(largest.first, largest.second)], f"points of {metric}")
        found.append(
            f"{undetected} with 80 % statistical power on this corpus{corrected}: it has too few speakers or "
            f"utterances, or a few of them have most of the words.{exception}"
            if largest.value >= 1.0
            else f"The minimum detectable difference on this corpus is {in_points(largest.value)} points of {metric} "
            f"(80 % statistical power){corrected}; smaller differences often remain undetected."
        )
        if largest.without is not None:
            found[0] += _ruined(summary, "it", largest.without, largest.left_out)
    elif any(system.scores for system in summary.systems):
        found.append(
            "The minimum detectable difference of this corpus cannot be estimated: the compared errors are the same in "
            "every utterance."
        )
    speakers = summary.corpus.speakers
    if 0 < speakers < FEWEST_SPEAKERS:
        found.append(
            f"The corpus has {counted(speakers, 'speaker')}: the results do not generalise to other speakers, which "
            f"needs {FEWEST_SPEAKERS} or more."
        )
    return found


def _detectable_of_pairs(summary: Summary) -> str:
    """The minimum detectable differences of the comparisons that the verdict states, from smallest to largest."""
    metric = summary.metric.upper()
    pairs = {(one.first, one.second) for one in stated_comparisons(summary)}
    stated = [one for one in summary.detectable_differences if (one.first, one.second) in pairs]
    stated = sorted(stated or summary.detectable_differences, key=lambda one: one.value)
    least, most = stated[0], stated[-1]
    corrected = _corrected([one.comparisons for one in stated])
    undetected = [(one.first, one.second) for one in stated if one.value >= 1.0]
    if len(undetected) == len(stated):
        nothing, exception = _undetected(summary, undetected, f"points of {metric}")
        sentence = (
            f"{nothing} with 80 % statistical power between the systems compared above{corrected}: the corpus has too "
            f"few speakers or utterances, or a few of them have most of the words.{exception}"
        )
    elif least is most:
        sentence = (
            f"The minimum detectable difference between {least.first} and {least.second} is {in_points(least.value)} "
            f"points of {metric} (80 % statistical power){corrected}; smaller differences often remain undetected."
        )
    else:
        detected = [one for one in stated if one.value < 1.0]
        largest = detected[-1]
        to = f" to {in_points(largest.value)} ({largest.first} and {largest.second})" if largest is not least else ""
        beyond = ""
        if undetected:
            more = f", and for {counted(len(undetected) - 1, 'further pair')}" if undetected[1:] else ""
            nothing, _ = _undetected(summary, undetected, "points")
            beyond = f" between {enumerated(undetected[0])}{more}, {nothing[0].lower()}{nothing[1:]} so often;"
        sentence = (
            f"The minimum detectable difference of the comparisons above is {in_points(least.value)} ({least.first} "
            f"and {least.second}){to} points of {metric} (80 % statistical power){corrected};{beyond} smaller "
            "differences often remain undetected."
        )
    if most.without is None:
        return sentence
    which = "it" if least is most else f"that of {most.first} and {most.second}"
    return sentence + _ruined(summary, which, most.without, most.left_out)


def _undetected(summary: Summary, pairs: Collection[tuple[str, str]], points: str) -> tuple[str, str]:
    """The beginning of a sentence on pairs between which nothing up to 100 points is detected, worded so that it does
    not contradict a significant comparison of theirs; and a sentence on such a one that is smaller. points: unit.
    """
    significant = [one for one in stated_comparisons(summary) if one.different and (one.first, one.second) in pairs]
    if not significant:
        return f"No difference of up to 100 {points} is detected", ""
    largest = max(significant, key=lambda one: abs(one.difference.value))
    pair = f"that between {largest.first} and {largest.second}"
    if abs(largest.difference.value) > 1.0:
        return f"Only differences above 100 {points}, as {pair}, are detected", ""
    return f"Only differences above 100 {points} are detected", f" T{pair[1:]} was detected with less power."


def _corrected(comparisons: Sequence[int]) -> str:
    several = sorted({n for n in comparisons if n > 1})
    return f", after the correction for {' or '.join(map(str, several))} comparisons" if several else ""


def _ruined(summary: Summary, which: str, without: float, ids: Sequence[str]) -> str:
    """What the largest minimum detectable difference is without the utterances that ruin it; which: what it is
    called.
    """
    return (
        f" {counted(len(ids), _unit(summary))} {'make' if len(ids) > 1 else 'makes'} {which} so large "
        f"({_named(summary, ids)}): without {'them' if len(ids) > 1 else 'it'}, {in_points(without)} points."
    )


def decoding_rows(summary: Summary) -> list[DecodingRow]:
    """The settings of decoding that two systems or more state and not all alike, in the order of DECODING."""
    stated = [system.facts.settings for system in summary.systems]
    found = []
    for name in DECODING:
        values = [settings.get(name, "") for settings in stated]
        given = [value for value in values if value]
        if len(given) > 1 and len(set(given)) > 1:
            found.append(DecodingRow(name, values))
    return found


def decoding_sentence(summary: Summary) -> str:
    """A sentence where systems with the same decoding options decode differently: which ones differ, in what, from
    those of the most frequent settings; "" where none of the options differs.

    Systems that share no option but "decoding" itself are of different kinds, and their search is part of them.
    """
    rows = [row for row in decoding_rows(summary) if row.name not in ("decoding", "precision")]
    groups: dict[tuple[str, ...], list[str]] = {}  # names of systems by their values
    for place, one in enumerate(summary.systems):
        values = tuple(row.values[place] for row in rows)
        if any(values):
            groups.setdefault(values, []).append(one.facts.name)
    if not groups:
        return ""

    def differing(first: Sequence[str], second: Sequence[str]) -> tuple[str, ...]:
        pairs = zip(rows, first, second, strict=True)
        return tuple(row.name for row, one, other in pairs if one and other and one != other)

    names = [one.facts.name for one in summary.systems if any(one.facts.name in group for group in groups.values())]
    settings = [row.name for row in rows]
    if len(groups) == len(names) and all(differing(*pair) for pair in combinations(groups, 2)):
        return (
            f"{enumerated(names)} decode with different settings ({', '.join(settings)}), so differences between them "
            "come from these settings as well as from the models."
        )
    usual = max(groups, key=lambda values: len(groups[values]))
    alike = [values for values in groups if not differing(usual, values)]
    others: dict[tuple[str, ...], list[list[str]]] = {}  # groups of names by the settings that are others
    for values, group in groups.items():
        if values not in alike:
            others.setdefault(differing(usual, values), []).append(group)
    if len(others) > MAX_SENTENCES or any(differing(*pair) for pair in combinations(alike, 2)):
        return (
            f"{enumerated(names)} do not all decode with the same {enumerated(settings)}; differences between systems "
            "whose settings differ come from these as well as from the models."
        )
    clauses: list[str] = []
    for changed, own in others.items():
        different = [name for group in own for name in group]
        verb = "" if clauses else " decodes" if len(different) == 1 else " decode"
        each = " each" if len(own) > 1 else ""
        clauses.append(f"{enumerated(different)}{each}{verb} with another {enumerated(changed)}")
    like_usual = [name for name in names if any(name in groups[values] for values in alike)]
    head = f"{enumerated(clauses)} than {enumerated(like_usual)}"
    if len(groups) - len(alike) > 1:
        return f"{head}; differences between systems whose settings differ come from these as well as from the models."
    [(changed, [different])] = others.items()
    its, them = "its" if len(different) == 1 else "their", "it" if len(like_usual) == 1 else "them"
    these = "this" if len(changed) == 1 else "these"
    return f"{head}; {its} differences to {them} come from {these} as well as from the models."


def described(one: Influence) -> str:
    """An utterance by its id and, where it loops, what it repeats."""
    if not one.looped:
        return one.id
    if one.loop:
        return f"{one.id}, repetition loop: “{one.loop}” {one.loop_times} times"
    return f"{one.id}, repetition loop: compression ratio {one.compression_ratio:.1f}"


def enumerated(names: Sequence[str]) -> str:
    """The names in one phrase.

    >>> enumerated(["a", "b", "c"])
    'a, b and c'
    """
    return " and ".join([part for part in (", ".join(names[:-1]), names[-1]) if part])


def _decisive(summary: Summary, system: SystemSummary) -> str:
    few = [one for one in system.influences if one.decisive]
    if not few or system.without_decisive is None:
        return ""
    whole = system.scores[summary.profiles[0].name].rate(summary.metric).value
    without = system.without_decisive.value
    several = counted(len(few), _unit(summary))
    return (
        f"{several} {'account' if len(few) > 1 else 'accounts'} for {in_points(whole - without)} of the "
        f"{in_points(whole)} points of {summary.metric.upper()} of {system.facts.name} "
        f"({'; '.join(map(described, few))}): without {'them' if len(few) > 1 else 'it'}, {percent(without)}."
    )


def _without(summary: Summary, one: Comparison) -> str:
    assert one.without is not None
    metric = summary.metric.upper()
    ids = enumerated(one.left_out)
    if one.different == one.different_without:
        return (
            f"Without {ids}, {one.first} minus {one.second} is {_signed(one.without.value)} points of {metric} "
            f"({_ends(one.without)}) instead of {_signed(one.difference.value)}; the verdict is the same."
        )
    sentence = comparison_sentence(one.first, one.second, one.without, one.different_without, metric)
    sentence = re.sub("^No significant", "no significant", sentence).replace(" %", f"{SPACE}%")
    if one.different:
        return (
            f"The verdict on {one.first} and {one.second} depends on {counted(len(one.left_out), _unit(summary))}: "
            f"without {ids}, {sentence}"
        )
    return f"Without {ids}, {sentence}"


def _unit(summary: Summary) -> str:
    """What is counted and left out: an utterance, or of long recordings a segment."""
    return "segment" if summary.corpus.resampling_unit == "segment" else "utterance"


def _signed(fraction: float) -> str:
    """A difference of two rates in points, with a sign: "−0.4"."""
    return in_points(fraction, signed=True).replace("-", "−")


def _ends(difference: Rate) -> str:
    """The interval of a difference in points: "−0.4 to +1.2"."""
    return f"{_signed(difference.low)} to {_signed(difference.high)}"


def _is_moved(one: Comparison) -> bool:
    """Whether the difference is another one without the utterances, as it is written."""
    return one.without is not None and _signed(one.without.value) != _signed(one.difference.value)


def _has_decisive(summary: Summary, one: Comparison) -> bool:
    own = (system for system in summary.systems if system.facts.name in (one.first, one.second))
    return any(influence.decisive for system in own for influence in system.influences)


def _named(summary: Summary, ids: Sequence[str]) -> str:
    """Utterances by their ids and what a system repeats in them."""
    found = []
    for id in ids:
        of_id = [one for system in summary.systems for one in system.influences if one.id == id]
        looped = [one for one in of_id if one.looped]
        found.append(described(looped[0]) if looped else id)
    return "; ".join(found)
