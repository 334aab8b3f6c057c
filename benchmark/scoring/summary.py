"""The whole summary of a run from its records: which samples count, under which condition, and what is said of them.

What was measured is never dropped in silence: records that cannot be scored become a notice. Nothing is counted here.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from benchmark.results import (
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
from benchmark.scoring.breakdowns import confusions, loops, slices, words_per_minute
from benchmark.scoring.comparisons import CLEAN, Heard, decided, minimum_detectable, pairs
from benchmark.scoring.counts import Normaliser, count, scores_of
from benchmark.scoring.segments import UNIT, counts_by_segment, score_segments, too_few
from benchmark.scoring.speed import speed_of
from finetune.metrics import resample
from preprocessing.cli.errors import InputError, UsageError
from preprocessing.text import profile

Heap = Mapping[str, Mapping[str, list[Sample]]]  # by system, then by condition


def summarise(
    run: Run, samples: Iterable[Sample], timings: Sequence[Timing], throughputs: Sequence[Throughput]
) -> Summary:
    """Everything but the samples, from the records of a run.

    Where a sample is there twice (a run that was taken up again), the later one counts. A system that failed as a
    whole has no scores; one that the run does not list had not ended, and is left out with a notice.
    Raises InputError where no sample is of this run, UsageError for an unknown profile.
    """
    if not run.profiles:
        raise UsageError("--profiles is empty; expected a text profile or more: name one")
    normalisers = [Normaliser(profile(name)) for name in run.profiles]
    heap, notices = _sorted(run, samples)
    silent = {condition.name for condition in run.conditions if not condition.speech}
    summaries, heard = [], {}
    for one in run.systems:
        if one.failure is not None or not heap.get(one.facts.name):
            failure = one.failure or "no samples"
            summaries.append(SystemSummary(one.facts, {}, None, None, None, 0, failure))
            continue
        system, counted = _system(one, heap[one.facts.name], silent, normalisers, run.seed)
        summaries.append(replace(system, speed=speed_of(one, timings, throughputs)))
        heard[one.facts.name] = counted
    by_condition = {
        condition: {name: own[condition] for name, own in heard.items() if condition in own}
        for condition in _conditions(run, heap)
        if condition not in silent
    }
    compared = [one for condition, own in by_condition.items() for one in pairs(own, condition, run.seed)]
    return Summary(
        created=run.created,
        command=run.command,
        machine=run.machine,
        corpus=_corpus(run, heap),
        profiles=[ProfileUsed(one.profile.name, one.profile.version, one.profile.description) for one in normalisers],
        systems=summaries,
        comparisons=decided(compared),
        notices=[*run.notices, *notices],
        settings=run.settings,
        conditions=run.conditions,
        minimum_detectable_difference=minimum_detectable(by_condition.get(CLEAN, {}), run.seed),
    )


def _sorted(run: Run, samples: Iterable[Sample]) -> tuple[Heap, list[str]]:
    """Samples by system and condition, each once, and what has to be said of them."""
    latest: dict[tuple[str, str], dict[str, Sample]] = {}
    for sample in samples:
        latest.setdefault((sample.system, sample.condition), {})[sample.id] = sample
    heap: dict[str, dict[str, list[Sample]]] = {one.facts.name: {} for one in run.systems}
    unknown: dict[str, int] = {}
    for (system, condition), own in latest.items():
        if system in heap:
            heap[system][condition] = list(own.values())
        else:
            unknown[system] = unknown.get(system, 0) + len(own)
    if latest and len(unknown) == len({system for system, _ in latest}):
        raise InputError(
            f"samples name the systems {', '.join(unknown)}, the run {', '.join(heap) or 'none'}; expected samples of "
            "this run: score a folder as one run left it"
        )
    notices = [f"{system} did not end: its {count} samples are left out." for system, count in unknown.items()]
    failed = {one.facts.name for one in run.systems if one.failure is not None}
    for condition in _conditions(run, heap):
        counts = {name: len(own.get(condition, [])) for name, own in heap.items() if name not in failed}
        most = max(counts.values(), default=0)
        notices += [
            f"{name} has {found} of {most} utterances under {condition}: its rates are of these, comparisons of those "
            "that both systems have."
            for name, found in counts.items()
            if found < most
        ]
    return heap, notices


def _conditions(run: Run, heap: Heap) -> list[str]:
    """Clean first, then as the run lists them, then any other that samples have."""
    listed = [CLEAN, *(condition.name for condition in run.conditions)]
    return list(dict.fromkeys([*listed, *(condition for own in heap.values() for condition in own)]))


def _corpus(run: Run, heap: Heap) -> CorpusFacts:
    """Of the clean utterances that any system has; without clean ones, of all."""
    known = [one for own in heap.values() for condition, one in own.items() if condition == CLEAN]
    known = known or [one for own in heap.values() for one in own.values()]
    utterances = {sample.id: sample for own in known for sample in own}
    speakers = [sample.speaker for sample in utterances.values()]
    unit = resample(speakers, seed=run.seed, draws=1).unit if speakers else "utterance"
    if utterances and too_few(list(utterances.values())):
        unit = UNIT
    return CorpusFacts(
        reference=run.corpus,
        utterances=len(utterances),
        hours=sum(sample.audio_seconds for sample in utterances.values()) / 3600,
        speakers=len(set(speakers) - {None}),
        resampling_unit=unit,
    )


def _system(
    one: SystemRun,
    by_condition: Mapping[str, list[Sample]],
    silent: set[str],
    normalisers: Sequence[Normaliser],
    seed: int,
) -> tuple[SystemSummary, dict[str, Heard]]:
    """A system's summary without its speed, and its counts under the first profile by condition."""
    first = normalisers[0]
    summary = SystemSummary(
        facts=one.facts,
        scores={},
        speed=None,
        peak_memory_bytes=one.peak_memory_bytes,
        peak_device_memory_bytes=one.peak_device_memory_bytes,
        failed_utterances=sum(sample.error is not None for own in by_condition.values() for sample in own),
    )
    heard: dict[str, Heard] = {}
    looping: dict[str, None] = {}
    for condition, samples in by_condition.items():
        texts = [first.pair(sample) for sample in samples]
        counted = [count(texts), *(count(map(other.pair, samples)) for other in normalisers[1:])]
        invented = _hallucinated(samples, counted[0].words.tolist(), counted[0].heard.tolist(), condition in silent)
        if invented is not None:
            summary.hallucinated_words_per_minute[condition] = invented
        looping |= {sample.id: None for sample, pair in zip(samples, texts, strict=True) if loops(*pair)}
        if condition in silent:
            continue
        units = samples
        if too_few(samples):
            by_segment = [counts_by_segment(samples, normaliser) for normaliser in normalisers]
            units, counted = by_segment[0][0], [own for _, own in by_segment]
        heard[condition] = Heard(units, counted[0])
        drawn = resample([unit.speaker for unit in units], seed=seed)
        scores = {
            normaliser.profile.name: scores_of(own, drawn) for normaliser, own in zip(normalisers, counted, strict=True)
        }
        if condition != CLEAN:
            summary.conditions[condition] = scores
            continue
        summary = replace(
            summary,
            scores=scores,
            slices=slices(units, counted[0], seed) if units is samples else [],
            confusions=confusions(texts),
            segments=score_segments(samples, first, seed),
        )
    return replace(summary, loops=list(looping)), heard


def _hallucinated(samples: Sequence[Sample], words: Sequence[int], heard: Sequence[int], silent: bool) -> float | None:
    """Words a minute heard where nothing was said, failed utterances left out; None where there is no such audio."""
    empty = [row for row, sample in enumerate(samples) if sample.error is None and (silent or not words[row])]
    if not empty:
        return None
    return words_per_minute(sum(heard[row] for row in empty), sum(samples[row].audio_seconds for row in empty))


def profile_differences(summary: Summary) -> Iterator[str]:
    """A sentence for each system and further profile, in points of WER on clean speech."""
    first, *others = [used.name for used in summary.profiles]
    for system in summary.systems:
        for other in others:
            if first in system.scores and other in system.scores:
                one, two = system.scores[first].wer.value, system.scores[other].wer.value
                yield (
                    f"{system.facts.name}: WER {two:.2%} under {other}, {one:.2%} under {first}: "
                    f"{100 * (two - one):+.2f} points."
                )
