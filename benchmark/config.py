"""Configuration of a benchmark. The flags of the beam search have the names of pyctcdecode's parameters."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal

from finetune.systems.facts import SystemOptions
from preprocessing.cli.errors import UsageError

MEASURING_FLAGS = (
    *("models", "data", "limit", "conditions", "condition_utterances", "noise", "rooms", "profiles", "language"),
    *("denoise", "rounds", "latency_utterances", "device", "precision", "seed"),
)
LANGUAGE_MODEL_FLAGS = (
    "lm",
    "alpha",
    "beta",
    "unk_score_offset",
    "beam_width",
    "hotwords",
    "hotword_weight",
    "rescore",
    "rescore_weight",
)


@dataclass(frozen=True)
class BenchmarkConfig:
    """Options of `benchmark/run.py`: one run over one corpus."""

    renamed: ClassVar[Mapping[str, str]] = {
        "output": "output_dir",
        "lm_weight": "alpha",
        "word_bonus": "beta",
        "unknown_word": "unk_score_offset",
        "beam": "beam_width",
    }

    models: str = "wav2vec2,whisper"
    """Systems, separated by commas: wav2vec2, whisper, FAMILY=CHECKPOINT, NAME=FAMILY:CHECKPOINT to call it NAME, or
    package.module:Class."""

    data: str | None = None
    """A manifest, a folder with metadata.csv, or hf:DATASET[:CONFIG[:SPLIT[:COUNT]]]; default LibriSpeech
    test-clean."""

    limit: int | None = None
    """Use only this many utterances, from the first on."""

    output_dir: Path | None = None
    """Folder of the results, among them report.html; default runs/benchmark-DATE-TIME. An unfinished run goes on."""

    conditions: str = "default"
    """What is done to the audio: clean, default, all, or a list such as clean,noise:10,reverb; clean is always in."""

    condition_utterances: int = 50
    """Maximum number of utterances, evenly spaced in the corpus, under each condition other than clean."""

    noise: Path | None = None
    """Folder of noise recordings for noise:SNR; without it, noise is generated."""

    rooms: Path | None = None
    """Folder of room impulse responses for reverb; without it, a room is generated."""

    profiles: list[str] | None = None
    """Text profiles that errors are counted under (`python -m preprocessing.text --list`); the first decides verdicts.
    Default librispeech and whisper-english; in another language than English, by --language or as the corpus names it,
    basic:LANGUAGE and verbatim."""

    lm: Path | None = None
    """ARPA file, or folder with one, for systems ending in +lm, such as wav2vec2+lm=CHECKPOINT; `python -m
    finetune.language_model` makes one. Default: the language model that each checkpoint carries."""

    alpha: float | None = None
    """Weight of the language model's log-probability beside the acoustic model's; default as stored with the language
    model by `python -m finetune.language_model tune`, else 0.5."""

    beta: float | None = None
    """Added to a hypothesis's score for each word, in natural logarithms: more makes more and shorter words; default as
    stored with the language model, else 1."""

    unk_score_offset: float | None = None
    """Added to the score for each word that the language model does not know, in natural logarithms; 0 or less; default
    as stored with the language model, else -10."""

    rescore: Path | None = None
    """Folder of an LSTM (`python -m finetune.language_model train`) that ranks the n best of systems ending in +lm."""

    rescore_weight: float = 0.3
    """Weight of that LSTM's log-probability, added to the score of the search."""

    hotwords: list[str] = field(default_factory=list)
    """Words that systems ending in +lm favour, as "[Saoirse,Kubernetes]", written as the model writes them."""

    hotword_weight: float = 10.0
    """Added to the score for each hot word, in natural logarithms; 0 or more."""

    beam_width: int = 64
    """Hypotheses that the beam search keeps after each frame."""

    language: str | None = None
    """Language of the speech, such as de; without it, a multilingual Whisper detects it."""

    system_options: dict[str, SystemOptions] = field(default_factory=dict)
    """How single Whispers decode, by their name in the tables: --system_options.NAME.beam_size 5, in YAML a mapping of
    mappings; docs/systems.md lists the keys."""

    denoise: bool | None = None
    """Remove stationary noise before every system gets the audio, or before none; default: before those that were
    trained so (--data.denoise). Its time counts as decoding."""

    rounds: int = 3
    """Times that latency and throughput are measured; systems take turns within a round."""

    latency_utterances: int = 50
    """Maximum number of utterances, evenly spaced by duration, that are timed one at a time."""

    one_at_a_time: bool = False
    """Keep one system in memory at a time, where they do not fit together; each is loaded anew for every turn."""

    word_timestamps: bool = False
    """Ask for the times and the confidence of each word too, in a second pass over clean speech that no figure of speed
    or memory counts and that takes about as long as the first; the report shades words by it."""

    timeout: float = 600.0
    """Seconds after which a batch counts as hung: the process is killed, the utterance at fault counts as failed."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Device that models run on; auto is cuda where there is a GPU."""

    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Arithmetic of wav2vec2; auto is float32 on a CPU, and float16 on a GPU that is faster at it. Other systems have
    their own and report it."""

    compare: Path | None = None
    """Folder of an earlier result; the report lists how every figure has changed since."""

    fail_on_regression: bool = False
    """Exit with 1 where a figure is worse than that of --compare and chance does not explain it."""

    seed: int = 0
    """Seed of the bootstrap, of noises and of rooms."""

    overwrite: bool = False
    """Replace results that the output folder holds."""

    def check(self) -> None:
        """Raises UsageError naming the first value that is out of range, or contradicts another."""
        if self.profiles is not None and not self.profiles:
            raise UsageError("--profiles is empty; expected a text profile or more: name one")
        for flag in ("limit", "condition_utterances", "rounds", "latency_utterances", "beam_width"):
            count = getattr(self, flag)
            if count is not None and count < 1:
                raise UsageError(f"--{flag} is {count}; expected 1 or more: raise it")
        if self.seed < 0:
            raise UsageError(f"--seed is {self.seed}; expected 0 or more: choose another")
        for name, options in self.system_options.items():
            options.check(name)
        if self.unk_score_offset is not None and self.unk_score_offset > 0:
            raise UsageError(f"--unk_score_offset is {self.unk_score_offset:g}; expected 0 or less: lower it")
        if self.alpha is not None and self.alpha < 0:
            raise UsageError(f"--alpha is {self.alpha:g}; expected 0 or more: raise it")
        if self.hotword_weight < 0:
            raise UsageError(f"--hotword_weight is {self.hotword_weight:g}; expected 0 or more: raise it")
        if not self.timeout > 0:
            raise UsageError(f"--timeout is {self.timeout:g}; expected seconds above 0: raise it")
        if self.fail_on_regression and self.compare is None:
            raise UsageError("--fail_on_regression is true, but --compare names no earlier result: name its folder")

    def settings(self) -> dict[str, str]:
        """The flags that decide what is measured, as text; an unfinished run goes on only under the same ones."""
        flags = [*MEASURING_FLAGS, *(LANGUAGE_MODEL_FLAGS if "+lm" in self.models else ())]
        flags += [flag for flag in ("one_at_a_time", "word_timestamps", "system_options") if getattr(self, flag)]
        return {flag: as_text(getattr(self, flag)) for flag in flags}


def as_text(value: object) -> str:
    """The value of a flag as text; of system_options as JSON.

    >>> as_text({"prompted": SystemOptions(initial_prompt="zero one")})
    '{"prompted": {"initial_prompt": "zero one"}}'
    """
    if isinstance(value, dict):
        return json.dumps({name: options.given() for name, options in value.items()}, ensure_ascii=False)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return ",".join(map(str, value))
    return "default" if value is None else str(value)
