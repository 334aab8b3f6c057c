"""Log-probabilities of a CTC model for a recording of any length, for alignment, tuning and studies.

Whatever family `finetune.transcribe` takes: a run, an export, a folder of transformers or a Hub id.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor

from finetune.decoding.frame_times import FrameTimes
from finetune.models.companion_files import profile_of, trained_on_denoised
from finetune.systems.base import LoadOptions
from finetune.systems.ctc import CTCSystem
from finetune.systems.families import CTC_FAMILIES, FAMILIES
from finetune.systems.registry import device_of, family_of, load_system, parse_models
from preprocessing.audio import SAMPLE_RATE
from preprocessing.errors import InputError, UsageError
from preprocessing.units import Vocabulary

if TYPE_CHECKING:
    from preprocessing.augment.denoise import SpectralGate
    from preprocessing.text import Profile

DEFAULT_PROFILE = "ctc"  # of a model that names none: fitted to its units


@dataclass(frozen=True)
class CTCModel:
    """A CTC model ready to compute log-probabilities, in float32.

    reference: its folder or Hub id. system: the model as a benchmark measures it. times: of its frames. profile: the
    text profile of its labels, as its training recorded it; "ctc:REFERENCE" of other models. denoise: applied to
    waveforms first, of a model that was trained on denoised audio. language: that of the adapter chosen of an MMS
    model; None: its default, or there is no choice.
    """

    reference: str
    system: CTCSystem
    times: FrameTimes
    profile: str
    denoise: "SpectralGate | None" = None
    language: str | None = None

    @property
    def vocabulary(self) -> Vocabulary:
        """The model's units."""
        return self.system.vocabulary

    def normaliser(self, name: str | None = None) -> "Profile":
        """The text profile of a name; None: `profile`, of a chosen language fitted to that language's vocabulary."""
        from preprocessing.text import profile

        if name is None and self.language is not None and self.profile == f"{DEFAULT_PROFILE}:{self.reference}":
            return profile(DEFAULT_PROFILE, vocabulary=self.vocabulary)
        return profile(self.profile if name is None else name)

    def log_probs(self, waveform: Tensor, advance: Callable[[float], None] | None = None) -> Tensor:
        """Log-probabilities [frames, units], natural, float32 on the CPU, of a waveform [samples] at 16 kHz.

        advance: called with the seconds of audio done since the last call; a recording that is computed whole may make
        no call. Raises InputError where the recording is shorter than a frame, too long for a model that cannot be
        chunked, or gives logits that are not finite.
        """
        (found,) = self.system.log_probs([waveform if self.denoise is None else self.denoise(waveform)], advance)
        if not len(found):
            raise InputError(
                f"lasts {len(waveform) / SAMPLE_RATE:.3f} s, which is shorter than a frame of the model; expected "
                "speech: check the file"
            )
        return found


def load_ctc(reference: str, device: str = "cpu", language: str | None = None) -> CTCModel:
    """The CTC model of a run's folder, another transformers folder or a Hub id, or of FAMILY=ONE with a CTC family.

    device: auto, cpu or cuda, as --device of a command; auto is the CPU for an exported graph. language: of an MMS
    model, that of the adapter to load; None: its default. Raises InputError where the model cannot be loaded, or is not
    a CTC model, as OpenAI's Whisper is not; UsageError for cuda without a GPU, and a language without adapters.
    """
    from preprocessing.cli.progress import hide_loading_bars

    family, checkpoint = family_and_checkpoint(reference)
    device = device_of(family, device)
    hide_loading_bars()
    (spec,) = parse_models(f"{family}={checkpoint}")
    system = load_system(spec, LoadOptions(device, language, precision="float32"))
    assert isinstance(system, CTCSystem)
    if language is not None and not system.takes_language:
        raise UsageError(
            f"--language is {language}, but {checkpoint} has no language adapters; expected one of the MMS models with "
            "it: leave it out"
        )
    times = system.times
    if times is None:
        raise InputError(
            f"{checkpoint}: its frame times are unknown, as an adapter follows the transformer; expected a model "
            "without one: use another"
        )
    gate = None
    if trained_on_denoised(checkpoint):
        from preprocessing.augment.denoise import SpectralGate

        gate = SpectralGate()
    profile = profile_of(checkpoint) or f"{DEFAULT_PROFILE}:{checkpoint}"
    return CTCModel(checkpoint, system, times, profile, gate, language)


def family_and_checkpoint(reference: str) -> tuple[str, str]:
    """The CTC family and the checkpoint that a reference of `load_ctc` names, from the configuration alone.

    Raises InputError where that cannot be read, or is not of a CTC model.
    """
    family, named, checkpoint = reference.partition("=")
    if named and family in FAMILIES and FAMILIES[family].may_be_whisper:
        raise _no_ctc(reference)
    if not named or family not in CTC_FAMILIES:
        checkpoint = reference
        family = family_of(checkpoint)
    if family not in CTC_FAMILIES:
        raise _no_ctc(checkpoint)
    return family, checkpoint


def _no_ctc(reference: str) -> InputError:
    return InputError(
        f"{reference}: is a Whisper, whose decoder has no frame-level posteriors; expected a CTC model: name one of "
        "the families wav2vec2, whisper-ctc (Whisper's encoder under a CTC head) or lstm"
    )
