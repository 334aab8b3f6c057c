"""The corpora of a run: which utterances are trained and validated on, how often, and which are rejected and why.

Utterances are checked by their duration and text alone; audio is decoded by `finetune.data.examples`, which can reject
further ones.
"""

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from finetune.config import DataConfig
from finetune.models.base import OUTSIDE, TrainableRecogniser
from preprocessing.audio import SAMPLE_RATE
from preprocessing.cli.notes import note_once
from preprocessing.corpus import Corpus, Reject, Utterance, open_corpus
from preprocessing.corpus.split import hold_out
from preprocessing.errors import InputError, UsageError, counted
from preprocessing.text import Profile
from preprocessing.text.languages import language_code

SAME_SECONDS = 0.002  # by which durations of one utterance differ where one was rounded
MAIN = "validation"  # name of the evaluation set that chooses the best weights


@dataclass(frozen=True)
class OpenedCorpora:
    """All utterances of the corpora; of streamed training corpora the first ones.

    validation: by name, MAIN is absent if a share of the training utterances is held out for it.
    """

    train: list[Corpus]
    validation: dict[str, Corpus]

    def labels(self, profile: Profile) -> list[str]:
        """Normalised texts of all training utterances, whether they turn out to be usable or not."""
        return [profile(utterance.text) for corpus in self.train for utterance in corpus.utterances]

    def language(self) -> str | None:
        """Code of the training utterances' language, de of de-CH and of German; None where they name several or some
        name none.
        """
        named = {utterance.language for corpus in self.train for utterance in corpus.utterances}
        codes = {
            None if language is None else language_code(language) or re.split("[-_]", language)[0].lower()
            for language in named
        }
        return codes.pop() if len(codes) == 1 else None


@dataclass(frozen=True)
class RunData:
    """The utterances that a run uses.

    repeats: how often each training utterance occurs in an epoch, on average; None is once each.
    validation: by name, MAIN first.
    division: how MAIN was held out of training, in a sentence; "" where it is a corpus of its own.
    unevaluated: how many utterances of validation corpora are rejected, by name; their error rate is of the others.
    """

    train: list[Utterance]
    repeats: list[float] | None
    validation: dict[str, list[Utterance]]
    rejects: list[Reject]
    division: str = ""
    unevaluated: Mapping[str, int] = field(default_factory=dict)


def open_corpora(config: DataConfig) -> OpenedCorpora:
    """Open every corpus of the configuration. Raises UserError naming one that cannot be opened."""
    references = ({} if config.validation is None else {MAIN: config.validation}) | config.eval_sets
    validation = {name: _open(reference, config.max_eval_samples) for name, reference in references.items()}
    if config.streaming:
        return OpenedCorpora([_open(reference, config.streaming_first) for reference in config.train], validation)
    train: list[Corpus] = []
    left = config.max_train_samples
    for reference in config.train:
        train.append(Corpus(reference, (), ()) if left == 0 else _open(reference, left))
        left = None if left is None else left - len(train[-1].utterances)
    return OpenedCorpora(train, validation)


def _open(reference: str, limit: int | None = None) -> Corpus:
    """A corpus whose utterances are as long as their files: batches, hours and memory are planned by that."""
    corpus = open_corpus(reference, limit=limit, check_durations=True)
    corpus.print_notes()
    return corpus


def select_utterances(
    corpora: OpenedCorpora, recogniser: TrainableRecogniser, profile: Profile, config: DataConfig
) -> RunData:  # fmt: skip
    """The utterances that the recogniser can use, split into training and validation.

    Raises InputError if nothing usable is left, or nothing but silence, and at the first reject if `strict` is true.
    """
    usable: list[list[Utterance]] = []
    evaluable: list[list[Utterance]] = []
    rejects: list[Reject] = []
    for corpus in with_unique_ids(corpora.train, streamed=config.streaming):
        kept, rejected = split_usable(corpus, recogniser, profile, config)
        usable.append(kept)
        rejects += rejected
        trainable = set(map(id, kept))
        outside = {reject.where for reject in rejected if reject.reason.startswith(OUTSIDE)}
        evaluable.append(
            [
                utterance
                for utterance in corpus.utterances
                if id(utterance) in trainable
                or (utterance.id in outside and evaluation_reason(utterance, recogniser, profile, config) is None)
            ]
        )
    train = [utterance for kept in usable for utterance in kept]
    weights = zip(usable, config.weights or [1.0] * len(usable), strict=True)
    repeats = [weight for kept, weight in weights for _ in kept]
    validation: dict[str, list[Utterance]] = {}
    division = ""
    if MAIN not in corpora.validation:
        divided = hold_out(evaluable, config.validation_share, config.validation_by, "--data.validation_by")
        validation[MAIN], division = divided.validation, divided.note
        held_out = set(map(id, divided.validation))
        evaluated = {utterance.id for utterance in divided.validation}
        repeats = [repeat for repeat, utterance in zip(repeats, train, strict=True) if id(utterance) not in held_out]
        train = [utterance for utterance in train if id(utterance) not in held_out]
        rejects = [
            reject for reject in rejects if not (reject.reason.startswith(OUTSIDE) and reject.where in evaluated)
        ]
        if not train:
            raise InputError(
                f"--data.validation_share {config.validation_share:g} holds out "
                f"{counted(len(divided.validation), 'utterance')}, which is all of them; expected some to be left for "
                "training: lower it, or name a --data.validation"
            )
    unevaluated: dict[str, int] = {}
    for name, corpus in corpora.validation.items():
        validation[name], rejected = split_usable(corpus, recogniser, profile, config, evaluated=True)
        rejects += rejected
        unevaluated[name] = len(rejected) - len(corpus.rejects)
    for name, utterances in (("training", [] if config.streaming else train), (MAIN, validation[MAIN])):
        if utterances and not any(profile(utterance.text) for utterance in utterances):
            raise InputError(
                f"{name}: none of {counted(len(utterances), 'utterance')} has a text, as if nothing were said; "
                "expected transcribed speech among them: add their transcripts, or other utterances"
            )
    return RunData(train, repeats if config.weights else None, validation, rejects, division, unevaluated)


def split_usable(
    corpus: Corpus, recogniser: TrainableRecogniser, profile: Profile, config: DataConfig, *, evaluated: bool = False
) -> tuple[list[Utterance], list[Reject]]:
    """The usable utterances of a corpus, and the rejects with their reasons.

    evaluated: for validation, by `evaluation_reason`. Raises InputError if nothing usable is left, and at the first
    reject if `strict` is true.
    """
    usable: list[Utterance] = []
    rejects = list(corpus.rejects)
    for utterance in corpus.utterances:
        reason = (evaluation_reason if evaluated else rejection_reason)(utterance, recogniser, profile, config)
        if reason is None:
            usable.append(utterance)
        else:
            rejects.append(Reject(utterance.id, reason))
    if rejects and (config.strict or not usable):
        more = f" ({len(rejects) - 1} more rejected)" if len(rejects) > 1 else ""
        nothing = "" if usable else f"; no usable utterance is left in {corpus.reference}"
        if rejects[0].reason.startswith(OUTSIDE):
            nothing += ": set --model.vocabulary extend or new, or a --data.profile that maps them to known ones"
        raise InputError(f"{rejects[0].where}: {rejects[0].reason}{more}{nothing}")
    return usable, rejects


def rejection_reason(
    utterance: Utterance, recogniser: TrainableRecogniser, profile: Callable[[str], str], config: DataConfig
) -> str | None:
    """Why an utterance cannot be trained on, in one sentence; None if it can."""
    if not config.min_seconds <= utterance.duration <= config.max_seconds:
        return (
            f"lasts {utterance.duration:.3f} s; expected {config.min_seconds:g} to {config.max_seconds:g} s: cut it, "
            "or change --data.min_seconds or --data.max_seconds"
        )
    n_samples, is_silence = round(utterance.duration * SAMPLE_RATE), not utterance.text.strip()
    return recogniser.rejection_reason(n_samples, profile(utterance.text), is_silence=is_silence)


def evaluation_reason(
    utterance: Utterance, recogniser: TrainableRecogniser, profile: Profile, config: DataConfig
) -> str | None:
    """As `rejection_reason`, why an utterance cannot be evaluated. Characters that the recogniser cannot write are no
    reason beside others that it can: they are its errors, and only its loss is without them.
    """
    reason = rejection_reason(utterance, recogniser, profile, config)
    if reason is None or not reason.startswith(OUTSIDE):
        return reason
    writable = recogniser.writable(profile(utterance.text))
    return rejection_reason(utterance, recogniser, lambda _: writable, config) if writable else reason


def with_unique_ids(corpora: Sequence[Corpus], *, streamed: bool = False) -> list[Corpus]:
    """The corpora with ids that occur in one of them alone: an id decides how its utterance is augmented, and names it
    in rejects and transcripts. Ids of a later corpus that an earlier one has too are prefixed by its place, "2/row-7".
    streamed: the corpora are the beginnings of streams, and ids are those of `in_stream`.

    Raises UsageError where two corpora share an utterance, id and part of a file, or one holds copies of the other's,
    as a prepared corpus does: then most that share an id have the same text and duration.
    """
    if len(corpora) == 1:
        return list(corpora)
    known: dict[str, Utterance] = {}
    found: list[Corpus] = []
    for place, corpus in enumerate(corpora, start=1):
        shared = [utterance for utterance in corpus.utterances if utterance.id in known]
        same = [utterance for utterance in shared if _is_same_part(utterance, known[utterance.id])]
        copies = [utterance for utterance in shared if _is_as_long(utterance, known[utterance.id])]
        if same or 2 * len(copies) > len(shared):
            raise UsageError(
                f"--data.train: {' and '.join(each.reference for each in corpora)} share utterances, such as "
                f"{(same or copies)[0].id!r}; expected each once: remove them, or name the corpus once with "
                "--data.weights"
            )
        own = corpus
        if streamed:
            own = replace(corpus, utterances=tuple(in_stream(utterance, place) for utterance in corpus.utterances))
        elif shared:
            note_once(
                f"ids {place}",
                f"{corpus.reference}: {counted(len(shared), 'id')}, such as {shared[0].id!r}, also in a corpus before "
                f"it; prefixed by {place}",
            )
            taken = known.keys() | {utterance.id for utterance in corpus.utterances}
            prefix = f"{place}/"
            while any(f"{prefix}{utterance.id}" in taken for utterance in shared):
                prefix += f"{place}/"
            renamed = (
                replace(utterance, id=f"{prefix}{utterance.id}") if utterance.id in known else utterance
                for utterance in corpus.utterances
            )
            own = replace(corpus, utterances=tuple(renamed))
        known |= {utterance.id: utterance for utterance in (corpus if streamed else own).utterances}
        found.append(own)
    return found


def in_stream(utterance: Utterance, place: int) -> Utterance:
    """The utterance with its id in the streamed corpus at a place among several, from 1: prefixed in all but the first
    one, "2/row-7", as the ids of a stream cannot be compared with all of another.
    """
    return utterance if place == 1 else replace(utterance, id=f"{place}/{utterance.id}")


def _is_as_long(one: Utterance, other: Utterance) -> bool:
    """Whether two utterances have the same text and duration, as single commands of a second may by chance."""
    return one.text == other.text and abs(one.duration - other.duration) < SAME_SECONDS


def _is_same_part(one: Utterance, other: Utterance) -> bool:
    files = [audio if isinstance(audio, bytes) else os.path.realpath(audio) for audio in (one.audio, other.audio)]
    parts = [(each.start, each.stop, each.channel) for each in (one, other)]
    return files[0] == files[1] and parts[0] == parts[1]
