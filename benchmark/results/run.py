"""What a run knows beside its samples and timings: run.json, rewritten as each system ends.

With samples.jsonl, timings.jsonl and throughput.jsonl it holds all that summary.json is made from, so that a run can be
scored again without any model.
"""

from dataclasses import dataclass

from benchmark.results.summary import SCHEMA, ConditionUsed, SystemFacts


@dataclass(frozen=True, slots=True)
class SystemRun:
    """What one system's process told of itself; seconds and bytes. `failure` says why it gave up as a whole."""

    facts: SystemFacts
    load_seconds: float = 0.0
    first_call_seconds: float = 0.0
    peak_memory_bytes: int | None = None
    peak_device_memory_bytes: int | None = None
    failure: str | None = None


@dataclass(frozen=True, slots=True)
class Run:
    """One run: what was measured, under which settings, on which machine. `seed` is the bootstrap's too."""

    created: str  # ISO 8601, UTC
    command: str
    machine: dict[str, str]
    corpus: str  # as it was referred to
    conditions: list[ConditionUsed]
    profiles: list[str]  # names; the first one decides
    seed: int
    notices: list[str]
    settings: dict[str, str]
    systems: list[SystemRun]
    schema: int = SCHEMA
