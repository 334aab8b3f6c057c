"""A corpus and a recipe as studies refer to them, transcripts, and errors drawn at random."""

import numpy as np

from benchmark.results import NO_SECONDS, Sample
from experiments.harness.comparing import Errors
from experiments.harness.transcripts import CorpusUsed
from experiments.study_pages import seeds as seeds_page

TESTED = CorpusUsed("test", 60, 7.7, 6, "speaker")
MINE = seeds_page.Trained("mine", "lstm", "", 100, 0.5)


def drawn(n_runs: int, seed: int, level: float = 0.2, deviation: float = 0.0) -> Errors:
    """Errors of 120 utterances of 10 words by 12 speakers; each run deviates by its own factor."""
    generator = np.random.default_rng(seed)
    speakers = [f"s{place % 12}" for place in range(120)]
    runs = []
    for _ in range(n_runs):
        own = np.clip(level * np.exp(deviation * generator.standard_normal()), 0, 1)
        runs.append(generator.binomial(10, own, 120).tolist())
    return Errors(runs, [10] * 120, list(speakers))


def written(utterance: str, reference: str, hypothesis: str) -> Sample:
    return Sample("s", utterance, reference, hypothesis, 1.0, NO_SECONDS, "one")
