"""The code of a language however a corpus or a flag names it: de of de-CH, deu, ger, German and "Swiss German"; and its
region, CH of de-CH.

The names are those of openai-whisper, `whisper.tokenizer.TO_LANGUAGE_CODE`. The codes of three letters are ISO 639-2's
(terminological, then bibliographic where it differs) and ISO 639-3's for the languages of a group that Whisper takes as
one. Languages that Whisper has none of are not known here.

And of a text, whether its script is written without spaces between words, and its characters without spaces.
"""

import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache

# Whisper's code: those of ISO 639-2 and 639-3.
_THREE_LETTERS = """
    af:afr am:amh ar:ara,arb as:asm az:aze,azj ba:bak be:bel bg:bul bn:ben bo:bod,tib br:bre bs:bos ca:cat cs:ces,cze
    cy:cym,wel da:dan de:deu,ger el:ell,gre en:eng es:spa et:est,ekk eu:eus,baq fa:fas,per,pes fi:fin fo:fao fr:fra,fre
    gl:glg gu:guj ha:hau he:heb hi:hin hr:hrv ht:hat hu:hun hy:hye,arm id:ind is:isl,ice it:ita ja:jpn jw:jav ka:kat,geo
    kk:kaz km:khm kn:kan ko:kor la:lat lb:ltz ln:lin lo:lao lt:lit lv:lav,lvs mg:mlg,plt mi:mri,mao mk:mkd,mac ml:mal
    mn:mon,khk mr:mar ms:msa,may,zsm mt:mlt my:mya,bur ne:nep,npi nl:nld,dut nn:nno no:nor,nob oc:oci pa:pan pl:pol
    ps:pus,pbt pt:por ro:ron,rum ru:rus sa:san sd:snd si:sin sk:slk,slo sl:slv sn:sna so:som sq:sqi,alb,als sr:srp
    su:sun sv:swe sw:swa,swh ta:tam te:tel tg:tgk th:tha tk:tuk tl:tgl,fil tr:tur tt:tat uk:ukr ur:urd uz:uzb,uzn vi:vie
    yi:yid,ydd yo:yor zh:zho,chi,cmn
"""
_OTHER_CODES = {
    # ISO 639-1 where Whisper's is another, and codes that ISO 639-1 has withdrawn.
    "jv": "jw", "nb": "no", "in": "id", "iw": "he", "ji": "yi", "mo": "ro",
    # Codes of countries that are the code of no language, often taken for one.
    "jp": "ja", "cn": "zh", "cz": "cs", "dk": "da", "gr": "el", "ua": "uk", "vn": "vi",
}  # fmt: skip
_TRADITIONAL = {"zh": "zh-TW"}  # of zh-Hant, which names no region
_NARROWER = {"zh": "yue", "no": "nn"}  # "Cantonese Chinese", "Norwegian Nynorsk"
_PROFILE_OPTIONS = {"no-annotations", "simplified"}  # what may follow the name of a profile instead of a language
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    "\U00020000-\U0003134f]"
)  # Thai, Lao, Myanmar, Khmer, kana, Han


@lru_cache(maxsize=1024)
def language_code(name: str) -> str | None:
    """Whisper's code of a language; None of one that it does not have, of several, and of what is no language.

    >>> [language_code(name) for name in ("zh-CN", "cmn_hans_cn", "Mandarin Chinese", "jpn", "JP", "Thai", "xx")]
    ['zh', 'zh', 'zh', 'ja', 'ja', 'th', None]
    """
    from whisper.tokenizer import LANGUAGES, TO_LANGUAGE_CODE

    name = name.strip().lower()
    codes: dict[str, str] = TO_LANGUAGE_CODE
    if name in codes:
        return codes[name]
    first = re.split("[-_]", name)[0]
    if first in LANGUAGES:
        return first
    if first in _other_codes():
        return _other_codes()[first]
    found = {codes[word] for word in re.findall(r"[^\W\d_]+", name) if word in codes}
    for wide, narrow in _NARROWER.items():
        if found == {wide, narrow}:
            return narrow
    return found.pop() if len(found) == 1 else None


def regional_code(name: str) -> str | None:
    """Whisper's code of a language with the region that the name ends on, in capitals, where it has one; None as of
    `language_code`. Traditional Chinese without a region is that of Taiwan.

    >>> [regional_code(name) for name in ("es_mx", "de-CH", "yue_hant_hk", "zh-Hant", "sr-Latn", "German", "xx-XX")]
    ['es-MX', 'de-CH', 'yue-HK', 'zh-TW', 'sr', 'de', None]
    """
    code = language_code(name)
    if code is None:
        return None
    _, *parts = re.split("[-_]", name.strip().upper())
    region = next((part for part in reversed(parts) if re.fullmatch("[A-Z]{2}", part)), None)
    if region is None:
        return _TRADITIONAL.get(code, code) if "HANT" in parts else code
    return f"{code}-{region}"


def common_language(setting: str | None, profile_names: Iterable[str], languages: Iterable[str | None]) -> str | None:
    """The language of a corpus: the one that the run was given, that its profiles name, or that all utterances have;
    None where it is unknown or there are several.

    >>> common_language(None, ["librispeech", "basic:de"], [None])
    'de'
    """
    if setting is not None:
        return language_code(setting) or setting
    named = {name.split(":")[1] for name in profile_names if name.startswith("basic:")} - _PROFILE_OPTIONS
    codes = {None if one is None else language_code(one) or one for one in set(languages)}
    for found in (named, codes):
        if len(found) == 1 and None not in found:
            return found.pop()
    return None


def is_unspaced(text: str) -> bool:
    """Whether most letters of a text are of a script that is written without spaces between words.

    >>> is_unspaced("今天天气很好"), is_unspaced("the weather")
    (True, False)
    """
    unspaced = len(_UNSPACED.findall(text))
    return unspaced > 0 and 2 * unspaced > sum(unicodedata.category(character)[0] in "LM" for character in text)


def spaced_characters(text: str) -> str:
    """The text's characters with a space between all of them and no other white space: what CER compares in a language
    that is written without spaces.

    >>> spaced_characters("今天 天气")
    '今 天 天 气'
    """
    return " ".join("".join(text.split()))


def around_unspaced(text: str) -> str:
    """The text with spaces around each letter of a script that is written without spaces between words."""
    return _UNSPACED.sub(r" \g<0> ", text)


@lru_cache(maxsize=1)
def _other_codes() -> dict[str, str]:
    three_letters = (entry.split(":") for entry in _THREE_LETTERS.split())
    return _OTHER_CODES | {other: code for code, others in three_letters for other in others.split(",")}
