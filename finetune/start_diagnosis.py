"""What is wrong with a run, by name, before its first update: characters without units, leaks, a window too short.

Leaks are measured by `preprocessing.corpus.leaks`; what goes wrong later is in `finetune.diagnosis`.
"""

from collections.abc import Sequence

from finetune.config import ModelConfig
from finetune.diagnosis import Diagnosis
from preprocessing.corpus import Reject
from preprocessing.corpus.leaks import LONG_WORDS, Leaks

OUTSIDE_SHARE = 0.05  # of utterances
WINDOW_SECONDS = 30.0  # of a released Whisper
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


def short_window(model: ModelConfig) -> Diagnosis | None:
    """Whisper trained, and validated, in windows that nobody else will give it."""
    if model.family != "whisper" or model.context_seconds >= WINDOW_SECONDS:
        return None
    return Diagnosis(
        "short window",
        f"--model.context_seconds is {model.context_seconds:g}",
        f"validation hears windows of {model.context_seconds:g} s too, but openai-whisper gives the checkpoint "
        f"{WINDOW_SECONDS:g} s, mostly silence: until it has met them its WER there is far worse (the embedded model, "
        "at that point: 21 instead of 2 %)",
        f"end with a short run from this one at --model.context_seconds {WINDOW_SECONDS:g}, as "
        "configs/finetune/demo-whisper-window.yaml does",
    )
