"""What a benchmark run leaves behind: samples.jsonl, raw and written first, and summary.json, made from it.

Nothing here knows a model. Reading the two files gives back all that a report needs, so a run can be scored and
reported again by a later version. `SCHEMA` is raised whenever a field changes its meaning.
"""

import dataclasses
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from finetune.significance import Rate
from preprocessing.errors import InputError
from preprocessing.whole import write_whole

SCHEMA = 1


@dataclass(frozen=True, slots=True)
class StageSeconds:
    """Wall-clock seconds that one utterance spent in each stage, the device synchronised at every boundary."""

    decode: float
    features: float
    forward: float
    text: float

    @property
    def total(self) -> float:
        return self.decode + self.features + self.forward + self.text


@dataclass(frozen=True, slots=True)
class Sample:
    """One utterance through one system. Texts are raw: as the corpus holds them and as the system wrote them.

    `error` is the reason when the system failed; the hypothesis is then empty, so that every reference word counts
    as deleted.
    """

    system: str
    id: str
    reference: str
    hypothesis: str
    audio_seconds: float
    seconds: StageSeconds
    speaker: str | None = None
    domain: str | None = None
    language: str | None = None
    condition: str = "clean"
    error: str | None = None

    @classmethod
    def from_json(cls, line: str) -> Self:
        fields = json.loads(line)
        return cls(**fields | {"seconds": StageSeconds(**fields["seconds"])})


@dataclass(frozen=True, slots=True)
class ProfileUsed:
    """A text-normalisation profile that scores were counted under."""

    name: str
    version: int
    description: str


@dataclass(frozen=True, slots=True)
class Scores:
    """Errors of one system under one profile, counted over all utterances together.

    `words` is the number of reference words: hits + substitutions + deletions.
    """

    wer: Rate
    cer: Rate
    words: int
    hits: int
    substitutions: int
    deletions: int
    insertions: int


@dataclass(frozen=True, slots=True)
class Speed:
    """Times of one system at batch size 1, in seconds; rtfx is seconds of audio done in one second."""

    load: float
    first_call: float
    p50: float
    p95: float
    p99: float
    rtfx: float
    stages: StageSeconds  # means over utterances


@dataclass(frozen=True, slots=True)
class SystemFacts:
    """What a system says of itself once loaded."""

    name: str
    family: str
    checkpoint: str
    parameters: int
    settings: dict[str, str] = field(default_factory=dict)
    notice: str | None = None  # set for a demo stand-in: what its figures do not say


@dataclass(frozen=True, slots=True)
class SystemSummary:
    """One row of the table. `scores` is keyed by profile name; `failure` says why a system gave no samples at all."""

    facts: SystemFacts
    scores: dict[str, Scores]
    speed: Speed | None
    peak_memory_bytes: int | None
    peak_device_memory_bytes: int | None
    failed_utterances: int
    failure: str | None = None


@dataclass(frozen=True, slots=True)
class Comparison:
    """WER of `first` minus WER of `second` under the first profile, paired by utterance; below 0, `first` is better."""

    first: str
    second: str
    difference: Rate
    sentence: str


@dataclass(frozen=True, slots=True)
class CorpusFacts:
    reference: str
    utterances: int
    hours: float
    speakers: int
    resampling_unit: str  # what the bootstrap draws: "speaker" or "utterance"


@dataclass(frozen=True, slots=True)
class Summary:
    """All of a run but its samples."""

    created: str  # ISO 8601, UTC
    command: str
    machine: dict[str, str]
    corpus: CorpusFacts
    profiles: list[ProfileUsed]
    systems: list[SystemSummary]
    comparisons: list[Comparison]
    notices: list[str]
    settings: dict[str, str]
    schema: int = SCHEMA


def sample_line(sample: Sample) -> str:
    return json.dumps(dataclasses.asdict(sample), ensure_ascii=False) + "\n"


def write_samples(path: Path, samples: Iterable[Sample]) -> None:
    write_whole(path, "".join(map(sample_line, samples)))


def read_samples(path: Path) -> Iterator[Sample]:
    """Every sample of a samples.jsonl. Raises InputError naming the line that does not fit."""
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                yield Sample.from_json(line)
            except (ValueError, TypeError, KeyError) as error:
                raise InputError(
                    f"{path}:{number}: not a sample of schema {SCHEMA} ({error}); run the benchmark again"
                ) from error


def write_summary(path: Path, summary: Summary) -> None:
    write_whole(path, json.dumps(dataclasses.asdict(summary), ensure_ascii=False, indent=2) + "\n")


def read_summary(path: Path) -> Summary:
    """The summary that `write_summary` wrote. Raises InputError when it is of another schema."""
    fields = json.loads(path.read_text(encoding="utf-8"))
    if fields.get("schema") != SCHEMA:
        raise InputError(f"{path}: schema {fields.get('schema')}, expected {SCHEMA}; run the benchmark again")
    return Summary(
        **fields
        | {
            "corpus": CorpusFacts(**fields["corpus"]),
            "profiles": [ProfileUsed(**profile) for profile in fields["profiles"]],
            "systems": [_system_summary(system) for system in fields["systems"]],
            "comparisons": [
                Comparison(**row | {"difference": Rate(**row["difference"])}) for row in fields["comparisons"]
            ],
        }
    )


def _system_summary(fields: dict[str, Any]) -> SystemSummary:
    scores = {
        profile: Scores(**row | {"wer": Rate(**row["wer"]), "cer": Rate(**row["cer"])})
        for profile, row in fields["scores"].items()
    }
    speed = fields["speed"]
    if speed is not None:
        speed = Speed(**speed | {"stages": StageSeconds(**speed["stages"])})
    return SystemSummary(**fields | {"facts": SystemFacts(**fields["facts"]), "scores": scores, "speed": speed})
