"""The summary of a run from its records: which samples count, under which condition, and which notices a reader needs.

Nothing that was measured is left out silently: records that cannot be scored become a notice. The figures themselves
are made by the other modules of this package.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from benchmark import __version__
from benchmark.results import (
    CLEAN,
    CorpusFacts,
    ProfileUsed,
    Run,
    Sample,
    Summary,
    SystemRun,
    SystemSummary,
    Throughput,
    Timing,
)
from benchmark.scoring.breakdowns import confusions, has_loop, slices, words_per_minute
from benchmark.scoring.comparisons import ScoredCondition, compare_pairs, correct, minimum_detectable_difference
from benchmark.scoring.counts import Normaliser, count_errors, scores_of
from benchmark.scoring.segments import UNIT, counts_by_segment, needs_segments, score_segments
from benchmark.scoring.speed import speed_of
from finetune.metrics import DRAWS, resample
from preprocessing.cli.errors import InputError, UsageError
from preprocessing.text import Profile, profile

BySystem = Mapping[str, Mapping[str, list[Sample]]]  # samples by system, then by condition


def summarise(
    run: Run, samples: Iterable[Sample], timings: Sequence[Timing], throughputs: Sequence[Throughput]
) -> Summary:
    """The summary of a run.

    Of two samples with one system, condition and id (a resumed run), the later one counts. A system that failed as a
    whole has no scores; one that the run does not list had not ended, and is left out with a notice.
    Raises InputError where no sample is of this run, UsageError for an unknown profile.
    """
    if not run.profiles:
        raise UsageError("--profiles is empty; expected a text profile or more: name one")
    normalisers = [Normaliser(profile(name)) for name in run.profiles]
    by_system, notices = _sort_samples(run, samples)
    no_speech = {condition.name for condition in run.conditions if not condition.speech}
    summaries: list[SystemSummary] = []
    scored: dict[str, dict[str, ScoredCondition]] = {}
    for one in run.systems:
        if one.failure is not None or not by_system.get(one.facts.name):
            summaries.append(SystemSummary(one.facts, {}, None, None, None, 0, one.failure or "no samples"))
            continue
        system, conditions = _summarise_system(one, by_system[one.facts.name], no_speech, normalisers, run.seed)
        summaries.append(replace(system, speed=speed_of(one, timings, throughputs)))
        scored[one.facts.name] = conditions
    by_condition = {
        condition: {name: own[condition] for name, own in scored.items() if condition in own}
        for condition in _conditions(run, by_system)
        if condition not in no_speech
    }
    comparisons = [one for condition, own in by_condition.items() for one in compare_pairs(own, condition, run.seed)]
    corpus = _corpus_facts(run, by_system)
    return Summary(
        created=run.created,
        command=run.command,
        machine=run.machine,
        corpus=corpus,
        profiles=[_profile_used(one.profile, corpus.resampling_unit, run.seed) for one in normalisers],
        systems=summaries,
        comparisons=correct(comparisons),
        notices=[*run.notices, *notices],
        settings=run.settings,
        conditions=run.conditions,
        minimum_detectable_difference=minimum_detectable_difference(by_condition.get(CLEAN, {}), run.seed),
    )


def signature(profile: Profile, resampling_unit: str, seed: int) -> str:
    """The choices behind a WER and its interval in one string, in the manner of sacrebleu's: two WERs compare directly
    only where profile and level are the same.

    profile: name and version of the text profile. level: what is counted. ci: what the bootstrap draws, and how often.
    seed: of its draws. version: of this project.

    >>> from preprocessing.text import profile
    >>> signature(profile("librispeech"), "speaker", 0).rpartition("|")[0]
    'wer|profile:librispeech.v2|level:word|ci:speaker-bootstrap-2000|seed:0'
    """
    fields = {
        "profile": f"{profile.name}.v{profile.version}",
        "level": "word",
        "ci": f"{resampling_unit}-bootstrap-{DRAWS}",
        "seed": seed,
        "version": __version__,
    }
    return "|".join(["wer", *(f"{name}:{value}" for name, value in fields.items())])


def profile_differences(summary: Summary) -> Iterator[str]:
    """A sentence for each system and each profile but the first: how its WER on clean speech differs from the first."""
    first, *others = [used.name for used in summary.profiles]
    for system in summary.systems:
        for other in others:
            if first in system.scores and other in system.scores:
                one, two = system.scores[first].wer.value, system.scores[other].wer.value
                yield (
                    f"{system.facts.name}: WER {two:.2%} under {other}, {one:.2%} under {first}: "
                    f"{100 * (two - one):+.2f} points."
                )


def _profile_used(profile: Profile, resampling_unit: str, seed: int) -> ProfileUsed:
    return ProfileUsed(profile.name, profile.version, profile.description, signature(profile, resampling_unit, seed))


def _sort_samples(run: Run, samples: Iterable[Sample]) -> tuple[BySystem, list[str]]:
    """Samples by system and condition, each once, and the notices that they need."""
    latest: dict[tuple[str, str], dict[str, Sample]] = {}
    for sample in samples:
        latest.setdefault((sample.system, sample.condition), {})[sample.id] = sample
    by_system: dict[str, dict[str, list[Sample]]] = {one.facts.name: {} for one in run.systems}
    unknown: dict[str, int] = {}
    for (system, condition), own in latest.items():
        if system in by_system:
            by_system[system][condition] = list(own.values())
        else:
            unknown[system] = unknown.get(system, 0) + len(own)
    if latest and len(unknown) == len({system for system, _ in latest}):
        raise InputError(
            f"samples name the systems {', '.join(unknown)}, the run {', '.join(by_system) or 'none'}; expected "
            "samples of this run: score a folder as one run left it"
        )
    notices = [f"{system} did not end: its {count} samples are left out." for system, count in unknown.items()]
    failed = {one.facts.name for one in run.systems if one.failure is not None}
    for condition in _conditions(run, by_system):
        counts = {name: len(own.get(condition, [])) for name, own in by_system.items() if name not in failed}
        maximum = max(counts.values(), default=0)
        notices += [
            f"{name} has {count} of {maximum} utterances under {condition}: its rates are of these, comparisons of "
            "those that both systems have."
            for name, count in counts.items()
            if count < maximum
        ]
    return by_system, notices


def _conditions(run: Run, by_system: BySystem) -> list[str]:
    """Clean first, then as the run lists them, then any other that samples have."""
    listed = [CLEAN, *(condition.name for condition in run.conditions)]
    return list(dict.fromkeys([*listed, *(condition for own in by_system.values() for condition in own)]))


def _corpus_facts(run: Run, by_system: BySystem) -> CorpusFacts:
    """Of the clean utterances that any system has; without clean ones, of all."""
    known = [samples for own in by_system.values() for condition, samples in own.items() if condition == CLEAN]
    known = known or [samples for own in by_system.values() for samples in own.values()]
    utterances = {sample.id: sample for samples in known for sample in samples}
    speakers = [sample.speaker for sample in utterances.values()]
    unit = resample(speakers, seed=run.seed, draws=1).unit if speakers else "utterance"
    if utterances and needs_segments(list(utterances.values())):
        unit = UNIT
    return CorpusFacts(
        reference=run.corpus,
        utterances=len(utterances),
        hours=sum(sample.audio_seconds for sample in utterances.values()) / 3600,
        speakers=len(set(speakers) - {None}),
        resampling_unit=unit,
    )


def _summarise_system(
    system: SystemRun,
    by_condition: Mapping[str, list[Sample]],
    no_speech: set[str],
    normalisers: Sequence[Normaliser],
    seed: int,
) -> tuple[SystemSummary, dict[str, ScoredCondition]]:
    """A system's summary without its speed, and its counts under the first profile by condition."""
    first = normalisers[0]
    summary = SystemSummary(
        facts=system.facts,
        scores={},
        speed=None,
        peak_memory_bytes=system.peak_memory_bytes,
        peak_device_memory_bytes=system.peak_device_memory_bytes,
        failed_utterances=sum(sample.error is not None for own in by_condition.values() for sample in own),
    )
    scored: dict[str, ScoredCondition] = {}
    looping: dict[str, None] = {}
    for condition, samples in by_condition.items():
        texts = [first.pair(sample) for sample in samples]
        counts = [count_errors(texts), *(count_errors(map(other.pair, samples)) for other in normalisers[1:])]
        hallucinated = _hallucinated_words_per_minute(
            samples,
            counts[0].reference_words.tolist(),
            counts[0].hypothesis_words.tolist(),
            no_speech=condition in no_speech,
        )
        if hallucinated is not None:
            summary.hallucinated_words_per_minute[condition] = hallucinated
        looping |= {sample.id: None for sample, pair in zip(samples, texts, strict=True) if has_loop(*pair)}
        if condition in no_speech:
            continue
        units = samples
        if needs_segments(samples):
            by_segment = [counts_by_segment(samples, normaliser) for normaliser in normalisers]
            units, counts = by_segment[0][0], [own for _, own in by_segment]
        scored[condition] = ScoredCondition(units, counts[0])
        resampling = resample([unit.speaker for unit in units], seed=seed)
        scores = {
            normaliser.profile.name: scores_of(own, resampling)
            for normaliser, own in zip(normalisers, counts, strict=True)
        }
        if condition != CLEAN:
            summary.conditions[condition] = scores
            continue
        summary = replace(
            summary,
            scores=scores,
            slices=slices(units, counts[0], seed) if units is samples else [],
            confusions=confusions(texts),
            segments=score_segments(samples, first, seed),
        )
    return replace(summary, loops=list(looping)), scored


def _hallucinated_words_per_minute(
    samples: Sequence[Sample], reference_words: Sequence[int], hypothesis_words: Sequence[int], *, no_speech: bool
) -> float | None:
    """Words a minute in the hypotheses of audio without speech; failed utterances do not count.

    Audio without speech is that of empty references, and all of a condition without speech. None where there is none.
    """
    rows = [
        row for row, sample in enumerate(samples) if sample.error is None and (no_speech or not reference_words[row])
    ]
    if not rows:
        return None
    return words_per_minute(sum(hypothesis_words[row] for row in rows), sum(samples[row].audio_seconds for row in rows))
