"""The times of a model's frames, all that decoding needs to know of it; `finetune.models.frame_geometry` makes them."""

from dataclasses import dataclass

from preprocessing.audio import SAMPLE_RATE


@dataclass(frozen=True, slots=True)
class FrameTimes:
    """Where a model's frames are in the audio, in samples at 16 kHz: frame i sees what is around first + i * stride.

    A frame stands for the `stride` samples around its centre; spans of seconds begin and end half a stride from it.
    """

    stride: int
    first: float

    @property
    def frame_seconds(self) -> float:
        """Seconds from one frame to the next."""
        return self.stride / SAMPLE_RATE

    def start(self, frame: int) -> float:
        """Seconds at which a frame begins; 0 where that is before the recording."""
        return max((self.first + (int(frame) - 0.5) * self.stride) / SAMPLE_RATE, 0.0)

    def end(self, frame: int) -> float:
        """Seconds at which a frame ends."""
        return (self.first + (int(frame) + 0.5) * self.stride) / SAMPLE_RATE

    def duration(self, n_frames: int) -> float:
        """Seconds of so many frames."""
        return n_frames * self.frame_seconds
