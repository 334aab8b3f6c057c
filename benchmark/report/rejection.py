"""Which threshold on confidence rejects what is no command, and what it costs: the lines of rejection.csv.

The confidence of an utterance is the probability of its least certain word. It is accepted where it has text and its
confidence reaches the threshold. It should be accepted where something was said that is recognised without an error
under the text profile of words (`Summary.word_profile`), and rejected otherwise: speech that is no command, noise, and
commands that are recognised wrongly. The rates are those of verification: false acceptances of all that should be
rejected, and false rejections of all that should be accepted.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from benchmark.report.utterances import AlignedSample, ComparedUtterance
from benchmark.results import CLEAN
from finetune.systems.transcript import lowest_probability
from preprocessing.batching import evenly_spaced

MOST_THRESHOLDS = 101  # of each system; of more different confidences, so many that are evenly spaced by rank


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejection:
    """What a threshold does to one system's clean utterances.

    utterances: those that count, which failed or whose words are known. accepted: how many of them are. wrong: how many
    of these have an error. false_accept_rate, false_reject_rate: fractions; None where nothing should be rejected, or
    accepted. profile: that errors are counted under.
    """

    system: str
    threshold: float
    utterances: int
    accepted: int
    wrong: int
    false_accept_rate: float | None
    false_reject_rate: float | None
    profile: str = ""


def rejections(utterances: Sequence[ComparedUtterance], profile: str) -> Iterator[Rejection]:
    """For each system whose words have confidences, a line for each threshold, from low to high: the confidences of its
    utterances, which are aligned under `profile`.
    """
    by_system: dict[str, list[AlignedSample]] = {}
    for utterance in utterances:
        for name, aligned in utterance.by_system.items():
            counts = aligned.sample.words is not None or aligned.sample.error is not None
            if utterance.condition == CLEAN and counts:
                by_system.setdefault(name, []).append(aligned)
    for name, own in by_system.items():
        judged = [(confidence_of(aligned), _is_right(aligned)) for aligned in own]
        n_right = sum(is_right for _, is_right in judged)
        n_wrong = len(judged) - n_right
        found = {confidence for confidence, _ in judged if confidence is not None}
        for threshold in evenly_spaced(sorted(found), MOST_THRESHOLDS):
            accepted = [
                is_right for confidence, is_right in judged if confidence is not None and confidence >= threshold
            ]
            hits = sum(accepted)
            wrong = len(accepted) - hits
            yield Rejection(
                system=name,
                threshold=threshold,
                utterances=len(judged),
                accepted=len(accepted),
                wrong=wrong,
                false_accept_rate=wrong / n_wrong if n_wrong else None,
                false_reject_rate=(n_right - hits) / n_right if n_right else None,
                profile=profile,
            )


def confidence_of(aligned: AlignedSample) -> float | None:
    """The probability of the least certain word; None without words, and where the text profile leaves no text."""
    return lowest_probability(aligned.sample.words or ()) if _has_text(aligned) else None


def _has_text(aligned: AlignedSample) -> bool:
    counts = aligned.alignment.counts
    return counts.hits + counts.substitutions + counts.insertions > 0


def _is_right(aligned: AlignedSample) -> bool:
    return _has_text(aligned) and aligned.alignment.counts.errors == 0
