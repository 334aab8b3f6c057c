"""Comparisons that the text profile makes rather than the systems, and which profile is the fair one.

A system that writes 9 where the references spell nine is counted wrong under a profile that leaves numbers as they are.
Both profiles are scored from the samples in hand; where they disagree, the summary says so with both figures.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from benchmark.results import Comparison, ProfileEffect, Sample
from benchmark.scoring.comparisons import ScoredCondition, paired_difference
from benchmark.scoring.counts import Normaliser, UtteranceCounts, count_errors
from finetune.metrics import Rate
from preprocessing.cli.errors import UserError
from preprocessing.text import profile, scoring_profile

# An effect is spoken of where the fair profile takes half of a difference or more away, or turns it, and changes it by
# MINIMUM_EFFECT or more.
MINIMUM_EFFECT = 0.01  # as a fraction
ENGLISH = "whisper-english"
_DIGIT = re.compile(r"\d")
_WITH_LANGUAGE = re.compile(r":[a-z]{2,3}([-_][A-Z]{2})?(:|$)")  # basic:de, ctc:MODEL:en


def profile_effects(
    systems: Mapping[str, ScoredCondition],
    comparisons: Sequence[Comparison],
    profile_names: Sequence[str],
    language: str | None,
    seed: int,
) -> list[ProfileEffect]:
    """The comparisons of clean speech that are mainly one of text profiles.

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
    found = []
    for one in comparisons:
        if one.first not in counted or one.second not in counted:
            continue
        other = paired_difference(counted[one.first], counted[one.second], seed)
        if other is None or not _is_effect(one.difference, other):
            continue
        pair = (one.first, one.second)
        reasons = [_numbers_reason(name, systems[name], counted[name], in_digits[name]) for name in pair]
        reason = max(reasons, key=len) or _spelling_reason(fair, [(systems[name], counted[name]) for name in pair])
        if reason:
            found.append(ProfileEffect(one.first, one.second, first_profile, one.difference, fair, other, reason))
    return found


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


def _is_effect(first: Rate, fair: Rate) -> bool:
    change = abs(first.value - fair.value)
    return change >= max(MINIMUM_EFFECT, 0.5 * abs(first.value))


def _numbers_reason(name: str, under_first: ScoredCondition, under_fair: ScoredCondition, rows: Sequence[int]) -> str:
    """That a system writes numbers otherwise than the references, where that is what the profile changes: half of its
    errors that go or come are in utterances with digits on one side only. Else "".
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
    """That spellings differ, where that is what the profile changes: half of the errors that go or come vanish with it.
    Else "": a profile that joins "one two three" to 123 counts the same errors over fewer words.

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
