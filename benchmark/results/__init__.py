"""What a benchmark run leaves behind: records while it runs, a summary at its end, and both on the disk."""

from benchmark.results.records import Sample, Segment, StageSeconds, Throughput, Timing
from benchmark.results.storage import line_of, read_samples, read_summary, write_samples, write_summary
from benchmark.results.summary import (
    SCHEMA,
    Change,
    Comparison,
    ConditionUsed,
    Confusion,
    CorpusFacts,
    ProfileUsed,
    Scores,
    Slice,
    Speed,
    Spread,
    Summary,
    SystemFacts,
    SystemSummary,
)

__all__ = [
    "SCHEMA",
    "Change",
    "Comparison",
    "ConditionUsed",
    "Confusion",
    "CorpusFacts",
    "ProfileUsed",
    "Sample",
    "Scores",
    "Segment",
    "Slice",
    "Speed",
    "Spread",
    "StageSeconds",
    "Summary",
    "SystemFacts",
    "SystemSummary",
    "Throughput",
    "Timing",
    "line_of",
    "read_samples",
    "read_summary",
    "write_samples",
    "write_summary",
]
