"""`--dry_run true`: what would be trained on what, whether it fits into memory, and how long it would take.

Nothing is written.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import yaml
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from finetune.config import TrainConfig
from finetune.data.examples import ExampleKey, Examples
from finetune.models.base import Example, TrainableRecogniser
from finetune.preflight.costs import measure_costs, print_costs
from finetune.training.diagnosis import DataInspection
from finetune.training.display import print_diagnosis
from finetune.training.optimisation import make_optimiser
from finetune.training.run_folder import plain
from finetune.training.setup import RunSetup
from preprocessing.corpus.report import print_report
from preprocessing.corpus.statistics import find_leaks, summarise
from preprocessing.errors import InputError, UsageError

STATISTICS_UTTERANCES = 16  # enough to time a family that normalises by statistics of its corpus
MAX_OUT_OF_VOCABULARY_SHOWN = 12


def dry_run(setup: RunSetup, inspection: DataInspection) -> None:
    """Print the report: configuration, corpora, labels, trained parameters, costs, problems of the data.

    Raises UserError if a batch cannot be computed, or nothing would be trained.
    """
    config, accelerator, recogniser = setup.config, setup.accelerator, setup.recogniser
    if accelerator.num_processes > 1:
        raise UsageError("--dry_run true in several processes; expected one: start it without accelerate launch")
    console = Console(highlight=False)
    console.print("[bold]Configuration[/]; values other than the default are marked")
    for line in configuration(config):
        console.print(escape(line), soft_wrap=True)
    console.print()
    print_report(console, summarise(inspection.train, setup.profile, None), None)
    print_report(
        console,
        summarise(inspection.validation, setup.profile, None),
        find_leaks(inspection.validation, inspection.train, setup.profile),
    )
    console.print("[bold]Labels[/]")
    for line in label_lines(recogniser, inspection.labels):
        console.print(f"  {escape(line)}", soft_wrap=True)
    console.print()
    console.print("[bold]What is trained[/]")
    console.print(trained_table(recogniser, config))
    check_trainable(recogniser)
    recogniser.fit_statistics(islice(_first_examples(setup.train), STATISTICS_UTTERANCES))
    costs = measure_costs(setup)
    print_costs(console, config, accelerator.device, costs)
    for diagnosis in inspection.diagnoses:
        print_diagnosis(console, diagnosis)
    console.print("dry run: nothing was trained or written")


def check_trainable(recogniser: TrainableRecogniser) -> None:
    """Raises InputError if every parameter is frozen."""
    if not _is_trainable(recogniser):
        raise InputError(
            "every parameter is frozen, so nothing would be learnt; expected some trainable parameters: see "
            "--model.freeze_feature_encoder, --model.adapters_only and --model.lora_rank"
        )


def _first_examples(examples: Examples) -> Iterator[Example]:
    prepared = (examples[ExampleKey(index)] for index in range(len(examples)))
    return (example for example in prepared if isinstance(example, Example))


def configuration(config: TrainConfig) -> list[str]:
    """The resolved configuration as lines of YAML; `# default: ...` follows values that are not the default."""
    return list(_yaml(plain(config), plain(TrainConfig(output_dir=config.output_dir)), 0))


def _yaml(config: Mapping[str, Any], default: Mapping[str, Any], depth: int) -> Iterator[str]:
    for key, value in config.items():
        if depth == 0 and isinstance(value, Mapping):
            yield f"{key}:"
            yield from _yaml(value, default[key], depth + 1)
            continue
        mark = "" if value == default.get(key) else f"  # default: {_inline(default.get(key))}"
        yield f"{'  ' * depth}{key}: {_inline(value)}{mark}"


def _inline(value: Any) -> str:
    text = yaml.safe_dump(value, default_flow_style=True, width=10**6, allow_unicode=True)
    return text.removesuffix("\n").removesuffix("\n...")


def label_lines(recogniser: TrainableRecogniser, labels: Sequence[str]) -> list[str]:
    """The units, the number of labels and characters, and the characters that the units cannot write, with counts."""
    unknown = recogniser.out_of_vocabulary(labels)
    shown = unknown.most_common(MAX_OUT_OF_VOCABULARY_SHOWN)
    counts = ", ".join(f"{character!r} {count:,} times" for character, count in shown)
    more = f" and {len(unknown) - len(shown)} more" if len(unknown) > len(shown) else ""
    units = recogniser.describe_units(labels) or "the family's own units"
    characters = sum(len(label) for label in labels)
    return [
        units,
        f"{len(labels):,} labels, {characters:,} characters, {len(set(''.join(labels)))} of them different",
        f"outside: {counts}{more}" if unknown else "outside: nothing",
    ]


def trained_table(recogniser: TrainableRecogniser, config: TrainConfig) -> Table:
    """Numbers of trained and frozen parameters by module, with their peak learning rates."""
    rates = {
        id(parameter): group["lr"]
        for group in (make_optimiser(recogniser, config).param_groups if _is_trainable(recogniser) else ())
        for parameter in group["params"]
    }
    counts: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    peaks: dict[str, set[float]] = defaultdict(set)
    for name, parameter in recogniser.module.named_parameters():
        part = module_of(name)
        counts[part][not parameter.requires_grad] += parameter.numel()
        if id(parameter) in rates:
            peaks[part].add(rates[id(parameter)])
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 2, 0, 0), pad_edge=False)
    for heading in ("module", "trained", "frozen", "learning rate"):
        table.add_column(heading, justify="left" if heading == "module" else "right", no_wrap=True)
    for part, (trained, frozen) in counts.items():
        low, high = min(peaks[part], default=0.0), max(peaks[part], default=0.0)
        rate = "–" if not peaks[part] else f"{high:.2g}" if low == high else f"{low:.2g} to {high:.2g}"
        table.add_row(
            escape(part), f"{trained:,}" if trained else "–", f"{frozen:,}" if frozen else "–", rate,
            style=None if trained else "dim",
        )  # fmt: skip
    total = [sum(column) for column in zip(*counts.values(), strict=True)]
    table.add_row("in all", f"{total[0]:,}", f"{total[1]:,}", "", style="bold")
    return table


def module_of(parameter: str) -> str:
    """The module that a parameter is counted in, down to the list of layers that it is in.

    >>> module_of("model.wav2vec2.encoder.layers.3.attention.k_proj.weight")
    'wav2vec2.encoder.layers'
    >>> module_of("model.lm_head.weight")
    'lm_head'
    >>> module_of("model.encoder.blocks.0.attn.key.weight")
    'encoder.blocks'
    """
    parts = parameter.removeprefix("model.").split(".")[:-1]
    place = next((place for place, part in enumerate(parts) if part.isdecimal()), len(parts))
    return ".".join(parts[:place][:3]) or parameter.removeprefix("model.")


def _is_trainable(recogniser: TrainableRecogniser) -> bool:
    return any(parameter.requires_grad for parameter in recogniser.module.parameters())
