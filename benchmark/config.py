"""Configuration of a benchmark. The flags of the beam search have the names of pyctcdecode's parameters."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal

from finetune.systems.facts import SystemOptions
from finetune.systems.families import family_in, spelling
from finetune.systems.search_options import SEARCH_FLAGS, SearchOptions
from preprocessing.errors import UsageError

MEASURING_FLAGS = (
    *("models", "data", "limit", "conditions", "condition_utterances", "noise", "rooms", "profiles", "language"),
    *("denoise", "rounds", "latency_utterances", "device", "precision", "seed"),
)
PROPERTIES = ("domain", "speaker", "sex", "language", "duration", "speaking rate")  # that always have slices


@dataclass(frozen=True)
class BenchmarkConfig(SearchOptions):
    """Options of a run over one corpus."""

    renamed: ClassVar[Mapping[str, str]] = {
        "output": "output_dir",
        "lm_weight": "alpha",
        "word_bonus": "beta",
        "unknown_word": "unk_score_offset",
        "beam": "beam_width",
    }

    models: str = "wav2vec2,whisper"
    """Systems, separated by commas: wav2vec2, whisper, FAMILY=CHECKPOINT, NAME=FAMILY:CHECKPOINT to name it,
    transcripts=FILE for texts that were made elsewhere, or package.module:Class."""

    data: str | None = None
    """A manifest (JSONL, CSV, TSV), a folder or file of any layout in docs/corpora.md, or
    hf:DATASET[:CONFIG[:SPLIT[:COUNT]]]. Default: LibriSpeech test-clean."""

    limit: int | None = None
    """Use only this many utterances, evenly spaced in the corpus; of a dataset of the Hub or of parquet files, the
    first."""

    output_dir: Path | None = None
    """Folder of the results, including report.html; an unfinished run there is resumed. Default:
    runs/benchmark-DATE-TIME."""

    conditions: str = "default"
    """Acoustic conditions: clean, default, all, or a list such as clean,noise:10,reverb; clean is always included."""

    condition_utterances: int = 50
    """Maximum number of utterances per condition other than clean, evenly spaced in the corpus."""

    noise: Path | None = None
    """Folder of noise recordings for noise:SNR. Default: generated noise."""

    rooms: Path | None = None
    """Folder of room impulse responses (RIRs) for reverb. Default: a generated room."""

    profiles: list[str] | None = None
    """Text normalisation profiles for scoring (`python -m preprocessing.text --list`); the first one decides the
    comparisons. Default: librispeech and whisper-english; for a language other than English, given by --language or the
    corpus, basic:LANGUAGE (Chinese: basic:zh:simplified) and verbatim."""

    slices: list[str] = field(default_factory=list)
    """Further columns of the corpus by whose values the WER is broken down, as "[accent,age]"; domain, speaker, sex,
    language, duration and speaking rate always are."""

    keywords: Path | None = None
    """Text file of words and phrases, one a line, such as names and products: the report has their recall and
    precision."""

    baseline_system: str | None = None
    """System of --models that the others are to beat: the verdict begins with its comparisons on clean speech, whose
    p-values are corrected by themselves. Name it before the results are known. Default: all comparisons are corrected
    together."""

    language: str | None = None
    """Language of the speech, such as de: of the text profiles, multilingual Whispers and MMS models. Default: the one
    that all utterances of the corpus name; without one, the profiles are those of English, Whisper detects the language
    and MMS decodes with its default."""

    system_options: dict[str, SystemOptions] = field(default_factory=dict)
    """Decoding options of single Whisper systems, by their name in the tables: --system_options.NAME.beam_size 5, in
    YAML a mapping of mappings; docs/systems.md lists the keys."""

    denoise: bool | None = None
    """Remove stationary noise from the input of every system (true) or of none (false); its time counts as audio
    decoding. Default: of the systems that were trained so (--data.denoise)."""

    rounds: int = 3
    """Number of rounds in which latency and throughput are measured; systems take turns within a round."""

    latency_utterances: int = 50
    """Maximum number of utterances timed one at a time, which represent the durations of all."""

    batch_seconds: float | None = None
    """Seconds of audio per batch, padding included, of every system; 0: one utterance at a time. Throughput and peak
    memory depend on it. Default: each system's as in --compare (on the same kind of device), else the fastest in a
    short trial."""

    one_at_a_time: bool = False
    """Keep one system in memory at a time, if they do not fit together; each is loaded again whenever its turn
    comes."""

    word_timestamps: bool = False
    """Also measure start, end and confidence of each word, in a second pass over the clean speech that takes about as
    long as the first and does not count for speed or memory; the report shades words by confidence."""

    timeout: float = 600.0
    """Timeout of a batch, in seconds: the process is killed and the utterance at fault counts as failed."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Device that the models run on; auto takes a GPU if there is one."""

    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Precision of wav2vec2, whisper-ctc and exported graphs; auto is float32 on a CPU, and float16 on a GPU where that
    is faster. Other systems choose their own and report it."""

    compare: Path | None = None
    """Folder of an earlier result; the report lists the changes since then."""

    fail_on_regression: bool = False
    """Exit with code 1 if a figure is significantly worse than in --compare, or a WER of both could not be tested."""

    seed: int = 0
    """Seed of the bootstrap, the noises and the rooms."""

    overwrite: bool = False
    """Replace existing results and their report in the output folder."""

    def check(self) -> None:
        """Raises UsageError naming the first value that is out of range, or contradicts another."""
        if self.profiles is not None and not self.profiles:
            raise UsageError("--profiles is empty; expected a text profile or more: name one")
        self.check_search()
        for flag in ("limit", "condition_utterances", "rounds", "latency_utterances"):
            count = getattr(self, flag)
            if count is not None and count < 1:
                raise UsageError(f"--{flag} is {count}; expected 1 or more: raise it")
        if self.seed < 0:
            raise UsageError(f"--seed is {self.seed}; expected 0 or more: choose another")
        if self.batch_seconds is not None and not 0 <= self.batch_seconds < math.inf:
            raise UsageError(f"--batch_seconds is {self.batch_seconds:g}; expected seconds, 0 or more: choose another")
        for name, options in self.system_options.items():
            options.check(name)
        for name in self.slices:
            if name in PROPERTIES:
                raise UsageError(
                    f"--slices names {name}, which always has slices; expected other columns: leave it out"
                )
        if not self.timeout > 0:
            raise UsageError(f"--timeout is {self.timeout:g}; expected seconds above 0: raise it")
        if self.fail_on_regression and self.compare is None:
            raise UsageError("--fail_on_regression is true, but --compare names no earlier result: name its folder")
        if self.compare and self.output_dir and self.compare.resolve() == self.output_dir.resolve():
            raise UsageError(
                f"--compare and --output_dir are both {self.output_dir}; expected two folders, as this run would "
                "replace the result that it is compared with: choose another --output_dir"
            )

    def settings(self) -> dict[str, str]:
        """The flags that decide what is measured, as text; an unfinished run goes on only under the same ones."""
        searches = any(spelling(family_in(reference)).decodes_with_lm for reference in self.models.split(","))
        flags = [*MEASURING_FLAGS, *(SEARCH_FLAGS if searches else ())]
        flags += [
            flag for flag in ("one_at_a_time", "word_timestamps", "system_options", "slices") if getattr(self, flag)
        ]
        flags += ["batch_seconds"] if self.batch_seconds is not None else []
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
