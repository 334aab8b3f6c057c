"""Word and character error rate of a corpus as a metric of the `evaluate` library.

A file of its own because `evaluate` and `datasets` take seconds and hundreds of megabytes to import: what only counts
errors (`finetune.metrics.error_rates`), such as the benchmark's scoring, does without them.
"""

from collections.abc import Sequence
from typing import Any

import datasets
import evaluate
import jiwer

from finetune.metrics.error_rates import ErrorCounts


class ErrorRates(evaluate.Metric):  # type: ignore[misc]
    """WER and CER of a corpus as a metric of `evaluate` that needs no download; jiwer counts.

    `compute(predictions=[...], references=[...])` of normalised texts returns {"wer", "cer", "substitutions",
    "deletions", "insertions", "words"}: rates as fractions, of the errors of all utterances over the length of all
    references; counts and `words` (of the references) by words. With `spaces=False`, CER is of characters without
    spaces, as in languages that are written without them.
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

    def _compute(self, predictions: Sequence[str], references: Sequence[str], spaces: bool = True) -> dict[str, Any]:
        texts = [[" ".join(text.split()) for text in column] for column in (references, predictions)]
        characters = texts if spaces else [["".join(text.split()) for text in column] for column in texts]
        words = _of_jiwer(jiwer.process_words(*texts))
        return {
            "wer": words.rate,
            "cer": _of_jiwer(jiwer.process_characters(*characters)).rate,
            "substitutions": words.substitutions,
            "deletions": words.deletions,
            "insertions": words.insertions,
            "words": words.reference_length,
        }


def _of_jiwer(output: Any) -> ErrorCounts:
    return ErrorCounts(output.hits, output.substitutions, output.deletions, output.insertions)
