"""The waveform contract's numbers, and what a header says; no decoding, no heavy import."""

from dataclasses import dataclass

from preprocessing.errors import InputError

SAMPLE_RATE = 16_000  # samples per second: what wav2vec 2.0 and Whisper were trained on
PCM_STEPS = 32_768  # 16-bit PCM: a sample is k / 32768 with k in [-32768, 32767]
MAX_SAMPLE_RATE = 384_000  # the highest rate of any converter sold; above it, a header lies
TAIL_SECONDS = 0.1  # what may be missing of what a header promises: less than a short word


class AudioError(InputError):
    """Audio that cannot be used: one sentence naming the file, what was found, what was expected, what to do."""


@dataclass(frozen=True, slots=True)
class AudioInfo:
    """What a file's header says, before any decoding."""

    sample_rate: int  # samples per second and channel
    n_channels: int
    n_samples: int  # per channel; 0 where the container does not say
    codec: str

    @property
    def duration(self) -> float:
        """Seconds."""
        return self.n_samples / self.sample_rate
