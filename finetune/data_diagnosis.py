"""What is wrong with a run's corpora, by name, before its first update: characters without units, and leaks.

Leaks are measured by `preprocessing.corpus.leaks`; what goes wrong later is in `finetune.diagnosis`.
"""

from collections.abc import Sequence

from finetune.diagnosis import Diagnosis
from preprocessing.corpus import Reject
from preprocessing.corpus.leaks import LONG_WORDS, Leaks

OUTSIDE_SHARE = 0.05  # of utterances
SHARED_LONG_SHARE, SHARED_SHARE = 0.01, 0.1  # of validation utterances whose sentence was trained on


def outside_vocabulary(rejects: Sequence[Reject], kept: int) -> Diagnosis | None:
    """Before the first update: many utterances are set aside for characters that the model has no unit for."""
    outside = [reject for reject in rejects if reject.reason.startswith("characters outside the vocabulary")]
    if len(outside) <= OUTSIDE_SHARE * (len(rejects) + kept):
        return None
    return Diagnosis(
        "vocabulary mismatch",
        f"{len(outside)} of {len(rejects) + kept} utterances are set aside for characters outside the vocabulary, as "
        f"{outside[0].where}: {outside[0].reason.partition(': ')[2]}",
        "the model cannot write these, and learns nothing from the utterances",
        "choose a --data.profile that writes them otherwise (numbers in words, accents), or --model.vocabulary new",
    )


def leaking(leaks: Leaks, utterances: int) -> Diagnosis | None:
    """Before the first update: validation (so many utterances) holds what is trained on."""
    texts, long = leaks.utterances_with_shared_text, leaks.utterances_with_long_shared_text
    told = (
        [f"{len(leaks.files)} of {utterances} validation utterances are themselves trained on"] if leaks.files else []
    )
    if long > SHARED_LONG_SHARE * utterances or texts > SHARED_SHARE * utterances:
        told.append(
            f"{100 * texts / utterances:.0f} % of validation sentences ({texts} of {utterances}) are said in training "
            f"too, {long} of them {LONG_WORDS} words or longer"
        )
    if leaks.utterances_of_shared_speakers:
        names = ", ".join(leaks.speakers[:3]) + (", ..." if len(leaks.speakers) > 3 else "")
        told.append(f"{len(leaks.speakers)} speaker{'s' * (len(leaks.speakers) > 1)} in both ({names})")
    if not told:
        return None
    return Diagnosis(
        "leak",
        "; ".join(told),
        "validation WER then tells how well these sentences and voices are known, not how well new ones are heard",
        "keep speakers and sentences apart, with a --data.validation of its own; it is harmless only where use will "
        "bring the same ones",
    )
