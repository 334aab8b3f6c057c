"""One script for Chinese: each traditional character as the simplified one, for scoring.

OpenCC's dictionary t2s has the characters. Each is folded by itself, not by its phrase, so that a text in either script
and one in a mixture of both give the same result: 乾, 幹 and 干 are 干 everywhere, in 乾隆 as well, where simplified
texts keep 乾. Words of regions (計程車, 出租车) stay as they are.
"""

from collections.abc import Callable

from preprocessing.text.steps import CharacterTable, Step

_OTHER = {"著": "着"}  # 看著 is 看着; t2s keeps it because of 著名


def one_chinese_script() -> Step:
    """The step that folds traditional characters to simplified ones. It imports OpenCC."""
    from opencc import OpenCC

    convert: Callable[[str], str] = OpenCC("t2s").convert

    def rule(character: str) -> str:
        if not character.isalpha():
            return character
        simplified = convert(convert(character))  # 薴 is 苧, which is 苎
        return _OTHER.get(simplified, simplified)

    table = CharacterTable(rule)
    return Step(
        "traditional Chinese characters as simplified ones (OpenCC t2s, each by itself)",
        lambda text: text if text.isascii() else text.translate(table),
        ("臺灣 台湾", "乾 幹 干", "後 后"),
    )
