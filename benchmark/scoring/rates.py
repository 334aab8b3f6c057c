"""Rates with intervals from counts: WER, CER, MER and WIL over all utterances together."""

from benchmark.results import Scores
from benchmark.scoring.counts import Counted
from finetune.significance import Rate, Resampling, information_lost, rate


def scores_of(counted: Counted, resampling: Resampling) -> Scores:
    """All rates of one set of utterances, in the order of the resampling."""
    mer = rate(counted.errors.tolist(), (counted.errors + counted.hits).tolist(), resampling)
    return Scores(
        wer=rate(counted.errors.tolist(), counted.words.tolist(), resampling),
        cer=rate(counted.character_errors.tolist(), counted.characters.tolist(), resampling),
        words=int(counted.words.sum()),
        hits=int(counted.hits.sum()),
        substitutions=int(counted.substitutions.sum()),
        deletions=int(counted.deletions.sum()),
        insertions=int(counted.insertions.sum()),
        mer=Rate(mer.value, mer.low, min(mer.high, 1.0)),
        wil=information_lost(counted.hits.tolist(), counted.words.tolist(), counted.heard.tolist(), resampling),
    )
