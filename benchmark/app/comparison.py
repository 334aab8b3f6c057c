"""Which text the systems' words are compared with (what was said, or what one system heard), and how they differ."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmark.app.hear import Hearing
from benchmark.report.alignment import Alignment, align


@dataclass(frozen=True, slots=True)
class Comparison:
    """alignments: of each hearing, in their order; None for the reference itself, and where either side failed.

    reference: the raw text; None where its system failed or is not done. reference_system: whose it is; None where it
    was typed in.
    """

    alignments: tuple[Alignment | None, ...]
    reference: str | None
    reference_system: str | None


def compare(
    hearings: Sequence[Hearing], said: str, reference_system: str, normalise: Callable[[str], str]
) -> Comparison:
    """Against `said`; where `normalise` leaves nothing of that, against what `reference_system` heard."""
    if normalise(said).strip():
        return Comparison(tuple(_aligned(said, one, normalise) for one in hearings), said.strip(), None)
    text = next((one.hypothesis for one in hearings if one.system == reference_system and one.error is None), None)
    alignments = tuple(
        None if text is None or one.system == reference_system else _aligned(text, one, normalise) for one in hearings
    )
    return Comparison(alignments, text, reference_system)


def _aligned(reference: str, hearing: Hearing, normalise: Callable[[str], str]) -> Alignment | None:
    return None if hearing.error is not None else align(reference, hearing.hypothesis, normalise)
