"""Log-probabilities of a CTC model for a recording of any length, for alignment, tuning and studies.

Whatever family `finetune.transcribe` takes: a run, an export, a folder of transformers or a Hub id.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor

from finetune.models.companion_files import TrainingPreprocessing, training_preprocessing
from finetune.models.frame_geometry import FrameTimes
from finetune.systems.base import LoadOptions
from finetune.systems.ctc import CTCSystem
from finetune.systems.registry import family_of, load_system, parse_models
from preprocessing.audio import SAMPLE_RATE
from preprocessing.cli.errors import InputError
from preprocessing.units import Vocabulary

if TYPE_CHECKING:
    from preprocessing.augment.denoise import SpectralGate

FAMILIES = ("wav2vec2", "whisper-ctc", "lstm", "onnx", "openvino")
DEFAULT_PROFILE = "ctc"  # of a model that names none: fitted to its units


@dataclass(frozen=True)
class CTCModel:
    """A CTC model ready to compute log-probabilities, in float32.

    reference: its folder or Hub id. system: the model as a benchmark measures it. times: of its frames. profile: the
    text profile of its labels, as its training recorded it; "ctc:REFERENCE" of other models. denoise: applied to
    waveforms first, of a model that was trained on denoised audio.
    """

    reference: str
    system: CTCSystem
    times: FrameTimes
    profile: str
    denoise: "SpectralGate | None" = None

    @property
    def vocabulary(self) -> Vocabulary:
        """The model's units."""
        return self.system.vocabulary

    def log_probs(self, waveform: Tensor, advance: Callable[[float], None] | None = None) -> Tensor:
        """Log-probabilities [frames, units], natural, float32 on the CPU, of a waveform [samples] at 16 kHz.

        advance: called with the seconds of audio done since the last call; a recording that is computed whole may make
        no call. Raises InputError where the recording is shorter than a frame, too long for a model that cannot be
        chunked, or gives logits that are not numbers.
        """
        (found,) = self.system.log_probs([waveform if self.denoise is None else self.denoise(waveform)], advance)
        if not len(found):
            raise InputError(
                f"lasts {len(waveform) / SAMPLE_RATE:.3f} s, which is shorter than a frame of the model; expected "
                "speech: check the file"
            )
        if bool(found.isnan().any()):
            raise InputError(
                f"{self.reference}: gives logits that are not numbers; expected finite ones: its weights are damaged "
                "or its training diverged"
            )
        return found


def load_ctc(reference: str, device: str = "cpu") -> CTCModel:
    """The CTC model of a run's folder, another transformers folder or a Hub id, or of FAMILY=ONE with a CTC family.

    Raises InputError where it cannot be loaded, or is not a CTC model, as OpenAI's Whisper is not.
    """
    from preprocessing.cli.progress import hide_loading_bars

    family, named, checkpoint = reference.partition("=")
    if family in ("whisper", "faster-whisper", "pipeline") and named:
        raise _no_ctc(reference)
    if not named or family not in FAMILIES:
        checkpoint = reference
        family = family_of(checkpoint)
    if family in ("whisper", "faster-whisper"):
        raise _no_ctc(checkpoint)
    hide_loading_bars()
    system = load_system(parse_models(f"{family}={checkpoint}")[0], LoadOptions(device, None, precision="float32"))
    assert isinstance(system, CTCSystem)
    times = system.times
    if times is None:
        raise InputError(
            f"{checkpoint}: has an adapter after the transformer, so the times of its frames are not known; expected a "
            "model without: use another"
        )
    gate = None
    recorded = training_preprocessing(checkpoint) or TrainingPreprocessing()
    if recorded.denoise:
        from preprocessing.augment.denoise import SpectralGate

        gate = SpectralGate()
    return CTCModel(checkpoint, system, times, _profile(checkpoint, recorded.profile), gate)


def _no_ctc(reference: str) -> InputError:
    return InputError(
        f"{reference}: is a Whisper, whose decoder has no frames to align or to take probabilities from; expected a "
        "CTC model: name one of the families wav2vec2, whisper-ctc (Whisper's encoder under a CTC head) or lstm"
    )


def _profile(checkpoint: str, recorded: str | None) -> str:
    """The text profile of the labels: the recorded one, under `ctc` with this model in place of the one that training
    named, which may be elsewhere or not on this machine; without a record that of the model's units.
    """
    if recorded is not None and recorded.partition(":")[0] != DEFAULT_PROFILE:
        return recorded
    options = re.fullmatch(r"ctc:[^:]*((:[a-z]{2,3}([-_][A-Z]{2})?)?(:transliterate)?)", recorded or "")
    return f"{DEFAULT_PROFILE}:{checkpoint}{options[1] if options else ''}"
