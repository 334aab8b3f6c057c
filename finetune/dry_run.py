"""`--dry_run true`: what would be trained on what, whether it fits, and how long it would take. Nothing is written.

Statistics are of the utterances that would be used; no audio is decoded but that of the few batches that are timed.
"""

from collections.abc import Iterator
from itertools import islice

from accelerate import Accelerator
from rich.console import Console
from rich.markup import escape

from finetune.config import TrainConfig
from finetune.costs import print_costs
from finetune.display import print_diagnosis
from finetune.examples import Examples, Visit
from finetune.models.base import Example, Recogniser
from finetune.shown_setting import configuration, label_lines, trained_table
from finetune.start import Start
from preprocessing.corpus.leaks import find_leaks
from preprocessing.corpus.report import print_report
from preprocessing.corpus.statistics import summarise
from preprocessing.errors import InputError, UsageError
from preprocessing.text import Profile

STATISTICS_UTTERANCES = 16  # a family that normalises by its corpus needs some to be timed, not all


def dry_run(
    config: TrainConfig,
    accelerator: Accelerator,
    recogniser: Recogniser,
    examples: Examples,
    validation: Examples,
    profile: Profile,
    start: Start,
) -> None:
    """Print everything. Raises UserError where one batch cannot be computed, or nothing would be trained."""
    if accelerator.num_processes > 1:
        raise UsageError("--dry_run true in several processes; expected one: start it without accelerate launch")
    console = Console(highlight=False)
    console.print("[bold]Configuration[/], marked where it is not the default")
    for line in configuration(config):
        console.print(escape(line), soft_wrap=True)
    console.print()
    print_report(console, summarise(start.train, profile, None), None)
    print_report(
        console, summarise(start.validation, profile, None), find_leaks(start.validation, start.train, profile)
    )
    console.print("[bold]Labels[/]")
    for line in label_lines(recogniser, start.labels):
        console.print(f"  {escape(line)}", soft_wrap=True)
    console.print()
    console.print("[bold]What is trained[/]")
    console.print(trained_table(recogniser, config))
    if not any(parameter.requires_grad for parameter in recogniser.module.parameters()):
        raise InputError(nothing_is_trained())
    recogniser.fit_statistics(islice(_first_examples(examples), STATISTICS_UTTERANCES))
    print_costs(console, config, accelerator, recogniser, examples, validation, profile)
    for diagnosis in start.diagnoses:
        print_diagnosis(console, diagnosis)
    console.print("dry run: nothing was trained and nothing written")


def nothing_is_trained() -> str:
    return (
        "every parameter is frozen, so that nothing would be learnt; expected some that are trained: see "
        "--model.freeze_feature_encoder, --model.adapters_only and --model.lora_rank"
    )


def _first_examples(examples: Examples) -> Iterator[Example]:
    found = (examples[Visit(index)] for index in range(len(examples)))
    return (example for example in found if isinstance(example, Example))
