"""What is done to the audio before any system hears it: the same samples for every system, from a seed.

`clean`, `noise:SNR`, `reverb`, `telephone`, `speed:FACTOR`, `clipped`, and, with nothing said, `silence`, `noise-only`
and `empty`. A noise is drawn by the utterance alone, so that noise:20 and noise:0 differ in nothing but the level.
"""

from benchmark.conditions.base import Clean, Condition, Corrupted, Empty, NoiseOnly, Silence
from benchmark.conditions.names import parse_conditions

__all__ = ["Clean", "Condition", "Corrupted", "Empty", "NoiseOnly", "Silence", "parse_conditions"]
