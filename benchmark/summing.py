"""Summed up for clean speech alone."""

from collections.abc import Iterable, Sequence

from benchmark.material import CLEAN
from benchmark.results import CorpusFacts, ProfileUsed, Run, Sample, Summary, SystemSummary, Throughput, Timing
from benchmark.scoring import compare, score
from benchmark.speed import speed_of
from finetune.significance import resample
from preprocessing.text import profile


def summarise(
    run: Run, samples: Iterable[Sample], timings: Sequence[Timing], throughputs: Sequence[Throughput]
) -> Summary:
    """Clean speech alone, from the samples and timings."""
    clean = [one for one in samples if one.condition == CLEAN]
    by_id = {one.id: one for one in clean}
    whole = {
        told.facts.name: [one for one in clean if one.system == told.facts.name]
        for told in run.systems
        if told.failure is None
    }
    profiles = [profile(name) for name in run.profiles]
    resampling = resample([one.speaker for one in by_id.values()], seed=run.seed)
    return Summary(
        created=run.created,
        command=run.command,
        machine=run.machine,
        corpus=CorpusFacts(
            reference=run.corpus,
            utterances=len(by_id),
            hours=sum(one.audio_seconds for one in by_id.values()) / 3600,
            speakers=len({one.speaker for one in by_id.values()} - {None}),
            resampling_unit=resampling.unit,
        ),
        profiles=[ProfileUsed(one.name, one.version, one.description) for one in profiles],
        systems=[
            SystemSummary(
                facts=told.facts,
                scores={
                    used.name: score(whole[told.facts.name], used, resampling)
                    for used in profiles
                    if told.failure is None
                },
                speed=speed_of(told, timings, throughputs) if told.failure is None else None,
                peak_memory_bytes=told.peak_memory_bytes,
                peak_device_memory_bytes=told.peak_device_memory_bytes,
                failed_utterances=sum(one.error is not None for one in whole.get(told.facts.name, ())),
                failure=told.failure,
            )
            for told in run.systems
        ],
        comparisons=compare(whole, profiles[0], resampling),
        notices=run.notices,
        settings=run.settings,
        conditions=run.conditions,
    )
