"""What a dry run shows of its setting: the configuration as resolved, the units, what is trained and how fast."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml
from rich import box
from rich.markup import escape
from rich.table import Table

from finetune.config import TrainConfig
from finetune.models.base import Recogniser
from finetune.optimisation import make_optimiser
from finetune.record import plain

OUTSIDE_SHOWN = 12


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


def _any(recogniser: Recogniser) -> bool:
    return any(parameter.requires_grad for parameter in recogniser.module.parameters())
