"""The sentences above the table: notices, the verdict of the comparisons, and the caveats that belong to them."""

from collections.abc import Sequence

from benchmark.report import fairness
from benchmark.report.fairness import enumerated
from benchmark.report.quantities import SPACE, interval, percent
from benchmark.results import CLEAN, Comparison, Summary
from finetune.metrics import Rate
from preprocessing.cli.errors import counted

_MAX_SENTENCES = 3  # of comparisons at the top of the page; the table of comparisons has all
_MAX_NAMES = 3  # of systems in the title
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
    """The sentences that answer which system is best, on clean speech.

    Up to three comparisons: the sentence of each. More: one sentence that sums up the comparisons with the best system,
    then theirs. None, or too few utterances: a sentence with the rate of each system. After them what makes the
    verdict, or breaks it: run-to-run variance, a few utterances, the text profile.
    """
    few = fairness.too_few(summary)
    if few:
        return [few, *_rates(summary)]
    return [
        *_answers(summary),
        *fairness.run_to_run_variance(summary),
        *fairness.decisive_utterances(summary),
        *fairness.profile_effects(summary),
    ]


def _answers(summary: Summary) -> list[str]:
    compared = [one for one in summary.comparisons if one.condition == CLEAN] or list(summary.comparisons)
    if len(compared) > _MAX_SENTENCES:
        best = best_system(summary)
        with_best = [one for one in compared if best in (one.first, one.second)]
        if with_best and best is not None:
            return [_summary_sentence(summary, best, with_best), *map(_sentence, with_best)]
        compared = compared[:_MAX_SENTENCES]
    return list(map(_sentence, compared)) if compared else _rates(summary)


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
        what = "characters" if metric == "cer" else "words"
        return [
            f"No reference has a word, so there is no {metric.upper()}. Hallucinated {what} per minute: "
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
    beaten = sum(one.different is True and _from_best(one, best).value > 0 for one in compared)
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
    corrected = [one for one in summary.comparisons if one.adjusted_p is not None]
    if len(corrected) > 1:
        found.append(
            f"All p{SPACE}values are corrected for the {counted(len(corrected), 'comparison')} made here (Holm)."
        )
    decoding = fairness.decoding_sentence(summary)
    found += [*fairness.detectable(summary), *([decoding] if decoding else [])]
    return [*found, *detected_languages(summary)]


def detected_languages(summary: Summary) -> list[str]:
    """A sentence where systems detected the language of each utterance, which short ones hardly allow."""
    names = [one.facts.name for one in summary.systems if one.facts.settings.get("language") == "detected"]
    if not names:
        return []
    return [
        f"{enumerated(names)} detected the language of each utterance, as --language was not set. Detection takes time "
        "and often fails on short utterances: set --language if all utterances are in one language."
    ]


def best_system(summary: Summary) -> str | None:
    """The system with the lowest rate, WER or CER, under the first profile; None where none has one."""
    profile = summary.profiles[0].name
    scored = [
        (system.scores[profile].rate(summary.metric).value, system.facts.name)
        for system in summary.systems
        if profile in system.scores
    ]
    return min(scored, key=lambda one: one[0])[1] if scored else None


def differences_to_best(summary: Summary, condition: str = CLEAN) -> list[tuple[int, str, Rate]]:
    """Paired differences to the best system: index in the summary, name, rate of that system minus the best one's."""
    best = best_system(summary)
    indices = {system.facts.name: index for index, system in enumerate(summary.systems)}
    found: list[tuple[int, str, Rate]] = []
    for one in summary.comparisons:
        if one.condition == condition and best in (one.first, one.second):
            other = one.second if one.first == best else one.first
            if other in indices:
                found.append((indices[other], other, _from_best(one, best)))
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


def _from_best(comparison: Comparison, best: str | None) -> Rate:
    found = comparison.difference
    return found if comparison.second == best else Rate(-found.value, -found.high, -found.low)


def several_conditions(comparisons: Sequence[Comparison]) -> bool:
    """Whether the comparisons are of more than one condition, so that a table of them needs a column for it."""
    return len({one.condition for one in comparisons}) > 1
