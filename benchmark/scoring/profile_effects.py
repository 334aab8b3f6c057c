"""Comparisons that the text profile makes rather than the systems, and which profile is the fair one.

A system that writes 9 where the references spell nine is counted wrong under a profile that leaves numbers as they are.
Both profiles are scored from the samples in hand; where they disagree, the summary says so with both figures. What is
judged word by word (keywords, confidences) is so under a profile that spells numbers out, and joins no words to one.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from benchmark.results import Comparison, ProfileEffect, Sample
from benchmark.scoring.comparisons import ScoredCondition, paired_difference
from benchmark.scoring.counts import Normaliser, UtteranceCounts, count_errors
from finetune.metrics import Rate
from preprocessing.errors import UserError
from preprocessing.text import Profile, profile, scoring_profile

# An effect is spoken of where the fair profile changes a difference by MINIMUM_EFFECT or more, and by half of it, by
# RATE_SHARE of either system's rate, or to a value that the interval under the first profile does not hold.
MINIMUM_EFFECT = 0.01  # as a fraction
RATE_SHARE = 0.1
ENGLISH = "whisper-english"
SPELLED_ENGLISH = "basic:en"  # the fair one where whisper-english joins the words of references to numbers
VERBATIM = "verbatim"
KEPT_WORDS = 0.8  # of the references under the first profile; a fair one that leaves fewer joins words to numbers
_DIGIT = re.compile(r"\d")
_WITH_LANGUAGE = re.compile(r":[a-z]{2,3}([-_][A-Z]{2})?(:|$)")  # basic:de, ctc:MODEL:en


def profile_effects(
    systems: Mapping[str, ScoredCondition],
    comparisons: Sequence[Comparison],
    profile_names: Sequence[str],
    language: str | None,
    seed: int,
) -> list[ProfileEffect]:
    """The comparisons of clean speech that a text profile changes, each under the first profile and the fair one.

    systems: clean speech under the first profile. profile_names: of the run. language: of the speech, None: unknown.
    """
    first_profile = profile_names[0]
    if not comparisons or first_profile == ENGLISH or _WITH_LANGUAGE.search(first_profile):
        return []  # the first profile writes numbers one way itself
    in_digits = {name: utterances_in_digits(own.samples) for name, own in systems.items()}
    fair = _fair_profile(profile_names, language, any(rows for rows in in_digits.values()))
    if fair is None:
        return []
    counted = {name: _under(fair, own) for name, own in systems.items()}
    if fair == ENGLISH and _joins_words(systems, counted):
        if not any(in_digits.values()):
            return []
        fair = SPELLED_ENGLISH
        counted = {name: _under(fair, own) for name, own in systems.items()}
    found = []
    for one in comparisons:
        if one.first not in counted or one.second not in counted:
            continue
        pair = (one.first, one.second)
        other = paired_difference(counted[one.first], counted[one.second], seed)
        if other is None or not _is_effect(one.difference, other, [_rate(systems[name]) for name in pair]):
            continue
        reasons = [_numbers_reason(name, systems[name], counted[name], in_digits[name]) for name in pair]
        reason = max(reasons, key=len) or _spelling_reason(fair, [(systems[name], counted[name]) for name in pair])
        if reason:
            found.append(
                ProfileEffect(
                    first=one.first,
                    second=one.second,
                    profile=first_profile,
                    difference=one.difference,
                    fair=fair,
                    fair_difference=other,
                    reason=reason,
                )
            )
    return found


def word_profile(
    profile_names: Sequence[str], language: str | None, systems: Iterable[Sequence[Sample]], keywords: Sequence[str]
) -> Profile:
    """The profile under which single words are judged: `basic` with the language, where a system writes numbers in
    digits and the references in words, or the reverse; else the first.

    whisper-english makes one word of the digits of "three zero one", so English has basic:en here. systems: the clean
    samples of each. keywords: each has a letter or digit under the profile.
    """
    first = profile(profile_names[0])
    has_one_form = first.name in (ENGLISH, VERBATIM) or _WITH_LANGUAGE.search(first.name)
    if language is None and ENGLISH in profile_names:
        language = "en"
    if has_one_form or language is None or not any(utterances_in_digits(samples) for samples in systems):
        return first
    try:
        found = profile(scoring_profile(language))
    except UserError:
        return first
    return found if all(found(keyword).strip() for keyword in keywords) else first


def utterances_in_digits(samples: Sequence[Sample]) -> list[int]:
    """Rows of the samples in which just one of reference and hypothesis has a digit; those without hypothesis do not
    count.
    """
    return [
        row
        for row, one in enumerate(samples)
        if one.hypothesis and bool(_DIGIT.search(one.reference)) != bool(_DIGIT.search(one.hypothesis))
    ]


def _fair_profile(profile_names: Sequence[str], language: str | None, has_digits: bool) -> str | None:
    """The profile that writes numbers one way: whisper-english of English, `scoring_profile` of others, where there
    are digits; None where none is known.
    """
    is_english = language is not None and language[:2] == "en"
    if ENGLISH in profile_names and (is_english or language is None):
        return ENGLISH
    if language is None or not has_digits:
        return None
    name = scoring_profile(language)
    try:
        profile(name)
    except UserError:
        return None
    return name


def _under(name: str, own: ScoredCondition) -> ScoredCondition:
    counts: UtteranceCounts | None = own.others.get(name)
    if counts is None:
        counts = count_errors(map(Normaliser(profile(name)).pair, own.samples), own.metric)
    return replace(own, counts=counts)


def _rate(own: ScoredCondition) -> float:
    errors, lengths = own.counts.of(own.metric)
    return float(errors.sum() / max(lengths.sum(), 1))


def _joins_words(under_first: Mapping[str, ScoredCondition], under_fair: Mapping[str, ScoredCondition]) -> bool:
    """Whether the fair profile makes few words of many references, as 301 of "three zero one": then one wrong digit is
    a wrong number, and a number that is written digit by digit is several.
    """
    before, after = (
        sum(int(own.counts.reference_words.sum()) for own in one.values()) for one in (under_first, under_fair)
    )
    return after < KEPT_WORDS * before


def _is_effect(first: Rate, fair: Rate, rates: Sequence[float]) -> bool:
    """first, fair: the difference under both profiles. rates: of both systems under the first."""
    change = abs(first.value - fair.value)
    outside = not first.low <= fair.value <= first.high
    return change >= MINIMUM_EFFECT and (outside or change >= min(0.5 * abs(first.value), RATE_SHARE * min(rates)))


def _numbers_reason(name: str, under_first: ScoredCondition, under_fair: ScoredCondition, rows: Sequence[int]) -> str:
    """The reason that a system writes numbers differently from the references, where the profile changes just that:
    half of its errors that go or come are in utterances with digits on one side only. Else "".
    """
    metric = under_first.metric
    changed = np.abs(under_first.counts.of(metric)[0] - under_fair.counts.of(metric)[0])
    if not rows or 2 * changed[rows].sum() < changed.sum():
        return ""
    return (
        f"{name} writes numbers differently from the references (digits or words) in {len(rows)} of {len(changed)} "
        "utterances"
    )


def _spelling_reason(fair: str, systems: Sequence[tuple[ScoredCondition, ScoredCondition]]) -> str:
    """The reason that spellings differ, where the profile changes just that: half of the errors that go or come vanish
    with it. Else "": a profile that joins "one two three" to 123 counts the same errors over fewer words.

    systems: each under the first profile and under the fair one.
    """
    if fair != ENGLISH:
        return ""
    vanished, changed = 0, 0
    for under_first, under_fair in systems:
        errors, lengths = under_first.counts.of(under_first.metric)
        fair_errors, fair_lengths = under_fair.counts.of(under_fair.metric)
        is_same_text = (fair_errors == 0) | (fair_lengths >= lengths)
        vanished += int(np.maximum(errors - fair_errors, 0)[is_same_text].sum())
        changed += int(np.abs(errors - fair_errors).sum())
    if not vanished or 2 * vanished < changed:
        return ""
    return "contractions or spellings are written differently, which is not a recognition error"
