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
    Metric,
    ProfileUsed,
    Run,
    Sample,
    Scores,
    SilentRecordings,
    Summary,
    SystemRun,
    SystemSummary,
    Throughput,
    Timing,
)
from benchmark.scoring.breakdowns import confusions, slices, words_per_minute
from benchmark.scoring.comparisons import (
    ScoredCondition,
    compare_pairs,
    correct,
    detectable_differences,
    family_sizes,
)
from benchmark.scoring.counts import Normaliser, count_errors, scores_of
from benchmark.scoring.influence import influences
from benchmark.scoring.keywords import Keywords
from benchmark.scoring.loops import find_loop
from benchmark.scoring.profile_effects import profile_effects, word_profile
from benchmark.scoring.scripts import keyword_tokens, tokens, torn_words, words_and_characters
from benchmark.scoring.segments import UNIT, counts_by_segment, needs_segments, score_segments
from benchmark.scoring.speed import speed_of
from benchmark.scoring.words import score_words
from finetune.metrics import DRAWS, Rate, rate, resample
from finetune.metrics.error_rates import primary_metric
from finetune.systems.facts import TRANSCRIPTS
from preprocessing.cli.errors import InputError, UsageError, counted
from preprocessing.text import Profile, profile
from preprocessing.text.languages import common_language, spaced_characters

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
    references = _references(by_system)
    language = _language(run, references)
    metric = primary_metric(language, list(references))
    notices += torn_words((one.profile for one in normalisers), references)
    no_speech = {condition.name for condition in run.conditions if not condition.speech}
    of_words = word_profile(run.profiles, language, [own.get(CLEAN, []) for own in by_system.values()], run.keywords)
    keywords = Keywords(run.keywords, keyword_tokens(of_words, metric)) if run.keywords else None
    summaries: list[SystemSummary] = []
    scored: dict[str, dict[str, ScoredCondition]] = {}
    for one in run.systems:
        if one.failure is not None or not by_system.get(one.facts.name):
            summaries.append(SystemSummary(one.facts, {}, None, None, None, 0, one.failure or "no samples"))
            continue
        own = by_system[one.facts.name]
        system, conditions = _summarise_system(one, own, no_speech, normalisers, metric, run.seed)
        if keywords is not None and own.get(CLEAN):
            texts = [Normaliser(of_words).pair(sample) for sample in own[CLEAN]]
            if metric == "cer":
                texts = [(words_and_characters(one), words_and_characters(two)) for one, two in texts]
            resampling = resample([sample.speaker for sample in own[CLEAN]], seed=run.seed)
            system = replace(system, keywords=keywords.score(texts, resampling))
        if run.settings.get("word_timestamps") == "true":
            normalise = tokens(of_words, metric)
            system = replace(system, words=score_words(one, own.get(CLEAN, []), normalise, run.seed))
        summaries.append(replace(system, speed=speed_of(one, timings, throughputs, run.seed)))
        scored[one.facts.name] = conditions
    by_condition = {
        condition: {name: own[condition] for name, own in scored.items() if condition in own}
        for condition in _conditions(run, by_system)
        if condition not in no_speech
    }
    clean = by_condition.get(CLEAN, {})
    corpus = replace(_corpus_facts(run, by_system), compared=_count_spoken(clean.values()), whole=run.whole_corpus)
    compared = [one for condition, own in by_condition.items() for one in compare_pairs(own, condition, run.seed)]
    unit = UNIT if corpus.resampling_unit == UNIT else "utterance"
    comparisons = correct(compared, metric, unit, run.baseline_system)
    sizes = family_sizes(comparisons)
    detectable = detectable_differences(clean, run.seed, sizes, run.baseline_system)
    largest = max(detectable, key=lambda one: one.value, default=None)
    notices += _without_speaker(by_system, corpus)
    return Summary(
        created=run.created,
        command=run.command,
        machine=run.machine,
        corpus=corpus,
        profiles=[_profile_used(one.profile, corpus.resampling_unit, run.seed, metric) for one in normalisers],
        systems=summaries,
        comparisons=comparisons,
        notices=[*run.notices, *notices],
        settings=run.settings,
        conditions=run.conditions,
        minimum_detectable_difference=largest.value if largest else None,
        metric=metric,
        detectable_without=largest.without if largest else None,
        detectable_left_out=largest.left_out if largest else [],
        detectable_comparisons=largest.comparisons if largest else max(sizes.total(), 1),
        detectable_differences=detectable,
        baseline_system=run.baseline_system,
        word_profile=None if of_words.name == normalisers[0].profile.name else of_words.name,
        code=run.code,
        profile_effects=profile_effects(
            clean, [one for one in comparisons if one.condition == CLEAN], run.profiles, language, run.seed
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
                    f"{100 * (two - one):+.2f} points."
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


def _summarise_system(
    system: SystemRun,
    by_condition: Mapping[str, list[Sample]],
    no_speech: set[str],
    normalisers: Sequence[Normaliser],
    metric: Metric,
    seed: int,
) -> tuple[SystemSummary, dict[str, ScoredCondition]]:
    """A system's summary without its speed, and its counts under the first profile by condition."""
    first = normalisers[0]
    summary = SystemSummary(
        facts=system.facts,
        scores={},
        speed=None,
        peak_memory_bytes=system.peak_memory_bytes,
        memory_before_loading_bytes=system.memory_before_loading_bytes,
        peak_device_memory_bytes=system.peak_device_memory_bytes,
        failed_utterances=sum(sample.error is not None for own in by_condition.values() for sample in own),
    )
    scored: dict[str, ScoredCondition] = {}
    for condition, samples in by_condition.items():
        texts = [first.pair(sample) for sample in samples]
        counts = [count_errors(texts, metric)]
        counts += [count_errors(map(other.pair, samples), metric) for other in normalisers[1:]]
        counted = _counted_texts(texts, metric)
        hallucinated = _hallucinated(samples, counted, seed, no_speech=condition in no_speech)
        if hallucinated is not None:
            summary.hallucinated_words_per_minute[condition], summary.silent[condition] = hallucinated
        found = {sample.id: find_loop(*pair) for sample, pair in zip(samples, texts, strict=True)}
        loops = {id: loop for id, loop in found.items() if loop is not None}
        if condition == CLEAN:
            summary = replace(summary, confusions=confusions(counted), loops=list(loops))
        elif loops:
            summary.condition_loops[condition] = list(loops)
        if condition in no_speech or not counts[0].reference_words.any():  # no rate without reference words
            continue
        units = samples
        if needs_segments(samples):
            by_segment = [counts_by_segment(samples, normaliser, metric) for normaliser in normalisers]
            units, counts = by_segment[0][0], [own for _, own in by_segment]
        others = {one.profile.name: own for one, own in zip(normalisers[1:], counts[1:], strict=True)}
        scored[condition] = ScoredCondition(units, counts[0], metric, others)
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
            slices=slices(units, counts[0], seed, metric) if units is samples else [],
            segments=score_segments(samples, first, seed, metric),
            influences=influences([unit.id for unit in units], *counts[0].of(metric), loops),
            without_loops=_rate_without(scored[CLEAN], list(loops), seed) if units is samples else None,
            without_decisive=_rate_without(scored[CLEAN], scored[CLEAN].decisive(), seed),
        )
    return replace(summary, clean_of_conditions=_clean_of_conditions(scored, seed)), scored


def _counted_texts(texts: list[tuple[str, str]], metric: Metric) -> list[tuple[str, str]]:
    """Normalised references and hypotheses with spaces between what is counted, words or characters."""
    return [(spaced_characters(one), spaced_characters(two)) for one, two in texts] if metric == "cer" else texts


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
) -> tuple[float, SilentRecordings] | None:
    """Words a minute in the hypotheses of audio without speech, and how many recordings have any; failed utterances do
    not count.

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
    per_minute = words_per_minute(sum(words for words, _ in silent), sum(one.audio_seconds for _, one in silent))
    return per_minute, SilentRecordings(len(silent), sum(with_text), share)
