"""The corpora of a run: what is trained on and how often, what is validated on, what is set aside."""

from collections.abc import Sequence
from dataclasses import dataclass

from finetune.config import DataConfig
from finetune.data.examples import hold_out, usable
from finetune.models.base import Recogniser
from preprocessing.cli.errors import UsageError
from preprocessing.corpus import Corpus, Reject, Utterance, open_corpus
from preprocessing.text import Profile

MAIN = "validation"  # the set that chooses the best weights


@dataclass(frozen=True)
class Opened:
    """The corpora as they are, before a model says what it can use; of streamed ones the first utterances."""

    train: list[Corpus]
    validation: dict[str, Corpus]  # by name; without MAIN where a share of train is held out for it

    def labels(self, text_profile: Profile) -> list[str]:
        """Normalised texts of everything that may be trained on."""
        return [text_profile(utterance.text) for corpus in self.train for utterance in corpus.utterances]


@dataclass(frozen=True)
class RunData:
    """What a run works on. `repeats`: how often each training utterance is heard in an epoch, on average."""

    train: list[Utterance]
    repeats: list[float] | None  # None: once each
    validation: dict[str, list[Utterance]]  # MAIN first
    rejects: list[Reject]


def open_data(config: DataConfig) -> Opened:
    """Open every corpus that the configuration names, of a streamed one its first utterances.

    Raises UserError where one cannot be opened.
    """
    named = ({} if config.validation is None else {MAIN: config.validation}) | config.eval_sets
    validation = {name: open_corpus(reference) for name, reference in named.items()}
    first = config.streaming_first if config.streaming else None
    return Opened([open_corpus(reference, limit=first) for reference in config.train], validation)


def choose(opened: Opened, recogniser: Recogniser, text_profile: Profile, config: DataConfig) -> RunData:
    """Split into what the recogniser can use and what it cannot. Raises InputError where nothing is left, and at the
    first reject under `strict`.
    """
    train: list[Utterance] = []
    repeats: list[float] = []
    rejects: list[Reject] = []
    for corpus, weight in zip(opened.train, config.weights or [1.0] * len(opened.train), strict=True):
        kept, rejected = usable(corpus, recogniser, text_profile, config)
        train += kept
        repeats += [weight] * len(kept)
        rejects += rejected
    validation: dict[str, list[Utterance]] = {}
    if MAIN not in opened.validation:
        held = {id(utterance) for utterance in hold_out(train, config.validation_share)[1]}
        validation[MAIN] = [utterance for utterance in train if id(utterance) in held]
        repeats = [repeat for repeat, utterance in zip(repeats, train, strict=True) if id(utterance) not in held]
        train = [utterance for utterance in train if id(utterance) not in held]
    for name, corpus in opened.validation.items():
        validation[name], rejected = usable(corpus, recogniser, text_profile, config)
        rejects += rejected
    _check_ids(train, opened.train)
    return RunData(train, repeats if config.weights else None, validation, rejects)


def _check_ids(train: Sequence[Utterance], corpora: Sequence[Corpus]) -> None:
    """An id decides how an utterance is augmented, and must be one utterance's alone."""
    if len({utterance.id for utterance in train}) < len(train):
        seen: set[str] = set()
        double = next(u.id for u in train if u.id in seen or seen.add(u.id))  # type: ignore[func-returns-value]
        raise UsageError(
            f"--data.train: {' and '.join(corpus.reference for corpus in corpora)} share ids, such as {double!r}; "
            "expected each id once: rename them, or name the corpus once with --data.weights"
        )
