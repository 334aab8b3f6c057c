"""about.json: what a run was made of, for whoever reads of the model without its corpora at hand.

Names only: of a corpus's path the last part is kept, so that nothing here tells where it lay on whose machine.
"""

import dataclasses
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from finetune.config import TrainConfig
from preprocessing.corpus import Utterance
from preprocessing.text import Profile

NAME = "about.json"
_LOCAL = re.compile(r"(?:^|(?<=:))(?:~|\.{1,2}/|/|[A-Za-z]:[\\/])[^:]*")  # also within ctc:/home/me/model:de
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


@dataclass(frozen=True, slots=True)
class Material:
    """A part of the data as it was used, rejects left out. `speakers` counts those named; 0 says nothing.
    No utterances are told of what was streamed.
    """

    corpora: tuple[str, ...]
    utterances: int
    hours: float
    speakers: int
    languages: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class About:
    """`base` is the Hub's id of the checkpoint that the run began with; None for a local one or random weights."""

    base: str | None
    parameters: int
    training: Material
    validation: Material
    held_out: bool  # the validation utterances come out of the training corpora
    profile: str
    profile_version: int
    profile_description: str


def describe(
    config: TrainConfig,
    *,
    parameters: int,
    training: Sequence[Utterance],
    validation: Sequence[Utterance],
    text_profile: Profile,
) -> About:
    """What a run is made of, from its configuration and the utterances that it uses."""
    held_out = config.data.validation is None
    known = _material(config.data.train, training)
    references = config.data.train if config.data.validation is None else [config.data.validation]
    return About(
        base=hub_id(config.model.base, config.model.family),
        parameters=parameters,
        training=_streamed(known) if config.data.streaming else known,
        validation=_material(references, validation),
        held_out=held_out,
        profile=without_folders(text_profile.name),
        profile_version=text_profile.version,
        profile_description=text_profile.description,
    )


def without_folders(text: str) -> str:
    """A reference with every local path in it cut to its last part.

    >>> without_folders("/home/me/corpus/train.jsonl"), without_folders("ctc:../runs/mine:de")
    ('train.jsonl', 'ctc:mine:de')
    >>> without_folders("hf:openslr/librispeech_asr:clean:test")
    'hf:openslr/librispeech_asr:clean:test'
    """
    return _LOCAL.sub(lambda found: PurePosixPath(found[0].replace("\\", "/")).name, text)


def hub_id(base: str | None, family: str) -> str | None:
    """The Hub's id of a base checkpoint; None where it is a local file or folder, or there is none.

    >>> hub_id("facebook/wav2vec2-base-960h", "wav2vec2"), hub_id("base.en", "whisper"), hub_id("/data/x.pt", "whisper")
    ('facebook/wav2vec2-base-960h', 'openai/whisper-base.en', None)
    """
    if base is None or Path(base).exists() or base.endswith(".pt"):
        return None
    if family == "whisper":
        return f"openai/whisper-{base}" if re.fullmatch(r"[\w.-]+", base) else None
    return base if _HUB_ID.fullmatch(base) else None


def to_json(about: About) -> str:
    return json.dumps(dataclasses.asdict(about), ensure_ascii=False, indent=2) + "\n"


def from_json(text: str) -> About:
    """Raises ValueError, KeyError or TypeError where the text is not what `to_json` wrote."""
    fields = json.loads(text)
    for part in ("training", "validation"):
        material = fields[part]
        lists = {key: tuple(material[key]) for key in ("corpora", "languages")}
        fields[part] = Material(**material | lists)
    return About(**fields)


def _streamed(known: Material) -> Material:
    """Of a stream, corpora and languages are told; how much it holds is not known from its first utterances."""
    return dataclasses.replace(known, utterances=0, hours=0.0, speakers=0)


def _material(references: Sequence[str], utterances: Sequence[Utterance]) -> Material:
    return Material(
        corpora=tuple(without_folders(reference) for reference in references),
        utterances=len(utterances),
        hours=sum(utterance.duration for utterance in utterances) / 3600,
        speakers=len({utterance.speaker for utterance in utterances} - {None}),
        languages=tuple(sorted({utterance.language for utterance in utterances if utterance.language})),
    )
