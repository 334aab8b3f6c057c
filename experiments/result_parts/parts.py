"""The parts of `experiments.results` as a list: which systems are measured on which data, and which models are trained.

A new part is a line in PARTS, a new system one in `result_parts.systems`. `Part.command` is what a user would type, of
`finetune/train.py` or `benchmark/run.py`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from experiments.result_parts.kinds import LANGUAGE_MODEL, Command, Measured, Part, Training
from experiments.result_parts.systems import (
    ON_DIGITS,
    ON_ENGLISH,
    OTHER_ENGLISH,
    READ_ENGLISH,
    SPOKEN_DIGITS,
    WHISPERS,
)
from preprocessing.errors import UsageError

TEXTS = "{data}/text/librispeech-train-clean-100.txt.gz"
ON_LIBRISPEECH: Mapping[str, Any] = {"corpora": ("librispeech/train.jsonl",), "validation": "librispeech/dev.jsonl"}
ON_GERMAN: Mapping[str, Any] = {"corpora": ("german/train.jsonl",)}
WORDS_LM = "{runs}/librispeech-words.arpa"
WHISPER_CTC = "{runs}/librispeech-mini-whisper-ctc"
NOISY = "clean,noise:10,reverb,telephone"
PARTS: tuple[Part, ...] = (
    Training("train-digits", "wav2vec2 fine-tuned on spoken digits", 13, "digits"),
    Training("train-digits-lstm", "an LSTM trained on spoken digits", 10, "digits-lstm"),
    Training("train-digits-whisper-ctc", "Whisper's encoder fine-tuned on digits", 3, "digits-whisper-ctc", "tiny.en"),
    Training(
        "train-digits-strings",
        "wav2vec2 fine-tuned on digits and on strings of them",
        13,
        "digits",
        corpora=("digits/train.jsonl", "built:digits-joined-train"),
        run="digits-strings",
    ),
    Training(
        "train-librispeech-whisper-ctc",
        "a CTC head on Whisper base's encoder, trained on 4.9 h of read English",
        29,
        "librispeech-mini-whisper-ctc",
        "base",
        **ON_LIBRISPEECH,
    ),
    Training(
        "train-librispeech-whisper",
        "Whisper tiny.en fine-tuned on 4.9 h of read English",
        29,
        "librispeech-mini-whisper",
        "tiny.en",
        **ON_LIBRISPEECH,
    ),
    Training(
        "train-librispeech-lstm",
        "an LSTM trained on 4.9 h of read English",
        25,
        "librispeech-mini-lstm",
        run="librispeech-mini-lstm-plain",
        options=(("model.spec_augment", "none"), ("data.augment", "[]")),
        **ON_LIBRISPEECH,
    ),
    Training(
        "train-librispeech-wav2vec2",
        "a small wav2vec2 trained from scratch on 4.9 h of read English",
        29,
        "librispeech-mini-wav2vec2",
        **ON_LIBRISPEECH,
    ),
    Training("train-german", "wav2vec2 fine-tuned on 1 h of German", 29, "german", **ON_GERMAN),
    Training(
        "train-german-whisper-ctc",
        "a CTC head on Whisper base's encoder, trained on 1 h of German",
        20,
        "german-whisper-ctc",
        "base",
        **ON_GERMAN,
    ),
    Training(
        "train-german-whisper",
        "Whisper base fine-tuned on 1 h of German",
        29,
        "german-whisper-base",
        "base",
        **ON_GERMAN,
    ),
    Command(
        "lm-librispeech",
        "a language model of words from the texts of LibriSpeech's train-clean-100",
        1,
        (
            "python",
            "-m",
            "finetune.language_model",
            "build",
            TEXTS,
            WORDS_LM,
            "--order",
            "3",
            "--profile",
            "librispeech",
        ),
        inputs=(TEXTS,),
        makes=WORDS_LM,
    ),
    Command(
        "lm-tuned-whisper-ctc",
        "its weight, chosen on LibriSpeech's dev",
        3,
        (
            "python",
            "-m",
            "finetune.language_model",
            "tune",
            WHISPER_CTC,
            "{data}/librispeech/dev.jsonl",
            "--lm",
            WORDS_LM,
        ),
        inputs=(WORDS_LM, "{data}/librispeech/dev.jsonl", f"{WHISPER_CTC}/model.safetensors"),
        makes=f"{WHISPER_CTC}/{LANGUAGE_MODEL}",
    ),
    Measured("digits", "Spoken digits, one at a time", 28, "digits/test.jsonl", SPOKEN_DIGITS),
    Measured(
        "digits-joined",
        "Strings of 4 to 8 digits",
        8,
        "built:digits-joined",
        SPOKEN_DIGITS,
        note="The strings are the test's 300 recordings with pauses of 0.1 to 0.3 s, each once. A model that has been "
        "trained on single digits has never seen a space between two: it writes one long word, which counts as wrong "
        "whatever its letters are. wav2vec2-strings was trained on strings made in the same way of the training set. "
        "`whisper-english` joins a string in words to one number and leaves “4, 1” apart: it cannot be used here.",
    ),
    Measured(
        "test-other",
        "Read English, hard speakers",
        10,
        "librispeech/test-other.jsonl",
        ("wav2vec2-librispeech", *READ_ENGLISH, "whisper-tiny-librispeech", "whisper-base-german"),
    ),
    Measured("ljspeech", "Read English, one clear speaker", 9, "ljspeech/test.jsonl", OTHER_ENGLISH),
    Measured("arctic-prompts", "Short English prompts", 4, "arctic-prompts/test.jsonl", OTHER_ENGLISH),
    Measured(
        "german",
        "German",
        6,
        "german/test.jsonl",
        ("wav2vec2-german", "whisper-ctc-german", "whisper-base-german", *WHISPERS[1:]),
        profiles=("basic:de", "verbatim"),
        language="de",
    ),
    Measured("long-form", "One chapter, 26 minutes", 25, "long-form/test.jsonl", (*ON_ENGLISH, *WHISPERS)),
    Measured(
        "conditions-digits",
        "Digits under noise, in rooms, on the telephone",
        25,
        "built:digits-60",
        SPOKEN_DIGITS,
        conditions=NOISY,
    ),
    Measured(
        "conditions-test-other",
        "Read English under noise, in rooms, on the telephone",
        28,
        "librispeech/test-other.jsonl",
        (*ON_ENGLISH, *WHISPERS),  # PocketSphinx alone takes over an hour under noise
        conditions=NOISY,
        condition_utterances=40,
    ),
    Measured(
        "silence",
        "Recordings without speech: words invented",
        10,
        "built:noises",
        (*ON_DIGITS, *ON_ENGLISH, *WHISPERS, "pocketsphinx"),
    ),
    Measured(
        "words-digits",
        "Confidence and times of words, strings of digits",
        10,
        "built:digits-joined",
        ("wav2vec2-strings", *WHISPERS[:3]),
        profiles=("basic:en",),
        words=True,
        note="A digit begins and ends with the first and last 10 ms of its recording that are within 35 dB of its "
        "loudest 10 ms.",
    ),
    Measured(
        "words-test-other",
        "Confidence of words, read English",
        15,
        "librispeech/test-other.jsonl",
        (*ON_ENGLISH, *WHISPERS[:3]),
        words=True,
    ),
    Measured("latency-digits", "Speed on spoken digits", 15, "built:digits-60", SPOKEN_DIGITS, timed=True),
    Measured(
        "latency-test-other", "Speed on read English", 25, "librispeech/test-other.jsonl", READ_ENGLISH, timed=True
    ),
)


def select(names: Sequence[str]) -> list[Part]:
    """The parts of these names in the order of PARTS, all without names; a group such as `conditions` is all parts
    whose names begin with it. Raises UsageError on a name that is neither.
    """
    if not names:
        return list(PARTS)
    chosen: set[str] = set()
    for name in names:
        exact = [part.name for part in PARTS if part.name == name]
        found = exact or [part.name for part in PARTS if part.name.startswith(f"{name}-")]
        if not found:
            known = ", ".join(part.name for part in PARTS)
            raise UsageError(f"{name!r} is not a part; expected {known}: choose one of them")
        chosen.update(found)
    return [part for part in PARTS if part.name in chosen]
