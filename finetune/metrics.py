"""WER and CER of a corpus as an evaluate metric; counts of all utterances are added before dividing."""

from collections.abc import Sequence
from typing import Any

import datasets
import evaluate

from finetune.errors import ErrorCounts, character_errors, word_errors


class ErrorRates(evaluate.Metric):  # type: ignore[misc]
    """WER and CER of a corpus as an evaluate metric, which needs no download.

    `compute(predictions=[...], references=[...])` returns {"wer", "cer", "substitutions", "deletions", "insertions",
    "words"}; the counts are of words.
    """

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description="Word and character error rate over a corpus, counted by jiwer",
            citation="",
            inputs_description="predictions and references: normalised texts, in the same order",
            features=datasets.Features(
                {"predictions": datasets.Value("string"), "references": datasets.Value("string")}
            ),
        )

    def _compute(self, predictions: Sequence[str], references: Sequence[str]) -> dict[str, Any]:
        pairs = list(zip(references, predictions, strict=True))
        words = sum((word_errors(*pair) for pair in pairs), ErrorCounts())
        characters = sum((character_errors(*pair) for pair in pairs), ErrorCounts())
        return {
            "wer": words.rate,
            "cer": characters.rate,
            "substitutions": words.substitutions,
            "deletions": words.deletions,
            "insertions": words.insertions,
            "words": words.reference_length,
        }
