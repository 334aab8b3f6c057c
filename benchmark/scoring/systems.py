"""The summary of one system: its samples under each condition scored, the details of clean speech, words and silence.

`score_condition` scores one condition, `summarise_system` makes the summary of all of them. What is of a run as a whole
is in `benchmark.scoring.summary`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from benchmark.results import (
    CLEAN,
    KeywordScores,
    Metric,
    Sample,
    Scores,
    SilentRecordings,
    Speed,
    SystemRun,
    SystemSummary,
    WordScores,
)
from benchmark.scoring.breakdowns import confusions, slices, words_per_minute
from benchmark.scoring.comparisons import ScoredCondition
from benchmark.scoring.counts import Normaliser, count_errors, scores_of
from benchmark.scoring.influence import influences
from benchmark.scoring.keywords import Keywords
from benchmark.scoring.loops import Loop, find_loop
from benchmark.scoring.scripts import tokens, words_and_characters
from benchmark.scoring.segments import counts_by_segment, needs_segments, score_segments
from benchmark.scoring.words import score_words
from finetune.metrics import Rate, rate, resample
from preprocessing.text import Profile
from preprocessing.text.languages import spaced_characters


@dataclass(frozen=True, kw_only=True)
class ScoringSettings:
    """How the samples of every system of a run are scored.

    normalisers: of the run's text profiles; the first one decides. no_speech: names of the conditions in which nothing
    is said. word_profile: under which single words are judged. keywords: None without any. seed: of the bootstrap.
    """

    normalisers: Sequence[Normaliser]
    metric: Metric
    no_speech: frozenset[str]
    word_profile: Profile
    keywords: Keywords | None
    word_timestamps: bool
    seed: int


@dataclass(frozen=True, kw_only=True)
class ConditionResult:
    """What one system wrote under one condition, scored.

    spaced_texts: reference and hypothesis of each sample under the first profile, with spaces between what is counted,
    words or characters. loops: by id. hallucinated: words a minute where nothing is said, and the recordings; None
    where there are none. scores: by profile, and scored: the counts that they are of; {} and None where no reference
    has a word, or nothing is said. by_segment: whether they are of segments, since the recordings are too few.
    """

    samples: Sequence[Sample]
    spaced_texts: Sequence[tuple[str, str]]
    loops: Mapping[str, Loop]
    hallucinated: tuple[float | None, SilentRecordings] | None
    scores: dict[str, Scores] = field(default_factory=dict)
    scored: ScoredCondition | None = None
    by_segment: bool = False


def score_condition(
    samples: Sequence[Sample], normalisers: Sequence[Normaliser], metric: Metric, no_speech: bool, seed: int
) -> ConditionResult:
    """The scores of one system's samples under one condition. no_speech: nothing is said, whatever the references."""
    texts = [normalisers[0].pair(sample) for sample in samples]
    spaced = [(spaced_characters(one), spaced_characters(two)) for one, two in texts] if metric == "cer" else texts
    loops = {sample.id: find_loop(*pair) for sample, pair in zip(samples, texts, strict=True)}
    result = ConditionResult(
        samples=samples,
        spaced_texts=spaced,
        loops={id: loop for id, loop in loops.items() if loop is not None},
        hallucinated=_hallucinated(samples, spaced, seed, no_speech=no_speech),
    )
    first, *others = normalisers
    counts = count_errors(texts, metric)
    if no_speech or not counts.reference_words.any():  # no rate without reference words
        return result
    units, by_segment = samples, needs_segments(samples)
    if by_segment:
        units, counts = counts_by_segment(samples, first, metric)
        counts_of_others = [counts_by_segment(samples, other, metric)[1] for other in others]
    else:
        counts_of_others = [count_errors(map(other.pair, samples), metric) for other in others]
    under_others = {other.profile.name: own for other, own in zip(others, counts_of_others, strict=True)}
    resampling = resample([unit.speaker for unit in units], seed=seed)
    return replace(
        result,
        scores={name: scores_of(own, resampling) for name, own in {first.profile.name: counts, **under_others}.items()},
        scored=ScoredCondition(units, counts, metric, under_others),
        by_segment=by_segment,
    )


def failed_system(system: SystemRun) -> SystemSummary:
    """Of a system without samples."""
    return SystemSummary(
        facts=system.facts,
        scores={},
        speed=None,
        peak_memory_bytes=None,
        peak_device_memory_bytes=None,
        failed_utterances=0,
        failure=system.failure or "no samples",
    )


def summarise_system(
    system: SystemRun, results: Mapping[str, ConditionResult], speed: Speed | None, settings: ScoringSettings
) -> SystemSummary:
    """The summary of one system. results: by condition."""
    clean = results.get(CLEAN)
    others = {condition: result for condition, result in results.items() if condition != CLEAN}
    keywords, words = _word_level(system, clean.samples if clean else [], settings)
    hallucinated = {name: result.hallucinated for name, result in results.items() if result.hallucinated is not None}
    summary = SystemSummary(
        facts=system.facts,
        scores=clean.scores if clean else {},
        speed=speed,
        peak_memory_bytes=system.peak_memory_bytes,
        peak_device_memory_bytes=system.peak_device_memory_bytes,
        failed_utterances=sum(sample.error is not None for result in results.values() for sample in result.samples),
        conditions={condition: result.scores for condition, result in others.items() if result.scores},
        hallucinated_words_per_minute={name: rate for name, (rate, _) in hallucinated.items() if rate is not None},
        confusions=confusions(clean.spaced_texts) if clean else [],
        loops=list(clean.loops) if clean else [],
        words=words,
        condition_loops={condition: list(result.loops) for condition, result in others.items() if result.loops},
        clean_of_conditions=_clean_of_conditions(scored_conditions(results), settings.seed),
        keywords=keywords,
        memory_before_loading_bytes=system.memory_before_loading_bytes,
        silent={name: recordings for name, (_, recordings) in hallucinated.items()},
    )
    return summary if clean is None else _with_clean_details(summary, clean, settings)


def _with_clean_details(summary: SystemSummary, clean: ConditionResult, settings: ScoringSettings) -> SystemSummary:
    """The summary with where the errors of clean speech are; as it is where that has no scores."""
    scored, metric, seed = clean.scored, settings.metric, settings.seed
    if scored is None:
        return summary
    ids = [sample.id for sample in scored.samples]
    return replace(
        summary,
        slices=[] if clean.by_segment else slices(scored.samples, scored.counts, seed, metric),
        segments=score_segments(clean.samples, settings.normalisers[0], seed, metric),
        influences=influences(ids, *scored.counts.of(metric), clean.loops),
        without_loops=None if clean.by_segment else _rate_without(scored, list(clean.loops), seed),
        without_decisive=_rate_without(scored, scored.decisive(), seed),
    )


def _word_level(
    system: SystemRun, clean: Sequence[Sample], settings: ScoringSettings
) -> tuple[KeywordScores | None, WordScores | None]:
    """What is judged word by word: keywords, and confidences and times of words; None of what was not asked for."""
    keywords = None
    if settings.keywords is not None and clean:
        normaliser = Normaliser(settings.word_profile)
        texts = [normaliser.pair(sample) for sample in clean]
        if settings.metric == "cer":
            texts = [(words_and_characters(one), words_and_characters(two)) for one, two in texts]
        resampling = resample([sample.speaker for sample in clean], seed=settings.seed)
        keywords = settings.keywords.score(texts, resampling)
    if not settings.word_timestamps:
        return keywords, None
    normalise = tokens(settings.word_profile, settings.metric)
    return keywords, score_words(system, clean, normalise, settings.seed)


def scored_conditions(results: Mapping[str, ConditionResult]) -> dict[str, ScoredCondition]:
    """The counts under each condition that has some."""
    return {condition: result.scored for condition, result in results.items() if result.scored is not None}


def _clean_of_conditions(scored: Mapping[str, ScoredCondition], seed: int) -> Scores | None:
    """The scores of the clean utterances that other conditions have; None where these have all of them, or none."""
    ids = {sample.id for condition, own in scored.items() if condition != CLEAN for sample in own.samples}
    clean = scored.get(CLEAN)
    left_out = [] if clean is None else [sample.id for sample in clean.samples if sample.id not in ids]
    if clean is None or not left_out or len(left_out) == len(clean.samples):
        return None
    own = clean.without(left_out)
    return scores_of(own.counts, resample([sample.speaker for sample in own.samples], seed=seed))


def _rate_without(own: ScoredCondition, left_out: Sequence[str], seed: int) -> Rate | None:
    """The rate of the other utterances with its interval; None where none is left out, or none is left."""
    rest = own.without(left_out)
    if not left_out or not rest.samples:
        return None
    errors, lengths = rest.counts.of(own.metric)
    resampling = resample([sample.speaker for sample in rest.samples], seed=seed)
    return rate(errors.tolist(), lengths.tolist(), resampling)


def _hallucinated(
    samples: Sequence[Sample], texts: Sequence[tuple[str, str]], seed: int, *, no_speech: bool
) -> tuple[float | None, SilentRecordings] | None:
    """Words a minute in the hypotheses of audio without speech, None of no audio, and how many recordings have any;
    failed utterances do not count.

    Audio without speech is that of empty references, and all of a condition without speech. None where there is none.
    texts: normalised reference and hypothesis of each sample.
    """
    silent = [
        (len(hypothesis.split()), sample)
        for sample, (reference, hypothesis) in zip(samples, texts, strict=True)
        if sample.error is None and (no_speech or not reference.split())
    ]
    if not silent:
        return None
    with_text = [int(words > 0) for words, _ in silent]
    resampling = resample([sample.speaker for _, sample in silent], seed=seed)
    share = rate(with_text, [1] * len(silent), resampling)
    share = Rate(share.value, max(share.low, 0.0), min(share.high, 1.0))
    seconds = sum(one.audio_seconds for _, one in silent)
    per_minute = words_per_minute(sum(words for words, _ in silent), seconds) if seconds else None
    return per_minute, SilentRecordings(len(silent), sum(with_text), share)
