"""about.json: what a run was trained on, for readers of the model card who do not have its corpora.

Paths that are absolute or begin with ~, . or .. are cut to their last part; others, such as data/train.jsonl, look like
Hub ids and stay.
"""

import dataclasses
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from finetune.config import TrainConfig
from preprocessing.corpus import Utterance
from preprocessing.storage.model_file import HUB_ID
from preprocessing.text import Profile

NAME = "about.json"
_LOCAL = re.compile(r"(?:^|(?<=:))(?:~|\.{1,2}/|/|[A-Za-z]:[\\/])[^:]*")  # also within ctc:/home/me/model:de


@dataclass(frozen=True, slots=True)
class CorpusSummary:
    """The training or the validation data without rejects.

    speakers: different names in the data; 0 where no utterance names one. Of streamed corpora, utterances, hours and
    speakers are 0, as they are not known.
    """

    corpora: tuple[str, ...]
    utterances: int
    hours: float
    speakers: int
    languages: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class About:
    """What a run was trained on and from. base: Hub id of the initial checkpoint, None for a local one or random
    weights; parameters: of the model, frozen ones included; held_out: the validation utterances are taken out of the
    training corpora. denoise: stationary noise was taken out of all audio. speakers_apart: every utterance
    names its speaker, and no speaker of validation is in training; False of streamed training corpora.
    """

    base: str | None
    parameters: int
    training: CorpusSummary
    validation: CorpusSummary
    held_out: bool
    profile: str
    profile_version: int
    profile_description: str
    denoise: bool = False
    speakers_apart: bool = False


def describe(
    config: TrainConfig,
    *,
    parameters: int,
    training: Sequence[Utterance],
    validation: Sequence[Utterance],
    text_profile: Profile,
) -> About:
    """The description of a run, from its configuration and the utterances that it uses."""
    held_out = config.data.validation is None
    summary = _summarise(config.data.train, training)
    references = config.data.train if config.data.validation is None else [config.data.validation]
    return About(
        base=hub_id(config.model.base, config.model.family),
        parameters=parameters,
        training=_without_counts(summary) if config.data.streaming else summary,
        validation=_summarise(references, validation),
        held_out=held_out,
        profile=without_folders(text_profile.name),
        profile_version=text_profile.version,
        profile_description=text_profile.description,
        denoise=config.data.denoise,
        speakers_apart=not config.data.streaming and _are_speakers_apart(training, validation),
    )


def without_folders(text: str) -> str:
    """A corpus or model reference with each path that is absolute or begins with ~, . or .. cut to its last part.

    >>> without_folders("/home/me/corpus/train.jsonl"), without_folders("ctc:../runs/mine:de")
    ('train.jsonl', 'ctc:mine:de')
    >>> without_folders("hf:openslr/librispeech_asr:clean:test")
    'hf:openslr/librispeech_asr:clean:test'
    """
    return _LOCAL.sub(lambda found: PurePosixPath(found[0].replace("\\", "/")).name, text)


def hub_id(base: str | None, family: str) -> str | None:
    """The Hub id of a base checkpoint; None for a local file or folder, or without a base.

    Of a size of openai-whisper, it is that of the file that the installed version downloads under this name.

    >>> hub_id("facebook/wav2vec2-base-960h", "wav2vec2"), hub_id("base.en", "whisper"), hub_id("/data/x.pt", "whisper")
    ('facebook/wav2vec2-base-960h', 'openai/whisper-base.en', None)
    >>> hub_id("large", "whisper"), hub_id("turbo", "whisper-ctc")
    ('openai/whisper-large-v3', 'openai/whisper-large-v3-turbo')
    """
    if base is None or Path(base).exists() or base.endswith(".pt"):
        return None
    if family in ("whisper", "whisper-ctc") and re.fullmatch(r"[\w.-]+", base):
        import whisper

        return f"openai/whisper-{PurePosixPath(whisper._MODELS.get(base, base)).name.removesuffix('.pt')}"
    return base if HUB_ID.fullmatch(base) else None


def to_json(about: About) -> str:
    """The content of about.json."""
    return json.dumps(dataclasses.asdict(about), ensure_ascii=False, indent=2) + "\n"


def from_json(text: str) -> About:
    """The inverse of `to_json`. Raises ValueError, KeyError or TypeError for any other text."""
    fields = json.loads(text)
    for part in ("training", "validation"):
        summary = fields[part]
        lists = {key: tuple(summary[key]) for key in ("corpora", "languages")}
        fields[part] = CorpusSummary(**summary | lists)
    return About(**fields)


def _without_counts(summary: CorpusSummary) -> CorpusSummary:
    """For a stream: its first utterances tell its languages, but not how much it holds."""
    return dataclasses.replace(summary, utterances=0, hours=0.0, speakers=0)


def _are_speakers_apart(training: Sequence[Utterance], validation: Sequence[Utterance]) -> bool:
    speakers, others = ({utterance.speaker for utterance in part} for part in (training, validation))
    return None not in speakers | others and speakers.isdisjoint(others)


def _summarise(references: Sequence[str], utterances: Sequence[Utterance]) -> CorpusSummary:
    return CorpusSummary(
        corpora=tuple(without_folders(reference) for reference in references),
        utterances=len(utterances),
        hours=sum(utterance.duration for utterance in utterances) / 3600,
        speakers=len({utterance.speaker for utterance in utterances} - {None}),
        languages=tuple(sorted({utterance.language for utterance in utterances if utterance.language})),
    )
