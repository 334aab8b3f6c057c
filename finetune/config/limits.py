"""Numbers that cannot be, refused by flag name."""

import math

from preprocessing.errors import UsageError


def check_counts(*counts: tuple[str, int, int]) -> None:
    """Of flag, number and the least that it may be. Raises UsageError naming the first that is below."""
    for flag, number, least in counts:
        if number < least:
            raise UsageError(f"{flag} is {number}; expected {least} or more: raise it")


def check_ranges(*ranges: tuple[str, float, str, bool]) -> None:
    """Of flag, value, what is expected, and whether it is that. Raises UsageError naming the first that is not."""
    for flag, value, expected, right in ranges:
        if not right or not math.isfinite(value):
            raise UsageError(f"{flag} is {value:g}; expected {expected}: change it")


def check_shares(*shares: tuple[str, float]) -> None:
    """Of flag and value. Raises UsageError naming the first outside 0 to 1, or 1 itself."""
    check_ranges(*((flag, value, "0 or more, below 1", 0.0 <= value < 1.0) for flag, value in shares))
