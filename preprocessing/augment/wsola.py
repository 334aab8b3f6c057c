"""Another duration at the same pitch, by waveform-similarity overlap-add (WSOLA).

Verhelst & Roelands 1993, "An overlap-add technique based on waveform similarity (WSOLA) for high quality time-scale
modification of speech", ICASSP. The output is laid out of segments of the input, each taken from where, within the
search range of its due place, the input is most like what follows the segment before; the ends cross-fade. Between the
short cross-fades (SoX's `tempo`: 12 ms) samples are copied as they are: unlike a phase vocoder this keeps the shape of
each pitch period and the attack of each plosive. It is meant for one voice, not for music.
"""

import math

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from preprocessing.augment.base import Samples

HOP = 400  # samples of the output from one segment to the next: 25 ms
OVERLAP = 200  # samples of a cross-fade, and of the comparison: 12.5 ms
SEARCH = 120  # samples either side of the due place: 15 ms in all, a period of the lowest voices (67 Hz)
_FADE_IN = (0.5 - 0.5 * np.cos(np.pi * (np.arange(OVERLAP) + 0.5) / OVERLAP)).astype(np.float32)
_FAINT = 1e-9 * OVERLAP  # energy of a stretch that no 16-bit recording reaches without being silent


def stretch(samples: Samples, n_out: int) -> Samples:
    """Squeeze or stretch `samples` [n] into [n_out] at the pitch they have; the pace is n / n_out.

    What was heard at time t is heard at t / pace, give or take the search range. With n_out equal to n, the input.
    """
    if n_out == samples.size:
        return samples.copy()
    pace = samples.size / n_out
    n_segments = math.ceil(n_out / HOP)
    middles = (np.arange(n_segments) + 0.5) * HOP
    dues = np.round(middles * pace - 0.5 * HOP).astype(np.int64).clip(min=0)
    dues[0] = 0
    padded = np.zeros(SEARCH + max(int(dues[-1]) + SEARCH, samples.size) + 2 * HOP + OVERLAP, dtype=np.float32)
    padded[SEARCH : SEARCH + samples.size] = samples
    segments = sliding_window_view(padded, HOP + OVERLAP)[_places(padded, (dues + SEARCH).tolist())]
    laid = segments[:, :HOP]
    laid[1:, :OVERLAP] *= _FADE_IN
    laid[1:, :OVERLAP] += segments[:-1, HOP:] * (1.0 - _FADE_IN)
    return laid.reshape(-1)[:n_out].copy()


def _places(padded: Samples, dues: list[int]) -> list[int]:
    """Where each segment begins: of all places in reach, where its first samples are most like the due continuation.

    Likeness is the correlation over the energy of the candidate; the other energy is the same for all of them.
    """
    energies = np.concatenate([[0.0], np.cumsum(np.square(padded, dtype=np.float64))])
    weights = ((energies[OVERLAP:] - energies[:-OVERLAP]).clip(min=_FAINT) ** -0.5).astype(np.float32)
    places = dues[:1]
    for due in dues[1:]:
        continued = places[-1] + HOP
        reach = due - SEARCH
        likeness = np.correlate(padded[reach : due + SEARCH + OVERLAP], padded[continued : continued + OVERLAP])
        likeness *= weights[reach : due + SEARCH + 1]
        best = int(likeness.argmax())
        places.append(reach + best if likeness[best] > 0.0 else due)
    return places
