"""Running sums between two lines of a run's log."""

import time
from dataclasses import dataclass, field

from finetune.step import Outcome


@dataclass(slots=True)
class Window:
    """What the updates since the last line were made of; times are wall-clock seconds."""

    loss: float = 0.0
    labels: int = 0
    audio_seconds: float = 0.0
    padded_seconds: float = 0.0
    skipped: int = 0  # updates whose gradient was not finite
    gradient_norm: float = 0.0  # of the last update
    stalled: float = 0.0  # waited for data
    paused: float = 0.0  # evaluated and saved, which counts for neither speed nor stall
    _since: float = field(default_factory=time.perf_counter)

    def add(self, outcome: Outcome) -> None:
        self.loss += outcome.loss_sum
        self.labels += outcome.n_labels
        self.audio_seconds += outcome.audio_seconds
        self.padded_seconds += outcome.padded_seconds
        self.skipped += outcome.skipped
        self.gradient_norm = outcome.gradient_norm

    def values(self) -> dict[str, float]:
        """As the log names them."""
        elapsed = time.perf_counter() - self._since - self.paused
        return {
            "loss": self.loss / max(self.labels, 1),
            "gradient_norm": self.gradient_norm,
            "audio_seconds_per_second": self.audio_seconds / elapsed,
            "padding_share": 1.0 - self.audio_seconds / max(self.padded_seconds, 1e-9),
            "stall_share": self.stalled / elapsed,
            "skipped_updates": self.skipped,
        }
