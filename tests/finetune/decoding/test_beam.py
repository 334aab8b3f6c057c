"""Beam search beside the definition: every labelling, its paths summed one by one, and the language model by hand; and
the compiled search beside the one in plain Python.
"""

import gc
import itertools
import math
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor

from finetune.decoding import beam
from finetune.decoding.beam import BeamHypothesis, BeamSearch, BeamSettings
from finetune.decoding.beam_python import PythonBeamSearch
from finetune.decoding.flat_ngram import FlatNgram
from finetune.decoding.greedy import collapse
from finetune.decoding.search import Search
from finetune.language_model.kneser_ney import estimate
from finetune.language_model.ngram import BOUNDARY, NgramModel, read_arpa, write_arpa
from preprocessing.cli import cores
from preprocessing.errors import InputError
from preprocessing.units import Vocabulary
from preprocessing.units.splitting import BytePairs

LETTERS = Vocabulary.of_characters(["AB"])
ALL = BeamSettings(beam_width=10**6, beam_prune_logp=-math.inf, token_min_logp=-math.inf)
MakeSearch = Callable[..., Search]
BOTH = pytest.mark.parametrize("search", [BeamSearch, PythonBeamSearch])
LINES = ["AB A", "A AB", "AB AB A", "B A"]


def words_model(order: int = 2) -> NgramModel:
    return estimate([line.split() for line in LINES], order)


def characters_model(order: int = 3) -> NgramModel:
    return estimate([list(line.replace(" ", BOUNDARY)) for line in LINES], order)


def frames(n_frames: int, seed: int, sharpness: float = 2.0) -> Tensor:
    """Random log-probabilities [frames, units] of the blank, the boundary and two letters."""
    logits = torch.full((n_frames, len(LETTERS.units)), -math.inf)
    used = [LETTERS.blank, LETTERS.boundary, *LETTERS.encode("AB")]
    logits[:, used] = sharpness * torch.randn(n_frames, len(used), generator=torch.Generator().manual_seed(seed))
    return logits.log_softmax(dim=1)


def texts(log_probs: Tensor) -> dict[str, float]:
    """P of every text, by every path: boundaries first, last or repeated write nothing."""
    used = [unit for unit in range(log_probs.shape[1]) if log_probs[0, unit] > -math.inf]
    found: defaultdict[str, float] = defaultdict(float)
    for path in itertools.product(used, repeat=len(log_probs)):
        probability = math.exp(sum(float(log_probs[frame, unit]) for frame, unit in enumerate(path)))
        found[LETTERS.decode(collapse(path, LETTERS.blank))] += probability
    return dict(found)


@BOTH
@pytest.mark.parametrize("seed", range(6))
def test_the_most_probable_text(search: MakeSearch, seed: int) -> None:
    log_probs = frames(5, seed)
    expected = texts(log_probs)
    best = search(LETTERS, None, ALL).decode_beams(log_probs)[0]
    most = max(expected, key=lambda text: expected[text])
    assert best.text == most
    assert best.ctc == pytest.approx(math.log(expected[most]), abs=1e-4)
    assert best.score == best.ctc


@BOTH
@pytest.mark.parametrize("kind", ["words", "characters", "none"])
@pytest.mark.parametrize("hotwords", [(), ("BA", "AB B")])
@pytest.mark.parametrize("seed", range(3))
def test_scores_as_defined(search: MakeSearch, kind: str, hotwords: tuple[str, ...], seed: int) -> None:
    model = {"words": words_model(), "characters": characters_model(), "none": None}[kind]
    weighed = replace(ALL, alpha=0.7, beta=0.4, unk_score_offset=-1.5, avg_token_len=2)
    weighed = replace(weighed, hotwords=hotwords, hotword_weight=0.9)
    log_probs = frames(5, seed, sharpness=1.0)

    def score(text: str, probability: float) -> float:
        words = text.split()
        total = math.log(probability) + 0.9 * sum(word in ("BA", "AB", "B") for word in words) * bool(hotwords)
        if model is None:
            return total
        if kind == "characters":
            return total + 0.7 * model.score_sentence(list(BOUNDARY.join(words))) + 0.4 * len(words)
        unknown = sum(word not in model and not (hotwords and word in ("BA", "AB", "B")) for word in words)
        return total + 0.7 * (model.score_sentence(words) - 1.5 * math.log(10) * unknown) + 0.4 * len(words)

    expected = {text: score(text, probability) for text, probability in texts(log_probs).items()}
    found = search(LETTERS, model, weighed).decode_beams(log_probs)
    assert found[0].text == max(expected, key=lambda text: expected[text])
    assert sorted(hypothesis.text for hypothesis in found) == sorted(expected)
    for hypothesis in found:
        assert hypothesis.score == pytest.approx(expected[hypothesis.text], abs=1e-4)
        assert LETTERS.decode(hypothesis.labels) == hypothesis.text


@BOTH
def test_a_search_under_other_settings_is_as_one_made_with_them(search: MakeSearch) -> None:
    model, other, log_probs = words_model(), replace(ALL, alpha=0.2, beta=-1.0, hotwords=("BA",)), frames(5, seed=1)
    first = search(LETTERS, model, replace(ALL, hotwords=("BA",)))
    assert first.with_settings(other).decode_beams(log_probs) == search(LETTERS, model, other).decode_beams(log_probs)
    assert first.decode_beams(log_probs) != first.with_settings(other).decode_beams(log_probs)
    with pytest.raises(ValueError, match="other hot words"):
        first.with_settings(ALL)


@BOTH
def test_a_boundary_at_the_end_is_no_other_text(search: MakeSearch) -> None:
    """A and A| are one hypothesis, with the labels of the more probable of both."""
    for p_boundary, labels in ((0.4, "A "), (0.2, "A")):
        log_probs = torch.full((2, len(LETTERS.units)), -math.inf)
        a, b = LETTERS.encode("AB")
        log_probs[0, a], log_probs[0, b] = math.log(0.6), math.log(0.4)
        log_probs[1, LETTERS.boundary], log_probs[1, a] = math.log(p_boundary), math.log(0.6 - p_boundary)
        log_probs[1, b] = math.log(0.4)
        for decoded in (
            search(LETTERS, None, ALL).decode(log_probs),
            search(LETTERS, None, ALL).decode_beams(log_probs)[0],
        ):
            assert decoded.text == "A"
            assert decoded.ctc == decoded.score == pytest.approx(math.log(0.6 * 0.6), abs=1e-6)
            assert decoded.labels == tuple(LETTERS.encode(labels))


# units of several letters, some of which begin a word
PIECES = Vocabulary(
    ("<pad>", "<s>", "</s>", "<unk>", "|", " A", " B", "A", "B", "AB", " AB"), splitter=BytePairs(("A", "B"), ())
)


def same(found: list[BeamHypothesis], expected: list[BeamHypothesis]) -> None:
    """The same hypotheses with the same scores, in the same order where scores tell them apart."""
    assert sorted(one.text for one in found) == sorted(one.text for one in expected)
    by_text = {one.text: one for one in expected}
    for one, other in zip(found, expected, strict=True):
        assert one.score == pytest.approx(other.score, abs=1e-9)
        assert one.score == pytest.approx(by_text[one.text].score, abs=1e-9)
        assert one.ctc == pytest.approx(by_text[one.text].ctc, abs=1e-9)
        assert one.labels == by_text[one.text].labels


MODELS = {
    "none": None,
    "one word": words_model(1),
    "words": words_model(3),
    "characters": characters_model(4),
    "no <unk>": NgramModel(({("A",): (-0.5, -0.2), ("AB",): (-1.0, -0.1)}, {("A", "AB"): (-0.2, 0.0)})),
}


@settings(max_examples=120)
@given(
    st.sampled_from(sorted(MODELS)),
    st.booleans(),
    st.integers(1, 40),
    st.integers(0, 10**6),
    st.floats(0.2, 6.0),
    st.sampled_from([1, 2, 5, 16, 64]),
    st.sampled_from([(), ("AB",), ("B", "ABBA A")]),
    st.floats(0.0, 2.0),
    st.floats(-2.0, 2.0),
    st.sampled_from([-math.inf, -10.0, -4.0, 0.0]),
    st.sampled_from([-math.inf, -5.0, -2.0, 0.0]),
)
@example("characters", False, 7, 1, 0.25, 64, (), 0.0, 0.0, -math.inf, -math.inf)  # nothing pruned, some recombined
@example("characters", False, 7, 1, 1.0, 64, (), 0.0, 0.0, -math.inf, -math.inf)
def test_compiled_as_in_python(
    kind: str,
    pieces: bool,
    n_frames: int,
    seed: int,
    sharpness: float,
    width: int,
    hotwords: tuple[str, ...],
    alpha: float,
    beta: float,
    beam_prune_logp: float,
    token_min_logp: float,
) -> None:
    vocabulary = PIECES if pieces else LETTERS
    generator = torch.Generator().manual_seed(seed)
    log_probs = (sharpness * torch.randn(n_frames, len(vocabulary.units), generator=generator)).log_softmax(dim=1)
    options = BeamSettings(
        beam_width=width,
        alpha=alpha,
        beta=beta,
        unk_score_offset=-2.0,
        avg_token_len=2,
        beam_prune_logp=beam_prune_logp,
        token_min_logp=token_min_logp,
        hotwords=hotwords,
        hotword_weight=3.0,
    )
    model = MODELS[kind]
    expected = PythonBeamSearch(vocabulary, model, options).decode_beams(log_probs)
    compiled = BeamSearch(vocabulary, model, options)
    same(compiled.decode_beams(log_probs), expected)
    same([compiled.decode(log_probs)], [PythonBeamSearch(vocabulary, model, options).decode(log_probs)])


@settings(max_examples=60)
@given(
    st.lists(st.lists(st.sampled_from("abcd"), max_size=7), min_size=1, max_size=12),
    st.integers(1, 5),
    st.integers(1, 2),
    st.lists(st.sampled_from("abcdz"), max_size=8),
)
def test_flat_arrays_score_as_the_model(
    sentences: list[list[str]], order: int, min_count: int, sentence: list[str]
) -> None:
    from finetune.decoding.lookup_kernel import score_words

    model = estimate(sentences, order, min_count=min_count)
    flat = FlatNgram.of(model)
    numbers = [flat.words.get(word, flat.unknown) for word in sentence] + [flat.end]
    found = score_words(flat.tables, flat.begin, np.array(numbers, dtype=np.int32))
    assert found == pytest.approx(model.score_sentence(sentence), abs=1e-9)


def test_flat_arrays_of_a_file_that_lacks_contexts(tmp_path: Path) -> None:
    """As pruning by others may leave it: a trigram whose first two words are no bigram, nor its last two."""
    from finetune.decoding.lookup_kernel import score_words

    unigrams = {(word,): (-float(i), -0.1 * i) for i, word in enumerate(("<s>", "</s>", "<unk>", "a", "b", "c"), 1)}
    model = NgramModel(
        (unigrams, {("b", "a"): (-0.5, -0.3)}, {("a", "b", "c"): (-0.25, 0.0), ("b", "a", "b"): (-1, 0)})
    )
    flat = FlatNgram.of(model)
    for sentence in itertools.product("abcz", repeat=4):
        numbers = [*(flat.words.get(word, flat.unknown) for word in sentence), flat.end]
        found = score_words(flat.tables, flat.begin, np.array(numbers, dtype=np.int32))
        assert found == pytest.approx(model.score_sentence(sentence), abs=1e-9)
    with (tmp_path / "some.arpa").open("w") as file:
        write_arpa(model, file)
    read = FlatNgram.of(read_arpa(tmp_path / "some.arpa"))
    assert list(read.words.items()) == list(flat.words.items())
    for own, expected in zip(read.tables, flat.tables, strict=True):
        np.testing.assert_allclose(own, expected, rtol=1e-5, equal_nan=True)


def test_the_hash_table_has_room_for_the_contexts_that_a_file_lacks() -> None:
    """Random n-grams of five words, none of whose beginnings is an n-gram."""
    from finetune.decoding.lookup_kernel import score_words

    unigrams = {(word,): (-float(i), -0.1 * i) for i, word in enumerate(("<s>", "</s>", "<unk>", *"abcd"), 1)}
    generator = np.random.default_rng(0)
    longest = {tuple(generator.choice(list("abcd"), 5).tolist()): (-0.01 * i, 0.0) for i in range(100)}
    model = NgramModel((unigrams, {}, {}, {}, longest))
    flat = FlatNgram.of(model)
    keys = flat.tables.keys
    n_keys = len({ngram[:n] for ngram in longest for n in range(2, 6)})
    assert (keys != -1).sum() == n_keys <= len(keys) / 2
    for sentence in generator.choice(list("abcd"), (200, 8)).tolist():
        numbers = np.array([*(flat.words[word] for word in sentence), flat.end], dtype=np.int32)
        assert score_words(flat.tables, flat.begin, numbers) == pytest.approx(model.score_sentence(sentence), abs=1e-9)


def test_the_hash_table_of_a_complete_model_is_filled_by_a_quarter_and_more_and_its_keys_are_found_at_once() -> None:
    """Also those of a word that follows many contexts."""
    from finetune.decoding.lookup_kernel import find_slot

    words = [f"w{i}" for i in range(2000)]
    flat = FlatNgram.of(estimate([[word, "THE", words[7 * i % 2000]] for i, word in enumerate(words)], 3))
    keys = flat.tables.keys
    (used,) = (keys != -1).nonzero()
    assert len(keys) / 4 < len(used) <= len(keys) / 2
    empty = np.full(len(keys), -1)
    passed = [(slot - find_slot(empty, keys[slot])) % len(keys) for slot in used.tolist()]
    assert np.mean(passed) < 1.0


@settings(max_examples=40)
@given(st.integers(1, 30), st.integers(0, 10**6), st.integers(1, 8))
def test_any_width_ends_in_texts_with_their_probability(n_frames: int, seed: int, width: int) -> None:
    """What is pruned can only be missing from a sum."""
    log_probs = frames(n_frames, seed)
    for hypothesis in BeamSearch(LETTERS, None, BeamSettings(beam_width=width)).decode_beams(log_probs):
        assert hypothesis.ctc <= 1e-4
        labels = LETTERS.encode(hypothesis.text) if hypothesis.text else []
        if n_frames <= 5:
            assert hypothesis.ctc <= math.log(texts(log_probs)[hypothesis.text]) + 1e-4
        assert len(labels) <= n_frames


def misheard(vocabulary: Vocabulary) -> Tensor:
    """Log-probabilities of THE CAT SAT, whose first A is a little less probable than an E."""
    path = vocabulary.encode("THE CAT SAT")
    logits = torch.full((2 * len(path), len(vocabulary.units)), -8.0)
    for place, unit in enumerate(path):
        logits[2 * place, unit] = 0.0
        logits[2 * place + 1, vocabulary.blank] = 0.0
    logits[2 * 5, vocabulary.encode("E")] = 0.4
    return logits.log_softmax(dim=1)


def test_a_language_model_mends_what_was_misheard() -> None:
    vocabulary = Vocabulary.of_characters(["THE CAT SAT"])
    model = estimate([line.split() for line in ("THE CAT SAT", "THE CAT", "A CAT SAT")] * 4, 3)
    log_probs = misheard(vocabulary)
    assert BeamSearch(vocabulary).decode(log_probs).text == "THE CET SAT"
    assert BeamSearch(vocabulary, model).decode(log_probs).text == "THE CAT SAT"


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("unk_score_offset", 1.0, "unk_score_offset is 1; expected 0 or less"),
        ("beam_prune_logp", 1.0, "beam_prune_logp is 1; expected 0 or less"),
        ("token_min_logp", math.nan, "token_min_logp is nan; expected 0 or less"),
        ("beam_width", 0, "beam_width is 0; expected 1 or more"),
        ("alpha", -0.5, "alpha is -0.5; expected 0 or more"),
        ("beta", math.inf, "beta is inf; expected a number"),
        ("hotword_weight", -1.0, "hotword_weight is -1; expected 0 or more"),
    ],
)
def test_settings_out_of_range_are_refused(name: str, value: float, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        BeamSettings(**{name: value})  # type: ignore[arg-type]


@BOTH
def test_frames_that_are_no_probabilities_are_named(search: MakeSearch) -> None:
    log_probs = frames(4, 0)
    log_probs[2, 5] = math.nan
    with pytest.raises(InputError, match=r"frame 2 of 4 holds NaN; expected"):
        search(LETTERS).decode(log_probs)
    log_probs[1] = -math.inf
    with pytest.raises(InputError, match=r"frame 1 of 4 gives no unit a probability"):
        search(LETTERS).decode(log_probs)


@BOTH
def test_nothing_is_heard_in_no_frames(search: MakeSearch) -> None:
    assert search(LETTERS).decode(torch.empty(0, len(LETTERS.units))).text == ""


@BOTH
def test_special_units_are_never_written(search: MakeSearch) -> None:
    log_probs = torch.full((3, len(LETTERS.units)), -20.0)
    log_probs[:, 1] = 0.0  # <s>
    assert search(LETTERS).decode(log_probs).text in ("", "A", "B")


@BOTH
def test_a_tokenizer_may_have_more_units_than_the_output_layer(search: MakeSearch) -> None:
    """As those that add <s> and </s> to a vocabulary after the model was made of it."""
    wider = replace(LETTERS, units=("<pad>", "|", "A", "B", "<s>", "</s>"))
    narrower = replace(LETTERS, units=("<pad>", "|", "A", "B"))
    log_probs = torch.randn(9, 4, generator=torch.Generator().manual_seed(3)).log_softmax(dim=1)
    same(search(wider, words_model()).decode_beams(log_probs), search(narrower, words_model()).decode_beams(log_probs))


def test_hot_words_mend_what_was_misheard() -> None:
    vocabulary = Vocabulary.of_characters(["THE CAT SAT"])
    log_probs = misheard(vocabulary)
    assert BeamSearch(vocabulary).decode(log_probs).text == "THE CET SAT"
    assert BeamSearch(vocabulary, None, BeamSettings(hotwords=("CAT",))).decode(log_probs).text == "THE CAT SAT"


@BOTH
@pytest.mark.parametrize(
    ("hotword", "p_hot", "expected"),
    [
        ("CAP", 0.3, "THE CAP SAT"),  # unknown to the language model: the bonus counts in full
        ("CAP", 0.9, "THE CAP SAT"),
        ("CAPE", 0.99, "THE CAT SAT"),  # CAP has three quarters of the bonus until it ends as another word
        ("CAPE", 0.999, "THE CAT SAT"),
    ],
)
def test_a_hot_word_that_the_language_model_lacks(
    search: MakeSearch, hotword: str, p_hot: float, expected: str
) -> None:
    """The text found is that of a search which prunes nothing by score."""
    vocabulary = Vocabulary.of_characters(["THE CAT SAP"])
    model = estimate([line.split() for line in ("THE CAT SAT", "A CAT SAT", "THE HAT")] * 4, 2)
    path = vocabulary.encode("THE CAP SAT")
    probabilities = torch.full((2 * len(path), len(vocabulary.units)), 1e-6)
    probabilities[1::2, vocabulary.blank] = 1.0
    for place, unit in enumerate(path):
        probabilities[2 * place, unit] = 1.0
    last = 2 * path.index(vocabulary.encode("P")[0])
    probabilities[last, vocabulary.encode("PT")] = torch.tensor([p_hot, 1 - p_hot])
    log_probs = (probabilities / probabilities.sum(dim=1, keepdim=True)).log()
    options = BeamSettings(alpha=0.5, token_min_logp=-8.0, hotwords=(hotword,))
    unpruned = replace(options, beam_width=2000, beam_prune_logp=-60.0)
    for decode in ("decode", "decode_beams"):
        found, best = (getattr(search(vocabulary, model, own), decode)(log_probs) for own in (options, unpruned))
        found, best = (one[0] if decode == "decode_beams" else one for one in (found, best))
        assert found.text == best.text == expected
        assert found.score == pytest.approx(best.score, abs=0.01)


@BOTH
@pytest.mark.parametrize(("beta", "word", "found"), [(15.0, "A", "A B"), (0.0, "BB", "BB B")])
def test_a_word_whose_end_raises_the_score_is_not_pruned_before_it_ends(
    search: MakeSearch, beta: float, word: str, found: str
) -> None:
    """By beta, or as the cost of an unknown word ends with it; the boundary alone is less probable than what is kept of
    the best prefix.
    """
    blank, boundary, b = LETTERS.blank, LETTERS.boundary, LETTERS.encode("B")[0]
    path = [unit for letter in word for unit in (LETTERS.encode(letter)[0], blank)] + [blank, b]
    log_probs = torch.full((len(path), len(LETTERS.units)), -40.0)
    log_probs[range(len(path)), path] = 0.0
    log_probs[-2, boundary] = -12.0
    options = BeamSettings(alpha=0.0, beta=beta, beam_prune_logp=-10.0, token_min_logp=-20.0, hotword_weight=0.0)
    assert found in [one.text for one in search(LETTERS, words_model(), options).decode_beams(log_probs)]


def test_a_long_recording_outgrows_the_first_arrays() -> None:
    log_probs = frames(2000, 3, sharpness=1.0)
    options = BeamSettings(beam_width=128, beta=0.5)
    found = BeamSearch(LETTERS, words_model(), options).decode_beams(log_probs)
    same(found, PythonBeamSearch(LETTERS, words_model(), options).decode_beams(log_probs))


def test_threads_find_the_same() -> None:
    search = BeamSearch(LETTERS, words_model())
    several = [frames(n, n) for n in range(1, 40)]
    assert search.decode_batch(several, threads=4) == [search.decode(one) for one in several]
    assert search.decode_batch([], threads=4) == []


def test_a_search_has_no_more_threads_than_a_containers_quota_grants_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    pools = list[int]()

    class Pool(ThreadPoolExecutor):
        def __init__(self, threads: int) -> None:
            pools.append(threads)
            super().__init__(threads)

    monkeypatch.setattr(beam, "ThreadPoolExecutor", Pool)
    monkeypatch.setattr(beam.torch, "get_num_threads", lambda: 8)
    for quota in (8.0, 2.5):
        monkeypatch.setattr(cores, "_cores", lambda: 8)
        monkeypatch.setattr(cores, "_quota", lambda root, quota=quota: quota)
        BeamSearch(LETTERS).decode_batch([frames(n, n) for n in range(1, 20)])
    assert pools == [8, 2]


def test_what_is_dropped_is_forgotten() -> None:
    """The tree holds the hypotheses and what they share, however long the recording."""
    search = PythonBeamSearch(LETTERS, None, BeamSettings(beam_width=4))
    gc.collect()
    before = sum(type(one).__name__ == "_Prefix" for one in gc.get_objects())
    kept: list[object] = []
    pruned = search._pruned
    search._pruned = lambda prefixes, **options: (
        kept.__setitem__(slice(None), pruned(prefixes, **options)) or list(kept)
    )  # type: ignore
    search.decode_beams(frames(300, 0, sharpness=0.5))
    gc.collect()
    assert sum(type(one).__name__ == "_Prefix" for one in gc.get_objects()) - before < 300 * 4
