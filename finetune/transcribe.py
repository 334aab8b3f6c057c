"""`python -m finetune.transcribe MODEL FILES_OR_FOLDERS...`: texts, subtitles, word times and confidence of recordings.

Thin: options in, the model loaded, `finetune.transcription` runs.
"""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from preprocessing.cli.errors import InputError, UsageError, counted
from preprocessing.cli.options import check_counts, check_ranges, parse_command, run_command

if TYPE_CHECKING:
    from rich.console import Console

    from finetune.systems.base import LanguageModelOptions, LoadOptions, SystemSpec
    from finetune.transcription.recordings import Recording
    from finetune.transcription.results import Results

DESCRIPTION = "Transcribe recordings of any length with a fine-tuned or published model: text, subtitles, word times."


@dataclass(frozen=True)
class TranscribeConfig:
    """What to transcribe, with which model, and where to."""

    model: str
    """a run's folder, a transformers folder, a Hub id, a size of Whisper such as base.en, a .pt file, or a system as
    --models of benchmark/run.py names it: wav2vec2, FAMILY=CHECKPOINT"""
    recordings: list[str]
    """audio or video files, folders of them, and - for standard input"""
    format: str = "txt"
    """txt, json, srt, vtt, tsv, textgrid (for Praat), several separated by commas, or all (also -f)"""
    output_dir: Path | None = None
    """folder for a file of each format for each recording (also -o), which an interrupted run goes on in; default:
    standard output"""
    lm: Path | None = None
    """language model of a CTC model's beam search: an ARPA file, or a folder or run that holds one"""
    alpha: float | None = None
    """weight of the language model; default as stored with it, else 0.5"""
    beta: float | None = None
    """added for each word; default as stored with the language model, else 1"""
    beam_width: int = 64
    """hypotheses that the beam search keeps"""
    hotwords: list[str] = field(default_factory=list)
    """words that the beam search favours, written as the model writes them"""
    hotword_weight: float = 10.0
    """added for each hot word"""
    language: str | None = None
    """language of the speech, such as de; default: that which the model was fine-tuned in, else a multilingual Whisper
    detects it"""
    initial_prompt: str | None = None
    """text before the transcript as if it had been spoken, for Whisper: names and words to expect"""
    beam_size: int | None = None
    """hypotheses of Whisper's beam search; default 1, greedy"""
    channel: int | None = None
    """channel of the recordings to transcribe, from 0, as that of one speaker of a call; default: all are mixed"""
    denoise: bool | None = None
    """remove stationary noise first; default: where the model was trained so (--data.denoise)"""
    word_timestamps: bool = True
    """times and probability of each word; without them Whisper is faster, and its text that of the benchmark"""
    max_line_width: int | None = None
    """characters in a line of srt and vtt before it is broken"""
    max_line_count: int | None = None
    """lines of a subtitle, with max_line_width"""
    highlight_words: bool = False
    """underline each word of srt and vtt as it is spoken"""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """where the model is computed; auto is cuda where there is a GPU"""
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """arithmetic of CTC models; auto is float32 on a CPU and float16 on a GPU"""
    overwrite: bool = False
    """transcribe anew what is done, and replace files that are there"""

    def check(self) -> tuple[str, ...]:
        """The formats. Raises UsageError on a value that cannot be used."""
        from finetune.transcription.writers import parse_formats

        formats = parse_formats(self.format)
        if self.output_dir is None and len(formats) > 1:
            raise UsageError(
                f"--format {self.format} has several, of which one can go to standard output; expected a folder for "
                "them: name it with --output_dir, or choose one format"
            )
        check_counts(("--beam_width", self.beam_width, 1), ("--channel", self.channel or 0, 0))
        for flag in ("beam_size", "max_line_width", "max_line_count"):
            value = getattr(self, flag)
            if value is not None:
                check_counts((f"--{flag}", value, 1))
        if self.max_line_count is not None and self.max_line_width is None:
            raise UsageError("--max_line_count has no effect alone; expected --max_line_width with it: add it")
        check_ranges(
            ("--alpha", self.alpha or 0.0, "0 or more", (self.alpha or 0.0) >= 0),
            ("--beta", self.beta or 0.0, "a number", True),
            ("--hotword_weight", self.hotword_weight, "0 or more", self.hotword_weight >= 0),
        )
        if self.lm is not None and not self.lm.exists():
            raise UsageError(f"--lm {self.lm}: no such file or folder; expected a language model: check the name")
        return formats


def main(arguments: Sequence[str] | None = None) -> None:
    config = parse_command(
        TranscribeConfig,
        program="python -m finetune.transcribe",
        description=DESCRIPTION,
        arguments=arguments,
        positional=True,
        short={"-o": "--output_dir", "-f": "--format"},
        several=("recordings", "hotwords"),
    )
    run(config)


def run(config: TranscribeConfig) -> None:
    """Transcribe what is not done. Raises UserError; also at the end, where recordings failed."""
    formats = config.check()
    from finetune.transcription.recordings import find_recordings

    recordings = [replace(one, channel=config.channel) for one in find_recordings(config.recordings)]
    from rich.console import Console

    from finetune.systems.registry import check_language_model, check_system_options
    from preprocessing.cli.folder_lock import only_writer

    console = Console(stderr=True, highlight=False, soft_wrap=True)
    spec, options = resolve(config)
    check_language_model([spec], None if options.language_model is None else options.language_model.path)
    check_system_options([spec], {spec.name: options.system})
    writing = nullcontext() if config.output_dir is None else only_writer(config.output_dir, "--output_dir")
    with writing:
        _transcribe(config, spec, options, _results(config, formats, spec), recordings, console)


def _transcribe(
    config: TranscribeConfig,
    spec: "SystemSpec",
    options: "LoadOptions",
    results: "Results",
    recordings: "list[Recording]",
    console: "Console",
) -> None:
    from finetune.systems.registry import load_system
    from finetune.transcription.run import transcribe

    remaining = results.pending(recordings)
    if len(remaining) < len(recordings):
        console.print(f"going on: {len(recordings) - len(remaining)} of {len(recordings):,} recordings are done")
    if not remaining:
        return
    if spec.notice:
        console.print(spec.notice, markup=False)
    from transformers.utils import logging

    logging.disable_progress_bar()  # of weights, beside that of the recordings
    system = load_system(spec, options)
    failed = transcribe(
        system, remaining, results, console,
        words=config.word_timestamps, device=options.device, language=config.language, denoise=options.denoise,
    )  # fmt: skip
    if failed:
        raise InputError(
            f"{failed:,} of {counted(len(remaining), 'recording')} could not be transcribed, for the reasons above; "
            "expected audio that the model can transcribe: mend or leave out what is named there"
        )


def resolve(config: TranscribeConfig) -> tuple["SystemSpec", "LoadOptions"]:
    """The system and how it is loaded. Raises UserError on an unknown model, and options that do not go with it."""
    import torch

    from finetune.models.companion_files import trained_on_denoised
    from finetune.systems.base import LM_SUFFIX, LoadOptions
    from finetune.systems.facts import SystemOptions
    from finetune.systems.registry import FAMILIES, parse_model

    if config.device == "cuda" and not torch.cuda.is_available():
        raise UsageError("--device is cuda, but torch finds no GPU here; expected one: choose cpu")
    device = config.device if config.device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
    spec = parse_model(config.model)
    searches = spec.family.endswith(LM_SUFFIX)
    if config.lm is not None and not searches:
        if f"{spec.family}{LM_SUFFIX}" not in FAMILIES:
            raise UsageError(
                f"--lm {config.lm} is for CTC models, and {config.model} is of the family {spec.family}; expected "
                f"{', '.join(name for name in FAMILIES if f'{name}{LM_SUFFIX}' in FAMILIES)}: leave --lm out"
            )
        spec, searches = replace(spec, family=f"{spec.family}{LM_SUFFIX}"), True
    for flag, given in (("alpha", config.alpha), ("beta", config.beta), ("hotwords", config.hotwords or None)):
        if given is not None and not searches:
            raise UsageError(f"--{flag} is of a beam search with a language model; expected --lm with it: name one")
    system = SystemOptions(initial_prompt=config.initial_prompt, beam_size=config.beam_size)
    language_model = _language_model(config) if searches else None
    denoise = trained_on_denoised(spec.checkpoint) if config.denoise is None else config.denoise
    return spec, LoadOptions(device, config.language, denoise, config.precision, language_model, system)


def _language_model(config: TranscribeConfig) -> "LanguageModelOptions":
    from finetune.decoding.beam import BeamSettings
    from finetune.language_model.folder import TUNED
    from finetune.systems.base import LanguageModelOptions

    given = {name: value for name in ("alpha", "beta") if (value := getattr(config, name)) is not None}
    search = BeamSettings(
        beam_width=config.beam_width, hotwords=tuple(config.hotwords), hotword_weight=config.hotword_weight, **given
    )
    return LanguageModelOptions(config.lm, search, as_stored=tuple(name for name in TUNED if name not in given))


def _results(config: TranscribeConfig, formats: Sequence[str], spec: "SystemSpec") -> "Results":
    from finetune.transcription.results import ResultsFolder, StandardOutput
    from finetune.transcription.writers import Subtitles

    subtitles = Subtitles(config.max_line_width, config.max_line_count, config.highlight_words)
    if config.output_dir is None:
        return StandardOutput(formats[0], subtitles)
    return ResultsFolder(
        config.output_dir, formats, _made_with(config, spec), overwrite=config.overwrite, subtitles=subtitles
    )


def _made_with(config: TranscribeConfig, spec: "SystemSpec") -> str:
    """The model, its weights and the options that decide text, times and files, as a hash."""
    import hashlib
    import json
    from dataclasses import asdict

    from finetune.systems.identity import weights_of

    kept = asdict(replace(config, recordings=[], output_dir=None, format="", overwrite=False, device="auto"))
    weights = [(path.name, path.stat().st_size, path.stat().st_mtime_ns)
               for path in weights_of(spec.family.removesuffix("+lm"), spec.checkpoint)]  # fmt: skip
    return hashlib.sha256(json.dumps([kept, weights], sort_keys=True, default=str).encode()).hexdigest()[:16]


if __name__ == "__main__":
    run_command(main)
