"""Problems of a run by name, found in its data before the first step and in its log: observation, meaning, remedy."""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from statistics import fmean
from typing import Any

from finetune.config import ModelConfig
from finetune.metrics.error_rates import Metric
from finetune.models.base import OUTSIDE
from finetune.training.log import LogLine
from preprocessing.corpus import Corpus, Reject, Utterance
from preprocessing.corpus.statistics import LONG_WORDS, Leaks, find_leaks
from preprocessing.text import Profile
from preprocessing.text.languages import language_code

N_EVALUATIONS = 3  # in a row that show a pattern
N_LINES = 10  # training lines of the log that a mean is taken over
BLANK_RATIO = 0.95
NEARLY_ALL_WRONG = 0.95  # of the rate that decides
EXPLODED = 3.0  # times the best mean loss
SKIPPED_SHARE = 0.1  # of steps
FLAT = 0.05  # relative change of the loss that counts as none
RISEN = 1.05  # times the lowest validation loss
STALL_SHARE = 0.3
PADDING_SHARE = 0.1
MEMORY_SHARE, BATCH_SECONDS = 0.25, 200.0  # of a GPU's memory, and of audio, below both of which batches are small


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """A problem of a run. observation: with figures; meaning: of the observation; remedy: what to do."""

    name: str
    observation: str
    meaning: str
    remedy: str


@dataclass(frozen=True, slots=True)
class RunSettings:
    """What the log of a run does not contain: options, and the largest share of the GPU's memory used by tensors so
    far, None without a GPU. batch_seconds: the largest batch, padding included. pads_to_window: whether the model pads
    each utterance to a window, of which the choice of batches changes nothing. metric: the error rate that decides, the
    CER where words have no spaces: there the WER of a good model is high too.
    """

    max_steps: int
    workers: int = 0
    logging_steps: int = 1
    batch_seconds: float = math.inf
    gpu_memory_share: float | None = None
    pads_to_window: bool = False
    metric: Metric = "wer"


def diagnose(log: Sequence[LogLine], settings: RunSettings) -> list[Diagnosis]:
    """The problems that the log reveals by now, in the order of CHECKS."""
    train = [line for line in log if line["kind"] == "train"]
    validation = [line for line in log if line["kind"] == "validation" and line["step"] > 0]
    diagnoses = (check(train, validation, settings) for check in CHECKS)
    return [diagnosis for diagnosis in diagnoses if diagnosis is not None]


def not_yet_logged(log: Sequence[LogLine], diagnoses: Sequence[Diagnosis]) -> list[Diagnosis]:
    """The diagnoses whose name no line of kind "diagnosis" has."""
    logged = {line["name"] for line in log if line["kind"] == "diagnosis"}
    return [diagnosis for diagnosis in diagnoses if diagnosis.name not in logged]


def log_line(diagnosis: Diagnosis, step: int) -> dict[str, Any]:
    """The line of log.jsonl for a diagnosis at a step."""
    return {"kind": "diagnosis", "step": step, **asdict(diagnosis)}


def all_blank(_: Sequence[LogLine], validation: Sequence[LogLine], settings: RunSettings) -> Diagnosis | None:
    """CTC predicts blank in nearly every frame, past the first tenth of the run."""
    last, metric = validation[-N_EVALUATIONS:], settings.metric
    if len(last) < N_EVALUATIONS or last[-1]["step"] < 0.1 * settings.max_steps:
        return None
    if not all((line.get("blank_ratio") or 0.0) > BLANK_RATIO and line[metric] >= NEARLY_ALL_WRONG for line in last):
        return None
    ratio, rate = last[-1]["blank_ratio"], last[-1][metric]
    return Diagnosis(
        "all blank",
        f"{100 * ratio:.0f} % of frames are blank and {metric.upper()} is {100 * rate:.0f} %, since step "
        f"{last[0]['step']}",
        "CTC first learns that most frames are blank, and letters afterwards. This takes some hundred steps after the "
        "warm-up, or some thousand when training from scratch or with a new vocabulary; beyond that, training is stuck",
        "wait that long, then raise --learning_rate (or --max_steps), check that texts belong to their audio, and "
        "check whether --overfit_batch true reaches WER 0",
    )


def other_case(_: Sequence[LogLine], validation: Sequence[LogLine], __: RunSettings) -> Diagnosis | None:
    """Hypotheses equal references but for upper and lower case."""
    if not validation:
        return None
    samples = [(str(reference), str(hypothesis)) for reference, hypothesis in validation[-1].get("samples", ())]
    words = [word for text, _ in samples for word in text.split()]
    recognised = {word for _, text in samples for word in text.split()}
    folded = {word.casefold() for word in recognised}
    exact, ignoring_case = sum(word in recognised for word in words), sum(word.casefold() in folded for word in words)
    if len(words) < 5 or ignoring_case - exact < 0.3 * len(words):
        return None
    return Diagnosis(
        "vocabulary mismatch",
        f"{ignoring_case - exact} of {len(words)} reference words are transcribed with different capitalisation",
        "labels and the model's units differ in case, and every such word counts as an error",
        "choose the profile that the model was trained under, such as --data.profile ctc:MODEL",
    )


def exploding(train: Sequence[LogLine], _: Sequence[LogLine], settings: RunSettings) -> Diagnosis | None:
    """The loss stays far over its best, or gradients are often not finite."""
    recent = train[-2 * N_LINES :]
    skipped = sum(line.get("skipped_steps", 0) for line in recent)
    if len(recent) == 2 * N_LINES and skipped > SKIPPED_SHARE * len(recent) * settings.logging_steps:
        observation = f"{skipped} of the last {len(recent) * settings.logging_steps} steps had no finite gradient"
    elif len(train) > 2 * N_LINES:
        means = _means(train)
        best, lowest_since = min(means), min(means[-N_LINES:])
        if not lowest_since > EXPLODED * max(best, 0.01):
            return None
        observation = (
            f"training loss {lowest_since:.3g} or more for {2 * N_LINES - 1} lines of the log; its best was {best:.3g}"
        )
    else:
        return None
    return Diagnosis(
        "exploding loss",
        observation,
        "the steps are too large and the model gets worse; with fp16, a few skipped steps at the start are normal",
        "lower --learning_rate to a third, raise --warmup_ratio, or use bf16 or no for --mixed_precision; "
        "--max_grad_norm below 1 limits the effect of single bad batches",
    )


def learning_nothing(
    train: Sequence[LogLine], validation: Sequence[LogLine], settings: RunSettings
) -> Diagnosis | None:
    """The loss is as at the start, well after the warm-up."""
    means = _means(train)
    if len(train) < 3 * N_LINES or len(validation) < N_EVALUATIONS or train[-1]["step"] < 0.2 * settings.max_steps:
        return None
    first, last, rate = means[0], means[-1], validation[-1][settings.metric]
    if not abs(last - first) <= FLAT * abs(first) or rate < NEARLY_ALL_WRONG:
        return None
    return Diagnosis(
        "learning nothing",
        f"training loss {last:.3g} at step {train[-1]['step']}, {first:.3g} at the start; "
        f"{settings.metric.upper()} {100 * rate:.0f} %",
        "the weights hardly change: the learning rate is too low, too much is frozen, or texts do not match the audio",
        "check with --dry_run true which parameters are trained and at which rate; raise --learning_rate tenfold; try "
        "--overfit_batch true",
    )


def overfitting(train: Sequence[LogLine], validation: Sequence[LogLine], settings: RunSettings) -> Diagnosis | None:
    """Validation loss rises from evaluation to evaluation while training loss falls."""
    last = validation[-N_EVALUATIONS - 1 :]
    if len(last) <= N_EVALUATIONS or not all(_loss(after) > _loss(before) for before, after in pairwise(last)):
        return None
    lowest = min(validation, key=_loss)
    before = [_loss(line) for line in train if line["step"] <= lowest["step"]][-N_LINES:]
    now = [_loss(line) for line in train if line["step"] > lowest["step"]][-N_LINES:]
    if not before or not now or _loss(last[-1]) < RISEN * _loss(lowest) or fmean(now) >= fmean(before):
        return None
    best = min(validation, key=lambda line: line[settings.metric])
    rate = "still falls" if best is validation[-1] else f"was best at step {best['step']}"
    return Diagnosis(
        "overfitting",
        f"validation loss {_loss(last[-1]):.3g}, up from {_loss(lowest):.3g} at step {lowest['step']}, while "
        f"training loss fell from {fmean(before):.3g} to {fmean(now):.3g}; {settings.metric.upper()} {rate}",
        "the model memorises the training utterances; the weights of the best evaluation are kept: only time is lost",
        "stop early with --early_stopping_patience 5; augment (--data.augment), raise masking or dropout, lower the "
        "learning rate, or add data",
    )


def starved(train: Sequence[LogLine], _: Sequence[LogLine], settings: RunSettings) -> Diagnosis | None:
    """The device waits for audio."""
    share = _mean(train, "stall_share")
    if share is None or share <= STALL_SHARE:
        return None
    return Diagnosis(
        "data starvation",
        f"{100 * share:.0f} % of the time is spent waiting for audio",
        "audio decoding is slower than training, so the device is idle",
        f"raise --dataloader_num_workers (now {settings.workers}), up to one process per core; augmentation and "
        "denoising cost most, and preparing the corpus once saves resampling and decoding",
    )


def padded(train: Sequence[LogLine], _: Sequence[LogLine], settings: RunSettings) -> Diagnosis | None:
    """Much of the computation is on padding, other than to a model's window."""
    share = _mean(train, "padding_share")
    if share is None or share <= PADDING_SHARE or settings.pads_to_window:
        return None
    return Diagnosis(
        "padding",
        f"{100 * share:.0f} % of the computed seconds are padding",
        "batches mix short and long utterances, because few have similar durations",
        "lower --data.max_batch_seconds, or --data.max_seconds to reject the few longest utterances; combine corpora "
        "of similar durations",
    )


def small_batches(train: Sequence[LogLine], _: Sequence[LogLine], settings: RunSettings) -> Diagnosis | None:
    """Most of a GPU's memory is unused, and batches are short."""
    share, seconds = settings.gpu_memory_share, settings.batch_seconds
    if share is None or share >= MEMORY_SHARE or seconds >= BATCH_SECONDS or len(train) <= N_LINES:
        return None
    return Diagnosis(
        "small batches",
        f"batches have at most {seconds:g} s of audio, and at most {100 * share:.0f} % of the GPU's memory was in use",
        "the processor starts the kernels of a step one by one, which takes as long for a small batch as for a large "
        "one, so the GPU may wait for it most of the time",
        "raise --data.max_batch_seconds, and --learning_rate with it, as each update then has more speech; or keep the "
        "updates by lowering --gradient_accumulation_steps. `python -m experiments.training_profile` measures what "
        "your GPU gains",
    )


CHECKS: tuple[Callable[[Sequence[LogLine], Sequence[LogLine], RunSettings], Diagnosis | None], ...] = (
    all_blank,
    other_case,
    exploding,
    learning_nothing,
    overfitting,
    starved,
    padded,
    small_batches,
)


def _means(train: Sequence[LogLine]) -> list[float]:
    """Means of the loss over N_LINES lines, one for each line from the N_LINES-th on; a loss that is not finite counts
    as infinite.
    """
    losses = list(map(_loss, train))
    return [fmean(losses[end - N_LINES : end]) for end in range(N_LINES, len(losses) + 1)]


def _loss(line: LogLine) -> float:
    """The loss of a line of the log; infinite where it is not finite: null, or NaN in the log of an earlier version."""
    loss = line["loss"]
    return loss if loss is not None and math.isfinite(loss) else math.inf


def _mean(train: Sequence[LogLine], key: str) -> float | None:
    """Mean of a field over the last N_LINES lines without the first of the run; None if there are fewer."""
    values = [line[key] for line in train[1:]][-N_LINES:]
    return fmean(values) if len(values) == N_LINES else None


OUTSIDE_SHARE = 0.05  # of utterances
WINDOW_SECONDS = 30.0  # of openai-whisper
SHARED_LONG_SHARE, SHARED_SHARE = 0.01, 0.1  # of validation utterances whose sentence is in the training data


def outside_vocabulary(rejects: Sequence[Reject], kept: int) -> Diagnosis | None:
    """Many utterances were rejected for characters that the model has no unit for. kept: number of usable ones."""
    outside = [reject for reject in rejects if reject.reason.startswith(OUTSIDE)]
    if len(outside) <= OUTSIDE_SHARE * (len(rejects) + kept):
        return None
    return Diagnosis(
        "vocabulary mismatch",
        f"{len(outside)} of {len(rejects) + kept} utterances are rejected for characters outside the vocabulary, as "
        f"{outside[0].where}: {outside[0].reason.partition(': ')[2]}",
        "the model's units lack these characters, so it learns nothing from these utterances",
        "choose a --data.profile that maps them to known ones (numbers as words, no accents), or --model.vocabulary "
        "new",
    )


def leaking(leaks: Leaks, utterances: int) -> Diagnosis | None:
    """Validation data is also trained on. utterances: number of those for validation."""
    texts, long = leaks.utterances_with_shared_text, leaks.utterances_with_long_shared_text
    found, known = [], []
    if leaks.files:
        known.append("recordings")
        found.append(
            f"{len(leaks.files)} of {utterances} validation utterances are, at least in part, training utterances too"
        )
    if long > SHARED_LONG_SHARE * utterances or texts > SHARED_SHARE * utterances:
        known.append("sentences")
        found.append(
            f"{100 * texts / utterances:.0f} % of validation sentences ({texts} of {utterances}) also occur in "
            f"training, {long} of them {LONG_WORDS} words or longer"
        )
    if leaks.utterances_of_shared_speakers:
        known.append("voices")
        names = ", ".join(leaks.speakers[:3]) + (", ..." if len(leaks.speakers) > 3 else "")
        found.append(f"{len(leaks.speakers)} speaker{'s' * (len(leaks.speakers) > 1)} in both ({names})")
    if not found:
        return None
    return Diagnosis(
        "leak",
        "; ".join(found),
        f"validation WER then measures recognition of {', '.join(known)} known from training, not of new ones",
        "separate speakers and sentences with a distinct --data.validation; a leak is harmless only if the model will "
        "be used on the same speakers and sentences",
    )


def short_window(model: ModelConfig) -> Diagnosis | None:
    """Whisper is trained and validated in windows shorter than those of openai-whisper."""
    if model.family != "whisper" or model.context_seconds >= WINDOW_SECONDS:
        return None
    return Diagnosis(
        "short window",
        f"--model.context_seconds is {model.context_seconds:g}",
        f"validation uses windows of {model.context_seconds:g} s too, but openai-whisper gives the model "
        f"{WINDOW_SECONDS:g} s, mostly silence, on which it was not trained: its WER there is far worse (for the "
        "embedded model at that stage, 21 instead of 2 %)",
        f"continue with a short run from this one at --model.context_seconds {WINDOW_SECONDS:g}, as "
        "configs/finetune/demo-whisper-window.yaml does",
    )


def capitals(labels: Sequence[str], profile: Profile, model: ModelConfig) -> Diagnosis | None:
    """Whisper is given texts in capitals, as of a profile that is meant for CTC models."""
    spoken = [label for label in labels if label != label.lower() or label != label.upper()]
    shouted = sum(label == label.upper() for label in spoken)
    if model.family != "whisper" or 2 * shouted <= len(spoken):
        return None
    return Diagnosis(
        "capitals",
        f"{shouted} of {len(spoken)} texts are in capitals under the profile {profile.name}",
        "Whisper spells capitals in about twice as many tokens as ordinary text, and unlearns case and punctuation",
        "choose --data.profile verbatim where the texts are written as Whisper should write them, else basic",
    )


def other_language(utterances: Sequence[Utterance], model: ModelConfig) -> Diagnosis | None:
    """Whisper is trained under the token of another language than the corpora name."""
    language = None if model.family != "whisper" or model.language is None else language_code(model.language)
    named = Counter(code for one in utterances if one.language and (code := language_code(one.language)))
    others = named.total() - named[language or ""]
    if language is None or 2 * others <= len(utterances):
        return None
    return Diagnosis(
        "language mismatch",
        f"--model.language is {model.language}, but {others} of {len(utterances)} training utterances name another "
        f"language, mostly {next(code for code, _ in named.most_common() if code != language)}",
        f"the model learns to write them under the language token of {language}, and is decoded with it",
        "correct --model.language, leave it out to take the corpora's language, or correct the column 'language'",
    )


@dataclass(frozen=True)
class DataInspection:
    """The usable utterances as corpora, normalised texts of all training utterances, and problems of the data."""

    train: Corpus
    validation: Corpus
    labels: tuple[str, ...]
    diagnoses: tuple[Diagnosis, ...]


def inspect_data(
    utterances: Sequence[Utterance],
    validation: Sequence[Utterance],
    labels: Sequence[str],
    rejects: Sequence[Reject],
    profile: Profile,
    model: ModelConfig,
) -> DataInspection:
    """Find problems of the data before the first step.

    utterances, validation: the usable ones. labels: normalised texts of all training utterances. rejects: of training
    and validation corpora.
    """
    train_corpus = Corpus("training", tuple(utterances), ())
    validation_corpus = Corpus("validation", tuple(validation), ())
    diagnoses = (
        outside_vocabulary(rejects, len(utterances) + len(validation)),
        leaking(find_leaks(validation_corpus, train_corpus, profile), len(validation)),
        short_window(model),
        capitals(labels, profile, model),
        other_language(utterances, model),
    )
    found = tuple(diagnosis for diagnosis in diagnoses if diagnosis is not None)
    return DataInspection(train_corpus, validation_corpus, tuple(labels), found)
