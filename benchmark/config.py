"""What a benchmark can be told: one doc a field."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from preprocessing.cli.errors import UsageError


@dataclass(frozen=True)
class BenchmarkConfig:
    """One run over one corpus."""

    models: str = "wav2vec2,whisper"
    """Systems, separated by commas: wav2vec2, whisper, FAMILY=CHECKPOINT, or package.module:Class."""

    data: str | None = None
    """A manifest, a folder with metadata.csv, or hf:DATASET[:CONFIG[:SPLIT[:COUNT]]]; default test-clean."""

    limit: int | None = None
    """Only the first so many utterances."""

    output: Path | None = None
    """Folder of the results, report.html among them; default runs/benchmark-DATE-TIME. An unfinished run goes on."""

    conditions: str = "default"
    """What is done to the audio: clean, default, all, or a list such as clean,noise:10,reverb; clean is always in."""

    condition_utterances: int = 50
    """At most so many utterances, spread evenly over the corpus, under each condition other than clean."""

    noise: Path | None = None
    """Folder of noise recordings for noise:SNR; generated noise where it is not given."""

    rooms: Path | None = None
    """Folder of room impulse responses for reverb; generated rooms where it is not given."""

    profiles: list[str] = field(default_factory=lambda: ["librispeech", "whisper-english"])
    """Text profiles that errors are counted under (`python -m preprocessing.text --list`); the first one decides."""

    lm: Path | None = None
    """ARPA file for systems ending in +lm, such as wav2vec2+lm=CHECKPOINT (`python -m finetune.language_model` makes one)."""

    lm_weight: float = 0.5
    """Of the language model's logarithm beside the model's own."""

    word_bonus: float = 1.0
    """For each word, in natural logarithms: more makes more and shorter words."""

    unknown_word: float = -10.0
    """For a word that the language model does not know, likewise."""

    beam: int = 64
    """Hypotheses that are kept with a language model."""

    language: str | None = None
    """Of the speech, such as de; a multilingual Whisper detects it where it is not given."""

    denoise: bool = False
    """Turn stationary noise down before any system hears it, as --data.denoise does in training; counts as decoding."""

    rounds: int = 3
    """How often latency and throughput are measured; systems take turns within a round."""

    latency_utterances: int = 50
    """At most so many utterances, spread over durations, are timed one at a time."""

    one_at_a_time: bool = False
    """Keep one system in memory, not all, where they do not fit together; each is loaded anew for every turn."""

    timeout: float = 600.0
    """Seconds after which a batch counts as hung: the process is ended, and the utterance at fault counts as failed."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where models run."""

    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Arithmetic of wav2vec2; auto: the fastest that the device does well. Other systems have their own, and say it."""

    compare: Path | None = None
    """Folder of an earlier result: every figure that has changed since is named."""

    fail_on_regression: bool = False
    """Exit with 1 where a figure is worse than that of --compare and chance does not explain it."""

    seed: int = 0
    """Of the bootstrap's draws, and of noises and rooms."""

    overwrite: bool = False
    """Replace the results in an output folder that holds some."""

    def check(self) -> None:
        """Raises UsageError on values that cannot be, or do not go together."""
        if not self.profiles:
            raise UsageError("--profiles is empty; expected a text profile or more: name one")
        for flag in ("limit", "condition_utterances", "rounds", "latency_utterances", "beam"):
            count = getattr(self, flag)
            if count is not None and count < 1:
                raise UsageError(f"--{flag} is {count}; expected 1 or more: raise it")
        if self.unknown_word > 0:
            raise UsageError(f"--unknown_word is {self.unknown_word:g}; expected 0 or less: lower it")
        if not self.timeout > 0:
            raise UsageError(f"--timeout is {self.timeout:g}; expected seconds above 0: raise it")
        if self.fail_on_regression and self.compare is None:
            raise UsageError("--fail_on_regression is true, but --compare names no earlier result: name its folder")

    def settings(self) -> dict[str, str]:
        """The flags that decide what is measured and how, as text; a run goes on only under the same ones."""
        kept = (
            "models data limit conditions condition_utterances noise rooms profiles language denoise rounds "
            "latency_utterances device precision seed"
        )
        kept += " lm lm_weight word_bonus unknown_word beam" if self.lm is not None else ""
        kept += " one_at_a_time" if self.one_at_a_time else ""
        return {flag: _written(getattr(self, flag)) for flag in kept.split()}


def _written(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return ",".join(map(str, value))
    return "default" if value is None else str(value)
