"""The systems of `experiments.results`: what each is called, and where its weights come from. A new one is a line."""

from dataclasses import dataclass
from typing import Literal

Source = Literal["whisper", "faster-whisper", "run", "package"]  # where a system's weights come from
DIGIT_WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
DIGITS_PROMPT = f"The digits {', '.join(DIGIT_WORDS)}."


@dataclass(frozen=True)
class SystemUsed:
    """One system of the comparisons, under the name that it has in every table.

    label: the name in words. source, checkpoint: a size of Whisper, or a run's folder below --runs. options: those of
    --system_options, by name. language: what it was trained on here; "" of all others.
    """

    name: str
    label: str
    family: str
    source: Source
    checkpoint: str = ""
    options: tuple[tuple[str, str], ...] = ()
    language: str = ""

    @property
    def trained_here(self) -> bool:
        """Whether this project's own commands have trained or fine-tuned it."""
        return self.source == "run"


def _published(
    name: str, label: str, family: Literal["whisper", "faster-whisper"], size: str, **options: str
) -> SystemUsed:
    return SystemUsed(name, label, family, family, size, tuple(options.items()))


def _run(name: str, label: str, family: str, folder: str, language: str) -> SystemUsed:
    return SystemUsed(name, label, family, "run", folder, language=language)


SYSTEMS = {
    one.name: one
    for one in (
        _published("whisper-tiny-en", "Whisper tiny.en", "whisper", "tiny.en"),
        _published("whisper-base", "Whisper base", "whisper", "base"),
        _published(
            "whisper-base-prompted",
            "Whisper base with a prompt of digits",
            "whisper",
            "base",
            initial_prompt=DIGITS_PROMPT,
        ),
        _published("faster-base", "faster-whisper base in float32", "faster-whisper", "base", compute_type="float32"),
        _published("faster-base-int8", "faster-whisper base in int8", "faster-whisper", "base", compute_type="int8"),
        SystemUsed("pocketsphinx", "PocketSphinx", "pocketsphinx", "package"),
        _run("wav2vec2-digits", "wav2vec2 fine-tuned on digits", "wav2vec2", "digits", "en"),
        _run("wav2vec2-strings", "wav2vec2 fine-tuned on digits and strings", "wav2vec2", "digits-strings", "en"),
        _run("lstm-digits", "LSTM trained on digits", "lstm", "digits-lstm", "en"),
        _run("whisper-ctc-digits", "whisper-ctc fine-tuned on digits", "whisper-ctc", "digits-whisper-ctc", "en"),
        _run("wav2vec2-librispeech", "wav2vec2 trained on 4.9 h", "wav2vec2", "librispeech-mini-wav2vec2", "en"),
        _run("lstm-librispeech", "LSTM trained on 4.9 h", "lstm", "librispeech-mini-lstm-plain", "en"),
        _run(
            "whisper-ctc-librispeech",
            "whisper-ctc fine-tuned on 4.9 h",
            "whisper-ctc",
            "librispeech-mini-whisper-ctc",
            "en",
        ),
        _run(
            "whisper-ctc-librispeech-lm",
            "whisper-ctc on 4.9 h with a language model",
            "whisper-ctc+lm",
            "librispeech-mini-whisper-ctc",
            "en",
        ),
        _run(
            "whisper-tiny-librispeech",
            "Whisper tiny.en fine-tuned on 4.9 h",
            "whisper",
            "librispeech-mini-whisper",
            "en",
        ),
        _run("wav2vec2-german", "wav2vec2 fine-tuned on 1 h of German", "wav2vec2", "german", "de"),
        _run(
            "whisper-ctc-german", "whisper-ctc fine-tuned on 1 h of German", "whisper-ctc", "german-whisper-ctc", "de"
        ),
        _run("whisper-base-german", "Whisper base fine-tuned on 1 h of German", "whisper", "german-whisper-base", "de"),
    )
}
BASELINE = "whisper-base"  # what a model trained here is to beat; its comparisons are corrected by themselves
WHISPERS = ("whisper-tiny-en", "whisper-base", "faster-base", "faster-base-int8")
ON_DIGITS = ("wav2vec2-digits", "wav2vec2-strings", "lstm-digits", "whisper-ctc-digits")
ON_ENGLISH = ("lstm-librispeech", "whisper-ctc-librispeech", "whisper-ctc-librispeech-lm")
SPOKEN_DIGITS = (*ON_DIGITS, "whisper-tiny-en", "whisper-base", "whisper-base-prompted", *WHISPERS[2:], "pocketsphinx")
READ_ENGLISH = (*ON_ENGLISH, *WHISPERS, "pocketsphinx")
OTHER_ENGLISH = (*READ_ENGLISH, "whisper-tiny-librispeech")
