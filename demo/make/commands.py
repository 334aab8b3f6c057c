"""Make the demo's corpus: spoken commands to a home assistant, in English, by speakers that training never hears.

    python -m demo.make.commands [OUT] [--seed 1] [--train 400] [--test 100] [--suffix .opus]

A grammar of five domains over fewer than ninety words. No test sentence and no test speaker occurs in training; every
test word occurs there at least `MINIMUM_TRAIN_COUNT` times. On one machine, the same seed gives the same manifests and
decoded samples.
"""

import argparse
import itertools
import math
import random
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from string import Formatter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from demo.make.recording import Utterance
    from demo.make.voices import Speaker

MINIMUM_TRAIN_COUNT = 3
TEST_SHARE = 0.25  # of a pattern's sentences
WORDS_PER_MINUTE = (140, 200)
SNR_DB = (20.0, 40.0)

Command = tuple[str, str]  # domain, sentence
Patterns = dict[str, list[list[str]]]  # of each domain: the sentences of each of its patterns

HOURS = ("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
SLOTS: dict[str, tuple[str, ...]] = {
    "bolt": ("lock", "unlock"),
    "change": ("warmer", "colder"),
    "colour": ("red", "blue", "green", "white"),
    "day": ("today", "tomorrow", "in the morning", "at six"),
    "degrees": ("fifteen", "twenty", "twenty two", "twenty three", "twenty four"),
    "genre": ("jazz", "rock", "dance", "piano"),
    "half": ("fifteen", "thirty", "in the morning"),
    "hour": HOURS,
    "minutes": ("two", "five", "six", "eight", "ten", "fifteen", "twenty", "thirty", "forty", "forty five", "fifty"),
    "move": ("open", "close"),
    "number": HOURS,
    "part": ("blinds", "window", "door"),
    "pause": ("pause", "stop"),
    "percent": ("ten", "twenty", "thirty", "forty", "fifty", "sixty", "twenty five"),
    "room": ("kitchen", "bedroom", "bathroom", "office", "hall", "garage"),
    "side": ("front", "back", "garage", "kitchen"),
    "switch": ("on", "off"),
    "timer": ("timer", "alarm"),
    "way": ("up", "down"),
}

GRAMMAR: dict[str, tuple[str, ...]] = {
    "lights": (
        "turn {switch} the {room} lights",
        "turn {switch} the lamp in the {room}",
        "turn {switch} all the lights",
        "dim the {room} lights to {percent} percent",
        "make the {room} lights {colour}",
        "set the {room} lamp to {colour}",
    ),
    "music": (
        "play some {genre} music",
        "play {genre} in the {room}",
        "play the next {genre} song",
        "play the {genre} song again",
        "turn the music {way} in the {room}",
        "set the {room} volume to {number}",
        "{pause} the music in the {room}",
    ),
    "timer": (
        "set a timer for {minutes} minutes",
        "set a timer for {number} hours",
        "add {minutes} minutes to the timer",
        "wake me up at {hour} {half}",
        "set the alarm for {hour} {half}",
        "cancel the alarm for {hour} {half}",
        "cancel the {timer}",
    ),
    "climate": (
        "set the heating to {degrees} degrees",
        "set the {room} heating to {degrees} degrees",
        "turn {switch} the fan in the {room}",
        "make it {change} in the {room}",
        "is it {change} {day}",
        "what is the weather {day}",
        "will it rain {day}",
    ),
    "doors": (
        "{move} the {room} {part}",
        "{bolt} the {side} door",
        "is the {side} door open",
        "{move} all the blinds at {hour}",
        "{bolt} all the doors",
    ),
}


def vocabulary() -> list[str]:
    """Every word that the grammar can say, sorted."""
    sentences = itertools.chain(*GRAMMAR.values(), *SLOTS.values())
    words = {word for sentence in sentences for word in sentence.split() if not word.startswith("{")}
    return sorted(words)


def fill(pattern: str) -> list[str]:
    """Every sentence of a pattern of `GRAMMAR`."""
    slots = [slot for _, slot, _, _ in Formatter().parse(pattern) if slot]
    return [
        pattern.format(**dict(zip(slots, words, strict=True)))
        for words in itertools.product(*(SLOTS[slot] for slot in slots))
    ]


def draw_command(sentences: Patterns, rng: random.Random) -> Command:
    """A command of any domain; patterns of many sentences are drawn more often, by the square root of their number."""
    domain = rng.choice(list(sentences))
    patterns = sentences[domain]
    pattern = rng.choices(patterns, weights=[math.sqrt(len(pattern)) for pattern in patterns])[0]
    return domain, rng.choice(pattern)


def hold_out(seed: int) -> tuple[Patterns, Patterns]:
    """The grammar's sentences, split into those for training and those for the test.

    Each pattern gives up to `TEST_SHARE` of its sentences to the test, so that every kind of command is in it; the
    last sentence with some word stays in training.
    """
    rng = random.Random(seed)
    sentences = {domain: [fill(pattern) for pattern in patterns] for domain, patterns in GRAMMAR.items()}
    left = Counter(
        word for patterns in sentences.values() for one in itertools.chain(*patterns) for word in one.split()
    )
    train: Patterns = {}
    test: Patterns = {}
    for domain, patterns in sentences.items():
        for pattern in patterns:
            held: list[str] = []
            for sentence in rng.sample(pattern, len(pattern)):
                words = sentence.split()
                if len(held) < int(TEST_SHARE * len(pattern)) and all(left[word] > 1 for word in words):
                    held.append(sentence)
                    left.subtract(words)
            train.setdefault(domain, []).append([sentence for sentence in pattern if sentence not in held])
            if held:
                test.setdefault(domain, []).append(held)
    return train, test


def draw_splits(n_train: int, n_test: int, seed: int) -> tuple[list[Command], list[Command]]:
    """Training and test commands; the test sentences are distinct, new, and of words often heard in training.

    Raises ValueError when `n_train` is too small for every word, or `n_test` too large for the grammar.
    """
    train_sentences, test_sentences = hold_out(seed)
    rng = random.Random(f"{seed} commands")
    train: list[Command] = []
    counts: Counter[str] = Counter()
    every = [(domain, one) for domain, patterns in train_sentences.items() for one in itertools.chain(*patterns)]
    for word in vocabulary():
        while counts[word] < MINIMUM_TRAIN_COUNT:
            train.append(rng.choice([command for command in every if word in command[1].split()]))
            counts.update(train[-1][1].split())
    if len(train) > n_train:
        raise ValueError(
            f"It takes {len(train)} training sentences for every word to occur often enough: raise --train."
        )
    train += [draw_command(train_sentences, rng) for _ in range(n_train - len(train))]
    rng.shuffle(train)

    n_available = sum(len(pattern) for patterns in test_sentences.values() for pattern in patterns)
    if n_test > n_available:
        raise ValueError(f"The grammar has {n_available} test sentences: lower --test.")
    test: dict[str, str] = {}
    while len(test) < n_test:
        domain, sentence = draw_command(test_sentences, rng)
        test.setdefault(sentence, domain)
    return train, [(domain, sentence) for sentence, domain in test.items()]


def make_split(
    name: str, commands: Sequence[Command], speakers: Sequence["Speaker"], folder: Path, seed: int, suffix: str
) -> list["Utterance"]:
    """Speak and record `commands`, write `audio/NAME-*SUFFIX` and `NAME.jsonl` in `folder`; returns the manifest."""
    from demo.make import espeak, recording, voices

    utterances = []
    for index, (domain, text) in enumerate(commands):
        rng = random.Random(f"{seed} {name} {index}")
        speaker, voice = voices.draw_voice(speakers, WORDS_PER_MINUTE, rng)
        conditions = recording.draw_conditions(rng, SNR_DB)
        waveform = recording.record(espeak.synthesise(text, voice), espeak.SAMPLE_RATE, conditions)
        utterance_id = f"{name}-{index:04d}"
        audio = f"audio/{utterance_id}{suffix}"
        (folder / audio).write_bytes(recording.encode(waveform, suffix))
        seconds = round(len(waveform) / recording.SAMPLE_RATE, 3)
        utterances.append(
            recording.Utterance(utterance_id, audio, text, speaker.id, speaker.sex, "en", domain, seconds)
        )
    recording.write_manifest(folder / f"{name}.jsonl", utterances)
    return utterances


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m demo.make.commands", description=__doc__.split("\n\n")[0])
    parser.add_argument(
        "out",
        metavar="OUT",
        nargs="?",
        type=Path,
        default=Path("demo/corpus"),
        help="folder to make, default %(default)s",
    )
    parser.add_argument("--seed", type=int, default=1, help="default %(default)s")
    parser.add_argument("--train", type=int, default=400, help="utterances, default %(default)s")
    parser.add_argument("--test", type=int, default=100, help="utterances, default %(default)s")
    parser.add_argument("--suffix", choices=(".opus", ".flac"), default=".opus", help="default %(default)s")
    options = parser.parse_args(arguments)

    from demo.make import espeak, recording, voices

    try:
        train, test = draw_splits(options.train, options.test, options.seed)
        with recording.new_corpus(options.out) as folder:
            for name, commands, speakers in (("train", train, voices.TRAIN), ("test", test, voices.TEST)):
                utterances = make_split(name, commands, speakers, folder, options.seed, options.suffix)
                seconds = sum(one.duration for one in utterances)
                print(f"{name}: {len(utterances)} utterances, {seconds / 60:.1f} minutes")
    except (espeak.EspeakError, OSError, ValueError) as error:
        sys.exit(str(error))
    size = sum(file.stat().st_size for file in options.out.rglob("*") if file.is_file())
    print(f"{options.out}: {size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
