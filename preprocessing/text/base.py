"""What a text profile is: named steps in an order, with a version. The steps themselves are in the other modules."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Step:
    """One thing that a profile does. `examples` are texts that show it; the command runs them, so they cannot lie."""

    says: str
    rule: Callable[[str], str]
    examples: tuple[str, ...] = ()


@dataclass(frozen=True)
class Profile:
    """A normalisation that can be called on raw text. `version` rises whenever any output changes.

    >>> Profile("shout", 1, "upper case", (Step("upper case", str.upper),))("hey")
    'HEY'
    """

    name: str
    version: int
    description: str
    steps: tuple[Step, ...]

    def __call__(self, text: str) -> str:
        for step in self.steps:
            text = step.rule(text)
        return text
