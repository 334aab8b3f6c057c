"""The commands `python -m finetune.language_model build` and `train`: from a text to an ARPA file, or to an LSTM."""

import gzip
import io
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, TextIO

from rich.console import Console

from finetune.language_model.kneser_ney import estimate, perplexity
from finetune.language_model.ngram import BOUNDARY, NgramModel, write_arpa
from preprocessing.cli.cores import keep_threads_to_quota
from preprocessing.cli.device import resolve_device
from preprocessing.cli.options import check_counts, check_ranges, check_shares
from preprocessing.corpus.lines import RawText, open_raw_text, profile_by_language
from preprocessing.errors import InputError, UsageError
from preprocessing.storage.atomic_write import atomic_file
from preprocessing.text import Profile, profile
from preprocessing.text.languages import is_unspaced

if TYPE_CHECKING:
    from finetune.language_model.lstm import LstmModel

MAX_ORDER = {"words": 6, "characters": 10}
LONGEST_UNSPACED_WORD = 6  # letters; what is longer in Chinese, Japanese or Thai is a clause, or a loanword
DEFAULT_ORDER = {"words": 3, "characters": 6}


@dataclass(frozen=True)
class LanguageModelConfig:
    """Options of the command."""

    renamed: ClassVar[Mapping[str, str]] = {"least": "min_count"}

    text: str
    """Text file (.txt or .txt.gz) with one utterance per line, or a corpus, whose texts are used."""

    output: Path
    """ARPA file to write, gzipped where it ends in .gz."""

    order: int | None = None
    """Order of the model: the longest n-grams. Default: 3 words or 6 characters."""

    units: Literal["words", "characters"] = "words"
    """Units of the n-grams. Characters have no unknown words and need far less text; the space is one of them."""

    min_count: int = 1
    """Prune n-grams of three or more units that occur less often than this: 2 halves the file and costs little
    accuracy."""

    profile: str | None = None
    """Text normalisation profile of the lines; it must be that of the recogniser's labels, so that the words match.
    Default: that of --model; else, of a corpus, basic:LANGUAGE of the language that all utterances name, basic of
    several; librispeech of English, of none and of text files."""

    model: str | None = None
    """The recogniser, a run or a Hub id: takes the text profile of its labels, in place of --profile."""

    evaluate: str | None = None
    """Text or corpus to measure perplexity on; not the training text."""

    @property
    def longest(self) -> int:
        """The order, or its default."""
        return DEFAULT_ORDER[self.units] if self.order is None else self.order

    def check(self) -> None:
        """Raises UsageError on a value that cannot be used."""
        most = MAX_ORDER[self.units]
        if not 1 <= self.longest <= most:
            raise UsageError(f"--order is {self.order}; expected 1 to {most} of {self.units}: change it")
        if self.min_count < 1:
            raise UsageError(f"--min_count is {self.min_count}; expected 1 or more: change it")
        _check_one_profile(self.profile, self.model)
        if self.output.is_dir():
            raise UsageError(f"{self.output} is a folder; expected a file, such as words.arpa: name one")


@dataclass(frozen=True)
class TrainLstmConfig:
    """Options of `train`."""

    renamed: ClassVar[Mapping[str, str]] = {"most_words": "units_size", "output": "output_dir"}

    text: str
    """Text file (.txt or .txt.gz) with one utterance per line, or a corpus, whose texts are used."""

    output_dir: Path
    """Folder of the language model."""

    units: Literal["words", "characters"] = "characters"
    """Units that the LSTM predicts."""

    units_size: int = 20_000
    """Vocabulary size for words, the most frequent ones; characters are all kept."""

    hidden_size: int = 384
    """Width of the LSTM and of the embedding."""

    num_layers: int = 1
    """Number of LSTM layers."""

    dropout: float = 0.2
    """Dropout probability."""

    num_train_epochs: int = 4
    """Epochs; the one with the lowest perplexity on 2 % held-out text is kept."""

    learning_rate: float = 0.004
    """Peak learning rate of a one-cycle schedule."""

    batch_tokens: int = 4096
    """Units in a batch, with padding."""

    profile: str | None = None
    """Text normalisation profile of the lines; it must be that of the recogniser's labels, so that the words match.
    Default: that of --model; else, of a corpus, basic:LANGUAGE of the language that all utterances name, basic of
    several; librispeech of English, of none and of text files."""

    model: str | None = None
    """The recogniser, a run or a Hub id: takes the text profile of its labels, in place of --profile."""

    evaluate: str | None = None
    """Text or corpus to measure perplexity on; not the training text."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Device that the LSTM is trained on; auto takes a GPU if there is one."""

    seed: int = 0
    """Seed of weights, order and dropout."""

    def check(self) -> None:
        """Raises UsageError on a value that cannot be used."""
        counts = ("units_size", "hidden_size", "num_layers", "num_train_epochs", "batch_tokens")
        check_counts(*((f"--{name}", getattr(self, name), 1) for name in counts))
        check_shares(("--dropout", self.dropout))
        check_ranges(("--learning_rate", self.learning_rate, "above 0", self.learning_rate > 0))
        _check_one_profile(self.profile, self.model)
        if self.output_dir.is_file():
            raise UsageError(f"{self.output_dir} is a file; expected a folder: name one")


def train_language_model(config: TrainLstmConfig) -> "LstmModel":
    """Trains an LSTM language model, writes it after each epoch that is better than those before, and returns it."""
    from finetune.language_model.lstm import LstmShape, hold_out, known_units, train_lstm

    config.check()
    keep_threads_to_quota()
    device = resolve_device(config.device)
    console = Console(highlight=False, soft_wrap=True)
    normalise, text = _open_text(config, console)
    sentences = _sentences(text, normalise, config.units)
    _say_if_unspaced(config.text, sentences, config.units, console)
    training, held_out = hold_out(sentences, config.seed)
    units = known_units(training, config.units_size if config.units == "words" else None)
    of_characters = config.units == "characters"
    shape = LstmShape(units, of_characters, config.hidden_size, config.num_layers, config.dropout)
    n_units = sum(map(len, sentences))
    console.print(
        f"{len(sentences):,} sentences, {n_units:,} {config.units}; {len(units):,} different ones of "
        f"{len(training):,} sentences are known, {len(held_out):,} are held out"
    )
    epochs = train_lstm(
        training,
        held_out,
        shape,
        epochs=config.num_train_epochs,
        learning_rate=config.learning_rate,
        batch_tokens=config.batch_tokens,
        seed=config.seed,
        device=device,
    )
    one = config.units.removesuffix("s")
    for epoch, model in epochs:
        console.print(
            f"epoch {epoch.number} of {config.num_train_epochs}: perplexity {epoch.perplexity:.2f} per {one}, unknown "
            "ones as <unk>"
        )
        if epoch.is_best:
            model.save(config.output_dir)
    if config.evaluate is not None:
        figures = model.perplexity(_sentences(open_raw_text(config.evaluate), normalise, config.units))
        console.print(f"{config.evaluate}: {_perplexity_sentence(*figures, config.units)}")
    return model


def build_language_model(config: LanguageModelConfig) -> NgramModel:
    """Estimates a language model, writes it to the configuration's ARPA file, prints its size, and returns it.

    Where the configuration names a text to evaluate on, prints its perplexity, too. Raises UserError where a text
    cannot be read or has no word in it.
    """
    config.check()
    console = Console(highlight=False, soft_wrap=True)
    with console.status("counting"):
        normalise, text = _open_text(config, console)
        sentences = _sentences(text, normalise, config.units)
        also = (BOUNDARY,) if config.units == "characters" else ()  # a text of single words has no space
        try:
            model = estimate(sentences, config.longest, min_count=config.min_count, also=also)
        except ValueError as error:
            raise InputError(
                f"{config.text}: {error}; expected text without them: remove them, or use a --profile that does"
            ) from None
    _say_if_unspaced(config.text, sentences, config.units, console)
    config.output.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(config.output) as temporary, _text_to_write(temporary) as file:
        write_arpa(model, file)
    sizes = ", ".join(f"{len(entries):,} of {n}" for n, entries in enumerate(model.entries, 1))
    console.print(f"{config.output}: n-grams of {config.units}: {sizes}")
    if config.evaluate is not None:
        figures = perplexity(model, _sentences(open_raw_text(config.evaluate), normalise, config.units))
        console.print(f"{config.evaluate}: {_perplexity_sentence(*figures, config.units)}")
    return model


@contextmanager
def _text_to_write(path: Path) -> Iterator[TextIO]:
    """A text file opened for writing as UTF-8, gzipped where its suffix is .gz: the same text gives the same bytes,
    whenever it is written and whatever the file is called.
    """
    if path.suffix != ".gz":
        with path.open("w", encoding="utf-8") as file:
            yield file
        return
    with (
        path.open("wb") as binary,
        gzip.GzipFile(filename="", mode="wb", fileobj=binary, compresslevel=6, mtime=0) as zipped,
        io.TextIOWrapper(zipped, encoding="utf-8") as text,
    ):
        yield text


def _perplexity_sentence(value: float, n_units: int, n_unknown: int, units: str) -> str:
    """The same of n-grams and LSTMs, which compare where as many units are unknown."""
    share = 100.0 * n_unknown / max(n_units, 1)
    return (
        f"perplexity {value:.2f} per {units.removesuffix('s')}, over known {units} and sentence ends; {n_unknown:,} of "
        f"{n_units:,} {units} unknown ({share:.1f} %)"
    )


def _say_if_unspaced(reference: str, sentences: Sequence[Sequence[str]], units: str, console: Console) -> None:
    """A note where most "words" are clauses of a script that is written without spaces: hardly any occurs twice."""
    if units != "words":
        return
    longer = [word for sentence in sentences for word in sentence if len(word) > LONGEST_UNSPACED_WORD]
    letters = sum(len(word) for sentence in sentences for word in sentence)
    clauses = [word for word in longer if is_unspaced(word)]
    if 2 * sum(map(len, clauses)) > letters:
        console.print(
            f"[bold yellow]NOTE[/] {reference} is written without spaces between words, so {clauses[0][:20]!r} counts "
            "as one word; use --units characters, or put spaces between the words, if the recogniser's labels have them"
        )


def _check_one_profile(profile_name: str | None, model: str | None) -> None:
    if profile_name is not None and model is not None:
        raise UsageError(
            f"--profile {profile_name} and --model {model}, whose labels have a profile; expected one of the two: "
            "leave the other out"
        )


def _open_text(config: LanguageModelConfig | TrainLstmConfig, console: Console) -> tuple[Profile, RawText]:
    """The text and its profile, which is printed where the options do not name it. That of --model is in them already,
    put there by the command.

    Raises UserError where the text cannot be read or there is no such profile.
    """
    assert config.model is None, "with_profile_of_model of the command puts its profile in its place"
    if config.profile is not None:
        return profile(config.profile), open_raw_text(config.text)
    text = open_raw_text(config.text)
    name, sentence = profile_by_language([text])
    if sentence:
        console.print(sentence)
    return profile(name), text


def _sentences(text: RawText, normalise: Profile, units: str) -> list[list[str]]:
    """The words or characters of each line or utterance that has any. Raises InputError where none has."""
    lines = (normalise(line.text).split() for line in text.lines)
    sentences = [[*map(sys.intern, words)] for words in lines if words]  # each word once in memory
    if not sentences:
        raise InputError(f"{text.reference}: no words in it; expected text: name another file, or another --profile")
    return sentences if units == "words" else [list(BOUNDARY.join(words)) for words in sentences]
