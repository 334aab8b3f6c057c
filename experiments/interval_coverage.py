"""`python -m experiments.interval_coverage`: how often intervals hold the truth and verdicts are false.

Test sets are simulated: each speaker has an error rate of their own (a beta distribution), 10 to 39 utterances of 3 to
30 words; two equal systems do better or worse with each speaker by luck. No audio, no model.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from preprocessing.cli.options import parse_command, run_command

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


DESCRIPTION = "Coverage of the 95 % intervals, and false alarms between equal systems, by the number of speakers."
SYSTEM_LUCK = 0.3  # standard deviation of the logarithm of a system's error rate with one speaker
LEAST_UTTERANCES, MOST_UTTERANCES = 10, 39
SHORTEST, LONGEST = 3, 30  # words in an utterance


@dataclass(frozen=True)
class CoverageConfig:
    """What is simulated."""

    speakers: list[int] = field(default_factory=lambda: [5, 8, 12, 20, 40, 60])
    """Numbers of speakers in a test set."""

    wer: float = 0.1
    """The true one, over all speakers."""

    concentration: float = 20.0
    """How alike speakers are: a + b of the beta distribution of their error rates."""

    trials: int = 2000
    """Test sets for each number of speakers."""

    seed: int = 0
    """Of the test sets."""


class Voices:
    """Draws test sets of `n_speakers`, a row a speaker: intervals draw speakers, and take only their sums."""

    def __init__(self, n_speakers: int, wer: float, concentration: float, seed: int) -> None:
        import numpy as np

        self.n_speakers, self.wer, self.concentration = n_speakers, wer, concentration
        self.generator = np.random.default_rng(seed)
        self.names = [f"s{index}" for index in range(n_speakers)]

    def words(self) -> "NDArray[np.int64]":
        """Reference words of each speaker."""
        utterances = self.generator.integers(LEAST_UTTERANCES, MOST_UTTERANCES + 1, self.n_speakers)
        words = self.generator.integers(SHORTEST, LONGEST + 1, (self.n_speakers, MOST_UTTERANCES))
        words[range(MOST_UTTERANCES) >= utterances[:, None]] = 0
        each: NDArray[np.int64] = words.sum(axis=1)
        return each

    def speaker_rates(self) -> "NDArray[np.float64]":
        a, b = self.wer * self.concentration, (1 - self.wer) * self.concentration
        return self.generator.beta(a, b, self.n_speakers)

    def errors(
        self, words: "NDArray[np.int64]", speaker_rates: "NDArray[np.float64]", luck: float = 0.0
    ) -> "NDArray[np.int64]":
        """Errors of a system on each speaker; with `luck`, it has good and bad ones among them."""
        import numpy as np

        own = speaker_rates * np.exp(luck * self.generator.standard_normal(self.n_speakers))
        return self.generator.binomial(words, np.clip(own, 0, 1))


@dataclass(frozen=True)
class Covered:
    """Shares of test sets: `ours`, `percentile`: whose interval of a WER holds the true one, by our method and by
    percentiles of the draws; `alarms`: in which two equal systems are called different; `excluded`: in which the
    interval of their difference leaves zero out.
    """

    speakers: int
    ours: float
    percentile: float
    alarms: float
    excluded: float


def simulate(voices: Voices, trials: int, draws: int = 1000) -> Covered:
    """The shares in so many test sets."""
    import numpy as np

    from finetune.metrics import difference, matched_pairs, rate, resample

    ours = percentile = alarms = excluded = 0
    for trial in range(trials):
        words, rates = voices.words(), voices.speaker_rates()
        errors = voices.errors(words, rates)
        drawn = resample(voices.names, seed=trial, draws=draws)
        found = rate(errors.tolist(), words.tolist(), drawn)
        ours += found.low <= voices.wer <= found.high
        totals = drawn.weights @ drawn.totals(errors, words)
        low, high = np.quantile(totals[:, 0] / totals[:, 1], [0.025, 0.975])
        percentile += bool(low <= voices.wer <= high)
        one, two = (voices.errors(words, rates, SYSTEM_LUCK).tolist() for _ in range(2))
        apart = difference(one, two, words.tolist(), drawn)
        alarms += matched_pairs(one, two, drawn) < 0.05
        excluded += not apart.low <= 0 <= apart.high
    return Covered(voices.n_speakers, ours / trials, percentile / trials, alarms / trials, excluded / trials)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a line for each number of speakers."""
    config = parse_command(
        CoverageConfig,
        program="python -m experiments.interval_coverage",
        description=DESCRIPTION,
        arguments=arguments,
    )
    print("| speakers | interval of WER holds the truth | percentiles of the draws would | equal systems told apart |")
    print("|---:|---:|---:|---:|")
    for n_speakers in config.speakers:
        voices = Voices(n_speakers, config.wer, config.concentration, config.seed)
        found = simulate(voices, config.trials)
        print(f"| {n_speakers} | {found.ours:.1%} | {found.percentile:.1%} | {found.alarms:.1%} |", flush=True)


if __name__ == "__main__":
    run_command(main)
