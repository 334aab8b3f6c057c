"""Systems that the page must bear: one whose text is markup and template, one that fails, one that cannot be loaded."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from benchmark.results import SystemFacts
from finetune.systems.base import LoadOptions, System, SystemSpec

MARKUP = (
    "<script>document.title = 'taken'</script> <img src=x onerror=\"document.title='taken'\"> ${1 + 1} {{value}} &lt;"
)


class Markup(System):
    """Hears markup, whatever is said."""

    def __init__(self, spec: SystemSpec, options: LoadOptions) -> None:
        self.facts = SystemFacts(spec.name, spec.family, spec.checkpoint, 0)

    def features(self, waveforms: Sequence[Tensor]) -> Any:
        return waveforms

    def forward(self, features: Any) -> Any:
        return features

    def text(self, outcome: Any) -> list[str]:
        return [MARKUP for _ in outcome]


class Length(Markup):
    """Says how many samples it was given."""

    def text(self, outcome: Any) -> list[str]:
        return [f"{len(waveform)} samples" for waveform in outcome]


class Fails(Markup):
    """Raises at every recording, in markup."""

    def forward(self, features: Any) -> Any:
        raise RuntimeError("<b>no room</b> ${2 + 2}")


class Unloadable(Markup):
    """Cannot be loaded."""

    def __init__(self, spec: SystemSpec, options: LoadOptions) -> None:
        raise ValueError("no weights")
