"""What a recogniser says of itself, and the options that a single one may be given, under the names that openai-whisper
and faster-whisper have for them. Importing this file does not import torch.
"""

from dataclasses import asdict, dataclass, field

from preprocessing.cli.options import check_counts
from preprocessing.errors import UsageError

TRANSCRIPTS = "transcripts"  # family of what was transcribed elsewhere: scored, and never loaded
NOISE_REMOVAL = "noise removal"  # a setting: "on" where stationary noise is removed before the system gets the audio


@dataclass(frozen=True, slots=True)
class WeightsFile:
    """A file of a model's weights: its name without folders, its size, and its SHA-256 in hexadecimal."""

    name: str
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class SystemFacts:
    """A system's description of itself, once it is loaded.

    parameters: 0 where the system does not report them. settings: what was chosen, by topic, as text for the report.
    notice: set where a demo checkpoint stands in, and says what its figures do not show. weights: the files that the
    model was loaded from, as far as they are on this machine. signature: weights and decoding in one string, in the
    manner of sacrebleu's (`finetune.systems.identity`). trained: the checkpoint is a run of this project's training.
    """

    name: str
    family: str
    checkpoint: str
    parameters: int
    settings: dict[str, str] = field(default_factory=dict)
    notice: str | None = None
    weights: list[WeightsFile] = field(default_factory=list)
    signature: str = ""
    trained: bool = False


@dataclass(frozen=True)
class SystemOptions:
    """How one Whisper decodes; what is not given stays as docs/systems.md lists it."""

    language: str | None = None
    """Language of the speech, such as de; before --language."""

    initial_prompt: str | None = None
    """Text that stands before the transcript as if it had been spoken: names and words that are to be expected."""

    beam_size: int | None = None
    """Hypotheses of a beam search; 1 is greedy."""

    temperature: float | list[float] | None = None
    """One temperature, or several: the next one wherever the text repeats itself or is improbable (fallback)."""

    condition_on_previous_text: bool | None = None
    """Beyond 30 s, give each window the text of the one before."""

    vad_filter: bool | None = None
    """Cut out what is no speech beforehand; faster-whisper only."""

    compute_type: str | None = None
    """Arithmetic such as int8, float32 or float16; faster-whisper only."""

    def given(self) -> dict[str, object]:
        """The options that differ from their default, by name."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    @property
    def temperatures(self) -> tuple[float, ...]:
        """The temperatures in the order in which they are tried."""
        if self.temperature is None:
            return (0.0,)
        return tuple(self.temperature) if isinstance(self.temperature, list) else (self.temperature,)

    def check(self, name: str) -> None:
        """Raises UsageError naming the first value of the system `name` that is out of range."""
        flag = f"--system_options.{name}"
        check_counts((f"{flag}.beam_size", self.beam_size, 1))
        rising = list(self.temperatures) == sorted(set(self.temperatures))
        if not self.temperatures or not rising or self.temperatures[0] < 0:
            raise UsageError(f"{flag}.temperature is {self.temperature}; expected 0 or more, rising: change it")
        if (self.beam_size or 1) > 1 and self.temperatures[0] > 0:
            raise UsageError(
                f"{flag} has beam_size {self.beam_size} at temperature {self.temperatures[0]:g}; expected temperature "
                "0 with a beam search, as a higher one samples tokens: set one of them to its default"
            )
