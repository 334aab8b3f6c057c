"""The options of `python -m finetune.transcribe`, and the system that they name: those of the model are
`finetune.recogniser`'s too.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from finetune.systems.search_options import SEARCH_FLAGS, SearchOptions
from preprocessing.cli.options import check_counts
from preprocessing.errors import UsageError

if TYPE_CHECKING:
    from finetune.systems.base import LoadOptions, SystemSpec

LOADING = (
    *("language", "initial_prompt", "beam_size", "denoise", "device", "precision"),
    *SEARCH_FLAGS,
)  # options that `resolve` makes LoadOptions of


@dataclass(frozen=True)
class TranscribeConfig(SearchOptions):
    """What to transcribe, with which model, and where the output goes."""

    model: str
    """A run's folder, a transformers folder, a Hub id, a Whisper size such as base.en, a .pt file, or a system as for
    --models of benchmark/run.py: wav2vec2, FAMILY=CHECKPOINT."""
    recordings: list[str]
    """Audio or video files, folders of them, and - for standard input."""
    format: str = "txt"
    """Output formats (also -f): txt, json, srt, vtt, tsv, textgrid (for Praat), all (these six), ctm (NIST's, for
    sclite), manifest (segments to correct or train on, in JSON Lines), or several separated by commas."""
    output_dir: Path | None = None
    """Folder for one file per recording and format (also -o); an interrupted run resumes there. Default: standard
    output."""
    language: str | None = None
    """Language of the speech, such as de, for a multilingual Whisper or an MMS model, which decodes with the adapter of
    that language. Default: the language of the fine-tuning; otherwise Whisper detects it, and MMS takes its default."""
    initial_prompt: str | None = None
    """Whisper's prompt: text as if spoken before the recording, such as names and words to expect."""
    beam_size: int | None = None
    """Beam size of Whisper. Default: 1, greedy decoding."""
    channel: int | None = None
    """Channel to transcribe, from 0, such as one side of a call. Default: the mix of all channels."""
    speakers: list[str] = field(default_factory=list)
    """Names of the speakers of a call, one for each channel from 0 on: every channel is transcribed by itself, and the
    segments of all are put in order, with the names. Default: one text of all channels."""
    denoise: bool | None = None
    """Remove stationary noise first. Default: as in the model's training (--data.denoise)."""
    word_timestamps: bool = True
    """Compute start, end and probability of each word. Without them Whisper is faster; its text is the same."""
    max_line_width: int | None = None
    """Longest line of srt and vtt, in characters."""
    max_line_count: int | None = None
    """Lines per subtitle; needs max_line_width."""
    highlight_words: bool = False
    """Underline each word of srt and vtt while it is spoken."""
    min_confidence: float | None = None
    """Leave segments with a lower confidence, 0 to 1, out of the manifest; a segment has that of its least certain
    word. Default: all segments."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Device that the model runs on; auto takes a GPU if there is one."""
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Precision of wav2vec2, whisper-ctc and exported graphs; auto is float32 on a CPU and float16 on a GPU. Other
    families choose their own."""
    overwrite: bool = False
    """Replace existing outputs that this command did not make. Those that it made are kept, so that it resumes too; to
    make one again, delete it."""

    def formats(self) -> tuple[str, ...]:
        """The names that `format` holds, each once. Raises UsageError on one that is none."""
        from finetune.transcription.writers import parse_formats

        return parse_formats(self.format)

    def check(self) -> None:
        """Raises UsageError on a value that cannot be used."""
        formats = self.formats()
        if self.output_dir is None and len(formats) > 1:
            raise UsageError(
                f"--format {self.format} has several, of which one can go to standard output; expected a folder for "
                "them: name it with --output_dir, or choose one format"
            )
        self.check_search()
        check_counts(
            ("--channel", self.channel, 0),
            ("--beam_size", self.beam_size, 1),
            ("--max_line_width", self.max_line_width, 1),
            ("--max_line_count", self.max_line_count, 1),
        )
        if self.max_line_count is not None and self.max_line_width is None:
            raise UsageError("--max_line_count has no effect alone; expected --max_line_width with it: add it")
        for flag in ("max_line_width", "highlight_words"):
            if not getattr(self, flag):
                continue
            if not {"srt", "vtt"} & set(formats):
                raise UsageError(
                    f"--{flag} with --format {self.format}, which has no lines; expected srt or vtt: add it"
                )
            if not self.word_timestamps:
                raise UsageError(f"--{flag} needs the times of words; expected them: leave --word_timestamps false out")
        self._check_ctm_and_manifest(formats)
        if self.speakers and (self.channel is not None or self.max_line_count is not None):
            other = "channel" if self.channel is not None else "max_line_count"
            reason = "one channel alone" if other == "channel" else "subtitles of several segments, and speakers,"
            raise UsageError(f"--speakers with --{other}, {reason}; expected one of the two: leave the other out")
        if len(self.speakers) == 1 or len(set(self.speakers)) < len(self.speakers):
            raise UsageError(
                f"--speakers {' '.join(self.speakers)}; expected two or more different names, one for each channel: "
                "name them, or select one channel with --channel"
            )
        wrong = next((name for name in self.speakers if not name.strip() or set(name) & set("<>&\n")), None)
        if wrong is not None:
            raise UsageError(f"--speakers names {wrong!r}; expected a name without <, > and &: change it")
        for flag, needed in (("hotword_weight", "hotwords"), ("rescore_weight", "rescore")):
            if getattr(self, flag) != getattr(type(self), flag) and not getattr(self, needed):
                raise UsageError(f"--{flag} has no effect alone; expected --{needed} with it: add it")
        if self.lm is not None and not self.lm.exists():
            raise UsageError(f"--lm {self.lm}: no such file or folder; expected a language model: check the name")

    def _check_ctm_and_manifest(self, formats: tuple[str, ...]) -> None:
        if not self.word_timestamps and "ctm" in formats:
            raise UsageError("--format ctm needs the times of words; expected them: leave --word_timestamps false out")
        if "manifest" in formats and "-" in self.recordings:
            raise UsageError(
                "--format manifest names audio files, and - is standard input; expected files: save it in one first"
            )
        if self.min_confidence is None:
            return
        if not 0 <= self.min_confidence <= 1:
            raise UsageError(f"--min_confidence is {self.min_confidence:g}; expected a probability, 0 to 1: correct it")
        if "manifest" not in formats:
            raise UsageError(
                f"--min_confidence with --format {self.format}, which is of all segments; expected manifest: add it"
            )
        if not self.word_timestamps:
            raise UsageError(
                "--min_confidence needs the probabilities of words; expected them: leave --word_timestamps false out"
            )


def resolve(config: TranscribeConfig) -> tuple["SystemSpec", "LoadOptions"]:
    """The system and how it is loaded. Raises UserError on an unknown model, and options that do not go with it."""
    from finetune.models.companion_files import trained_on_denoised
    from finetune.systems.base import LoadOptions
    from finetune.systems.facts import SystemOptions
    from finetune.systems.families import CTC_FAMILIES
    from finetune.systems.registry import (
        MODEL,
        check_language_model,
        check_options_of,
        check_precision,
        device_of,
        parse_model,
    )
    from finetune.systems.search_options import language_model_options, search_settings

    spec = parse_model(config.model)
    device = device_of(spec.family, config.device)
    for flag, given in (("lm", config.lm), ("hotwords", config.hotwords)):
        if given and spec.family not in CTC_FAMILIES:
            raise UsageError(
                f"--{flag} {config.lm if flag == 'lm' else ' '.join(config.hotwords)} is for CTC models, and "
                f"{config.model} is of the family {spec.family}; expected {', '.join(CTC_FAMILIES)}: leave --{flag} out"
            )
    if config.lm is not None:
        spec = replace(spec, decodes_with_lm=True)
    for flag in ("alpha", "beta", "unk_score_offset", "rescore"):
        if getattr(config, flag) is not None and not spec.decodes_with_lm:
            raise UsageError(
                f"--{flag} belongs to the beam search with a language model; expected --lm with it: name one"
            )
    if config.beam_width != TranscribeConfig.beam_width and not spec.decodes_with_lm and not config.hotwords:
        raise UsageError("--beam_width belongs to a beam search; expected --lm or --hotwords with it: name one")
    system = SystemOptions(initial_prompt=config.initial_prompt, beam_size=config.beam_size)
    denoise = trained_on_denoised(spec.checkpoint) if config.denoise is None else config.denoise
    options = LoadOptions(device, config.language, denoise, config.precision, system=system)
    if spec.decodes_with_lm:
        options = replace(options, language_model=language_model_options(config))
    elif config.hotwords:
        options = replace(options, search=search_settings(config))
    check_language_model([spec], None if options.language_model is None else options.language_model.path, MODEL)
    check_options_of(spec, options.system, "--")
    check_precision(spec, config.precision)
    return spec, options
