"""How often is an interval or a verdict wrong, and how often is a difference found?

How often 95 % intervals contain the true WER, how often the test calls two equal systems different, and how often it
finds a difference of the size that it should find in 80 of 100 test sets. Test sets are simulated: each speaker has an
error rate of their own (a beta distribution), some utterances of some words; two equally good systems differ at
random from speaker to speaker. No audio, no model.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

from experiments.harness.command import ExperimentOptions, progress, run_experiment
from experiments.harness.figures import Findings, Table
from preprocessing.cli.options import check_counts, check_ranges, run_command
from preprocessing.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

DURATION = "half a minute"
SYSTEM_LUCK = 0.3  # standard deviation of the logarithm of a system's error rate with one speaker
LEVEL = 0.05  # of the test; intervals are of 95 %
QUICK_TRIALS = 100
LARGEST_VARIATION = 5.0


@dataclass(frozen=True)
class Config(ExperimentOptions):
    """What is simulated."""

    speakers: list[int] = field(default_factory=lambda: [5, 8, 12, 20, 40, 60])
    """Numbers of speakers in a test set."""

    wer: float = 0.1
    """True WER over all speakers."""

    concentration: float = 20.0
    """Concentration a + b of the beta distribution of the speakers' error rates; higher is more alike."""

    utterances: list[int] = field(default_factory=lambda: [10, 39])
    """Fewest and most utterances of a speaker."""

    words: list[int] = field(default_factory=lambda: [3, 30])
    """Fewest and most words of an utterance; [1,1]: commands."""

    variation: float = 0.0
    """Coefficient of variation of a further factor in each speaker's number of words (a gamma distribution); 0: none,
    1: a few speakers have most of the speech."""

    trials: int = 2000
    """Test sets for each number of speakers; with --quick at most 100."""

    seed: int = 0
    """Seed of the test sets."""


@dataclass(frozen=True)
class Coverage:
    """Shares of simulated test sets, 0 to 1.

    studentised, percentile: whose interval of a WER holds the true one, by this project's method and by percentiles of
    the bootstrap draws. alarms: in which two equal systems are called different. counts: in which the test of Gillick &
    Cox, which compares numbers of errors, would do so. found: in which the minimum detectable difference is found.
    """

    speakers: int
    studentised: float
    percentile: float
    alarms: float
    counts: float
    found: float


def run(config: Config) -> Findings:
    """Simulate every number of speakers in turn."""
    check_counts(("--trials", config.trials, 1))
    check_ranges(
        ("--wer", config.wer, "above 0, below 1", 0 < config.wer < 1),
        ("--concentration", config.concentration, "above 0", config.concentration > 0),
        ("--variation", config.variation, f"0 to {LARGEST_VARIATION:g}", 0 <= config.variation <= LARGEST_VARIATION),
    )
    for flag, ends in (("--utterances", config.utterances), ("--words", config.words)):
        if not (len(ends) == 2 and 1 <= ends[0] <= ends[1]):
            raise UsageError(
                f"{flag} is {ends}; expected two numbers, the fewest and the most, as in [1,30]: give both"
            )
    trials = min(config.trials, QUICK_TRIALS) if config.quick else config.trials
    found = [simulate(Voices(n_speakers, config), trials) for n_speakers in config.speakers]
    headings = (
        "speakers",
        "interval holds the true WER",
        "percentiles would",
        "equal systems called different",
        "Gillick & Cox would",
        "detectable differences found",
    )
    rows = [
        (
            str(one.speakers),
            *(f"{share:.1%}" for share in (one.studentised, one.percentile, one.alarms, one.counts, one.found)),
        )
        for one in found
    ]
    return Findings(
        "Coverage of 95 % intervals",
        f"{trials} test sets a row, true WER {config.wer:.1%}, concentration {config.concentration:g}, variation "
        f"{config.variation:g}; {'-'.join(map(str, config.utterances))} utterances a speaker, "
        f"{'-'.join(map(str, config.words))} words each",
        tables=[Table(headings, rows)],
        details={"coverage": [asdict(one) for one in found]},
        draw=lambda axes: _draw(axes, found),
    )


class Voices:
    """Draws test sets of `n_speakers`, one row per speaker: the bootstrap draws speakers and needs only their sums."""

    def __init__(self, n_speakers: int, config: Config) -> None:
        import numpy as np

        self.n_speakers, self.config = n_speakers, config
        self.generator = np.random.default_rng(config.seed)
        self.names = [f"s{index}" for index in range(n_speakers)]

    def words(self) -> "NDArray[np.int64]":
        """Number of reference words of each speaker, [speakers]."""
        import numpy as np

        (fewest, most), (shortest, longest) = self.config.utterances, self.config.words
        utterances = self.generator.integers(fewest, most + 1, self.n_speakers)
        words = self.generator.integers(shortest, longest + 1, (self.n_speakers, most))
        words[range(most) >= utterances[:, None]] = 0
        each: NDArray[np.int64] = words.sum(axis=1)
        if variation := self.config.variation:
            factors = self.generator.gamma(variation**-2, variation**2, self.n_speakers)
            each = np.maximum(np.rint(each * factors), shortest).astype(np.int64)
        return each

    def speaker_rates(self) -> "NDArray[np.float64]":
        """The true error rate of each speaker, [speakers]."""
        wer, concentration = self.config.wer, self.config.concentration
        return self.generator.beta(wer * concentration, (1 - wer) * concentration, self.n_speakers)

    def errors(
        self, words: "NDArray[np.int64]", speaker_rates: "NDArray[np.float64]", deviation: float = 0.0
    ) -> "NDArray[np.int64]":
        """Word errors of one system on each speaker, [speakers]. deviation: of its rate from speaker to speaker."""
        import numpy as np

        own = speaker_rates * np.exp(deviation * self.generator.standard_normal(self.n_speakers))
        return self.generator.binomial(words, np.clip(own, 0, 1))


def simulate(voices: Voices, trials: int, draws: int = 1000) -> Coverage:
    """The shares over `trials` test sets, with intervals from `draws` bootstrap draws each."""
    import numpy as np
    from scipy.stats import ttest_rel

    from finetune.metrics import detectable, matched_pairs, rate, resample, standard_error

    wer = voices.config.wer
    studentised = percentile = alarms = counts = detected = 0
    with progress(f"{voices.n_speakers} speakers", trials, "test sets") as advance:
        for trial in range(trials):
            words, rates = voices.words(), voices.speaker_rates()
            errors = voices.errors(words, rates)
            drawn = resample(voices.names, seed=trial, draws=draws)
            found = rate(errors.tolist(), words.tolist(), drawn)
            studentised += found.low <= wer <= found.high
            totals = drawn.weights @ drawn.totals(errors, words)
            low, high = np.quantile(totals[:, 0] / totals[:, 1], [LEVEL / 2, 1 - LEVEL / 2])
            percentile += bool(low <= wer <= high)
            one, two = (voices.errors(words, rates, SYSTEM_LUCK) for _ in range(2))
            lengths = words.tolist()
            alarms += matched_pairs(one.tolist(), two.tolist(), lengths, drawn) < LEVEL
            counts += bool(ttest_rel(one, two).pvalue < LEVEL)
            value = float(detectable(standard_error(one.tolist(), two.tolist(), lengths, drawn), n_words=words.sum()))
            worse = two + np.diff(np.rint(value * np.cumsum(words)), prepend=0).astype(np.int64)
            detected += matched_pairs(one.tolist(), worse.tolist(), lengths, drawn) < LEVEL
            advance(1)
    shares = (count / trials for count in (studentised, percentile, alarms, counts, detected))
    return Coverage(voices.n_speakers, *shares)


def _draw(axes: "Axes", found: Sequence[Coverage]) -> None:
    """Coverage of both intervals by the number of speakers, and the 95 % that they promise."""
    from preprocessing.plot_style import PALETTE

    speakers = [one.speakers for one in found]
    axes.axhline(100 * (1 - LEVEL), color=PALETTE.grid)
    for place, (label, values) in enumerate(
        (
            ("studentised", [100 * one.studentised for one in found]),
            ("percentiles of the draws", [100 * one.percentile for one in found]),
        )
    ):
        axes.plot(speakers, values, color=PALETTE.of(place), marker="o", label=label)
    axes.set(xlabel="speakers in a test set", ylabel="intervals that hold the true WER, %")
    axes.legend(frameon=False)


def main(arguments: Sequence[str] | None = None) -> None:
    run_experiment(Config, run, __doc__, __file__, arguments)


if __name__ == "__main__":
    run_command(main)
