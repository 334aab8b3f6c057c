"""Language models made of a text, and the frames of an acoustic model decoded with them, for `language_models`.

`make_models` makes n-grams and LSTMs once and reads them from a folder afterwards; `decode_all` decodes with each of
them, once too: `decode_tuned` chooses the weights on validation speech and decodes the tests with them. The grid of
weights is extended while the best point lies at an end of it (`search_grid`).
"""

import gzip
import hashlib
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

from experiments.harness.command import progress
from experiments.harness.trainings import State, read_state, write_state
from preprocessing.storage.atomic_write import json_line, read_json_lines

if TYPE_CHECKING:
    from typing import Literal

    from torch import Tensor

    from finetune.decoding.search import Search
    from finetune.language_model.lstm import LstmModel
    from finetune.language_model.ngram import NgramModel
    from finetune.systems.ctc_model import CTCModel
    from preprocessing.corpus import Utterance
    from preprocessing.text import Profile
    from preprocessing.units import Vocabulary

BEAM = "none, beam search"
FUSED = "within the search"
ALPHAS = (0.2, 0.4, 0.6, 0.8, 1.0, 1.3)
BETAS = (-1.0, 0.0, 1.0, 2.0, 3.0)
WEIGHTS = (0.1, 0.2, 0.3, 0.5, 0.7, 1.0)  # of rescoring
EXTENSIONS = 8  # of a grid whose best point lies at an end
FUSED_EXTENSIONS = 2  # the same of an LSTM within the search, which is slow


@dataclass(frozen=True)
class Grid:
    """What is tried and how wide the search is. n_fused: test utterances that an LSTM decodes within the search.
    extensions: how often an end is moved outwards at most.
    """

    alphas: Sequence[float] = ALPHAS
    betas: Sequence[float] = BETAS
    weights: Sequence[float] = WEIGHTS
    beam_width: int = 64
    n_fused: int = 10
    extensions: int = EXTENSIONS


@dataclass(frozen=True)
class Speech:
    """Utterances with normalised references and their frames [frames, units]."""

    utterances: "Sequence[Utterance]"
    references: Sequence[str]
    frames: "Sequence[Tensor]"

    def first(self, count: int) -> "Speech":
        """Its first utterances."""
        return Speech(self.utterances[:count], self.references[:count], self.frames[:count])

    @property
    def seconds(self) -> float:
        """Of audio, as the corpus states them."""
        return sum(one.duration for one in self.utterances)


@dataclass(frozen=True)
class BuiltLanguageModel:
    """A language model that was built of a text, on the disk: it is loaded where it is asked, since several n-grams of
    characters do not fit into the memory together.

    identity: of the text and settings behind it. path: an ARPA file, or the folder of an LSTM. seconds: to build it.
    """

    name: str
    identity: str
    path: Path
    seconds: float

    @property
    def is_lstm(self) -> bool:
        """Whether it is an LSTM, which is a folder; n-grams are a file."""
        return self.path.is_dir()

    @property
    def bytes(self) -> int:
        """Size on the disk."""
        files = self.path.iterdir() if self.is_lstm else [self.path]
        return sum(one.stat().st_size for one in files)

    def load(self) -> "NgramModel | LstmModel":
        """The model."""
        from finetune.language_model.lstm import LstmModel
        from finetune.language_model.ngram import read_arpa

        return LstmModel.load(self.path) if self.is_lstm else read_arpa(self.path)


def make_models(
    text: str,
    normalise: "Profile",
    folder: Path,
    *,
    word_orders: Sequence[int],
    character_orders: Sequence[int],
    lstm_epochs: int,
    lstm_hidden_size: int,
) -> list[BuiltLanguageModel]:
    """The language models of the text: made once, and read from the folder afterwards."""
    from finetune.systems.identity import sha256_of

    folder.mkdir(parents=True, exist_ok=True)
    digest = {"text": sha256_of(Path(text))}
    made = []

    def make(name: str, suffix: str, settings: Sequence[str], build: Callable[[Path], float]) -> None:
        """build: writes the model to a path and returns the seconds that it took."""
        short = name.replace(" ", "-")
        state, record, path = State([*settings], digest), folder / f"{short}.json", folder / f"{short}{suffix}"
        before = read_state(record)
        if before is None or not before.is_of(state) or before.finished is None:
            before = state.ended(build(path))
            write_state(record, before)
        made.append(BuiltLanguageModel(name, repr((state.command, digest)), path, before.seconds))

    def build_ngrams(path: Path, kind: str, order: int) -> float:
        from finetune.language_model.kneser_ney import estimate
        from finetune.language_model.ngram import BOUNDARY, write_arpa
        from preprocessing.storage.atomic_write import atomic_file

        began = time.monotonic()
        sentences = sentences_of(text, normalise)
        units = sentences if kind == "words" else ([*BOUNDARY.join(words)] for words in sentences)
        # of characters: n-grams that occur once are left out from order 7 on, else they fill the memory
        model = estimate(units, order, min_count=2 if kind == "characters" and order > 6 else 1)
        with atomic_file(path) as temporary, temporary.open("w", encoding="utf-8") as file:
            write_arpa(model, file)
        return time.monotonic() - began

    def train_lstm(path: Path, kind: "Literal['characters', 'words']") -> float:
        from finetune.language_model.train import TrainLstmConfig, train_language_model

        options = TrainLstmConfig(
            text, path, units=kind, hidden_size=lstm_hidden_size, num_train_epochs=lstm_epochs, profile=normalise.name
        )
        return train_language_model(options).seconds

    ngrams = [("words", order) for order in word_orders] + [("characters", order) for order in character_orders]
    with progress("estimating n-grams", len(ngrams), "models") as advance:
        for kind, order in ngrams:
            settings = [kind, str(order), normalise.name]
            make(f"{order}-gram of {kind}", ".arpa", settings, partial(build_ngrams, kind=kind, order=order))
            advance(1)
    for units in ("characters", "words") if lstm_epochs else ():
        settings = [units, "0", normalise.name, str(lstm_epochs), str(lstm_hidden_size)]
        make(f"LSTM of {units}", "", settings, partial(train_lstm, kind=units))
    return made


def sentences_of(text: str, normalise: "Profile") -> Iterator[list[str]]:
    """The words of each line that has any."""
    path = Path(text)
    with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as lines:
        for line in lines:
            if words := normalise(line).split():
                yield words


def word_perplexity(model: "NgramModel | LstmModel", sentences: Sequence[Sequence[str]]) -> tuple[float | None, float]:
    """Perplexity per word, and the share of words unknown. Of characters, the same ln P over the number of words, so
    that it compares; an LSTM of words scores unknown ones as <unk>, and so has no perplexity that compares.
    """
    from finetune.language_model.kneser_ney import perplexity
    from finetune.language_model.lstm import LstmModel
    from finetune.language_model.ngram import BOUNDARY

    n_words = sum(map(len, sentences))
    if model.is_of_characters:
        units = [[*BOUNDARY.join(words)] for words in sentences]
        total = (
            sum(model.score_sentences(units)) if isinstance(model, LstmModel) else sum(map(model.score_sentence, units))
        )
        return math.exp(-total / (n_words + len(sentences))), 0.0
    unknown = sum(word not in model for words in sentences for word in words) / max(n_words, 1)
    if isinstance(model, LstmModel):
        return None, unknown
    return perplexity(model, sentences)[0], unknown


def frames_of(acoustic: "CTCModel", utterances: "Sequence[Utterance]", normalise: "Profile", what: str) -> Speech:
    """The utterances with the acoustic model's log-probabilities, computed here; what: they are, for the progress."""
    from preprocessing.corpus import load_waveform

    frames = []
    with progress(f"{what}, log-probabilities", len(utterances), "utterances") as advance:
        for one in utterances:
            frames.append(acoustic.log_probs(load_waveform(one)))
            advance(1)
    return Speech(utterances, [normalise(one.text) for one in utterances], frames)


@dataclass(frozen=True)
class DecodingErrors:
    """Word errors of one way to decode, in each utterance of the test and of the `other` domain, [] where that was not
    decoded. weights: chosen on validation, by name. seconds: of the search, for each second of the test's audio.
    at_end: the weights that lie at an end of all values that were tried.
    """

    weights: dict[str, float]
    validation_wer: float
    errors: list[int]
    other: list[int]
    seconds: float
    at_end: list[str] = field(default_factory=list)


def decode_greedy(vocabulary: "Vocabulary", dev: Speech, tests: dict[str, Speech]) -> DecodingErrors:
    """Errors of the best unit of each frame."""
    from finetune.decoding.greedy import collapse

    def errors(speech: Speech) -> list[int]:
        paths = [collapse(one.argmax(dim=1), vocabulary.blank) for one in speech.frames]
        return word_errors_of([vocabulary.decode(path) for path in paths], speech)

    dev_errors, own, other = map(errors, (dev, tests["test"], tests["other"]))
    return DecodingErrors({}, sum(dev_errors) / max(n_words(dev), 1), own, other, 0.0)


def decode_all(
    acoustic: "CTCModel",
    models: Sequence[BuiltLanguageModel],
    dev: Speech,
    tests: dict[str, Speech],
    grid: Grid,
    path: Path,
) -> dict[str, DecodingErrors]:
    """By name: a beam search without a language model, one with each n-gram, and each LSTM in its three ways.

    path: a file that each decoding is appended to, and not done again with the same weights, language models and
    utterances.
    """
    from benchmark.results.store import drop_torn_line
    from finetune.systems.identity import sha256_of, weights_of

    acoustic_weights = [sha256_of(one) for one in weights_of("wav2vec2", acoustic.reference)]
    ids = [[one.id for one in speech.utterances] for speech in (dev, tests["test"], tests["other"])]
    drop_torn_line(path)
    kept = {line["key"]: line["decoded"] for line in read_json_lines(path, appended=True)}
    lstms = [one for one in models if one.is_lstm]
    ngrams = [one for one in models if not one.is_lstm]
    done: dict[str, DecodingErrors] = {}
    count = 1 + len(ngrams) + 3 * len(lstms)
    with progress(f"decoding {Path(acoustic.reference).name}", count, "decodings") as advance:

        def run(
            name: str, first: BuiltLanguageModel | None, second: BuiltLanguageModel | None, *, fused: bool = False
        ) -> None:
            what = (acoustic_weights, grid, ids, first and first.identity, second and second.identity, fused)
            key = hashlib.sha256(repr(what).encode()).hexdigest()
            if key in kept:
                done[name] = DecodingErrors(**kept[key])
            else:
                done[name] = decode_tuned(acoustic.vocabulary, first, second, dev, tests, grid, fused=fused)
                with path.open("a", encoding="utf-8") as file:
                    file.write(json_line({"key": key, "decoded": asdict(done[name])}))
            advance(1)

        run(BEAM, None, None)
        for one in ngrams:
            run(one.name, one, None)
        best = min(ngrams, key=lambda one: done[one.name].validation_wer, default=None)
        for one in lstms:
            run(f"{one.name}, rescoring", None, one)
            if best is not None:
                run(f"{best.name} + {one.name}, rescoring", best, one)
            if grid.n_fused:
                run(f"{one.name}, {FUSED}", one, None, fused=True)
    return done


def decode_tuned(
    vocabulary: "Vocabulary",
    first: BuiltLanguageModel | None,
    second: BuiltLanguageModel | None,
    dev: Speech,
    tests: dict[str, Speech],
    grid: Grid,
    *,
    fused: bool = False,
) -> DecodingErrors:
    """The errors of a decoding with the weights that are best on validation.

    first: asked within the search, None for a search without language model. second: an LSTM that ranks its n best.
    fused: `first` is an LSTM, which the search in plain Python asks: for few utterances, with a narrow beam.
    """
    from finetune.decoding.beam import BeamSettings
    from finetune.decoding.rescoring import RescoringSearch
    from finetune.decoding.search import make_search
    from finetune.language_model.lstm import LstmModel

    settings = BeamSettings(beam_width=grid.beam_width)
    test, other = tests["test"], tests["other"]
    axes: dict[str, Sequence[float]] = {"alpha": grid.alphas, "beta": grid.betas}
    extensions = grid.extensions
    if fused:
        settings = replace(settings, beam_width=min(grid.beam_width, 8))
        dev, test, other = dev.first(3), test.first(grid.n_fused), other.first(0)
        axes, extensions = {"alpha": (0.3, 0.6), "beta": (0.0, 1.0)}, min(extensions, FUSED_EXTENSIONS)
    search = make_search(vocabulary, None if first is None else first.load(), settings)

    def errors_with(point: Mapping[str, float]) -> int:
        own = search.with_settings(replace(settings, **point))  # type: ignore[arg-type]
        return sum(word_errors_of([one.text for one in own.decode_batch(dev.frames, threads=1)], dev))

    errors, chosen, at_end = search_grid({} if first is None else axes, errors_with, extensions)
    tuned = search.with_settings(replace(settings, **chosen))  # type: ignore[arg-type]
    if second is not None:
        rescorer = second.load()
        assert isinstance(rescorer, LstmModel)
        errors, weight, weight_at_end = _rescoring_weight(tuned, rescorer, dev, grid)
        tuned, chosen = RescoringSearch(tuned, rescorer, weight["weight"]), {**chosen, **weight}
        at_end = [*at_end, *weight_at_end]
    began = time.perf_counter()
    texts = [one.text for one in tuned.decode_batch(test.frames, threads=1)]
    seconds = (time.perf_counter() - began) / max(test.seconds, 1e-9)
    others = [one.text for one in tuned.decode_batch(other.frames, threads=1)] if other.utterances else []
    wer = errors / max(n_words(dev), 1)
    return DecodingErrors(chosen, wer, word_errors_of(texts, test), word_errors_of(others, other), seconds, at_end)


def search_grid(
    axes: Mapping[str, Sequence[float]], errors_with: Callable[[Mapping[str, float]], int], extensions: int
) -> tuple[int, dict[str, float], list[str]]:
    """The fewest errors of a grid, the point that makes them, and which of its weights still lie at an end.

    While the best point lies at an end of an axis, the axis goes on by one value, as far from the last as that is from
    the one before; at most `extensions` times. alpha and weight end at 0, which is no end that could be moved. Of
    points with equally many errors the first one that lies at the fewest ends is taken. axes: growing values by name,
    none for a single point; one of a single value is left as it is. errors_with: the errors of a point, asked once.

    >>> search_grid({"alpha": [0.2, 0.4]}, lambda point: round(abs(10 * point["alpha"] - 9)), 8)
    (1, {'alpha': 0.8}, [])
    """
    values = {name: list(own) for name, own in axes.items()}
    tried: dict[tuple[float, ...], int] = {}

    def ends(point: Sequence[float]) -> list[str]:
        at_end = []
        for (name, own), value in zip(values.items(), point, strict=True):
            lowest = value == own[0] and (name == "beta" or value > 0)
            if len(own) > 1 and (lowest or value == own[-1]):
                at_end.append(name)
        return at_end

    for extension in range(extensions + 1):
        for point in product(*values.values()):
            if point not in tried:
                tried[point] = errors_with(dict(zip(values, point, strict=True)))
        best = min(tried, key=lambda point: (tried[point], len(ends(point))))
        if not ends(best) or extension == extensions:
            break
        for name in ends(best):
            own = values[name]
            if best[list(values).index(name)] == own[-1]:
                own.append(round(2 * own[-1] - own[-2], 6))
            else:
                further = round(2 * own[0] - own[1], 6)
                own.insert(0, further if name == "beta" else max(further, 0.0))
    return tried[best], dict(zip(values, best, strict=True)), ends(best)


def _rescoring_weight(
    search: "Search", model: "LstmModel", dev: Speech, grid: Grid
) -> tuple[int, dict[str, float], list[str]]:
    """`search_grid` of the weight on validation; the LSTM scores each n best once."""
    from finetune.decoding.rescoring import RescoringSearch, rescore

    found = RescoringSearch(search, model, 0.0).n_best(dev.frames, threads=1)

    def errors_with(point: Mapping[str, float]) -> int:
        return sum(word_errors_of([rescore(own, point["weight"])[0].text for own in found], dev))

    return search_grid({"weight": grid.weights}, errors_with, grid.extensions)


def word_errors_of(texts: Sequence[str], speech: Speech) -> list[int]:
    """Word errors of each utterance's text."""
    from finetune.metrics.error_rates import utterance_errors

    return [one.errors for one in utterance_errors(speech.references, texts)]


def n_words(speech: Speech) -> int:
    """Words of all references."""
    return sum(len(one.split()) for one in speech.references)
