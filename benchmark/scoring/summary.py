"""The summary of a run from its records: which samples count, under which condition, and which notices a reader needs.

Nothing that was measured is left out silently: records that cannot be scored become a notice. The figures themselves
are made by the other modules of this package, those of one system by `benchmark.scoring.systems`.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from benchmark import __version__
from benchmark.results import (
    CLEAN,
    CorpusFacts,
    Metric,
    ProfileUsed,
    Run,
    Sample,
    Summary,
    SystemSummary,
    Throughput,
    Timing,
)
from benchmark.scoring.comparisons import (
    ScoredCondition,
    compare_pairs,
    correct,
    detectable_differences,
    family_sizes,
)
from benchmark.scoring.counts import Normaliser
from benchmark.scoring.keywords import Keywords
from benchmark.scoring.profile_effects import profile_effects, word_profile
from benchmark.scoring.scripts import keyword_tokens, torn_words
from benchmark.scoring.segments import UNIT, needs_segments
from benchmark.scoring.speed import speed_of
from benchmark.scoring.systems import (
    ScoringSettings,
    failed_system,
    score_condition,
    scored_conditions,
    summarise_system,
)
from finetune.metrics import DRAWS, in_points, resample
from finetune.metrics.error_rates import primary_metric
from finetune.systems.facts import TRANSCRIPTS
from preprocessing.errors import InputError, UsageError, counted
from preprocessing.text import Profile
from preprocessing.text import profile as profile_named
from preprocessing.text.languages import common_language

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
    normalisers = [Normaliser(profile_named(name)) for name in run.profiles]
    by_system, notices = _sort_samples(run, samples)
    references = _references(by_system)
    language = _language(run, references)
    settings = _settings(run, by_system, normalisers, language, primary_metric(language, list(references)))
    notices += torn_words((normaliser.profile for normaliser in normalisers), references)
    summaries: list[SystemSummary] = []
    scored: dict[str, dict[str, ScoredCondition]] = {}
    for system in run.systems:
        by_condition = by_system.get(system.facts.name)
        if system.failure is not None or not by_condition:
            summaries.append(failed_system(system))
            continue
        results = {
            condition: score_condition(own, normalisers, settings.metric, condition in settings.no_speech, run.seed)
            for condition, own in by_condition.items()
        }
        speed = speed_of(system, timings, throughputs, run.seed)
        summaries.append(summarise_system(system, results, speed, settings))
        scored[system.facts.name] = scored_conditions(results)
    scored_under = {
        condition: {name: own[condition] for name, own in scored.items() if condition in own}
        for condition in _conditions(run, by_system)
        if condition not in settings.no_speech
    }
    clean = scored_under.get(CLEAN, {})
    corpus = replace(_corpus_facts(run, by_system), compared=_count_spoken(clean.values()), whole=run.whole_corpus)
    compared = [
        comparison for condition, own in scored_under.items() for comparison in compare_pairs(own, condition, run.seed)
    ]
    unit = UNIT if corpus.resampling_unit == UNIT else "utterance"
    comparisons = correct(compared, settings.metric, unit, run.baseline_system)
    notices += _without_speaker(by_system, corpus)
    of_words, first = settings.word_profile.name, normalisers[0].profile.name
    return Summary(
        created=run.created,
        command=run.command,
        machine=run.machine,
        corpus=corpus,
        profiles=[
            _profile_used(normaliser.profile, corpus.resampling_unit, run.seed, settings.metric)
            for normaliser in normalisers
        ],
        systems=summaries,
        comparisons=comparisons,
        notices=[*run.notices, *notices],
        settings=run.settings,
        conditions=run.conditions,
        metric=settings.metric,
        detectable_differences=detectable_differences(clean, run.seed, family_sizes(comparisons), run.baseline_system),
        baseline_system=run.baseline_system,
        word_profile=None if of_words == first else of_words,
        code=run.code,
        profile_effects=profile_effects(
            clean,
            [comparison for comparison in comparisons if comparison.condition == CLEAN],
            run.profiles,
            language,
            run.seed,
        ),
    )


def signature(profile: Profile, resampling_unit: str, seed: int, metric: Metric = "wer") -> str:
    """The choices behind a WER and its interval in one string, in the manner of sacrebleu's: two WERs compare directly
    only where profile and level are the same.

    profile: name and version of the text profile. level: what is counted, words or, of a script without spaces between
    words, characters without white space. ci: what the bootstrap draws, and how often. seed: of its draws. version: of
    this project.

    >>> from preprocessing.text import profile
    >>> signature(profile("librispeech"), "speaker", 0).rpartition("|")[0]
    'wer|profile:librispeech.v4|level:word|ci:speaker-bootstrap-2000|seed:0'
    """
    fields = {
        "profile": f"{profile.name}.v{profile.version}",
        "level": "word" if metric == "wer" else "character",
        "ci": f"{resampling_unit}-bootstrap-{DRAWS}",
        "seed": seed,
        "version": __version__,
    }
    return "|".join([metric, *(f"{name}:{value}" for name, value in fields.items())])


def profile_differences(summary: Summary) -> Iterator[str]:
    """A sentence for each system and each profile but the first: how its WER (or the summary's metric) on clean speech
    differs from the first.
    """
    name = summary.metric.upper()
    first, *others = [used.name for used in summary.profiles]
    for system in summary.systems:
        for other in others:
            if first in system.scores and other in system.scores:
                one, two = (system.scores[profile].rate(summary.metric).value for profile in (first, other))
                yield (
                    f"{system.facts.name}: {name} {two:.2%} under {other}, {one:.2%} under {first}: "
                    f"{in_points(two - one, signed=True)} points."
                )


def _profile_used(profile: Profile, resampling_unit: str, seed: int, metric: Metric) -> ProfileUsed:
    used = signature(profile, resampling_unit, seed, metric)
    return ProfileUsed(profile.name, profile.version, profile.description, used)


def _references(by_system: BySystem) -> dict[str, str | None]:
    """Every reference, once, and its utterance's language."""
    return {
        sample.reference: sample.language
        for own in by_system.values()
        for samples in own.values()
        for sample in samples
        if sample.reference
    }


def _language(run: Run, references: Mapping[str, str | None]) -> str | None:
    """The language of the corpus, as far as it is known."""
    setting = run.settings.get("language", "default")
    return common_language(None if setting == "default" else setting, run.profiles, references.values())


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
    notices = [f"{system} did not finish: its {count} samples are left out." for system, count in unknown.items()]
    failed = {one.facts.name for one in run.systems if one.failure is not None}
    only_clean = {one.facts.name for one in run.systems if one.facts.family == TRANSCRIPTS}
    for condition in _conditions(run, by_system):
        absent = failed if condition == CLEAN else failed | only_clean
        counts = {name: len(own.get(condition, [])) for name, own in by_system.items() if name not in absent}
        maximum = max(counts.values(), default=0)
        notices += [
            f"{name} has {count} of {maximum} utterances under {condition}: its rates are over these; comparisons are "
            "over those that both systems have."
            for name, count in counts.items()
            if count < maximum
        ]
    return by_system, notices


def _settings(
    run: Run, by_system: BySystem, normalisers: Sequence[Normaliser], language: str | None, metric: Metric
) -> ScoringSettings:
    """How the run's samples are scored. Raises InputError on a keyword that normalisation leaves nothing of."""
    clean = [by_condition.get(CLEAN, []) for by_condition in by_system.values()]
    of_words = word_profile(run.profiles, language, clean, run.keywords)
    return ScoringSettings(
        normalisers=normalisers,
        metric=metric,
        no_speech=frozenset(condition.name for condition in run.conditions if not condition.speech),
        word_profile=of_words,
        keywords=Keywords(run.keywords, keyword_tokens(of_words, metric)) if run.keywords else None,
        word_timestamps=run.settings.get("word_timestamps") == "true",
        seed=run.seed,
    )


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


def _count_spoken(systems: Iterable[ScoredCondition]) -> int:
    """How many utterances, or segments, that any of the systems has have reference words."""
    spoken = set()
    for own in systems:
        _, lengths = own.counts.of(own.metric)
        spoken |= {sample.id for sample, length in zip(own.samples, lengths, strict=True) if length}
    return len(spoken)


def _without_speaker(by_system: BySystem, corpus: CorpusFacts) -> list[str]:
    """A notice where some utterances name no speaker, and the others' speakers are drawn."""
    clean = {sample.id: sample.speaker for own in by_system.values() for sample in own.get(CLEAN, ())}
    without = [id for id, speaker in clean.items() if speaker is None]
    if corpus.resampling_unit != "speaker" or not without:
        return []
    return [
        f"{len(without):,} of {counted(len(clean), 'utterance')} name no speaker (such as {without[0]}): each counts "
        "as a speaker of its own, so intervals may be too narrow, and differences significant by chance."
    ]
