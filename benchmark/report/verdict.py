"""What a report says first: who is better and how sure that is, and what must be read before any figure."""

from collections.abc import Sequence

from benchmark.report.quantities import SPACE, counted, interval, percent
from benchmark.results import Comparison, Summary
from finetune.metrics import Rate

CLEAN = "clean"
_MAX_SENTENCES = 3  # of comparisons at the head of the page; the table of comparisons has all
_MAX_NAMES = 3  # of systems in the title
_NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")


def notices(summary: Summary) -> list[str]:
    """All that must be read before any figure: the run's own notices, stand-ins, systems without results."""
    found = list(summary.notices)
    for system in summary.systems:
        name, notice = system.facts.name, system.facts.notice
        if notice and not any(notice in said for said in found):
            found.append(notice if name in notice else f"{name}: {notice}")
        if system.failure:
            found.append(f"{name} gave no results: {system.failure}")
    return found


def named(summary: Summary) -> list[str]:
    """The systems as a title has them: their names, or how many they are."""
    names = [system.facts.name for system in summary.systems]
    return names if len(names) <= _MAX_NAMES else [f"{in_words(len(names)).capitalize()} systems"]


def in_words(count: int) -> str:
    """
    >>> in_words(6), in_words(13)
    ('six', '13')
    """
    return _NUMBERS[count] if count < len(_NUMBERS) else str(count)


def verdict(summary: Summary) -> list[str]:
    """The comparisons' sentences on clean speech; where there are many, a sentence over those with the best system, and
    theirs. Where nothing was compared, each system's WER in words.
    """
    compared = [one for one in summary.comparisons if one.condition == CLEAN] or list(summary.comparisons)
    if len(compared) > _MAX_SENTENCES:
        best = best_system(summary)
        with_best = [one for one in compared if best in (one.first, one.second)]
        if with_best and best is not None:
            return [_summed_up(summary, best, with_best), *map(_sentence, with_best)]
        compared = compared[:_MAX_SENTENCES]
    if compared:
        return list(map(_sentence, compared))
    profile = summary.profiles[0].name
    scored = [(system.facts.name, system.scores[profile].wer) for system in summary.systems if profile in system.scores]
    sentences = [
        f"{name} has a WER of {percent(wer.value)} (95 % interval {interval(wer)}) under the profile {profile}."
        for name, wer in scored
    ]
    return sentences or ["No system gave any results."]


def _sentence(comparison: Comparison) -> str:
    """Its own, the sign of percent kept on the line of its number."""
    return comparison.sentence.replace(" %", f"{SPACE}%")


def _summed_up(summary: Summary, best: str, compared: Sequence[Comparison]) -> str:
    """How the best system stands to the others, in one sentence."""
    (wer,) = [one.scores[summary.profiles[0].name].wer for one in summary.systems if one.facts.name == best]
    head = f"{best} has the lowest WER of {in_words(len(summary.systems))} systems, {percent(wer.value)}"
    beaten = sum(one.different is True and _from_best(one, best).value > 0 for one in compared)
    alike = [one.second if one.first == best else one.first for one in compared if one.different is False]
    told = []
    if beaten:
        told.append("beats " + ("all others" if beaten == len(compared) else f"{in_words(beaten)} of the others"))
    if alike:
        several = len(alike) > _MAX_NAMES
        told.append("cannot be told apart from " + (f"{in_words(len(alike))} others" if several else _listed(alike)))
    return head + (f": it {' and '.join(told)}." if told else ".")


def _listed(names: Sequence[str]) -> str:
    """
    >>> _listed(["a", "b", "c"])
    'a, b and c'
    """
    return " and ".join([part for part in (", ".join(names[:-1]), names[-1]) if part])


def caveats(summary: Summary) -> list[str]:
    """How sure the verdict is: what was corrected for, and which difference this corpus can show at all."""
    found = []
    corrected = [one for one in summary.comparisons if one.adjusted_p is not None]
    if len(corrected) > 1:
        found.append(
            f"{counted(len(corrected), 'comparison')} were made. The more one makes, the likelier chance alone gives "
            "one that looks real, so each was held to a stricter limit (Holm’s correction)."
        )
    if summary.minimum_detectable_difference is not None:
        found.append(
            f"With this corpus a difference of {100 * summary.minimum_detectable_difference:.2f} points of WER would "
            "be found four times in five; a smaller one may well be there and go unseen."
        )
    return found


def best_system(summary: Summary) -> str | None:
    """The system with the lowest WER under the first profile; None where none has one."""
    profile = summary.profiles[0].name
    scored = [
        (system.scores[profile].wer.value, system.facts.name) for system in summary.systems if profile in system.scores
    ]
    return min(scored, key=lambda one: one[0])[1] if scored else None


def to_best(summary: Summary, condition: str = CLEAN) -> list[tuple[int, str, Rate]]:
    """Paired differences of the others to the best system: place in the summary, name, other minus best."""
    best = best_system(summary)
    places = {system.facts.name: index for index, system in enumerate(summary.systems)}
    found: list[tuple[int, str, Rate]] = []
    for one in summary.comparisons:
        if one.condition == condition and best in (one.first, one.second):
            other = one.second if one.first == best else one.first
            if other in places:
                found.append((places[other], other, _from_best(one, best)))
    return sorted(found)


def significance(comparison: Comparison) -> str:
    """The verdict of one comparison in a word or two; a dash where it was not tested."""
    if comparison.different is None:
        return "–"
    return "different" if comparison.different else "no difference shown"


def p_value(value: float | None) -> str:
    """A p-value as one prints it: "0.013", "< 0.001", a dash for none."""
    if value is None:
        return "–"
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def _from_best(comparison: Comparison, best: str | None) -> Rate:
    found = comparison.difference
    return found if comparison.second == best else Rate(-found.value, -found.high, -found.low)


def several_conditions(comparisons: Sequence[Comparison]) -> bool:
    return len({one.condition for one in comparisons}) > 1
