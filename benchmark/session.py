"""A whole benchmark: the corpus checked, every system through every pass, results summed up and reported.

What is measured lies in contest.py, what is written while it runs in record.py; a run that was stopped goes on.
"""

import re
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from rich.console import Console

from benchmark.config import BenchmarkConfig
from benchmark.dataset import Material, choose, choose_conditions
from benchmark.environment import Ranks, chosen_device, described, join, leave, order_of
from benchmark.offline import chosen_corpus
from benchmark.report import write_reports
from benchmark.report.table import print_table
from benchmark.results import RUN, SUMMARY, Run, Sample, Summary, SystemRun, read_summary, write_run, write_summary
from benchmark.results import store as records
from benchmark.results.store import PRINTED, Record
from benchmark.runner import Contest, sample
from benchmark.scoring import changes, summarise
from benchmark.systems import check_language_model, parse_models
from benchmark.systems.base import LanguageModelOptions, LoadOptions, SystemSpec
from benchmark.worker import Entrant, Heard, Item, Setup
from finetune.decoding.beam import BeamSettings
from preprocessing.cli.errors import InputError, UsageError
from preprocessing.cli.progress import Steps
from preprocessing.corpus import Corpus
from preprocessing.text import profile


def benchmark(config: BenchmarkConfig) -> None:
    """Run as configured. Raises UserError for wrong usage, unusable data, and where a system failed as a whole."""
    config.check()
    for name in config.profiles:
        profile(name)
    earlier = _earlier_result(config)
    specs = parse_models(config.models)
    check_language_model(specs, config.lm)
    conditions = choose_conditions(config)
    device = chosen_device(config.device)
    ranks = join()
    folder = ranks.from_first(config.output or Path("runs") / f"benchmark-{datetime.now():%Y%m%d-%H%M%S}")
    console = Console(quiet=not ranks.first)
    if ranks.first:
        records.refuse_unusable(folder, overwrite=config.overwrite)
    notices = [spec.notice for spec in specs if spec.notice]
    corpus = chosen_corpus(config, notices).whole()
    material = choose(conditions, corpus.utterances, config.condition_utterances)
    for notice in notices:
        console.print(f"[bold yellow]NOTE[/] {notice}", highlight=False)

    try:
        run, samples = measure(config, specs, material, corpus, folder, ranks, device, notices, console)
    except KeyboardInterrupt:
        console.print(f"nothing is lost: the same command with --output {folder} goes on", highlight=False)
        raise
    if run is None:
        leave()
        return
    failures = [
        one.failure if one.failure.startswith(f"{one.facts.name}: ") else f"{one.facts.name}: {one.failure}"
        for one in run.systems
        if one.failure
    ]
    if samples:
        summary = finish(folder, run, samples, earlier)
        print_table(summary)
        console.print(f"report: {folder / 'report.html'}", highlight=False, soft_wrap=True)
        if config.fail_on_regression:
            failures += [
                f"worse than {config.compare}: {change.sentence}"
                for change in summary.changes
                if change.significant and change.kind == "worse"
            ]
    leave()
    if failures:
        raise InputError("; ".join(failures))


def measure(
    config: BenchmarkConfig,
    specs: Sequence[SystemSpec],
    material: Material,
    corpus: Corpus,
    folder: Path,
    ranks: Ranks,
    device: str,
    notices: Sequence[str],
    console: Console,
) -> tuple[Run | None, list[Sample]]:
    """The run and its samples in their order; None in every process but the first."""
    run = described(config, specs, material, corpus, ranks, device, notices)
    record = Record(folder, ranks.file_rank)
    if ranks.first:
        run = records.begin(folder, run, overwrite=config.overwrite)
        record.read()
        record.gather()
    ranks.wait()
    if not ranks.first:
        record.read()

    def save(told: SystemRun) -> None:
        nonlocal run
        run = records.with_system(run, told)
        if ranks.first:
            write_run(folder / RUN, run)

    options = LoadOptions(device, config.language, config.denoise, config.precision, _language_model(config))
    with ExitStack() as open_processes:
        entrants = [
            _entrant(Setup(spec, options, material, ranks.local_rank, ranks.local_count), config, record, ranks)
            for spec in specs
        ]
        for entrant in entrants:
            open_processes.callback(entrant.close)
        n_steps = len(specs) * (2 + (not config.one_at_a_time) + 2 * config.rounds)
        contest = Contest(
            entrants,
            material,
            record,
            Steps(console, n_steps),
            device,
            config.rounds,
            config.latency_utterances,
            save,
            config.one_at_a_time,
        )
        if ranks.first:
            contest.time()
        contest.batch_seconds, contest.given_up, done = ranks.from_first(
            (contest.batch_seconds, contest.given_up, record.samples)
        )
        record.samples.update(done)
        contest.transcribe(ranks.mine)
    failures = ranks.gathered([(entrant.name, entrant.told.failure) for entrant in entrants if entrant.told.failure])
    ranks.wait()
    if not ranks.first:
        return None, []
    failed = dict(reversed(failures))
    run = replace(run, systems=[replace(one, failure=failed.get(one.facts.name)) for one in run.systems])
    write_run(folder / RUN, run)
    record.gather()
    return run, record.finish(order_of(specs, material))


def _entrant(setup: Setup, config: BenchmarkConfig, record: Record, ranks: Ranks) -> Entrant:
    name = setup.spec.name

    def lose(item: Item, reason: str) -> None:
        record.add_sample(sample(setup.material, name, item, Heard("", reason)))

    rank = "" if ranks.file_rank is None else f"-{ranks.rank}"
    log = record.folder / PRINTED / f"{re.sub(r'[^A-Za-z0-9_.=-]+', '_', name)}{rank}.txt"
    failed = {key for key, one in record.samples.items() if one.system == name and one.error is not None}
    lost = [
        item
        for item in setup.material.items()
        if failed and (name, setup.material.name(item), setup.material.utterance(item).id) in failed
    ]
    return Entrant(setup, config.timeout, log, lose, lost)


def finish(folder: Path, run: Run, samples: Sequence[Sample], earlier: Summary | None) -> Summary:
    """Sum up and write summary.json, summary.md and report.html."""
    record = Record(folder)
    record.read()
    summary = summarise(run, samples, record.timings, record.throughput)
    if earlier is not None:
        summary = replace(summary, changes=changes(earlier, summary))
    write_summary(folder / SUMMARY, summary)
    write_reports(folder, summary, samples, record.timings)
    return summary


def _earlier_result(config: BenchmarkConfig) -> Summary | None:
    """What --compare names, read before anything slow."""
    if config.compare is None:
        return None
    if not (config.compare / SUMMARY).is_file():
        raise UsageError(f"--compare {config.compare} holds no {SUMMARY}; expected an earlier result: name its folder")
    return read_summary(config.compare / SUMMARY)


def _language_model(config: BenchmarkConfig) -> LanguageModelOptions | None:
    if config.lm is None:
        return None
    return LanguageModelOptions(
        config.lm, BeamSettings(config.beam, config.lm_weight, config.word_bonus, config.unknown_word)
    )
