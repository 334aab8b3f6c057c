"""Recall and precision of keywords: the names, products and terms that matter more than other words.

In an utterance whose reference has a keyword r times and whose hypothesis has it h times, min(r, h) of them are
recognised, the others of the reference are missed, and the others of the hypothesis are false. Texts and keywords are
normalised by one text profile (`benchmark.scoring.profile_effects.word_profile`). Of keywords that begin at the same
word ("New York", "New York City"), the longest counts; of others that overlap, the one that begins first.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from benchmark.results import KeywordCount, KeywordScores
from finetune.metrics import Rate, Resampling, rate
from preprocessing.corpus.readers.rows import text_lines
from preprocessing.errors import InputError, UsageError


def read_keywords(path: Path) -> list[str]:
    """The lines of a text file, without blank ones, each once. Raises UsageError where there is none, or no such file,
    InputError where a line is not UTF-8.
    """
    if not path.is_file():
        raise UsageError(f"--keywords {path}: no such file; expected a text file, a keyword a line: check the name")
    found = []
    for number, line, reason in text_lines(str(path)):
        if reason is not None:
            raise InputError(f"{path}:{number}: {reason}")
        found.append(line)
    if not found:
        raise UsageError(f"--keywords {path}: holds no keyword; expected one a line: add them")
    return list(dict.fromkeys(found))


class Keywords:
    """Keywords as they are counted.

    normalise: to words, or where errors are counted in characters, to these with spaces between them
    (`benchmark.scoring.scripts.keyword_tokens`). Raises InputError on a keyword of which normalisation leaves nothing.
    """

    def __init__(self, keywords: Iterable[str], normalise: Callable[[str], str]) -> None:
        self._names: dict[tuple[str, ...], str] = {}
        for keyword in keywords:
            words = tuple(normalise(keyword).split())
            if not words:
                raise InputError(
                    f"the keyword {keyword!r} has no letter or digit under the text profile; expected some: remove it"
                )
            self._names.setdefault(words, keyword)
        self._lengths: dict[str, list[int]] = {}
        for words in self._names:
            self._lengths.setdefault(words[0], []).append(len(words))
        for lengths in self._lengths.values():
            lengths.sort(reverse=True)

    def count(self, text: str) -> Counter[str]:
        """How often a normalised text has each keyword, from left to right, the longest one at each place.

        >>> Keywords(["York", "New York"], str.lower).count("from new york to york")
        Counter({'New York': 1, 'York': 1})
        """
        words = tuple(text.split())
        found: Counter[str] = Counter()
        place = 0
        while place < len(words):
            step = 1
            for length in self._lengths.get(words[place], ()):
                name = self._names.get(words[place : place + length])
                if name is not None:
                    found[name] += 1
                    step = length
                    break
            place += step
        return found

    def score(self, pairs: Sequence[tuple[str, str]], resampling: Resampling) -> KeywordScores:
        """Recall and precision over pairs of a normalised reference and hypothesis, in the order of the resampling."""
        spoken: Counter[str] = Counter()
        hits: Counter[str] = Counter()
        false: Counter[str] = Counter()
        rows = []
        for reference, hypothesis in pairs:
            said, heard = self.count(reference), self.count(hypothesis)
            both = said & heard
            spoken.update(said)
            hits.update(both)
            false.update(heard - said)
            rows.append((said.total(), heard.total(), both.total()))
        counts = [KeywordCount(name, spoken[name], hits[name], false[name]) for name in self._names.values()]
        missed = [said - both for said, _, both in rows]
        wrong = [heard - both for _, heard, both in rows]
        recall = _share([said for said, _, _ in rows], missed, resampling)
        precision = _share([heard for _, heard, _ in rows], wrong, resampling)
        n_hits = hits.total()
        harmonic = 2 * n_hits / (spoken.total() + n_hits + false.total()) if spoken or false else None
        return KeywordScores(recall, precision, harmonic, counts)


def _share(totals: Sequence[int], failures: Sequence[int], resampling: Resampling) -> Rate | None:
    """One minus the rate of failures, with its interval; None of nothing."""
    if not any(totals):
        return None
    failed = rate(failures, totals, resampling)
    return Rate(1.0 - failed.value, max(1.0 - failed.high, 0.0), 1.0 - failed.low)
