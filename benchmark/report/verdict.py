"""The sentences above the table: notices, the verdict of the comparisons, and the caveats that belong to them."""

from collections.abc import Sequence

from benchmark.report import fairness
from benchmark.report.fairness import best_system, enumerated, stated_comparisons
from benchmark.report.quantities import SPACE, interval, percent
from benchmark.results import CLEAN, Change, Comparison, Summary
from benchmark.scoring.comparisons import family_sizes
from finetune.metrics import LEVEL, Rate
from preprocessing.errors import counted

_MAX_CHANGES = 3  # of significant ones since an earlier result; the section of changes has all
_MAX_NAMES = 3  # of systems in the title
_MAX_IN_GROUP = 5  # names of systems that are better than the baseline system, worse, or neither
MAX_SHOWN = 5  # sentences of the verdict, and as many caveats, that stand above the table; others follow or are folded
# fmt: off
_NUMBER_WORDS = (
    "no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
)
# fmt: on


def notices(summary: Summary) -> list[str]:
    """What a reader must know before the figures: the run's notices, stand-ins, systems without results."""
    found = list(summary.notices)
    for system in summary.systems:
        name, notice = system.facts.name, system.facts.notice
        if notice and not any(notice in other for other in found):
            found.append(notice if name in notice else f"{name}: {notice}")
        if system.failure:
            reason = system.failure.removeprefix(f"{name}: ")
            found.append(f"{name} gave no results: {reason}")
    return found


def title_names(summary: Summary) -> list[str]:
    """The systems for a title: up to three names, or one entry such as "Five systems"."""
    names = [system.facts.name for system in summary.systems]
    return names if len(names) <= _MAX_NAMES else [f"{number_word(len(names)).capitalize()} systems"]


def number_word(count: int) -> str:
    """A number up to twelve as a word, a larger one in digits.

    >>> number_word(6), number_word(13)
    ('six', '13')
    """
    return _NUMBER_WORDS[count] if count < len(_NUMBER_WORDS) else str(count)


def verdict(summary: Summary) -> list[str]:
    """The sentences that answer which system is best, on clean speech; first the comparisons with a baseline system, or
    that it gave no results.

    Up to three comparisons: the sentence of each. More: one sentence that sums up the comparisons with the best system
    (or the baseline system), and at the end theirs. None, or too few utterances: a sentence with the rate of each
    system. After the answer what makes it, or breaks it: the text profile, run-to-run variance, a few utterances; and
    what has changed since an earlier result.
    """
    few = fairness.too_few(summary)
    missing = _missing_baseline(summary)
    if few:
        return [*missing, few, *_rates(summary), *_changes(summary)]
    answers, single = _answers(summary)
    return [
        *missing,
        *answers,
        *fairness.profile_effects(summary),
        *_changes(summary),
        *fairness.run_to_run_variance(summary),
        *fairness.decisive_utterances(summary),
        *single,
    ]


def _missing_baseline(summary: Summary) -> list[str]:
    """A sentence where the baseline system gave no results; [] where it has some, or none is named."""
    return [
        f"The baseline system {one.facts.name} gave no results, so nothing was compared with it."
        for one in summary.systems
        if one.facts.name == summary.baseline_system and one.failure is not None
    ]


def _answers(summary: Summary) -> tuple[list[str], list[str]]:
    """The sentences that answer, and those of the single comparisons that they sum up, the best systems first."""
    stated = stated_comparisons(summary)
    if not stated:
        return _rates(summary), []
    answers: list[str] = []
    single: list[str] = []
    best, baseline = best_system(summary), summary.baseline_system
    with_baseline = [one for one in stated if one.family == "baseline"]
    others = [one for one in stated if one.family != "baseline"]
    if baseline is not None and len(with_baseline) > fairness.MAX_SENTENCES:
        answers.append(_baseline_sentence(summary, baseline, with_baseline))
        single += map(_sentence, sorted(with_baseline, key=lambda one: _from(one, baseline).value))
    else:
        answers += map(_sentence, with_baseline)
    n_compared = sum(one.condition == others[0].condition for one in summary.comparisons) if others else 0
    with_best = [one for one in stated if best in (one.first, one.second)]
    if n_compared > fairness.MAX_SENTENCES and with_best and best is not None:
        answers.append(_summary_sentence(summary, best, with_best))
        single += map(_sentence, sorted(others, key=lambda one: _from(one, best).value))
    else:
        answers += map(_sentence, others)
    return answers, single


def _baseline_sentence(summary: Summary, baseline: str, compared: Sequence[Comparison]) -> str:
    """One sentence: the baseline system, its rate, and which systems are significantly better, worse, or neither."""
    rate = next(
        one.scores[summary.profiles[0].name].rate(summary.metric)
        for one in summary.systems
        if one.facts.name == baseline
    )
    names: dict[str, list[str]] = {"better": [], "worse": [], "neither": []}
    for one in compared:
        other = one.second if one.first == baseline else one.first
        if one.different is not None:
            kind = "neither" if not one.different else "better" if _from(one, baseline).value < 0 else "worse"
            names[kind].append(other)
    said = {
        "better": ("is significantly better", "are significantly better"),
        "worse": ("is significantly worse", "are significantly worse"),
        "neither": ("does not differ significantly from it", "do not differ significantly from it"),
    }
    findings = [
        f"{enumerated(own) if len(own) <= _MAX_IN_GROUP else f'{number_word(len(own))} systems'} "
        f"{said[kind][len(own) > 1]}"
        for kind, own in names.items()
        if own
    ]
    head = f"The baseline system {baseline} has a {summary.metric.upper()} of {percent(rate.value)}"
    return f"{head}: {enumerated(findings)}." if findings else f"{head}."


def _changes(summary: Summary) -> list[str]:
    """The significant changes since an earlier result, for the worse first; that there is none; nothing without one."""
    if not summary.changes:
        return []
    significant = sorted((one for one in summary.changes if one.significant), key=_order_of_changes)
    if not significant:
        return ["None of the figures that are compared with the earlier result has changed significantly."]
    found = [f"Since the earlier result: {one.sentence.replace(' %', f'{SPACE}%')}" for one in significant]
    left = len(found) - _MAX_CHANGES
    if left > 0:
        found[_MAX_CHANGES:] = [f"{counted(left, 'further figure')} changed significantly since the earlier result."]
    return found


def _order_of_changes(one: Change) -> tuple[bool, bool]:
    return one.kind != "worse", not one.figure.endswith(CLEAN)


def above_and_below(summary: Summary) -> tuple[list[str], list[str], list[str]]:
    """The sentences of the verdict and the caveats that stand above the table, and all others, which follow it."""
    answer, limits = verdict(summary), caveats(summary)
    return answer[:MAX_SHOWN], limits[:MAX_SHOWN], [*answer[MAX_SHOWN:], *limits[MAX_SHOWN:]]


def part_of_corpus(summary: Summary) -> str:
    """Which part of the corpus was measured; "" of the whole.

    >>> from benchmark.results import CorpusFacts
    >>> from types import SimpleNamespace
    >>> part_of_corpus(SimpleNamespace(corpus=CorpusFacts("digits", 40, 0.1, 6, "speaker", whole=60)))
    '40 of 60 utterances'
    """
    corpus = summary.corpus
    return "" if corpus.whole is None else f"{corpus.utterances:,} of {corpus.whole:,} utterances"


def _rates(summary: Summary) -> list[str]:
    """A sentence with the rate of each system; where no reference has a word, one with the words that they invent."""
    profile, metric = summary.profiles[0].name, summary.metric
    scored = [(one.facts.name, one.scores[profile].rate(metric)) for one in summary.systems if profile in one.scores]
    sentences = [
        f"{name} has a {metric.upper()} of {percent(rate.value)} (95 % interval {interval(rate)}) under the profile "
        f"{profile}."
        for name, rate in scored
    ]
    invented = [
        f"{one.facts.name} {one.hallucinated_words_per_minute[CLEAN]:.1f}"
        for one in summary.systems
        if CLEAN in one.hallucinated_words_per_minute
    ]
    if not sentences and invented:
        return [
            f"No reference has a word, so there is no {metric.upper()}. Hallucinated {summary.error_unit}s per minute: "
            f"{', '.join(invented)}."
        ]
    return sentences or ["No system has any results."]


def _sentence(comparison: Comparison) -> str:
    """The comparison's sentence, with each % kept on the line of its number."""
    return comparison.sentence.replace(" %", f"{SPACE}%")


def _summary_sentence(summary: Summary, best: str, compared: Sequence[Comparison]) -> str:
    """One sentence: the best system, its rate, and which others it is significantly better than, or is not."""
    profile, metric = summary.profiles[0].name, summary.metric
    rates = {one.facts.name: one.scores[profile].rate(metric).value for one in summary.systems if profile in one.scores}
    lowest = [name for name, value in rates.items() if value == rates[best]]
    head = (
        f"{enumerated(lowest)} {'have' if len(lowest) > 1 else 'has'} the lowest {metric.upper()} of "
        f"{number_word(len(rates))} systems, {percent(rates[best])}"
    )
    beaten = sum(one.different is True and _from(one, best).value > 0 for one in compared)
    not_different = [one.second if one.first == best else one.first for one in compared if one.different is False]
    findings = []
    if beaten:
        findings.append(
            "is significantly better than "
            + ("all others" if beaten == len(compared) else f"{number_word(beaten)} of the others")
        )
    if not_different:
        several = len(not_different) > _MAX_NAMES
        findings.append(
            "does not differ significantly from "
            + (f"{number_word(len(not_different))} others" if several else enumerated(not_different))
        )
    without = [one.facts.name for one in summary.systems if profile not in one.scores]
    gave_none = f" {enumerated(without)} gave no results." if without else ""
    subject = best if len(lowest) > 1 else "it"
    return head + (f": {subject} {' and '.join(findings)}." if findings else ".") + gave_none


def caveats(summary: Summary) -> list[str]:
    """How far the verdict holds: the correction for several comparisons, and the smallest detectable difference."""
    found = []
    sizes = family_sizes(summary.comparisons)
    if sizes["baseline"] and sizes["other"]:
        own, other = ("" if sizes[family] == 1 else f"{sizes[family]} " for family in ("baseline", "other"))
        found.append(
            f"All p{SPACE}values are corrected (Holm), separately for the {own}comparison{'s' if own else ''} with the "
            f"baseline system {summary.baseline_system} on clean speech and for the {other}other{'s' if other else ''};"
            " this is valid only if the baseline system was named before the results were known."
        )
    elif sizes.total() > 1:
        corrected = f"All p{SPACE}values are corrected for the {counted(sizes.total(), 'comparison')} made here (Holm)."
        found.append(" ".join([corrected, *_fewer_comparisons(summary)]))
    decoding = fairness.decoding_sentence(summary)
    found += [*fairness.detectable(summary), *([decoding] if decoding else [])]
    return [*found, *detected_languages(summary)]


def _fewer_comparisons(summary: Summary) -> list[str]:
    """A sentence on how a further run makes fewer comparisons, where the correction for all of them leaves a difference
    on clean speech not significant; [] where it does not, or a baseline system is named.
    """
    lost = [
        one
        for one in summary.comparisons
        if one.condition == CLEAN and one.different is False and one.p_value is not None and one.p_value < 1.0 - LEVEL
    ]
    if not lost or summary.baseline_system is not None:
        return []
    return [
        f"Without this correction, {counted(len(lost), 'further difference')} on clean speech would be significant: in "
        "the next run, --baseline_system NAME, named beforehand, corrects the comparisons with NAME on clean speech by "
        "themselves, and fewer systems or conditions make fewer comparisons."
    ]


def detected_languages(summary: Summary) -> list[str]:
    """A sentence where systems detected the language of each utterance, which short ones hardly allow."""
    names = [one.facts.name for one in summary.systems if one.facts.settings.get("language") == "detected"]
    if not names:
        return []
    return [
        f"{enumerated(names)} detected the language of each utterance, as --language was not set. Detection takes time "
        "and often fails on short utterances: set --language if all utterances are in one language."
    ]


def differences_to_best(summary: Summary, condition: str = CLEAN) -> list[tuple[int, str, Rate]]:
    """Paired differences to the best system: index in the summary, name, rate of that system minus the best one's."""
    best = best_system(summary)
    indices = {system.facts.name: index for index, system in enumerate(summary.systems)}
    found: list[tuple[int, str, Rate]] = []
    for one in summary.comparisons:
        if one.condition == condition and best in (one.first, one.second):
            other = one.second if one.first == best else one.first
            if other in indices:
                found.append((indices[other], other, _from(one, best)))
    return sorted(found)


def significance(comparison: Comparison) -> str:
    """The verdict of one comparison: "significant", "not significant", or a dash where it was not tested."""
    if comparison.different is None:
        return "–"
    return "significant" if comparison.different else "not significant"


def p_value(value: float | None) -> str:
    """A p-value as text: "0.013", "< 0.001", a dash for None."""
    if value is None:
        return "–"
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def _from(comparison: Comparison, system: str | None) -> Rate:
    """The rate of the other system minus that of `system`."""
    found = comparison.difference
    return found if comparison.second == system else Rate(0.0 - found.value, 0.0 - found.high, 0.0 - found.low)


def several_conditions(comparisons: Sequence[Comparison]) -> bool:
    """Whether the comparisons are of more than one condition, so that a table of them needs a column for it."""
    return len({one.condition for one in comparisons}) > 1
