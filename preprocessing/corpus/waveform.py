"""The waveform of an utterance, held against the duration that its corpus gives it."""

from torch import Tensor

from preprocessing import audio
from preprocessing.corpus.utterance import DURATION_SECONDS, DURATION_SHARE, Utterance
from preprocessing.errors import InputError


def load_waveform(utterance: Utterance) -> Tensor:
    """The utterance's part of its audio, under the waveform contract [samples].

    Raises InputError when it cannot be decoded, or is not as long as the utterance says: batches are planned by that,
    and memory with them.
    """
    waveform = audio.load(utterance.audio, start=utterance.start, stop=utterance.stop)
    seconds = len(waveform) / audio.SAMPLE_RATE
    if not utterance.lasts(seconds):
        raise InputError(
            f"manifest says {utterance.duration:.2f} s, the audio holds {seconds:.2f} s; expected the two within "
            f"{DURATION_SECONDS:g} s or {DURATION_SHARE:.0%}: mend 'duration', or leave it out to have it read"
        )
    return waveform
