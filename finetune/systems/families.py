"""The families of systems, by which `--models` names them, and what each can do. Importing this file does not import
torch.

A CTC family's name with +lm, as in wav2vec2+lm=CHECKPOINT, is the same family with a beam search with a language model.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import NamedTuple

from finetune.systems.facts import TRANSCRIPTS, SystemOptions
from preprocessing.storage.data_folder import DEMO

LM_SUFFIX = "+lm"
PRECISIONS = ("float32", "bfloat16", "float16")
ALL_OPTIONS = frozenset(field.name for field in fields(SystemOptions))
ALL_PRECISIONS, FLOAT32 = ("auto", *PRECISIONS), ("auto", "float32")


def _hub_has(checkpoint: str) -> bool:
    from finetune.models.availability import hub_has

    return hub_has(checkpoint)


def _whisper_available(checkpoint: str) -> bool:
    from finetune.models.availability import whisper_available

    return whisper_available(checkpoint)


@dataclass(frozen=True, slots=True)
class Family:
    """One way to a recogniser.

    system: package.module:Class of the System. default: the published checkpoint that the bare name stands for.
    stand_in: the demo checkpoint in its place where `is_available(default)` is false. only_checkpoint: set for a family
    with one checkpoint, which is in its package. options: the fields of SystemOptions that it takes. precisions: the
    values of --precision that it takes; an exported graph refuses more, by what is in it. on_gpu: false where it
    computes on the CPU alone. on_hub: its checkpoint may be a Hub id. is_ctc: it has log-probabilities of frames, and
    decodes greedily or by a beam search. may_be_whisper: its checkpoint may be a Whisper, with a decoder.
    """

    system: str
    default: str | None = None
    stand_in: Path | None = None
    only_checkpoint: str | None = None
    is_available: Callable[[str], bool] = _hub_has
    options: frozenset[str] = frozenset()
    precisions: tuple[str, ...] = ("auto",)
    on_gpu: bool = True
    on_hub: bool = False
    is_ctc: bool = False
    may_be_whisper: bool = False


FAMILIES = {
    "wav2vec2": Family(
        "finetune.systems.wav2vec2:Wav2Vec2System",
        "facebook/wav2vec2-base-960h",
        DEMO / "wav2vec2",
        options=frozenset({"language"}),
        precisions=ALL_PRECISIONS,
        on_hub=True,
        is_ctc=True,
    ),
    "whisper": Family(
        "finetune.systems.whisper:WhisperSystem",
        "base.en",
        DEMO / "whisper",
        is_available=_whisper_available,
        options=ALL_OPTIONS - {"vad_filter", "compute_type"},
        on_hub=True,
        may_be_whisper=True,
    ),
    "whisper-ctc": Family(
        "finetune.systems.whisper_ctc:WhisperCTCSystem", precisions=ALL_PRECISIONS, on_hub=True, is_ctc=True
    ),
    "lstm": Family("finetune.systems.lstm:LSTMSystem", precisions=FLOAT32, on_hub=True, is_ctc=True),
    "onnx": Family("finetune.systems.graphs:ONNXSystem", precisions=ALL_PRECISIONS, on_gpu=False, is_ctc=True),
    "openvino": Family("finetune.systems.graphs:OpenVINOSystem", precisions=ALL_PRECISIONS, on_gpu=False, is_ctc=True),
    "pipeline": Family(
        "finetune.systems.pipeline:PipelineSystem",
        options=frozenset({"language"}),
        precisions=FLOAT32,
        on_hub=True,
        may_be_whisper=True,
    ),
    "faster-whisper": Family(
        "finetune.systems.faster_whisper:FasterWhisperSystem", options=ALL_OPTIONS, may_be_whisper=True
    ),
    "pocketsphinx": Family(
        "finetune.systems.pocketsphinx:PocketSphinxSystem", only_checkpoint="en-us, in the package", on_gpu=False
    ),
    TRANSCRIPTS: Family(""),
}
CTC_FAMILIES = tuple(name for name, family in FAMILIES.items() if family.is_ctc)


class Spelling(NamedTuple):
    """What a family's name as it is written stands for: a key of FAMILIES, and whether a language model decodes."""

    family: str
    decodes_with_lm: bool = False


SPELLINGS = {name: Spelling(name) for name in FAMILIES} | {
    f"{name}{LM_SUFFIX}": Spelling(name, decodes_with_lm=True) for name in CTC_FAMILIES
}
LM_SPELLINGS = tuple(written for written, spelling in SPELLINGS.items() if spelling.decodes_with_lm)


def spelling(written: str) -> Spelling:
    """Of a family's name as references and results have it; of a class of the user's own, its own name.

    >>> spelling("whisper-ctc+lm")
    Spelling(family='whisper-ctc', decodes_with_lm=True)
    """
    return SPELLINGS.get(written, Spelling(written))


def family_in(reference: str) -> str:
    """The family of FAMILY, FAMILY=CHECKPOINT, NAME=FAMILY or NAME=FAMILY:CHECKPOINT, as it is written there.

    >>> [family_in(one) for one in ("lstm", "wav2vec2+lm=a/b", "mine=lstm+lm:runs/a", "wav2vec2=runs/a+lm")]
    ['lstm', 'wav2vec2+lm', 'lstm+lm', 'wav2vec2']
    """
    first, _, rest = reference.strip().partition("=")
    aliased = rest.partition(":")[0]
    return aliased if first not in SPELLINGS and ":" not in first and aliased in SPELLINGS else first
