"""How much of a WER is its text profile: the same samples under the first profile and under each other one."""

from collections.abc import Iterator

from benchmark.results import Summary


def profile_differences(summary: Summary) -> Iterator[str]:
    """A sentence for each system and further profile, in points of WER on clean speech."""
    first, *others = [used.name for used in summary.profiles]
    for system in summary.systems:
        for other in others:
            if first in system.scores and other in system.scores:
                one, two = system.scores[first].wer.value, system.scores[other].wer.value
                yield (
                    f"{system.facts.name}: WER {two:.2%} under {other}, {one:.2%} under {first}: "
                    f"{100 * (two - one):+.2f} points."
                )
