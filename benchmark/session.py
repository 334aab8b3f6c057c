"""A whole benchmark: run the four phases, score, report.

What is measured is decided in `benchmark.inputs`. The phases are in `benchmark.runner`, what is written while they run
in `benchmark.results.store`.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import replace
from functools import partial

from rich.markup import escape

from benchmark.config import BenchmarkConfig
from benchmark.dataset import Item
from benchmark.environment import leave_process_group, sample_order, threads_of_systems
from benchmark.inputs import Inputs, describe_run, resolve_inputs
from benchmark.report import write_reports
from benchmark.report.table import print_table
from benchmark.results import (
    RUN,
    SUMMARY,
    Run,
    Sample,
    Summary,
    SystemRun,
    write_run,
    write_summary,
)
from benchmark.results.store import PRINTED, ResultsStore, begin_run, failed_systems, with_system
from benchmark.runner import BenchmarkRunner, RunState, count_steps, make_sample
from benchmark.scoring import summarise, untested_rates
from benchmark.worker import Hypothesis, SupervisedSystem, WorkerSetup
from finetune.systems.base import LoadOptions, SystemSpec
from finetune.systems.facts import TRANSCRIPTS, SystemOptions
from finetune.systems.registry import device_of
from preprocessing.cli.cores import keep_threads_to_quota
from preprocessing.cli.progress import Steps
from preprocessing.errors import InputError
from preprocessing.storage.folder_lock import only_writer


def benchmark(config: BenchmarkConfig) -> None:
    """Run, or go on with, the benchmark that `config` describes; its results are in the output folder then.

    Raises UserError: for wrong usage and unusable data before anything is measured; at the end, when the report is
    written, where a system failed as a whole, or a figure got worse and --fail_on_regression is true.
    """
    inputs = resolve_inputs(config)
    with only_writer(inputs.folder, "--output_dir") if inputs.ranks.is_main else nullcontext():
        _benchmark(inputs)


def _benchmark(inputs: Inputs) -> None:
    try:
        run, samples = measure(inputs)
    except KeyboardInterrupt:
        inputs.console.print(
            f"nothing is lost: run the same command with --output_dir {inputs.folder} to resume", highlight=False
        )
        raise
    failures: list[str] = []
    if run is not None:
        failures = [_failure_sentence(one) for one in run.systems if one.failure]
        if failures and samples:
            inputs.console.print(
                f"to try {', '.join(one.facts.name for one in run.systems if one.failure)} again, run the same command "
                f"with --output_dir {inputs.folder}: all other results are kept",
                highlight=False,
                markup=False,
                soft_wrap=True,
            )
        if samples:
            store = ResultsStore(inputs.folder)
            store.read()
            summary = score(inputs, run, samples, store)
            report(inputs, summary, samples, store)
            if inputs.config.fail_on_regression:
                failures += _regressions(inputs, summary)
    leave_process_group()
    if failures:
        raise InputError("; ".join(failures))


def measure(inputs: Inputs) -> tuple[Run | None, list[Sample]]:
    """The run and its samples in their final order; (None, []) in every process but the first."""
    config, ranks, folder = inputs.config, inputs.ranks, inputs.folder
    keep_threads_to_quota()
    run = describe_run(inputs)
    store = ResultsStore(folder, ranks.file_rank)
    if ranks.is_main:
        failed = [] if config.overwrite else failed_systems(folder)
        if failed:
            inputs.console.print(
                f"going on with {', '.join(failed)}, which failed; what was measured of the others is kept",
                highlight=False,
                markup=False,
            )
        run = begin_run(folder, run, overwrite=config.overwrite)
        store.read()
        store.merge_ranks()
    ranks.wait_for_everyone()
    if not ranks.is_main:
        store.read()

    def save(system: SystemRun) -> None:
        nonlocal run
        run = with_system(run, system)
        if ranks.is_main:
            write_run(folder / RUN, run)

    if ranks.is_main:
        for one in inputs.transcripts:
            one.record(inputs.evaluation_set, store)
            save(one.run)
    failures = _run_phases(inputs, run, store, save)
    ranks.wait_for_everyone()
    if not ranks.is_main:
        return None, []
    run = replace(run, systems=[replace(one, failure=failures.get(one.facts.name)) for one in run.systems])
    write_run(folder / RUN, run)
    store.merge_ranks()
    return run, store.finish(sample_order(inputs.specs, inputs.evaluation_set))


def _run_phases(inputs: Inputs, run: Run, store: ResultsStore, save: Callable[[SystemRun], None]) -> Mapping[str, str]:
    """Measure every system that runs here, and return why those failed that failed, by name.

    run: with what an earlier start knows of them. save: takes a system's entry whenever it has changed.
    """
    config, ranks = inputs.config, inputs.ranks
    running = [spec for spec in inputs.specs if spec.family != TRANSCRIPTS]
    n_steps = count_steps(
        len(running),
        config.rounds,
        one_at_a_time=config.one_at_a_time,
        word_timestamps=config.word_timestamps,
    )
    with ExitStack() as processes:
        before = {one.facts.name: one for one in run.systems if one.facts.signature}
        systems = [_supervise(inputs, spec, store, before.get(spec.name)) for spec in running]
        for system in systems:
            processes.callback(system.close)
        runner = BenchmarkRunner(
            systems=systems,
            evaluation_set=inputs.evaluation_set,
            store=store,
            progress=Steps(inputs.console, n_steps),
            rounds=config.rounds,
            latency_utterances=config.latency_utterances,
            save=save,
            on_failure=partial(_announce_failure, inputs),
            one_at_a_time=config.one_at_a_time,
            word_timestamps=config.word_timestamps,
            fixed_batch_seconds=_fixed_batch_seconds(inputs, run.machine),
        )
        state = RunState()
        if ranks.is_main:
            state = runner.load(state)
            state = runner.measure_latency(state)
            state = runner.measure_throughput(state)
        state, recorded = ranks.broadcast((state, store.samples))
        store.samples.update(recorded)
        runner.transcribe(state, ranks.shard)
    failures = ranks.gather([(system.name, system.record.failure) for system in systems if system.record.failure])
    return dict(reversed(failures))  # of several processes' failures the first


def _announce_failure(inputs: Inputs, name: str, reason: str, others_go_on: bool) -> None:
    """Print that a system failed as a whole, and what that means for the rest of the run."""
    sentence = f"{name}: {reason.removeprefix(f'{name}: ').rstrip('.')}"
    if others_go_on:
        sentence += "; the others go on"
    if name == inputs.config.baseline_system:
        sentence += "; it is the baseline system, so nothing will be compared with it"
    inputs.console.print(f"[bold yellow]NOTE[/] {escape(sentence)}", highlight=False, soft_wrap=True)


def _fixed_batch_seconds(inputs: Inputs, machine: Mapping[str, str]) -> Mapping[str, float | None]:
    """The cap on a batch's audio of each system for which none is searched: --batch_seconds, or that of the result of
    --compare, unless it was measured on another kind of device. Throughput and memory of two caps do not compare.
    """
    asked = inputs.config.batch_seconds
    if asked is not None:
        return {spec.name: asked or None for spec in inputs.specs}
    earlier = None if inputs.earlier is None else inputs.earlier.summary
    if earlier is None or earlier.machine.get("device") != machine.get("device"):
        return {}
    return {
        one.facts.name: one.speed.batch_seconds
        for one in earlier.systems
        if one.speed is not None and one.speed.throughput is not None
    }


def score(inputs: Inputs, run: Run, samples: Sequence[Sample], store: ResultsStore) -> Summary:
    """The summary of the run, with its changes since the result of --compare."""
    summary = summarise(run, samples, store.timings, store.throughput)
    return summary if inputs.earlier is None else inputs.earlier.with_changes(summary, samples, run.seed)


def report(inputs: Inputs, summary: Summary, samples: Sequence[Sample], store: ResultsStore) -> None:
    """Print the table of results, write report.html and the files beside it, and summary.json last.

    A folder with a summary.json holds a finished run: stopped before, or with a full disk, the same command goes on.
    Where a defect in the report stops it, which it would do again, summary.json is written all the same.
    """
    print_table(summary)
    try:
        write_reports(inputs.folder, summary, samples, store.timings)
    except OSError:
        raise
    except Exception:
        write_summary(inputs.folder / SUMMARY, summary)
        inputs.console.print(
            f"all results are in {inputs.folder}; its report is not complete, for the reason that follows",
            highlight=False,
            markup=False,
            soft_wrap=True,
        )
        raise
    write_summary(inputs.folder / SUMMARY, summary)
    inputs.console.print(f"report: {inputs.folder / 'report.html'}", highlight=False, soft_wrap=True)


def _supervise(inputs: Inputs, spec: SystemSpec, store: ResultsStore, before: SystemRun | None) -> SupervisedSystem:
    """A system that records the utterances it loses as failed; those of an earlier start are not tried again.

    before: its entry in run.json where an earlier start has loaded it.
    """
    config, evaluation_set, ranks = inputs.config, inputs.evaluation_set, inputs.ranks
    own = config.system_options.get(spec.name, SystemOptions())
    options = LoadOptions(
        device=device_of(spec.family, config.device),
        language=own.language or config.language,
        denoise=inputs.noise_removal[spec.name].applied,
        precision=config.precision,
        language_model=inputs.language_model,
        system=own,
    )
    threads = threads_of_systems(ranks.local_count)
    setup = WorkerSetup(
        spec=spec,
        options=options,
        evaluation_set=evaluation_set,
        local_rank=ranks.local_rank,
        local_processes=ranks.local_count,
        threads=threads,
    )

    def on_lost(item: Item, reason: str) -> None:
        store.add_sample(make_sample(evaluation_set, spec.name, item, Hypothesis("", reason)))

    rank = "" if ranks.file_rank is None else f"-{ranks.rank}"
    log = inputs.folder / PRINTED / f"{re.sub(r'[^A-Za-z0-9_.=-]+', '_', spec.name)}{rank}.txt"
    failed = {key for key, one in store.samples.items() if one.system == spec.name and one.error is not None}
    lost = [
        item
        for item in evaluation_set.items()
        if failed and (spec.name, evaluation_set.condition_name(item), evaluation_set.utterance(item).id) in failed
    ]
    return SupervisedSystem(setup, config.timeout, log, on_lost, lost, before)


def _failure_sentence(system: SystemRun) -> str:
    name, failure = system.facts.name, str(system.failure)
    return failure if failure.startswith(f"{name}: ") else f"{name}: {failure}"


def _regressions(inputs: Inputs, summary: Summary) -> list[str]:
    """What --fail_on_regression fails for: what got worse, and error rates that could not be tested for it."""
    assert inputs.earlier is not None
    worse = [change for change in summary.changes if change.significant and change.kind == "worse"]
    found = [f"worse than {inputs.earlier.folder}: {change.sentence}" for change in worse]
    return found + untested_rates(inputs.earlier.summary, summary, summary.changes)
