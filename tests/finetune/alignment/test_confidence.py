"""Confidence of words and its calibration: closed forms, sklearn-free oracles, and what a fit recovers."""

import itertools
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import optimize

from finetune.alignment.confidence import (
    MEASURES,
    Calibration,
    fit_calibration,
    frame_certainty,
    load_calibration,
    word_confidences,
)
from finetune.alignment.forced import align, align_greedy
from finetune.decoding.beam import BeamSearch
from finetune.decoding.frame_times import FrameTimes
from finetune.metrics.calibration import (
    error_auroc,
    expected_calibration_error,
    normalised_cross_entropy,
    reliability,
)
from finetune.systems.ctc import CTCSystem
from finetune.systems.ctc_decoding import CTCDecoding
from preprocessing.errors import InputError
from preprocessing.units import Vocabulary

VOCABULARY = Vocabulary.of_characters(["AB"])  # <pad> <s> </s> <unk> | A B
A, B, BOUNDARY, BLANK = 5, 6, 4, 0


def frames(*chosen: tuple[int, float]) -> torch.Tensor:
    """Log-probabilities with (unit, its probability) in each frame, and the rest shared evenly."""
    values = torch.stack([torch.full((7,), (1 - p) / 6) for _, p in chosen])
    for row, (unit, p) in zip(values, chosen, strict=True):
        row[unit] = p
    return values.log()


def test_softmax_measures_are_mean_minimum_and_product_of_units() -> None:
    log_probs = frames((A, 0.9), (A, 0.7), (BLANK, 0.5), (B, 0.6), (BOUNDARY, 0.9), (B, 1 - 1e-6))
    words = align(log_probs, "AB B", VOCABULARY, FrameTimes(320, 0.0)).words
    for measure, expected in [("mean", 0.7), ("min", 0.6), ("product", 0.48)]:
        found = word_confidences(log_probs, words, f"softmax {measure}")
        assert found == pytest.approx([expected, 1.0], abs=1e-5)
    with pytest.raises(ValueError, match="is not a confidence measure"):
        word_confidences(log_probs, words, "softmax median")


def test_a_units_confidence_is_the_mean_of_its_frames() -> None:
    """Of all frames at once as of each unit by itself, on random log-probabilities with repeated labels."""
    log_probs = torch.randn(60, 7, generator=torch.Generator().manual_seed(0)).repeat_interleave(3, 0) * 2
    log_probs = log_probs.log_softmax(dim=-1)
    words = align(log_probs, "AB BA A BBA", VOCABULARY, FrameTimes(320, 0.0)).words
    words += align_greedy(log_probs, VOCABULARY, FrameTimes(320, 0.0)).words
    for measure in MEASURES:
        of_frame, of_word = measure.split()
        join = {"mean": np.mean, "min": min, "product": math.prod}[of_word]
        for found, word in zip(word_confidences(log_probs, words, measure), words, strict=True):
            units = []
            for unit in word.units:
                own = log_probs[unit.first_frame : unit.last_frame + 1]
                of_path = own[:, unit.label]
                if of_frame != "softmax":
                    of_path = of_path - own.max(dim=-1).values + frame_certainty(own, of_frame).log()
                units.append(float(of_path.exp().mean()))
            assert found == pytest.approx(join(units), abs=1e-6)
    assert word_confidences(log_probs, []) == []


@pytest.mark.parametrize("measure", ["gibbs", "tsallis"])
def test_certainty_is_0_for_equal_probabilities_and_1_for_one_unit(measure: str) -> None:
    certain = torch.tensor([0.0, *[-math.inf] * 6])
    values = frame_certainty(torch.stack([torch.full((7,), 1 / 7).log(), certain, frames((A, 0.6))[0]]), measure)
    assert values.tolist()[:2] == pytest.approx([0.0, 1.0], abs=1e-5)
    p = [0.6, *[0.4 / 6] * 6]
    if measure == "gibbs":
        entropy, highest = -sum(x * math.log(x) for x in p), math.log(7)
    else:  # Laptev & Ginsburg 2022, equation 4, with alpha 1/3
        entropy, highest = ((sum(x ** (1 / 3) for x in q) - 1) / (2 / 3) for q in (p, [1 / 7] * 7))
    expected = (math.exp(-entropy) - math.exp(-highest)) / (1 - math.exp(-highest))
    assert float(values[2]) == pytest.approx(expected, rel=1e-4)


def test_an_aligned_word_that_is_not_heard_has_less_confidence_under_every_measure() -> None:
    log_probs = frames((A, 0.9), (BOUNDARY, 0.9), (A, 0.9))
    words = align(log_probs, "A B", VOCABULARY, FrameTimes(320, 0.0)).words
    for measure in MEASURES:
        heard, other = word_confidences(log_probs, words, measure)
        assert 0 <= other < 0.2 * heard < heard <= 1


def test_metrics_by_their_definitions() -> None:
    generator = np.random.default_rng(0)
    confidences = generator.random(300).round(2)
    correct = generator.random(300) < confidences
    pairs = itertools.product(confidences[correct], confidences[~correct])
    by_pairs = np.mean([1.0 if right > wrong else 0.5 if right == wrong else 0.0 for right, wrong in pairs])
    assert error_auroc(confidences, correct) == pytest.approx(by_pairs)
    accuracy = correct.mean()
    assert normalised_cross_entropy([accuracy] * 300, correct) == pytest.approx(0.0)
    assert normalised_cross_entropy(correct.astype(float), correct) == pytest.approx(1.0, abs=1e-4)
    assert normalised_cross_entropy((~correct).astype(float), correct) < 0
    assert expected_calibration_error([0.75] * 4, [True, True, True, False]) == pytest.approx(0.0)
    bins = reliability(confidences, correct)
    assert sum(one.count for one in bins) == 300
    assert all(one.low <= one.confidence <= one.high for one in bins)
    assert math.isnan(error_auroc([0.5], [True]))
    with pytest.raises(ValueError, match="expected one of each"):
        error_auroc([], [])


def test_calibration_recovers_the_line_that_made_the_data(tmp_path) -> None:
    generator = np.random.default_rng(1)
    made = Calibration("softmax mean", 0.6, -0.8)
    confidences = generator.uniform(0.05, 0.999, 20_000)
    correct = generator.random(20_000) < made(confidences)
    fitted = fit_calibration("softmax mean", confidences, correct)
    assert (fitted.scale, fitted.offset) == (pytest.approx(0.6, abs=0.05), pytest.approx(-0.8, abs=0.06))
    assert expected_calibration_error(fitted(confidences), correct) < 0.015
    fitted.save(tmp_path)
    assert load_calibration(str(tmp_path)) == fitted
    assert load_calibration(str(tmp_path / "none")) is None
    assert load_calibration(str(tmp_path), of_search=True) is None
    made.save(tmp_path, of_search=True)
    assert load_calibration(str(tmp_path), of_search=True) == made and load_calibration(str(tmp_path)) == fitted
    (tmp_path / "confidence.json").write_text('{"measure": "softmax mean"}')
    with pytest.raises(InputError, match="is not a calibration file"):
        load_calibration(str(tmp_path))


class Given(CTCSystem):
    """A CTC system whose waveforms are its frames."""

    def __init__(self, checkpoint: Path, search: BeamSearch | None, has_language_model: bool = False) -> None:
        super().__init__(VOCABULARY, CTCDecoding(str(checkpoint), "", search, has_language_model), FrameTimes(320, 0.0))

    def features(self, waveforms: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        return list(waveforms)

    def _frames(self, features: list[torch.Tensor], **_: object) -> list[torch.Tensor]:
        return features


@pytest.mark.parametrize(("searched", "has_language_model"), [(False, False), (True, False), (True, True)])
def test_words_of_a_language_model_have_a_measure_and_a_calibration_of_their_own(
    tmp_path: Path, searched: bool, has_language_model: bool
) -> None:
    log_probs = frames((A, 0.9), (B, 0.6), (BOUNDARY, 0.9), (B, 0.8))
    words = align(log_probs, "AB B", VOCABULARY, FrameTimes(320, 0.0)).words
    expected = word_confidences(log_probs, words, "gibbs mean" if has_language_model else "gibbs min")
    search = BeamSearch(VOCABULARY) if searched else None

    def found() -> list[float | None]:
        (transcript,) = Given(tmp_path, search, has_language_model).transcribe([log_probs])
        assert transcript.text == "AB B"
        return [word.probability for one in transcript.segments for word in one.words or ()]

    assert found() == pytest.approx(expected)
    for of_search, offset in ((False, 5.0), (True, -5.0)):  # sigmoid: 0.993 and 0.007 of every word
        Calibration("softmax mean", scale=0.0, offset=offset).save(tmp_path, of_search=of_search)
    assert found() == pytest.approx([0.0067 if has_language_model else 0.9933] * 2, abs=1e-4)


@pytest.mark.parametrize("searched", [False, True])
def test_words_of_a_script_without_spaces_are_its_characters(searched: bool) -> None:
    """A phrase of Chinese is no word: subtitles and times are by character, and Latin words in it stay whole."""
    vocabulary = Vocabulary.of_characters(["今天用WIFI เก้า"])
    text = "今天用WIFI今天 เก้า WIFI"
    path = [unit for label in vocabulary.encode(text) for unit in (label, vocabulary.blank)]
    log_probs = torch.full((len(path), len(vocabulary.units)), -9.0)
    log_probs[torch.arange(len(path)), torch.tensor(path)] = 0.0
    log_probs = log_probs.log_softmax(dim=1)
    times = FrameTimes(320 * 25, 160 * 25)  # half a second each
    system = Given(Path("none"), BeamSearch(vocabulary) if searched else None)
    system.vocabulary, system.times = vocabulary, times
    (transcript,) = system.transcribe([log_probs])
    words = [word for segment in transcript.segments for word in segment.words or ()]
    assert transcript.text == text
    assert [word.word for word in words] == [
        " 今", "天", "用", "WIFI", "今", "天", " เ", "ก้", "า", " WIFI"
    ]  # fmt: skip
    assert "".join(segment.text for segment in transcript.segments) == f" {text}"
    found = align_greedy(log_probs, vocabulary, times, splits_unspaced=True).words
    assert [word.start for word in words] == [word.start for word in found]
    assert [time for word in found[:3] for time in (word.start, word.end)] == pytest.approx(
        [0.0, 0.62, 0.92, 1.62, 1.92, 2.62]
    )
    assert [word.text for word in align(log_probs, text, vocabulary, times).words] == text.split()


def test_a_calibration_of_few_words_has_the_least_log_loss_of_platts_targets() -> None:
    """Six words, four of them right: a right word's target is 5/6, a wrong one's 1/4."""
    confidences, correct = [0.3, 0.55, 0.6, 0.8, 0.9, 0.97], [False, True, False, True, True, True]
    targets = np.where(correct, 5 / 6, 1 / 4)
    inputs = np.log(confidences) - np.log1p(-np.array(confidences))

    def loss(line: Sequence[float]) -> float:
        values = line[0] * inputs + line[1]
        return float(np.sum(np.logaddexp(0.0, values) - targets * values))

    expected = optimize.minimize(loss, [0.0, 0.0]).x
    found = fit_calibration("softmax mean", confidences, correct)
    assert (found.scale, found.offset) == pytest.approx(tuple(expected), abs=1e-3)


def test_calibration_of_separable_words_is_finite_and_of_one_kind_refused() -> None:
    separable = fit_calibration("softmax mean", [0.1, 0.2, 0.8, 0.9], [False, False, True, True])
    assert np.isfinite([separable.scale, separable.offset]).all()
    with pytest.raises(InputError, match="2 words are right and 0 wrong"):
        fit_calibration("softmax mean", [0.5, 0.6], [True, True])
