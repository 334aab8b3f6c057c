"""What the comparison of beam searches can be told: one doc a field."""

from dataclasses import dataclass
from pathlib import Path

from benchmark.offline import DEMO, DEMO_CORPUS


@dataclass(frozen=True)
class DecodingPeersConfig:
    """Whose frames are searched, and where the figures go."""

    model: str = f"wav2vec2={DEMO / 'wav2vec2'}"
    """A CTC model with letters for units, as benchmark/run.py takes it: wav2vec2=REF or lstm=FOLDER."""

    lm: Path | None = None
    """ARPA file of its words; default trigrams of the embedded training texts."""

    data: str = str(DEMO_CORPUS)
    """Corpus with the words that the model knows."""

    utterances: int = 100
    """How many, spread over the corpus."""

    beam: int = 64
    """Hypotheses that both keep."""

    rounds: int = 3
    """Rounds of each contender, taking turns, after one that warms up."""

    json: Path | None = None
    """File for the figures."""
