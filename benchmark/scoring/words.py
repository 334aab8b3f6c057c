"""Words with confidences and times: are the confidences calibrated, and how far are the times from true ones?

Words come from the second pass of --word_timestamps over clean speech. Texts are normalised by the run's text profile
and aligned with the reference as WER aligns them: a word of the hypothesis is right where it is equal to its reference
word, and wrong where it is substituted or inserted. Figures: `finetune.metrics.calibration`. Intervals are of the
bootstrap over speakers or utterances: percentiles of the draws, moved so that their median is the figure, since ECE, a
sum of absolute values, is larger in draws than in the corpus. That of the AUROC is `Judged.auroc`'s own: no draw has a
wrong word that the corpus lacks.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from numpy.typing import NDArray
from rapidfuzz.distance import Levenshtein
from scipy.optimize import brentq
from scipy.special import stdtrit

from benchmark.results import Sample, SystemRun, WordScores, WordTimes
from finetune.metrics import FEWEST_GROUPS, LEVEL, Rate, Resampling, rate, resample
from finetune.metrics.calibration import (
    N_BINS,
    error_auroc,
    expected_calibration_error,
    normalised_cross_entropy,
    reliability,
)
from finetune.systems.transcript import Word

DRAWS = 500
FEWEST_JUDGED = 5  # wrong words, and right ones, that the interval of an AUROC needs
MAX_WEIGHTS = 4_000_000  # of words in draws at once: 32 MB
NEAR_SECONDS, FAR_SECONDS = 0.05, 0.2  # WordTimes.within_50_ms, within_200_ms
NO_WORD_TIMES = "returns no word times"
NO_SECOND_PASS = "has no words: the second pass was not run for it"

Numbers = NDArray[np.float64]
Normalise = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class Token:
    """A word of a normalised text with the times in seconds and the probability of the word that it was written as.

    A word that becomes several tokens gives its times and probability to each; `is_first` and `is_last` say whether it
    begins or ends there.
    """

    text: str
    start: float
    end: float
    probability: float | None
    is_first: bool = True
    is_last: bool = True


def tokens_of(words: Sequence[Word], normalise: Normalise) -> list[Token | None]:
    """The normalised text that the words spell, token by token; None for one that no word gives.

    The text is normalised as a whole, as WER does; where that writes several words otherwise than each alone, as
    "twenty one" becomes "21", they share the times and the lowest probability.

    >>> found = tokens_of([Word(" Don't", 0.0, 0.5, 0.9), Word(" go", 0.5, 1.0, 0.8)], lambda text: text.lower())
    >>> [(token.text, token.end) for token in found]
    [("don't", 0.5), ('go', 1.0)]
    """
    alone = []
    for word in words:
        pieces = normalise(word.word).split()
        for place, piece in enumerate(pieces):
            is_first, is_last = place == 0, place == len(pieces) - 1
            alone.append(
                Token(
                    text=piece,
                    start=word.start,
                    end=word.end,
                    probability=word.probability,
                    is_first=is_first,
                    is_last=is_last,
                )
            )
    whole = normalise(spelled(words)).split()
    if [token.text for token in alone] == whole:
        return list(alone)
    found: list[Token | None] = []
    for source, target in _stretches([token.text for token in alone], whole):
        found += _shared(alone[source], whole[target])
    return found


def spelled(words: Sequence[Word]) -> str:
    """The text of words, whose spaces are theirs; of words without any, it has one between two."""
    texts = [word.word for word in words]
    has_spaces = any(text[:1].isspace() or text[-1:].isspace() for text in texts)
    return ("" if has_spaces else " ").join(texts)


def hypothesis_tokens(sample: Sample, normalise: Normalise) -> list[Token | None]:
    """A token for each word of the sample's normalised hypothesis; None for one that the second pass did not write."""
    tokens = tokens_of(sample.words or (), normalise)
    texts, whole = [token.text if token else "" for token in tokens], normalise(sample.hypothesis).split()
    if texts == whole:
        return tokens
    found: list[Token | None] = []
    for source, target in _stretches(texts, whole):
        own, count = tokens[source], target.stop - target.start
        found += own if texts[source] == whole[target] else [None] * count
    return found


def score_words(system: SystemRun, samples: Sequence[Sample], normalise: Normalise, seed: int) -> WordScores:
    """The figures of one system's clean samples under a text profile. seed: of the bootstrap."""
    normalise = cache(normalise)
    asked = [sample for sample in samples if sample.error is None]
    own = [sample for sample in asked if sample.words is not None]
    failures = [sample.words_error for sample in asked if sample.words_error is not None]
    if not own:
        reason = NO_WORD_TIMES if system.has_word_times is False else NO_SECOND_PASS
        return WordScores(failed=len(failures), reason=f"failed: {failures[0]}" if failures else reason)
    resampling = resample([sample.speaker for sample in own], seed=seed)
    confidences: list[float] = []
    correct: list[bool] = []
    groups: list[int] = []
    starts: list[list[float]] = []
    ends: list[list[float]] = []
    rewritten = 0
    for sample, group in zip(own, resampling.groups.tolist(), strict=True):
        tokens = tokens_of(sample.words or (), normalise)
        rewritten += [token and token.text for token in tokens] != normalise(sample.hypothesis).split()
        references = _reference_tokens(sample, normalise)
        right = dict(_equal_places(references, tokens))
        for place, token in enumerate(tokens):
            if token is not None and token.probability is not None:
                confidences.append(token.probability)
                correct.append(place in right)
                groups.append(group)
        pairs = [(tokens[place], references[of]) for place, of in right.items()]
        known = [(token, true) for token, true in pairs if token is not None and isinstance(true, Token)]
        starts.append([abs(t.start - true.start) for t, true in known if t.is_first and true.is_first])
        ends.append([abs(t.end - true.end) for t, true in known if t.is_last and true.is_last])
    scores = WordScores(
        words=len(correct),
        wrong=correct.count(False),
        times=_word_times(starts, ends, resampling),
        rewritten=rewritten,
        failed=len(failures),
    )
    if not correct:
        return scores
    judged = Judged(np.array(confidences), np.array(correct), np.array(groups), resampling)
    has_both = 0 < scores.wrong < scores.words
    return replace(
        scores,
        ece=judged.ece(),
        auroc=judged.auroc() if has_both else None,
        nce=normalised_cross_entropy(confidences, correct) if has_both else None,
        reliability=reliability(confidences, correct),
    )


@dataclass(frozen=True)
class Judged:
    """Words with their confidence, whether they are right, and the group of `resampling` that they are in, [words]."""

    confidences: Numbers
    correct: NDArray[np.bool_]
    groups: NDArray[np.int64]
    resampling: Resampling

    def ece(self) -> Rate:
        """The expected calibration error with its interval."""
        n_groups = self.resampling.n_groups
        bins = np.minimum((self.confidences * N_BINS).astype(int), N_BINS - 1)
        cells = self.groups * N_BINS + bins
        gap, count = (
            np.bincount(cells, column, n_groups * N_BINS).reshape(n_groups, N_BINS)
            for column in (self.confidences - self.correct, np.ones(len(cells)))
        )
        weights = self.resampling.weights[:DRAWS]
        draws = np.abs(weights @ gap).sum(axis=1) / np.maximum((weights @ count).sum(axis=1), 1.0)
        value = expected_calibration_error(self.confidences.tolist(), self.correct.tolist())
        return _interval(value, draws, self.resampling)

    def auroc(self) -> Rate:
        """The AUROC of finding wrong words by low confidence, with its interval.

        The interval is Newcombe's (2006, part 2, method 5): all values A that the estimate is within t * sqrt(V(A)) of,
        with Hanley & McNeil's variance V (1982) and t of Student's distribution, groups - 1. Words of one group are not
        independent: V is of as many words as count after division by the design effect, the variance of the estimate
        clustered by group (Obuchowski 1997) over that of independent words (DeLong et al. 1988), 1 at least.
        0 to 1 with fewer than FEWEST_JUDGED wrong words, or right ones, or FEWEST_GROUPS groups.
        """
        value = error_auroc(self.confidences.tolist(), self.correct.tolist())
        wrong, right = self.confidences[~self.correct], self.confidences[self.correct]
        present, groups = np.unique(self.groups, return_inverse=True)
        n_groups = len(present)
        if min(len(wrong), len(right)) < FEWEST_JUDGED or n_groups < FEWEST_GROUPS:
            return Rate(value, 0.0, 1.0)
        parts = np.empty(len(self.correct))  # what each word adds to the estimate's deviation
        parts[~self.correct] = (1.0 - _share_below(right, wrong) - value) / len(wrong)
        parts[self.correct] = (_share_below(wrong, right) - value) / len(right)
        independent = float(np.sum(parts**2))
        clustered = float(np.sum(np.bincount(groups, parts) ** 2)) * n_groups / (n_groups - 1)
        effect = max(clustered / independent, 1.0) if independent else 1.0
        n_wrong, n_right = max(len(wrong) / effect, 1.0), max(len(right) / effect, 1.0)
        quantile = float(stdtrit(n_groups - 1, (1.0 + LEVEL) / 2.0))

        def beyond(area: float) -> float:
            """Above 0 where the estimate is outside the interval of a true `area`."""
            return abs(area - value) - quantile * math.sqrt(_auroc_variance(area, n_wrong, n_right))

        inside = min(max(value, 1e-9), 1.0 - 1e-9)  # at 0 and at 1 itself the variance is 0
        low = float(brentq(beyond, 0.0, inside)) if value > 0.0 else 0.0
        high = float(brentq(beyond, inside, 1.0)) if value < 1.0 else 1.0
        return Rate(value, low, high)


def _share_below(values: Numbers, at: Numbers) -> Numbers:
    """The share of values below each of `at`, ties counted half [at]."""
    ordered = np.sort(values)
    both = np.searchsorted(ordered, at, "left") + np.searchsorted(ordered, at, "right")
    return np.asarray(both / (2 * len(ordered)))


def _auroc_variance(area: float, n_wrong: float, n_right: float) -> float:
    """Hanley & McNeil's variance of an AUROC, with the mean of both numbers in place of each (Newcombe 2006)."""
    n = (n_wrong + n_right) / 2.0 - 1.0
    spread = 1.0 + n * (1.0 - area) / (2.0 - area) + n * area / (1.0 + area)
    return area * (1.0 - area) * spread / (n_wrong * n_right)


def median_with_interval(values: Numbers, groups: NDArray[np.int64], resampling: Resampling) -> Rate:
    """The median of values, each in a group of the resampling, with its interval; values not below 0."""
    order = np.argsort(values)
    draws = []
    for weights in _word_weights(groups[order], resampling):
        reached = np.cumsum(weights, axis=1)
        half = reached[:, -1:] / 2
        found = values[order][(reached >= half).argmax(axis=1)]
        draws.append(np.where(half[:, 0] > 0, found, np.nan))
    return _interval(float(np.median(values)), np.concatenate(draws), resampling, highest=float(values.max()))


def _word_weights(groups: NDArray[np.int64], resampling: Resampling) -> Iterator[Numbers]:
    """How often each word is in each draw [draws, words], some draws at a time."""
    at_once = max(MAX_WEIGHTS // len(groups), 1)
    for first in range(0, DRAWS, at_once):
        yield resampling.weights[first : min(first + at_once, DRAWS)][:, groups]


def _interval(value: float, draws: Numbers, resampling: Resampling, highest: float = 1.0) -> Rate:
    """A figure with its interval, within 0 and `highest`; all of that where there are too few groups to draw from."""
    draws = draws[np.isfinite(draws)]
    if resampling.n_groups < FEWEST_GROUPS or not len(draws):
        return Rate(value, 0.0, highest)
    tail = (1.0 - LEVEL) / 2.0
    low, middle, high = np.quantile(draws, [tail, 0.5, 1.0 - tail])
    return Rate(value, max(value - float(middle - low), 0.0), min(value + float(high - middle), highest))


def _word_times(
    starts: Sequence[Sequence[float]], ends: Sequence[Sequence[float]], resampling: Resampling
) -> WordTimes | None:
    """starts, ends: errors in seconds of the words of each utterance."""
    counts = [len(own) for own in starts]
    if not sum(counts) or not sum(map(len, ends)):
        return None

    def flat(errors: Sequence[Sequence[float]]) -> tuple[Numbers, NDArray[np.int64]]:
        return np.concatenate([np.array(own, dtype=float) for own in errors]), np.repeat(
            resampling.groups, [len(own) for own in errors]
        )

    def within(seconds: float) -> Rate:
        both = [[*own, *other] for own, other in zip(starts, ends, strict=True)]
        near = [sum(error <= seconds for error in own) for own in both]
        share = rate(near, [len(own) for own in both], resampling)
        return replace(share, high=min(share.high, 1.0))

    (start_errors, _), (end_errors, _) = flat(starts), flat(ends)
    return WordTimes(
        words=sum(counts),
        start_median=median_with_interval(*flat(starts), resampling),
        start_p95=float(np.percentile(start_errors, 95)),
        end_median=median_with_interval(*flat(ends), resampling),
        end_p95=float(np.percentile(end_errors, 95)),
        within_50_ms=within(NEAR_SECONDS),
        within_200_ms=within(FAR_SECONDS),
    )


def _reference_tokens(sample: Sample, normalise: Normalise) -> list[Token | str]:
    """The words of the normalised reference: with their true times where the corpus has them, else their text."""
    whole = normalise(sample.reference).split()
    if not sample.reference_words:
        return list(whole)
    words = [
        Word(f" {one.text.strip()}", one.start - sample.start, one.stop - sample.start, None)
        for one in sample.reference_words
    ]
    timed = tokens_of(words, normalise)
    texts = [token.text if token else "" for token in timed]
    found: list[Token | str] = list(whole)
    for source, target in _stretches(texts, whole):
        if texts[source] == whole[target]:
            found[target] = [token for token in timed[source] if token]
    return found


def _equal_places(references: Sequence[Token | str], tokens: Sequence[Token | None]) -> Iterator[tuple[int, int]]:
    """Places of the right tokens and of their reference words, by the alignment with the fewest edits."""
    texts = [one if isinstance(one, str) else one.text for one in references]
    for block in Levenshtein.opcodes(texts, [token.text if token else "" for token in tokens]):
        if block.tag == "equal":
            yield from zip(range(block.dest_start, block.dest_end), range(block.src_start, block.src_end), strict=True)


def _stretches(source: Sequence[str], target: Sequence[str]) -> Iterator[tuple[slice, slice]]:
    """Two texts in stretches that are equal or wholly different, in turn."""
    began = (0, 0)
    for block in Levenshtein.opcodes(source, target):
        if block.tag == "equal":
            if began != (block.src_start, block.dest_start):
                yield slice(began[0], block.src_start), slice(began[1], block.dest_start)
            yield slice(block.src_start, block.src_end), slice(block.dest_start, block.dest_end)
            began = (block.src_end, block.dest_end)
    if began != (len(source), len(target)):
        yield slice(began[0], len(source)), slice(began[1], len(target))


def _shared(tokens: Sequence[Token], texts: Sequence[str]) -> list[Token | None]:
    """Tokens for these texts: each its own where there are as many, else all of them share the tokens' times."""
    if not tokens:
        return [None] * len(texts)
    if len(tokens) == len(texts):
        return [replace(token, text=text) for token, text in zip(tokens, texts, strict=True)]
    known = [token.probability for token in tokens if token.probability is not None]
    start, end = min(token.start for token in tokens), max(token.end for token in tokens)
    return [
        Token(
            text=text,
            start=start,
            end=end,
            probability=min(known, default=None),
            is_first=place == 0,
            is_last=place == len(texts) - 1,
        )
        for place, text in enumerate(texts)
    ]
