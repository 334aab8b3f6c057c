"""What is done to the audio before systems transcribe it: the same samples for every system, decided by a seed.

`clean`, `noise:SNR`, `reverb`, `telephone`, `speed:FACTOR`, `clipped`, and, without speech, `silence`, `noise-only` and
`empty`. The noise of an utterance depends on seed and utterance, so noise:20 and noise:0 differ in their level only.
"""

from benchmark.conditions.base import Clean, Condition, Corrupted, Empty, NoiseOnly, NoSpeech, Silence
from benchmark.conditions.names import parse_conditions

__all__ = ["Clean", "Condition", "Corrupted", "Empty", "NoSpeech", "NoiseOnly", "Silence", "parse_conditions"]
