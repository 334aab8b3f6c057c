"""The interface of every system that transcribe uses and the benchmark measures: loaded once, then three stages for
each batch, which the benchmark times.

A class of your own is one file, given as `--models package.module:Class` with the package on PYTHONPATH:

    class Mine(System):
        def __init__(self, spec: SystemSpec, options: LoadOptions) -> None:
            self.facts = spec.facts(parameters=0, settings={"decoding": "greedy"})
            self.model = load(spec.checkpoint, options.device)

        def features(self, waveforms: Sequence[Tensor]) -> Any:
            return log_mel(waveforms[0])

        def forward(self, features: Any) -> Any:
            return self.model(features)

        def text(self, outcome: Any) -> list[str]:
            return [decode(outcome)]

One that belongs to this project gets a line in `finetune.systems.families.FAMILIES` as well.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from finetune.decoding.beam import BeamSettings
from finetune.systems import families
from finetune.systems.facts import SystemFacts, SystemOptions
from finetune.systems.transcript import Transcript
from preprocessing.audio import SAMPLE_RATE
from preprocessing.errors import UsageError

PRECISIONS: dict[str, torch.dtype] = {name: getattr(torch, name) for name in families.PRECISIONS}
WINDOW_SECONDS = 30.0  # of a Whisper
LONGEST_PIECE_SECONDS = 1800.0  # of systems that take any length: a Whisper's log-mel of an hour has 0.6 GB


@dataclass(frozen=True, slots=True)
class SystemSpec:
    """A system as --models names it, resolved but not loaded.

    name: what results and report call it, unique in a run. family: a key of `finetune.systems.families.FAMILIES`, or
    package.module:Class. checkpoint: a folder, Hub id or size; for a class without one, its own reference.
    notice: set where a demo checkpoint stands in. decodes_with_lm: a CTC model by a beam search with a language model.
    """

    name: str
    family: str
    checkpoint: str
    notice: str | None = None
    decodes_with_lm: bool = False

    @property
    def written_family(self) -> str:
        """The family as references and results have it: with +lm where a language model decodes."""
        return f"{self.family}{families.LM_SUFFIX}" if self.decodes_with_lm else self.family

    def facts(self, parameters: int, settings: dict[str, str]) -> SystemFacts:
        """What the report says of the loaded system: these, beside its name, family and checkpoint."""
        return SystemFacts(self.name, self.written_family, self.checkpoint, parameters, settings, self.notice)


@dataclass(frozen=True, slots=True)
class LanguageModelOptions:
    """A language model, and how a system that decodes with it searches.

    path: an ARPA file or a folder that holds one (`finetune.decoding.language_model_folder`); None: the one that the
    checkpoint carries. as_stored: names of the settings whose values are those stored with the language model, where
    they are.
    rescore: folder of an LSTM that rescores the n-best list, with what weight.
    """

    path: Path | None
    search: BeamSettings = field(default_factory=BeamSettings)
    as_stored: tuple[str, ...] = ()
    rescore: Path | None = None
    rescore_weight: float = 0.0


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """How a system is to be loaded.

    device: "cpu" or "cuda". language: of the speech, such as "de"; None: the model detects it, where it can.
    denoise: noise is removed from waveforms before a system is given them. precision: "auto" or a key of PRECISIONS,
    for systems that can choose. language_model: of systems that decode with one. system: of this system alone.
    search: of CTC systems that do not: a beam search for hot words without a language model; None: greedy.
    """

    device: str
    language: str | None
    denoise: bool = False
    precision: str = "auto"
    language_model: LanguageModelOptions | None = None
    system: SystemOptions = field(default_factory=SystemOptions)
    search: BeamSettings | None = None


class System(ABC):
    """A recogniser, loaded and ready.

    The constructor takes a SystemSpec and LoadOptions, loads the model, and sets `facts`. It raises UserError
    (`preprocessing.errors`) with a sentence for the user where that cannot be done; anything else that it raises is
    reported with its type and place.

    For each batch, `features`, `forward` and `text` are called in this order, each on what the one before returned, and
    timed apart with the device synchronised. They may raise anything: the batch is then tried again one utterance at a
    time, and an utterance that fails alone counts as all deleted. A waveform may be empty or shorter than one frame;
    its hypothesis is "".

    `transcribe` is what `finetune.transcribe` calls: the same text with times, where a system has them.

    facts: what the report says of the system. batched: whether `features` is given several waveforms at once; otherwise
    always a list of one. longest_in_batch_seconds: a longer recording is in a batch of its own. longest_piece_seconds:
    what `finetune.transcribe` gives it at once of a longer recording, which bounds its memory and, where a system gives
    no words, the length of a segment. takes_language: whether the language of its options changes what it writes.
    assumed_language: set by `in_language` alone.
    may_end_at_pause: whether it may end the text of a recording of up to 30 s at a pause, as a Whisper does, which
    writes no times there.
    """

    facts: SystemFacts
    batched: bool = False
    longest_in_batch_seconds: float = WINDOW_SECONDS
    longest_piece_seconds: float = WINDOW_SECONDS
    takes_language: bool = True
    may_end_at_pause: bool = False
    assumed_language: str | None = None

    @abstractmethod
    def features(self, waveforms: Sequence[Tensor]) -> Any:
        """The model's input, on its device, of waveforms [samples]: float32 in [-1, 1) at 16 kHz, on the CPU."""

    @abstractmethod
    def forward(self, features: Any) -> Any:
        """The model's output. All computing on the device belongs here, a search included where it is on the device."""

    @abstractmethod
    def text(self, outcome: Any) -> list[str]:
        """The raw hypotheses: one str for each waveform, in order, without normalisation."""

    @property
    def has_word_times(self) -> bool:
        """Whether `transcribe` gives words with their times."""
        return False

    def transcribe(
        self, waveforms: Sequence[Tensor], *, words: bool = True, advance: Callable[[float], None] | None = None
    ) -> list[Transcript]:
        """The transcript of each waveform, in order; times are seconds from its beginning.

        words: whether words and their times are wanted. advance: called with the seconds of audio done since the last
        call, where the system can say so before it is done.
        """
        texts = self.text(self.forward(self.features(waveforms)))
        return [
            Transcript.of_text(text, len(waveform) / SAMPLE_RATE)
            for text, waveform in zip(texts, waveforms, strict=True)
        ]

    @contextmanager
    def in_language(self, language: str | None) -> Iterator[None]:
        """Within it, a system that detects languages takes this one, a code such as "de", for that of its recordings:
        so the parts of one long recording have the language of the first. None: it detects them.

        A system does so by reading `assumed_language`.
        """
        before, self.assumed_language = self.assumed_language, language
        try:
            yield
        finally:
            self.assumed_language = before


@dataclass(frozen=True, slots=True)
class Precision:
    """dtype: of weights and activations below the output layer. description: of it and the reason, for the report."""

    dtype: torch.dtype
    description: str


def resolve_precision(requested: str, device: str) -> Precision:
    """The arithmetic of --precision ("auto" or a key of PRECISIONS) on a device ("cpu" or "cuda").

    auto is float32 on a CPU, also on one that multiplies bfloat16 faster: bfloat16's 8 bits of significand change
    words, and the same utterance may get other words in another batch. On a GPU that is faster at it (compute
    capability 7.0 and later), auto is float16, whose 11 bits hardly ever do.

    Raises UsageError on another name, and on float16 on a CPU, where many of transformers' operations lack it.
    """
    if requested == "auto":
        if device == "cpu":
            return Precision(torch.float32, "float32")
        if torch.cuda.get_device_capability() >= (7, 0):
            return Precision(torch.float16, "float16, output layer in float32")
        return Precision(torch.float32, "float32 (float16 is not faster on this GPU)")
    if requested not in PRECISIONS:
        raise UsageError(f"precision is {requested!r}; expected auto, {', '.join(PRECISIONS)}: choose one of them")
    if requested == "float16" and device == "cpu":
        raise UsageError("precision is float16 on a CPU; expected float32 or bfloat16 there: choose one of them")
    if requested == "float32":
        return Precision(torch.float32, "float32")
    return Precision(PRECISIONS[requested], f"{requested}, output layer in float32")
