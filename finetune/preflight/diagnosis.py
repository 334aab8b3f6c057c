"""Problems of a run by name, before its first update and from its log: what was seen, what it means, what to do."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from statistics import fmean
from typing import Any

from finetune.config import ModelConfig
from preprocessing.corpus import Corpus, Reject, Utterance
from preprocessing.corpus.statistics import LONG_WORDS, Leaks, find_leaks
from preprocessing.text import Profile

Line = Mapping[str, Any]

EVALUATIONS = 3  # in a row that show a pattern
LINES = 10  # of training that a mean is taken over
BLANK_RATIO = 0.95
NEARLY_ALL_WRONG = 0.95  # WER
EXPLODED = 3.0  # times the best mean loss
SKIPPED_SHARE = 0.1  # of updates
FLAT = 0.05  # change of loss that is none
RISEN = 1.05  # validation loss over its lowest
STALL_SHARE = 0.3
PADDING_SHARE = 0.1


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """A name, what was seen, what it means and what to do."""

    name: str
    seen: str
    means: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Setting:
    """What a log does not say of its run."""

    updates: int
    workers: int = 0
    logging_steps: int = 1


def diagnose(log: Sequence[Line], setting: Setting) -> list[Diagnosis]:
    """Everything that the log shows by now, in the order of CHECKS."""
    trained = [line for line in log if line["kind"] == "train"]
    validated = [line for line in log if line["kind"] == "validation" and line["step"] > 0]
    found = (check(trained, validated, setting) for check in CHECKS)
    return [diagnosis for diagnosis in found if diagnosis is not None]


def not_yet_said(log: Sequence[Line], diagnoses: Sequence[Diagnosis]) -> list[Diagnosis]:
    """Those whose name no line of kind "diagnosis" has."""
    said = {line["name"] for line in log if line["kind"] == "diagnosis"}
    return [diagnosis for diagnosis in diagnoses if diagnosis.name not in said]


def as_line(diagnosis: Diagnosis, step: int) -> dict[str, Any]:
    """As log.jsonl holds it."""
    return {"kind": "diagnosis", "step": step, **asdict(diagnosis)}


def all_blank(_: Sequence[Line], validated: Sequence[Line], setting: Setting) -> Diagnosis | None:
    """CTC says blank in nearly every frame, past the first tenth of the run."""
    last = validated[-EVALUATIONS:]
    if len(last) < EVALUATIONS or last[-1]["step"] < 0.1 * setting.updates:
        return None
    if not all((line.get("blank_ratio") or 0.0) > BLANK_RATIO and line["wer"] >= NEARLY_ALL_WRONG for line in last):
        return None
    ratio, wer = last[-1]["blank_ratio"], last[-1]["wer"]
    return Diagnosis(
        "all blank",
        f"{100 * ratio:.0f} % of frames are blank and WER is {100 * wer:.0f} %, since update {last[0]['step']}",
        "CTC learns first that most frames are blank, and letters after it: usual for some hundred updates after the "
        "learning rate has risen, with random weights or a new vocabulary for some thousand; beyond that, it is stuck",
        "wait that long; then raise --learning_rate (or --max_steps), check that texts belong "
        "to their audio, and see whether --overfit_batch true reaches WER 0",
    )


def other_case(_: Sequence[Line], validated: Sequence[Line], __: Setting) -> Diagnosis | None:
    """What was heard is what was said, but for upper and lower case."""
    if not validated:
        return None
    samples = [(str(said), str(heard)) for said, heard in validated[-1].get("samples", ())]
    said = [word for text, _ in samples for word in text.split()]
    heard = {word for _, text in samples for word in text.split()}
    folded = {word.casefold() for word in heard}
    exact, alike = sum(word in heard for word in said), sum(word.casefold() in folded for word in said)
    if len(said) < 5 or alike - exact < 0.3 * len(said):
        return None
    return Diagnosis(
        "vocabulary mismatch",
        f"{alike - exact} of {len(said)} words are heard in another case than they are said in",
        "labels and the model's units follow different rules, and every such word counts as an error",
        "choose the profile that the model was trained under, such as --data.profile ctc:MODEL",
    )


def exploding(trained: Sequence[Line], _: Sequence[Line], setting: Setting) -> Diagnosis | None:
    """Loss far over its best for long, or gradients that are not finite again and again."""
    recent = trained[-2 * LINES :]
    skipped = sum(line.get("skipped_updates", 0) for line in recent)
    if len(recent) == 2 * LINES and skipped > SKIPPED_SHARE * len(recent) * setting.logging_steps:
        seen = f"{skipped} of the last {len(recent) * setting.logging_steps} updates had no finite gradient"
    elif len(trained) > 2 * LINES:
        means = _means(trained)
        best, lowest_since = min(means), min(means[-LINES:])
        if not lowest_since > EXPLODED * max(best, 0.01):
            return None
        seen = f"training loss {lowest_since:.3g} or more for {2 * LINES - 1} lines of the log; its best was {best:.3g}"
    else:
        return None
    return Diagnosis(
        "exploding loss",
        seen,
        "updates are too large, and what was learnt is being lost; under fp16 a few skipped at the start are usual",
        "lower --learning_rate to a third, raise --warmup_ratio, or use bf16 or no for "
        "--mixed_precision; --max_grad_norm below 1 tames single bad batches",
    )


def learning_nothing(trained: Sequence[Line], validated: Sequence[Line], setting: Setting) -> Diagnosis | None:
    """Loss as at the start, well after the learning rate has risen."""
    means = _means(trained)
    if len(trained) < 3 * LINES or len(validated) < EVALUATIONS or trained[-1]["step"] < 0.2 * setting.updates:
        return None
    first, last = means[0], means[-1]
    if not abs(last - first) <= FLAT * abs(first) or validated[-1]["wer"] < NEARLY_ALL_WRONG:
        return None
    return Diagnosis(
        "learning nothing",
        f"training loss {last:.3g} at update {trained[-1]['step']}, {first:.3g} at the start; WER "
        f"{100 * validated[-1]['wer']:.0f} %",
        "weights hardly move: too low a learning rate, too much that is frozen, or texts that are not of the audio",
        "see with --dry_run true what is trained and at which rate; raise --learning_rate tenfold; try "
        "--overfit_batch true",
    )


def overfitting(trained: Sequence[Line], validated: Sequence[Line], _: Setting) -> Diagnosis | None:
    """Validation loss rises from evaluation to evaluation while training loss falls."""
    last = validated[-EVALUATIONS - 1 :]
    if len(last) <= EVALUATIONS or not all(after["loss"] > before["loss"] for before, after in pairwise(last)):
        return None
    lowest = min(validated, key=lambda line: line["loss"])
    before = [line["loss"] for line in trained if line["step"] <= lowest["step"]][-LINES:]
    now = [line["loss"] for line in trained if line["step"] > lowest["step"]][-LINES:]
    if not before or not now or last[-1]["loss"] < RISEN * lowest["loss"] or fmean(now) >= fmean(before):
        return None
    best = min(validated, key=lambda line: line["wer"])
    wer = "still falls" if best is validated[-1] else f"was best at update {best['step']}"
    return Diagnosis(
        "overfitting",
        f"validation loss {last[-1]['loss']:.3g}, up from {lowest['loss']:.3g} at update {lowest['step']}, while "
        f"training loss fell from {fmean(before):.3g} to {fmean(now):.3g}; WER {wer}",
        "the training utterances are learnt by heart; the weights kept are those with the best WER, so nothing is lost "
        "but time",
        "stop early with --patience 5; augment (--data.augment), mask or drop out more, lower the learning rate, or "
        "add speech",
    )


def starved(trained: Sequence[Line], _: Sequence[Line], setting: Setting) -> Diagnosis | None:
    """The model waits for audio."""
    share = _mean(trained, "stall_share")
    if share is None or share <= STALL_SHARE:
        return None
    return Diagnosis(
        "data starvation",
        f"{100 * share:.0f} % of the time is spent waiting for audio",
        "decoding is slower than training, so that the device stands still",
        f"raise --dataloader_num_workers (now {setting.workers}), up to a process for each core; augmentation and "
        "denoising cost most, and preparing the corpus once saves both resampling and decoding",
    )


def padded(trained: Sequence[Line], _: Sequence[Line], __: Setting) -> Diagnosis | None:
    """Much of what is computed is padding."""
    share = _mean(trained, "padding_share")
    if share is None or share <= PADDING_SHARE:
        return None
    return Diagnosis(
        "padding",
        f"{100 * share:.0f} % of the seconds that are computed are padding",
        "batches mix short and long utterances, because there are few of a like duration",
        "lower --data.max_batch_seconds, or --data.max_seconds to leave out the few longest; gather corpora of like "
        "durations",
    )


CHECKS: tuple[Callable[[Sequence[Line], Sequence[Line], Setting], Diagnosis | None], ...] = (
    all_blank,
    other_case,
    exploding,
    learning_nothing,
    overfitting,
    starved,
    padded,
)


def _means(trained: Sequence[Line]) -> list[float]:
    """Means of loss over LINES lines, one for each line from the LINES-th on; a loss that is not finite is infinite."""
    losses = [line["loss"] if math.isfinite(line["loss"]) else math.inf for line in trained]
    return [fmean(losses[end - LINES : end]) for end in range(LINES, len(losses) + 1)]


def _mean(trained: Sequence[Line], key: str) -> float | None:
    """Over the last LINES lines, the first one of a run left out; None where there are fewer."""
    values = [line[key] for line in trained[1:]][-LINES:]
    return fmean(values) if len(values) == LINES else None


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


@dataclass(frozen=True)
class Start:
    """Corpora of what is used, labels of all that was found for training, and diagnoses."""

    train: Corpus
    validation: Corpus
    labels: tuple[str, ...]
    diagnoses: tuple[Diagnosis, ...]


def look_at(
    utterances: Sequence[Utterance],
    validation: Sequence[Utterance],
    labels: Sequence[str],
    rejects: Sequence[Reject],
    profile: Profile,
    model: ModelConfig,
) -> Start:
    """utterances: to train on; labels: normalised, of all that was found; rejects: of both corpora."""
    train, validated = Corpus("training", tuple(utterances), ()), Corpus("validation", tuple(validation), ())
    found = (
        outside_vocabulary(rejects, len(utterances) + len(validation)),
        leaking(find_leaks(validated, train, profile), len(validation)),
        short_window(model),
    )
    return Start(train, validated, tuple(labels), tuple(diagnosis for diagnosis in found if diagnosis is not None))
