"""Simulated test sets whose truth is known: 93 to 97 of 100 intervals hold it, at most 6 of 100 verdicts are false."""

import numpy as np
import pytest

from experiments.interval_coverage import SYSTEM_LUCK, Config, Voices, simulate
from experiments.interval_coverage import main as command
from finetune.metrics import detectable, holm, matched_pairs, resample, standard_error
from preprocessing.errors import UsageError


@pytest.mark.parametrize(("n_speakers", "wer", "concentration"), [(20, 0.1, 20), (40, 0.05, 20), (60, 0.3, 8)])
def test_from_20_speakers_on(n_speakers: int, wer: float, concentration: float) -> None:
    found = simulate(
        Voices(n_speakers, Config(wer=wer, concentration=concentration, seed=n_speakers)), trials=600, draws=500
    )
    assert 0.93 <= found.studentised <= 0.97
    found = simulate(
        Voices(n_speakers, Config(wer=wer, concentration=concentration, seed=n_speakers)), trials=2000, draws=2
    )
    assert 0.03 <= found.alarms <= 0.06
    assert 0.03 <= found.counts <= 0.06


def test_with_8_speakers_the_studentised_interval_holds_where_percentiles_do_not() -> None:
    found = simulate(Voices(8, Config(wer=0.1, concentration=20, seed=8)), trials=600, draws=500)
    assert found.percentile < 0.89
    assert 0.92 <= found.studentised <= 0.97
    assert found.alarms <= 0.06


@pytest.mark.parametrize(("n_speakers", "variation"), [(5, 1.0), (8, 1.0), (12, 2.0), (40, 1.0)])
def test_where_a_few_speakers_have_most_of_the_speech_the_test_keeps_its_level(
    n_speakers: int, variation: float
) -> None:
    """Comparing numbers of errors, as Gillick & Cox do, stays far below it with few speakers, and so finds less."""
    found = simulate(
        Voices(n_speakers, Config(wer=0.1, concentration=20, seed=8, variation=variation)), trials=2000, draws=2
    )
    assert 0.02 <= found.alarms <= 0.06
    assert found.counts <= found.alarms


@pytest.mark.parametrize(("n_speakers", "variation"), [(8, 1.0), (12, 2.0)])
def test_where_a_few_speakers_have_most_of_the_speech_the_interval_holds(n_speakers: int, variation: float) -> None:
    found = simulate(
        Voices(n_speakers, Config(wer=0.1, concentration=20, seed=8, variation=variation)), trials=600, draws=500
    )
    assert 0.93 <= found.studentised <= 0.98
    assert found.percentile < 0.88


@pytest.mark.parametrize("n_speakers", [5, 6, 12, 40])
def test_commands_with_few_errors(n_speakers: int) -> None:
    """One word an utterance, a true WER of 1 %: a test set often has no error at all."""
    config = Config(wer=0.01, utterances=[50, 50], words=[1, 1], seed=5)
    found = simulate(Voices(n_speakers, config), trials=600, draws=500)
    assert found.studentised >= 0.92
    assert found.percentile < 0.92
    assert found.alarms <= 0.06
    assert found.found >= 0.6


def test_among_several_equal_systems_a_false_alarm_is_still_rare() -> None:
    """Four equal systems, six comparisons: after the correction, at most 6 of 100 test sets tell any two apart."""
    voices = Voices(30, Config(wer=0.1, concentration=20, seed=1))
    alarms, uncorrected, trials = 0, 0, 600
    for trial in range(trials):
        words, rates = voices.words(), voices.speaker_rates()
        systems = [voices.errors(words, rates, SYSTEM_LUCK).tolist() for _ in range(4)]
        drawn = resample(voices.names, seed=trial, draws=1)
        found = [matched_pairs(systems[i], systems[j], words.tolist(), drawn) for i in range(4) for j in range(i)]
        alarms += min(holm(found)) < 0.05
        uncorrected += min(found) < 0.05
    assert alarms / trials <= 0.06
    assert uncorrected / trials > 0.1  # the correction has something to correct


def test_treating_utterances_of_a_voice_as_independent_would_raise_false_alarms() -> None:
    """Why the variance is clustered: the same test over utterances finds differences where there are none."""
    generator = np.random.default_rng(0)
    clustered, naive, trials = 0, 0, 300
    speakers = np.repeat(np.arange(20), 25)
    by_speaker = resample([f"s{index}" for index in speakers], seed=0, draws=1)
    by_utterance = resample([None] * 500, seed=0, draws=1)
    for _ in range(trials):
        gained = generator.normal(0, 0.5, 20)[speakers]
        one, two = (generator.poisson(np.exp(sign * gained)).tolist() for sign in (1, -1))
        clustered += matched_pairs(one, two, [10] * 500, by_speaker) < 0.05
        naive += matched_pairs(one, two, [10] * 500, by_utterance) < 0.05
    assert clustered / trials < 0.08 < 0.3 < naive / trials


@pytest.mark.parametrize(("n_speakers", "variation"), [(40, 0.0), (12, 0.0), (20, 1.0), (8, 1.0)])
def test_a_detectable_difference_is_found_4_times_in_5(n_speakers: int, variation: float) -> None:
    found = simulate(
        Voices(n_speakers, Config(wer=0.1, concentration=50, seed=3, variation=variation)), trials=600, draws=2
    )
    assert 0.75 <= found.found <= 0.85


def test_no_difference_is_detectable_where_one_speaker_has_all_the_speech() -> None:
    drawn = resample(list("abcdefgh"), seed=0, draws=1)
    errors, none = [300, *range(7)], [0] * 8
    small, large, all_of_it = (
        float(detectable(standard_error(errors, none, [most, *[few] * 7], drawn)))
        for most, few in ((10_000, 1000), (10_000, 10), (10_000, 0))
    )
    assert small < 0.1 < large and all_of_it == 1.0
    assert detectable(standard_error(errors, none, [10_000] * 8, drawn), comparisons=36) < 0.1


def test_the_command_prints_a_row_for_each_number_of_speakers(capsys: pytest.CaptureFixture[str]) -> None:
    command(["--speakers", "[5, 6]", "--trials", "20"])
    rows = [row.split() for row in capsys.readouterr().out.splitlines() if row.count("%") == 5]
    assert [row[0] for row in rows] == ["5", "6"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--variation", "9"], "--variation is 9; expected 0 to 5"),
        (["--wer", "10"], "--wer is 10; expected above 0, below 1"),
        (["--concentration", "0"], "--concentration is 0; expected above 0"),
        (["--trials", "0"], "--trials is 0; expected 1 or more"),
    ],
)
def test_what_cannot_be_simulated_is_refused(options: list[str], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        command(options)
