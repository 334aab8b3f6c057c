"""All that a benchmark decides before it measures anything: what its configuration asks for, resolved and checked.

`describe_run` makes the run.json of it, `benchmark.session` measures it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from benchmark.config import BenchmarkConfig
from benchmark.dataset import (
    EvaluationSet,
    build_evaluation_set,
    check_recordings,
    check_segments,
    requested_conditions,
    with_language,
)
from benchmark.environment import (
    DistributedRanks,
    code_version,
    command_of,
    corpus_fingerprint,
    describe_machine,
    join_process_group,
)
from benchmark.noise_removal import NoiseRemoval, noise_removal_notices, resolve_noise_removal
from benchmark.offline import resolve_corpus
from benchmark.results import Run, SystemRun
from benchmark.results.store import FINGERPRINT, check_output_folder
from benchmark.scoring.comparisons import check_baseline_system
from benchmark.scoring.earlier import EarlierResult, check_systems, read_earlier
from benchmark.scoring.keywords import Keywords, read_keywords
from benchmark.transcripts import Transcripts, match_transcripts, with_clean_speech
from finetune.models.availability import check_checkpoint
from finetune.systems.base import LanguageModelOptions, SystemSpec
from finetune.systems.facts import TRANSCRIPTS
from finetune.systems.families import FAMILIES, LM_SPELLINGS
from finetune.systems.registry import check_language_model, check_system_options, parse_models
from finetune.systems.search_options import SEARCH_FLAGS, language_model_options
from preprocessing.cli.device import resolve_device
from preprocessing.corpus import Corpus
from preprocessing.errors import UsageError
from preprocessing.text import profile


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """All that is decided before anything is measured.

    earlier: the result of --compare. folder: for the results. console: quiet in every process but the first.
    notices: sentences that terminal and report show, as that a demo checkpoint stands in. noise_removal: by system.
    language_model: of the systems whose family ends in +lm. transcripts: of those that ran elsewhere. keywords: those
    of --keywords.
    """

    config: BenchmarkConfig
    earlier: EarlierResult | None
    specs: Sequence[SystemSpec]
    corpus: Corpus
    evaluation_set: EvaluationSet
    device: str
    ranks: DistributedRanks
    folder: Path
    notices: Sequence[str]
    console: Console
    noise_removal: Mapping[str, NoiseRemoval]
    language_model: LanguageModelOptions
    transcripts: Sequence[Transcripts]
    keywords: Sequence[str]


def resolve_inputs(config: BenchmarkConfig) -> Inputs:
    """What `config` asks for, resolved: nothing is loaded yet but the corpus's index. Raises UserError.

    Joins the process group, so that all processes agree on the output folder.
    """
    config.check()
    for name in config.profiles or ():
        profile(name)
    keywords = [] if config.keywords is None else read_keywords(config.keywords)
    earlier = None if config.compare is None else read_earlier(config.compare)
    specs = parse_models(config.models)
    for spec in specs:
        if spec.family in FAMILIES:
            check_checkpoint(spec.checkpoint, "--models: ", is_path=spec.family == TRANSCRIPTS)
    if all(spec.family == TRANSCRIPTS for spec in specs):
        config = with_clean_speech(config)
    if earlier is not None:
        check_systems(earlier, [spec.name for spec in specs], "--models gives")
    if config.baseline_system is not None:
        check_baseline_system(config.baseline_system, [spec.name for spec in specs])
    check_language_model(specs, config.lm)
    _check_search_flags(config, specs)
    language_model = language_model_options(config)
    check_system_options(specs, config.system_options)
    conditions = requested_conditions(config)
    device = resolve_device(config.device)
    ranks = join_process_group()
    folder = ranks.broadcast(config.output_dir or Path("runs") / f"benchmark-{datetime.now():%Y%m%d-%H%M%S}")
    console = Console(quiet=not ranks.is_main, emoji=False)  # a system may be named module:One:
    if ranks.is_main:
        check_output_folder(folder, overwrite=config.overwrite)
    noise_removal = resolve_noise_removal(config.denoise, [spec for spec in specs if spec.family != TRANSCRIPTS])
    notices = [spec.notice for spec in specs if spec.notice]
    notices += noise_removal_notices(config.denoise, noise_removal)
    corpus = resolve_corpus(config, notices)
    notes: list[str] = []
    config = with_language(config, corpus.utterances, [spec.family for spec in specs], notices, notes)
    for name in (config.profiles or ())[:1]:
        Keywords(keywords, profile(name))  # refuses now one that could not be counted at the end
    evaluation_set = build_evaluation_set(conditions, corpus.utterances, config.condition_utterances)
    check_segments(corpus.utterances)
    transcripts = [match_transcripts(spec, corpus.utterances) for spec in specs if spec.family == TRANSCRIPTS]
    notices += [notice for one in transcripts for notice in one.notices(len(conditions))]
    if ranks.is_main:
        check_recordings(evaluation_set)
    for note in notes:
        console.print(note, highlight=False, markup=False, soft_wrap=True)
    for notice in notices:
        console.print(f"[bold yellow]NOTE[/] {escape(notice)}", highlight=False)
    return Inputs(
        config=config,
        earlier=earlier,
        specs=specs,
        corpus=corpus,
        evaluation_set=evaluation_set,
        device=device,
        ranks=ranks,
        folder=folder,
        notices=notices,
        console=console,
        noise_removal=noise_removal,
        language_model=language_model,
        transcripts=transcripts,
        keywords=keywords,
    )


def describe_run(inputs: Inputs) -> Run:
    """The run before anything is measured: machine, corpus, settings, and each system by its name alone."""
    config, corpus, ranks = inputs.config, inputs.corpus, inputs.ranks
    machine = describe_machine(inputs.device, ranks.local_count)
    if ranks.count > 1:
        machine["processes"] = f"{ranks.count}, the first of which measured latency and throughput"
    return Run(
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        command=command_of(config),
        machine=machine,
        corpus=corpus.reference,
        conditions=[condition.used for condition in inputs.evaluation_set.conditions],
        profiles=list(config.profiles or ()),  # `with_language` has named them
        seed=config.seed,
        notices=list(inputs.notices),
        settings=config.settings() | {FINGERPRINT: corpus_fingerprint(corpus.utterances)},
        keywords=list(inputs.keywords),
        baseline_system=config.baseline_system,
        compare=None if config.compare is None else str(config.compare.absolute()),
        whole_corpus=corpus.whole,
        code=code_version(),
        systems=[SystemRun(spec.facts(parameters=0, settings={})) for spec in inputs.specs],
    )


def _check_search_flags(config: BenchmarkConfig, specs: Sequence[SystemSpec]) -> None:
    """Raises UsageError where a flag of the beam search is set, and no system searches. A user's own class may."""
    if any(spec.decodes_with_lm or spec.family not in FAMILIES for spec in specs):
        return
    default = BenchmarkConfig()
    for flag in SEARCH_FLAGS:
        if getattr(config, flag) != getattr(default, flag):
            raise UsageError(
                f"--{flag} is used by no system of --models; expected one of {', '.join(LM_SPELLINGS)}: as in "
                "wav2vec2+lm=CHECKPOINT"
            )
