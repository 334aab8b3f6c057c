"""Results to report on, built from the dataclasses by a seeded generator: small and odd, or with everything in."""

import dataclasses
import itertools
import random
from collections.abc import Sequence

import jiwer

from benchmark import results
from benchmark.results import (
    Change,
    Comparison,
    ConditionUsed,
    Confusion,
    DetectableDifference,
    Sample,
    Scores,
    SilentRecordings,
    Slice,
    Speed,
    Spread,
    StageSeconds,
    Summary,
    SystemFacts,
    SystemRun,
    SystemSummary,
    Timing,
)
from benchmark.scoring.words import score_words
from finetune.metrics import Rate
from finetune.systems.transcript import Word
from preprocessing.corpus import Segment

HOSTILE = "<script>alert(1)</script><img src=http://x onerror='y'> \"&quot;\" $a_b$ |pipe| \u202e مرحبا \x00 ]]> `code`"
WORDS = ("the", "a", "stew", "for", "dinner", "<b>turnips</b>", "and", "carrots", "isn't", "مرحبا", "بكم")
SPOKEN = (
    "he hoped there would be stew for dinner turnips and carrots bruised potatoes fat mutton pieces to be ladled out "
    "in thick peppered flour fattened sauce number ten fresh nelly is waiting on you good night husband after early "
    "nightfall the yellow lamps would light up here squalid quarter of brothels hello bertie any good in your mind"
)
LEXICON = SPOKEN.split()


def sample(system: str, id: str, reference: str, hypothesis: str, **rest: object) -> Sample:
    seconds = 0.01 * (1 + len(reference) % 17)
    stages = StageSeconds(0.1 * seconds, 0.2 * seconds, 0.6 * seconds, 0.1 * seconds)
    return Sample(system, id, reference, hypothesis, 1.0 + len(reference) / 15, stages, **rest)  # type: ignore[arg-type]


def counted(samples: Sequence[Sample]) -> Scores:
    """Counts come from jiwer over all texts at once, not from the code under test."""
    all_words = jiwer.process_words([s.reference for s in samples], [s.hypothesis for s in samples])
    s, d, i, h = all_words.substitutions, all_words.deletions, all_words.insertions, all_words.hits
    rate = Rate(all_words.wer, all_words.wer * 0.81234567, all_words.wer * 1.212345)
    return Scores(rate, Rate(rate.value / 3, rate.low / 3, rate.high / 3), h + s + d, h, s, d, i)


def scored(name: str, samples: Sequence[Sample]) -> SystemSummary:
    own = [s for s in samples if s.system == name and s.condition == "clean"]
    verbatim = counted(own)
    rate = verbatim.wer
    other = dataclasses.replace(verbatim, wer=Rate(rate.value / 2, rate.low / 2, rate.high / 2))
    speed = Speed(1.2345, 0.98765, 0.0123456, 0.456789, 12.3456, 61.98765, StageSeconds(0.01, 0.02, 0.3, 0.004))
    facts = SystemFacts(name, "family", f"org/{name}", 94_371_712, {"dtype": "float32"}, f"{name} stands in.")
    failed = sum(s.error is not None for s in own)
    return SystemSummary(facts, {"verbatim": verbatim, "other": other}, speed, 1_234_567_890, None, failed)


def run_of(samples: Sequence[Sample], systems: list[SystemSummary]) -> Summary:
    return Summary(
        created="2026-05-03T12:20:11Z",
        command="python benchmark/run.py --models a,b",
        machine={"cpu": "two cores"},
        corpus=results.CorpusFacts("corpus", len({s.id for s in samples}), 0.5, 7, "speaker"),
        profiles=[results.ProfileUsed("verbatim", 1, "as it is"), results.ProfileUsed("other", 3, "otherwise")],
        systems=systems,
        comparisons=[Comparison("wav2vec2", "whisper", Rate(-0.0123, -0.02, 0.004), "No telling them apart.")],
        notices=["The figures of wav2vec2 are of a stand-in."],
        settings={"seed": "0"},
    )


def run() -> tuple[Summary, list[Sample]]:
    """Three systems over 60 utterances, one of them not loading; empty, hostile, long and failed ones among them."""
    rng = random.Random(3)
    references = [" ".join(rng.choices(WORDS, k=rng.randrange(1, 14))) for _ in range(56)]
    references += ["", HOSTILE, "one two", " ".join(rng.choices(WORDS, k=10_000))]
    samples = []
    for (number, text), system in itertools.product(enumerate(references), ("wav2vec2", "whisper")):
        words = [word for word in text.split() for _ in range(rng.choice((0, 1, 1, 1, 1, 1, 1, 2)))]
        error = f"RuntimeError: {HOSTILE}" if number in (5, 9) and system == "whisper" else None
        hypothesis = "" if error else "uh oh" if not text else " ".join(words)
        condition = "clean" if number % 5 else "noise at 10 dB"
        samples.append(sample(system, f"u{number}", text, hypothesis, condition=condition, error=error, speaker="s"))
    failed = SystemSummary(SystemFacts("lost", "f", "c", 0), {}, None, None, None, 0, failure="no <file> found")
    return run_of(samples, [scored("wav2vec2", samples), scored("whisper", samples), failed]), samples


CONDITIONS = [
    ConditionUsed("clean", "as the corpus has it"),
    *(ConditionUsed(f"babble {snr} dB", f"six voices, {snr} dB below speech", float(snr)) for snr in (20, 10, 0)),
    *(ConditionUsed(f"white {snr} dB", f"white noise at {snr} dB", float(snr)) for snr in (20, 10, 0)),
    ConditionUsed("room", "a simulated room, reverberation time 0.6 s"),
    ConditionUsed("silence", "digital silence", speech=False),
    ConditionUsed("noise alone", "white noise at −30 dB of full scale", speech=False),
]
_SKILL = (0.045, 0.08, 0.16, 0.05, 0.2)
_NAMES = ("wav2vec2-base-960h", "whisper small.en", "pocketsphinx", "faster-whisper base.en", "yours")


def with_errors(words: Sequence[str], rate: float, rng: random.Random) -> str:
    """Words with errors of all kinds, about `rate` of them wrong."""
    found: list[str] = []
    for word in words:
        chance = rng.random()
        if chance < 0.6 * rate:
            found.append(rng.choice(LEXICON))
        elif chance >= 0.8 * rate:
            found.append(word)
        if rng.random() < 0.2 * rate:
            found.append(rng.choice(LEXICON))
    return " ".join(found)


def full_run(
    n_utterances: int = 120, n_systems: int = 3, n_noisy: int = 10, seed: int = 1
) -> tuple[Summary, list[Sample], list[Timing]]:
    """Every section has content. `n_utterances` of clean speech, `n_noisy` of them also in babble at 10 dB."""
    rng = random.Random(seed)
    names = _NAMES[:n_systems]
    samples, timings = [], []
    for number in range(n_utterances):
        words = rng.choices(LEXICON, k=rng.randrange(2, 34))
        rest = {
            "speaker": f"{100 + number % 17}",
            "sex": "FM"[number % 2],
            "domain": ("books", "news", "calls")[number % 3],
        }
        for condition in ("clean", "babble 10 dB")[: 1 + (number < n_noisy)]:
            for place, name in enumerate(names):
                worse = 3.0 if condition != "clean" else 1.0
                text = with_errors(words, worse * _SKILL[place], rng)
                one = sample(name, f"1089-{number:04d}", " ".join(words), text, condition=condition, **rest)
                samples.append(one)
                if condition == "clean":
                    per_second = (0.03, 0.11, 0.4, 0.06, 0.03)[place] * one.audio_seconds + (0.0, 0.2, 0.0, 0.1, 0.02)[
                        place
                    ]
                    for turn in range(3):
                        total = per_second * rng.lognormvariate(0, 0.08)
                        stages = StageSeconds(0.05 * total, 0.05 * total, 0.88 * total, 0.02 * total)
                        timings.append(Timing(name, one.id, turn, one.audio_seconds, stages))
    systems = [_full_system(place, name, samples, rng) for place, name in enumerate(names)]
    summary = run_of(samples, systems)
    pairs = list(itertools.combinations(range(n_systems), 2))
    comparisons = []
    for first, second in pairs:
        value = systems[first].scores["verbatim"].wer.value - systems[second].scores["verbatim"].wer.value
        sentence = (
            f"{names[first]} makes fewer errors than {names[second]}: its WER is {-100 * value:.2f} points lower."
        )
        different = abs(value) > 0.01
        rate = Rate(value, value - 0.011, value + 0.012)
        comparisons.append(
            Comparison(
                names[first], names[second], rate, sentence, "clean", 0.0004, 0.0012 if different else 0.3, different
            )
        )
    return (
        dataclasses.replace(
            summary,
            comparisons=comparisons,
            conditions=CONDITIONS,
            detectable_differences=[DetectableDifference(names[0], names[1], 0.0091)],
            changes=[
                Change(names[0], "WER", 0.06, 0.045, "better", f"{names[0]}: WER went from 6.00 % to 4.50 %.", True),
                Change(
                    names[1], "p50", 0.31, 0.33, "worse", f"{names[1]}: p50 latency went from 310 ms to 330 ms.", False
                ),
                Change(names[1], "CER", 0.02, 0.02, "same", f"{names[1]}: CER is 2.00 % as before.", False),
            ],
            corpus=results.CorpusFacts("librispeech test-clean", n_utterances, 5.4, 17, "speaker"),
            profiles=[
                results.ProfileUsed("verbatim", 1, "as it is written"),
                results.ProfileUsed("other", 3, "numbers written out, spelling made one"),
            ],
        ),
        samples,
        timings,
    )


def wide_run(n_systems: int) -> tuple[Summary, list[Sample]]:
    """Many systems, with the results of the same three by turns."""
    summary, samples, _ = full_run(12, n_noisy=4)
    systems, all_samples = [], []
    for place in range(n_systems):
        own = summary.systems[place % len(summary.systems)]
        facts = dataclasses.replace(own.facts, name=f"{own.facts.name}-{place}")
        systems.append(dataclasses.replace(own, facts=facts))
        all_samples += [dataclasses.replace(s, system=facts.name) for s in samples if s.system == own.facts.name]
    return dataclasses.replace(summary, systems=systems, comparisons=[], changes=[]), all_samples


def with_words(summary: Summary, samples: Sequence[Sample], n_without: int = 1) -> tuple[Summary, list[Sample]]:
    """The clean samples with words and their figures, those of the last `n_without` systems left out.

    A wrong word is less certain than a right one, on average; words are evenly spaced, true times up to 0.2 s off.
    """
    rng = random.Random(8)
    names = [one.facts.name for one in summary.systems]
    having = names[: len(names) - n_without]
    found = []
    for one in samples:
        if one.system in having and one.condition == "clean" and one.error is None:
            spoken, said = one.reference.split(), one.hypothesis.split()
            each = one.audio_seconds / max(len(said), 1)
            right = [n < len(spoken) and spoken[n] == word for n, word in enumerate(said)]
            words = tuple(
                Word(f" {word}", n * each, (n + 1) * each, rng.random() ** (0.3 if right[n] else 1.0))
                for n, word in enumerate(said)
            )
            begins = [n * each + rng.uniform(0.0, 0.2) for n in range(len(spoken))]
            true = tuple(Segment(at, at + each, w) for w, at in zip(spoken, begins, strict=True))
            one = dataclasses.replace(one, words=words, reference_words=true)
        found.append(one)
    systems = []
    for system in summary.systems:
        own = [one for one in found if one.system == system.facts.name and one.condition == "clean"]
        run = SystemRun(system.facts, has_word_times=system.facts.name in having)
        systems.append(dataclasses.replace(system, words=score_words(run, own, str.strip, 0)))
    return dataclasses.replace(summary, systems=systems), found


def _full_system(place: int, name: str, samples: Sequence[Sample], rng: random.Random) -> SystemSummary:
    plain = scored(name, samples)
    scores = plain.scores["verbatim"]
    wer = scores.wer

    def times(factor: float, width: float = 0.12) -> Rate:
        value = min(wer.value * factor, 0.97)
        return Rate(value, value * (1 - width), value * (1 + width))

    scores = dataclasses.replace(scores, mer=times(0.97), wil=times(1.6))
    noisy = {
        one.name: {
            "verbatim": dataclasses.replace(
                scores, wer=times(1 + (25 - (12 if one.snr_db is None else one.snr_db)) ** 2 / 90)
            )
        }
        for one in CONDITIONS
        if one.speech and one.name != "clean"
    }
    slices = [
        Slice(
            by,
            value,
            rng.randrange(9, 900),
            rng.randrange(100, 9000),
            times(rng.uniform(0.6, 1.7), rng.uniform(0.1, 0.3)),
        )
        for by, values in {
            "sex": ("F", "M"),
            "domain": ("books", "news", "calls"),
            "duration": ("under 2 s", "2 to 5 s", "5 to 10 s", "over 10 s"),
            "speaking rate": ("slow", "middle", "fast"),
            "language": ("en", "de"),
            "speaker": tuple(str(100 + n) for n in range(17)),
        }.items()
        for value in values
    ]
    rtfx = (31.0, 8.4, 2.3, 15.0, 33.0)[place]
    p50 = (0.21, 1.1, 3.1, 0.6, 0.2)[place]
    speed = Speed(
        1.2 + place, 0.9, p50, 2.4 * p50, 3.3 * p50, rtfx, StageSeconds(0.004, 0.01, 0.9 * p50, 0.003),
        *(Spread(f * p50, 0.96 * f * p50, 1.07 * f * p50) for f in (1, 2.4, 3.3)),
        rtfx_spread=Spread(rtfx, 0.93 * rtfx, 1.04 * rtfx),
        throughput=Spread(2.1 * rtfx, 2 * rtfx, 2.2 * rtfx), batch_seconds=60.0,
    )  # fmt: skip
    facts = SystemFacts(
        name,
        ("wav2vec2", "whisper", "sphinx")[place % 3],
        f"org/{name}",
        94_371_712 * (1 + place),
        {"dtype": "float32", "beam": "1"},
    )
    return dataclasses.replace(
        plain,
        facts=facts,
        scores={"verbatim": scores, "other": dataclasses.replace(scores, wer=times(0.81))},
        speed=speed,
        conditions=noisy,
        hallucinated_words_per_minute={"silence": 3.1 * place, "noise alone": 11.5 * place + 0.4, "clean": 0.0},
        silent={"silence": SilentRecordings(10, place, Rate(place / 10, 0.0, 0.5))},
        slices=slices,
        confusions=[
            Confusion(
                *rng.choice([tuple(rng.sample(LEXICON, 2)), (rng.choice(LEXICON), ""), ("", "uh")]), 60 // (n + 2)
            )  # type: ignore[misc]
            for n in range(20)
        ],
        loops=[f"1089-{7 * n + place:04d}" for n in range(3 * place)],
    )
