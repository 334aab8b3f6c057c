"""Another duration at the same pitch, by waveform-similarity overlap-add (WSOLA).

Verhelst & Roelands 1993, "An overlap-add technique based on waveform similarity (WSOLA) for high quality time-scale
modification of speech", ICASSP. Windows of the input are laid over one another at the output's pace; each is taken from
where, within the search range of its due place, the input best continues the window before. Unlike a phase vocoder it
keeps the waveform of each pitch period and the attack of each plosive. It is meant for one voice, not for music.
"""

import math

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from preprocessing.augment.base import Samples

HOP = 240  # samples between windows of the output: 15 ms, half a window
SEARCH = 120  # samples either side of the due place: 15 ms in all, a period of the lowest voices (67 Hz)
_WINDOW = (0.5 - 0.5 * np.cos(np.pi * np.arange(2 * HOP) / HOP)).astype(np.float32)  # Hann: half-overlapped, adds to 1
_FAINT = 1e-9 * HOP  # energy of a window that no 16-bit recording reaches without being silent


def stretch(samples: Samples, n_out: int) -> Samples:
    """Squeeze or stretch `samples` [n] into [n_out] at the pitch they have; the pace is n / n_out.

    With n_out equal to n, every window's best place is its own, and the input comes back.
    """
    if n_out == samples.size:
        return samples.copy()
    pace = samples.size / n_out
    n_windows = math.ceil(n_out / HOP) + 1
    dues = np.round(np.arange(n_windows) * (HOP * pace)).astype(np.int64) + SEARCH  # in `padded`
    padded = np.zeros(int(dues[-1]) + SEARCH + 3 * HOP, dtype=np.float32)
    padded[HOP + SEARCH : HOP + SEARCH + samples.size] = samples
    windows = sliding_window_view(padded, 2 * HOP)[_places(padded, dues.tolist())] * _WINDOW
    laid = np.zeros((n_windows + 1, HOP), dtype=np.float32)
    laid[:-1] += windows[:, :HOP]
    laid[1:] += windows[:, HOP:]
    return laid.reshape(-1)[HOP : HOP + n_out].copy()


def _places(padded: Samples, dues: list[int]) -> list[int]:
    """Where each window is taken: of all places in reach, where its first half is most like the last one's second.

    Likeness is the correlation over the energy of the candidate; the other energy is the same for all of them.
    """
    energies = np.concatenate([[0.0], np.cumsum(np.square(padded, dtype=np.float64))])
    weights = ((energies[HOP:] - energies[:-HOP]).clip(min=_FAINT) ** -0.5).astype(np.float32)
    places = [dues[0]]
    for due in dues[1:]:
        continued = places[-1] + HOP
        reach = due - SEARCH
        likeness = np.correlate(padded[reach : due + SEARCH + HOP], padded[continued : continued + HOP])
        likeness *= weights[reach : due + SEARCH + 1]
        best = int(likeness.argmax())
        places.append(reach + best if likeness[best] > 0.0 else due)
    return places
