"""Vulgar fractions as words (½, 2¾), where a language has one reading of them that no noun changes.

A fraction is written 1⁄2 here, with the fraction slash that NFKC makes of ½, and a number of its own before it: 2 1⁄2.
French (deux heures et demie), Spanish, Polish and others have no row: theirs depends on what is counted, or follows it.
"""

from collections.abc import Callable

Cardinal = Callable[[int], str | None]
FRACTION = r"(?<![\d.,/⁄])(?:[1-9]⁄[2-9]|[1-9]⁄10)(?![\d/⁄])"

_ENGLISH = {
    3: "third", 4: "quarter", 5: "fifth", 6: "sixth", 7: "seventh", 8: "eighth", 9: "ninth", 10: "tenth",
}  # fmt: skip
_GERMAN = {
    3: "Drittel", 4: "Viertel", 5: "Fünftel", 6: "Sechstel", 7: "Siebtel", 8: "Achtel", 9: "Neuntel", 10: "Zehntel",
}  # fmt: skip
_GERMAN_MIXED = {(1, 2): "einhalb", (1, 4): "einviertel", (3, 4): "dreiviertel"}
_SWAHILI = {(1, 2): "nusu", (1, 4): "robo", (3, 4): "robo tatu"}


def english(whole: str | None, numerator: str, n: int, d: int) -> str:
    """One half, three quarters; two and a half, two and three quarters. whole, numerator: words."""
    part = "half" if d == 2 else _ENGLISH[d]
    if n > 1:
        part = f"{numerator} {'halve' if d == 2 else part}s"
    elif whole is None:
        part = f"one {part}"
    else:
        part = f"{'an' if part[0] == 'e' else 'a'} {part}"
    return part if whole is None else f"{whole} and {part}"


def german(whole: str | None, numerator: str, n: int, d: int) -> str | None:
    """Drei Viertel, zweieinhalb; None for ½ alone (halber, halbe, halbes) and 2⅓."""
    if whole is None:
        return None if d == 2 else f"{'ein' if n == 1 else numerator} {_GERMAN[d]}"
    mixed = _GERMAN_MIXED.get((n, d))
    return mixed and whole.removesuffix("eins") + ("ein" if whole.endswith("eins") else "") + mixed


def dutch(cardinal: Cardinal, whole: int | None, n: int, d: int) -> str | None:
    """Anderhalf, tweeënhalf up to negenenhalf."""
    if (n, d) != (1, 2) or whole is None or not 1 <= whole <= 9:
        return None
    words = str(cardinal(whole))
    return "anderhalf" if whole == 1 else f"{words}{'ën' if words[-1] == 'e' else 'en'}half"


def turkish(cardinal: Cardinal, whole: int | None, n: int, d: int) -> str | None:
    """İki buçuk."""
    return f"{cardinal(whole)} buçuk" if (n, d) == (1, 2) and whole else None


def persian(cardinal: Cardinal, whole: int | None, n: int, d: int) -> str | None:
    """دو و نیم."""
    return f"{cardinal(whole)} و نیم" if (n, d) == (1, 2) and whole else None


def hindi(cardinal: Cardinal, whole: int | None, n: int, d: int) -> str | None:
    """डेढ़, ढाई, साढ़े तीन; सवा दो; पौने दो; up to 98."""
    if whole is None or not 1 <= whole <= 98:
        return None
    match n, d:
        case 1, 2:
            return {1: "डेढ़", 2: "ढाई"}.get(whole, f"साढ़े {cardinal(whole)}")
        case 1, 4 if whole > 1:
            return f"सवा {cardinal(whole)}"
        case 3, 4:
            return f"पौने {cardinal(whole + 1)}"
    return None


def swahili(cardinal: Cardinal, whole: int | None, n: int, d: int) -> str | None:
    """Nusu, robo, robo tatu; mbili na nusu."""
    part = _SWAHILI.get((n, d))
    return part if part is None or whole is None else f"{cardinal(whole)} na {part}"


def chinese(cardinal: Cardinal, whole: int | None, n: int, d: int) -> str | None:
    """四分之三."""
    return f"{cardinal(d)}分之{cardinal(n)}" if whole is None else None


def japanese(cardinal: Cardinal, whole: int | None, n: int, d: int) -> str | None:
    """四分の三."""
    return f"{cardinal(d)}分の{cardinal(n)}" if whole is None else None


def no_fraction(cardinal: Cardinal, whole: int | None, n: int, d: int) -> str | None:
    """None: the digits are read one after the other."""
    return None
