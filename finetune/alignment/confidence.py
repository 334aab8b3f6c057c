"""How certain a CTC model is of each word: measures of a word's frames, and their calibration to probabilities.

A measure is a confidence of each frame, of 0 to 1, and how those of a word become one. Frames: the softmax of the unit
on the path, or entropies of all units, normalised exponentially to 0 for equal probabilities and 1 for certainty
(Laptev & Ginsburg 2022, arXiv 2212.08703, sections 3.2 and 3.3): Gibbs's (Shannon's), and Tsallis's with alpha 1/3.
Where the unit on the path is not the frame's best, as in the alignment of a given text, an entropy's confidence is
multiplied by the ratio of their probabilities. Blanks are left out. A unit has the mean of its frames, a word the mean,
the minimum or the product of its units.

`DEFAULT` is for greedy words of models without a calibration: of all measures its values are most nearly probabilities
as they are, on LibriSpeech and on digits; also for those of a search for hot words without a language model, whose
other words are the greedy ones. `DEFAULT_OF_SEARCH` is that for words that a language model has chosen: one letter of a
right word that the audio contradicts, which the minimum goes by, then says little. Calibrated, Tsallis's entropies
explain more; `python -m experiments.confidence --save true` chooses the best measure for a model.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from finetune.alignment.forced import AlignedWord
from preprocessing.errors import InputError
from preprocessing.storage.atomic_write import write_text_atomically
from preprocessing.storage.model_file import find_model_file

FRAME_MEASURES = ("softmax", "gibbs", "tsallis")
WORD_MEASURES = ("mean", "min", "product")
MEASURES = tuple(f"{frame} {word}" for frame in FRAME_MEASURES for word in WORD_MEASURES)
DEFAULT, DEFAULT_OF_SEARCH = "gibbs min", "gibbs mean"
TSALLIS_ALPHA = 1 / 3
CALIBRATION, CALIBRATION_OF_SEARCH = "confidence.json", "confidence-lm.json"  # in a model's folder
LEAST = 1e-6  # confidences are kept this far from 0 and 1 before their log-odds are taken


def word_confidences(log_probs: Tensor, words: Sequence[AlignedWord], measure: str = DEFAULT) -> list[float]:
    """The confidence of each aligned word, 0 to 1, not calibrated.

    log_probs: [frames, units], natural. Raises ValueError on an unknown measure.
    """
    if measure not in MEASURES:
        raise ValueError(f"{measure!r} is not a confidence measure; expected one of {', '.join(MEASURES)}")
    of_frame, of_word = measure.split()
    units = [unit for word in words for unit in word.units]
    frames = [frame for unit in units for frame in range(unit.first_frame, unit.last_frame + 1)]
    labels = [unit.label for unit in units for _ in range(unit.first_frame, unit.last_frame + 1)]
    confidences = log_probs[frames, labels]  # of all units' frames at once: a call for each costs more than it does
    if of_frame == "softmax":
        confidences = confidences.exp()
    else:
        certain, best = frame_certainty(log_probs, of_frame), log_probs.amax(dim=-1)
        confidences = certain[frames] * (confidences - best[frames]).exp()
    of_frames, place, found = confidences.tolist(), 0, []
    for word in words:
        means = []
        for unit in word.units:
            stop = place + unit.last_frame - unit.first_frame + 1
            means.append(of_frames[place] if stop == place + 1 else float(confidences[place:stop].mean()))
            place = stop
        found.append(_joined(means, of_word))
    return found


def frame_certainty(log_probs: Tensor, measure: str) -> Tensor:
    """[frames, units] -> [frames], 1 where all probability is on one unit, 0 where all units have the same.

    measure: gibbs or tsallis; both normalised exponentially: (exp(-H) - exp(-H_max)) / (1 - exp(-H_max)).
    """
    n_units = log_probs.shape[-1]
    if measure == "gibbs":
        entropy = torch.special.entr(log_probs.exp()).sum(dim=-1)
        highest = math.log(n_units)
    else:
        entropy = ((TSALLIS_ALPHA * log_probs).exp().sum(dim=-1) - 1) / (1 - TSALLIS_ALPHA)
        highest = (n_units ** (1 - TSALLIS_ALPHA) - 1) / (1 - TSALLIS_ALPHA)
    lowest = math.exp(-highest)
    return ((torch.exp(-entropy) - lowest) / (1 - lowest)).clamp(0.0, 1.0)


def _joined(units: Sequence[float], of_word: str) -> float:
    if of_word == "mean":
        return sum(units) / len(units)
    return min(units) if of_word == "min" else math.prod(units)


@dataclass(frozen=True, slots=True)
class Calibration:
    """A confidence as a probability of the word being right: sigmoid(scale * log-odds + offset) (Platt 1999).

    measure: that of the confidences.
    """

    measure: str
    scale: float
    offset: float

    def __call__(self, confidences: Sequence[float]) -> NDArray[np.float64]:
        """Probabilities of raw confidences."""
        return 1.0 / (1.0 + np.exp(-(self.scale * log_odds(confidences) + self.offset)))

    def save(self, folder: Path, *, of_search: bool = False) -> None:
        """Write it into a model's folder, where `load_calibration` finds it."""
        path = folder / (CALIBRATION_OF_SEARCH if of_search else CALIBRATION)
        write_text_atomically(path, json.dumps(asdict(self), indent=1) + "\n")


def load_calibration(reference: str, *, of_search: bool = False) -> Calibration | None:
    """The calibration in a model's folder or Hub repository, for greedy words or those of a search with a language
    model; None where there is none. Raises InputError on one that cannot be read.
    """
    path = find_model_file(reference, CALIBRATION_OF_SEARCH if of_search else CALIBRATION)
    if path is None:
        return None
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        found = Calibration(str(values["measure"]), float(values["scale"]), float(values["offset"]))
        if found.measure not in MEASURES:
            raise ValueError(f"measure {found.measure!r}")
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path}: is not a calibration file ({error}); expected what `python -m experiments.confidence --save "
            "true` writes: write it again, or remove it"
        ) from error
    return found


def fit_calibration(measure: str, confidences: Sequence[float], correct: Sequence[bool]) -> Calibration:
    """The calibration with the least log loss on words of which is known whether they are right, by Newton's method.

    Targets are Platt's: (n + 1) / (n + 2) of right and 1 / (n + 2) of wrong words, so that data that a confidence
    separates do not make it certain. Raises InputError where all words are right, or none.
    """
    right = np.asarray(correct, dtype=bool)
    n_right, n_wrong = int(right.sum()), int((~right).sum())
    if not n_right or not n_wrong:
        raise InputError(
            f"{n_right} words are right and {n_wrong} wrong; expected some of each to calibrate confidence: take more "
            "or harder speech"
        )
    targets = np.where(right, (n_right + 1) / (n_right + 2), 1 / (n_wrong + 2))
    inputs = np.stack([log_odds(confidences), np.ones(len(right))], axis=1)
    weights = np.zeros(2)
    for _ in range(100):
        predicted = 1 / (1 + np.exp(-inputs @ weights))
        slope = inputs.T @ (predicted - targets) + 1e-6 * weights
        curvature = (inputs * (predicted * (1 - predicted))[:, None]).T @ inputs + 1e-6 * np.eye(2)
        step = np.linalg.solve(curvature, slope)
        step *= min(1.0, 2.0 / max(np.abs(step).max(), 1e-12))
        weights -= step
        if np.abs(step).max() < 1e-9:
            break
    return Calibration(measure, float(weights[0]), float(weights[1]))


def log_odds(confidences: Sequence[float]) -> NDArray[np.float64]:
    """ln(p / (1 - p)), with p kept LEAST away from 0 and 1."""
    values = np.clip(np.asarray(confidences, dtype=np.float64), LEAST, 1 - LEAST)
    return np.log(values) - np.log1p(-values)
