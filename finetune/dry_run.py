"""`--dry_run true`: what would be trained on what, whether it fits, and how long it would take. Nothing is written.

Statistics are of the utterances that would be used; no audio is decoded but that of the few batches that are timed.
"""

import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
import yaml
from accelerate import Accelerator
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from finetune.config import TrainConfig
from finetune.display import print_diagnosis
from finetune.evaluation import Evaluator
from finetune.examples import Examples, Visit, collate
from finetune.measured import Held, Pass, forward_backward, held
from finetune.models.base import Batch, Example, Recogniser
from finetune.optimisation import make_optimiser
from finetune.record import plain
from finetune.start import Start
from preprocessing.batching import DurationBatches
from preprocessing.corpus.leaks import find_leaks
from preprocessing.corpus.report import print_report
from preprocessing.corpus.statistics import summarise
from preprocessing.errors import InputError, UsageError
from preprocessing.text import Profile

OUTSIDE_SHOWN = 12
MEGABYTE = 2**20
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
    _costs(console, config, accelerator, recogniser, examples, validation, profile)
    for diagnosis in start.diagnoses:
        print_diagnosis(console, diagnosis)
    console.print("dry run: nothing was trained and nothing written")


def nothing_is_trained() -> str:
    return (
        "every parameter is frozen, so that nothing would be learnt; expected some that are trained: see "
        "--model.freeze_feature_encoder, --model.adapters_only and --model.lora_rank"
    )


def configuration(config: TrainConfig) -> list[str]:
    """YAML as resolved; `# default: ...` after what is not the default."""
    return list(_yaml(plain(config), plain(TrainConfig(output=config.output)), 0))


def _yaml(told: Mapping[str, Any], default: Mapping[str, Any], depth: int) -> Iterator[str]:
    for key, value in told.items():
        if depth == 0 and isinstance(value, Mapping):
            yield f"{key}:"
            yield from _yaml(value, default[key], depth + 1)
            continue
        mark = "" if value == default.get(key) else f"  # default: {_inline(default.get(key))}"
        yield f"{'  ' * depth}{key}: {_inline(value)}{mark}"


def _inline(value: Any) -> str:
    text = yaml.safe_dump(value, default_flow_style=True, width=10**6, allow_unicode=True)
    return text.removesuffix("\n").removesuffix("\n...")


def label_lines(recogniser: Recogniser, labels: Sequence[str]) -> list[str]:
    """The units, what of the labels they cannot write with counts, and labels and their units in all."""
    outside = recogniser.outside(labels)
    most = ", ".join(f"{character!r} {count:,} times" for character, count in outside.most_common(OUTSIDE_SHOWN))
    more = f" and {len(outside) - OUTSIDE_SHOWN} more" if len(outside) > OUTSIDE_SHOWN else ""
    told = recogniser.describe_labels(labels) or "the family's own units"
    characters = sum(len(label) for label in labels)
    return [
        told,
        f"{len(labels):,} labels, {characters:,} characters, {len(set(''.join(labels)))} of them different",
        f"outside: {most}{more}" if outside else "outside: nothing",
    ]


def trained_table(recogniser: Recogniser, config: TrainConfig) -> Table:
    """Parameters by module, trained and frozen, with the learning rates at the peak."""
    rates = {
        id(parameter): group["lr"]
        for group in (make_optimiser(recogniser, config.optimisation).param_groups if _any(recogniser) else ())
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
    """The part of a model that a parameter belongs to: modules down to the list that it is in.

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


@dataclass(frozen=True, slots=True)
class _Timed:
    """A batch of training: loaded and computed."""

    batch: Batch
    load_seconds: float
    computed: Pass


def _costs(
    console: Console,
    config: TrainConfig,
    accelerator: Accelerator,
    recogniser: Recogniser,
    examples: Examples,
    validation: Examples,
    profile: Profile,
) -> None:
    module = accelerator.prepare(recogniser.module)
    batches = DurationBatches(
        [u.duration for u in examples.utterances], max_seconds=config.data.max_batch_seconds, seed=config.seed
    ).epoch(0)
    sizes = [len(batch) * max(examples.utterances[i].duration for i in batch) for batch in batches]
    largest = max(range(len(batches)), key=sizes.__getitem__)
    mean = sum(sizes) / len(sizes)
    middle = min(range(len(batches)), key=lambda number: abs(sizes[number] - mean))
    most = _timed(accelerator, recogniser, module, examples, batches[largest])
    usual = _timed(accelerator, recogniser, module, examples, batches[middle])
    load, compute = usual.load_seconds, usual.computed.seconds * mean / max(usual.batch.seconds[1], 1e-9)
    update = config.optimisation.accumulate * (compute + load if config.data.workers == 0 else compute)
    update = max(update, config.optimisation.accumulate * load / max(config.data.workers, 1))
    evaluation = _evaluation_seconds(config, accelerator, recogniser, module, validation, profile)
    evaluations = 1 + -(-config.optimisation.updates // config.evaluate_every)
    seconds = config.optimisation.updates * update + evaluations * evaluation
    needs = held(recogniser.module, averaged=config.optimisation.ema_decay > 0)
    console.print("[bold]One batch[/], the largest of the first epoch")
    audio_seconds, padded_seconds = most.batch.seconds
    console.print(
        f"  {len(most.batch.indices)} utterances, {audio_seconds:.1f} s of audio, {padded_seconds:.1f} s with padding; "
        f"loss {most.computed.loss_per_label:.2f} a label\n"
        f"  read in {most.load_seconds:.2f} s, forward and backward in {most.computed.seconds:.2f} s "
        f"on {accelerator.device}",
        soft_wrap=True,
    )
    console.print("\n[bold]Memory[/]")
    console.print(_memory_table(needs, most.computed, accelerator.device.type))
    epochs = config.optimisation.updates * config.optimisation.accumulate / len(batches)
    console.print("[bold]Time[/], as measured on this machine as it is now")
    console.print(
        f"  {config.optimisation.updates:,} updates of {update:.2f} s: {config.optimisation.accumulate} of "
        f"{len(batches)} batches an epoch, each {compute:.2f} s to compute and {load:.2f} s to read in "
        f"{config.data.workers or 'no other'} process{'es' if config.data.workers > 1 else ''}\n"
        f"  {evaluations:,} evaluations of {evaluation:.1f} s\n"
        f"  in all about [bold]{_hours(seconds)}[/], {epochs:.1f} epochs",
        soft_wrap=True,
    )
    console.print()


def _timed(
    accelerator: Accelerator, recogniser: Recogniser, module: Any, examples: Examples, indices: Sequence[int]
) -> _Timed:
    began = time.perf_counter()
    collated = collate([examples[Visit(index, 0)] for index in indices])
    seconds = time.perf_counter() - began
    if collated.batch is None:
        raise InputError(
            f"{collated.rejects[0].where}: {collated.rejects[0].reason}; no utterance of a batch is usable"
        )
    batch = collated.batch.to(accelerator.device)
    try:
        computed = forward_backward(
            accelerator, module, batch, torch.Generator().manual_seed(0), recogniser.count_labels(batch)
        )
    except torch.OutOfMemoryError:
        raise InputError(
            f"a batch of {len(batch.indices)} utterances, {batch.seconds[1]:.0f} s with padding, does not fit into the "
            "device's memory; expected one that does: lower --data.max_batch_seconds or --data.max_seconds, or set "
            "--model.gradient_checkpointing true"
        ) from None
    return _Timed(batch, seconds, computed)


def _evaluation_seconds(
    config: TrainConfig,
    accelerator: Accelerator,
    recogniser: Recogniser,
    module: Any,
    validation: Examples,
    profile: Profile,
) -> float:
    """A middle-sized batch of validation, evaluated, taken times all seconds over its own."""
    durations = [utterance.duration for utterance in validation.utterances]
    batches = DurationBatches(durations, max_seconds=config.data.max_batch_seconds).in_order()
    chosen = batches[len(batches) // 2]
    some = Examples(
        [validation.utterances[index] for index in chosen],
        [validation.labels[index] for index in chosen],
        recogniser,
        validation.denoise,
    )
    evaluator = Evaluator(some, profile, recogniser, max_batch_seconds=config.data.max_batch_seconds)
    began = time.perf_counter()
    evaluator.run(accelerator, module)
    return (time.perf_counter() - began) * sum(durations) / sum(durations[index] for index in chosen)


def _memory_table(needs: Held, computed: Pass, device: str) -> Table:
    measured = "peak of CUDA's allocator" if device == "cuda" else "growth of resident memory, sampled"
    rows = [
        ("parameters and buffers", needs.parameters, "exact"),
        ("gradients", needs.gradients, "exact"),
        ("optimiser states", needs.optimiser_states, "exact"),
        *([("moving average", needs.average, "exact")] if needs.average else []),
        ("activations of that batch", computed.activation_bytes, measured),
    ]
    table = Table(box=box.SIMPLE_HEAD, show_header=False, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(style="dim")
    for name, size, how in rows:
        table.add_row(f"  {name}", f"{size / MEGABYTE:,.1f} MiB", how)
    table.add_row("  in all", f"{(needs.total + computed.activation_bytes) / MEGABYTE:,.1f} MiB", "", style="bold")
    return table


def _first_examples(examples: Examples) -> Iterator[Example]:
    found = (examples[Visit(index)] for index in range(len(examples)))
    return (example for example in found if isinstance(example, Example))


def _any(recogniser: Recogniser) -> bool:
    return any(parameter.requires_grad for parameter in recogniser.module.parameters())


def _hours(seconds: float) -> str:
    """
    >>> _hours(30.0), _hours(600.0), _hours(9000.0)
    ('30 s', '10.0 min', '2.5 h')
    """
    return (
        f"{seconds:.0f} s"
        if seconds < 100
        else f"{seconds / 60:.1f} min"
        if seconds < 5400
        else f"{seconds / 3600:.1f} h"
    )
