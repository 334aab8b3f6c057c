"""Speech from text with eSpeak NG, called in this process through ctypes.

Only what the demo needs of the library: plain text in, mono samples out. No SSML, no events, no playback. The library
keeps global state and is not thread-safe: one thread per process may call it. For Linux and macOS.

Source: `speak_lib.h` of https://github.com/espeak-ng/espeak-ng (API revision 12); the shared library and its voices
come from the PyPI package `espeakng-loader`.
"""

import contextlib
import ctypes
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

INSTALL = "The demo's speech is made with eSpeak NG, which is not installed: run `pip install espeakng-loader`."

SAMPLE_RATE = 22_050  # Hz, what eSpeak NG's formant voices produce
BUFFER_MILLISECONDS = 500  # audio handed over per callback
VOLUME_PERCENT = 40  # of the normal volume, at which a third of the variants clip
PCM_FULL_SCALE = 32_768.0  # int16 to -1..1

# enums of speak_lib.h
AUDIO_OUTPUT_SYNCHRONOUS = 2
INITIALIZE_DONT_EXIT = 0x8000
POS_CHARACTER = 1
CHARS_UTF8 = 1
EE_OK = 0
RATE, VOLUME, PITCH, RANGE = 1, 2, 3, 4

_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)


class EspeakError(RuntimeError):
    """eSpeak NG is missing, or refused a voice or a text; the message says which."""


@dataclass(frozen=True)
class Voice:
    """One way of speaking; equal voices speak equal samples.

    `language` is an accent such as `en-us` or `en-gb-scotland`; `variant` is a file of eSpeak's `voices/!v`, such as
    `f2`. `words_per_minute` is 80 to 450. `pitch` (0 to 99) and `pitch_range` (0 to 99) are relative to the variant's
    own: 50 leaves them as they are.
    """

    language: str = "en-us"
    variant: str = "m3"
    words_per_minute: int = 175
    pitch: int = 50
    pitch_range: int = 50

    def __post_init__(self) -> None:
        for name, value, low, high in (
            ("words_per_minute", self.words_per_minute, 80, 450),
            ("pitch", self.pitch, 0, 99),
            ("pitch_range", self.pitch_range, 0, 99),
        ):
            if not low <= value <= high:
                raise ValueError(f"Voice.{name} must be from {low} to {high}, not {value}")


def _installed() -> tuple[Path, Path]:
    """The shared library, and the folder that holds `voices` and `lang`."""
    try:
        import espeakng_loader  # optional: only making the demo needs it
    except ImportError as error:
        raise EspeakError(INSTALL) from error
    return Path(espeakng_loader.get_library_path()), Path(espeakng_loader.get_data_path())


@contextlib.contextmanager
def _fresh_library(data_folder: Path, library_path: Path) -> Iterator[Any]:
    """A newly loaded library, unloaded afterwards.

    eSpeak NG carries the phase of its pitch flutter and more from one sentence to the next, through espeak_Terminate
    too, so that a sentence would sound different by what was spoken before it. Loading takes about 2 ms.
    """
    library = ctypes.CDLL(str(library_path))
    try:
        rate = library.espeak_Initialize(
            AUDIO_OUTPUT_SYNCHRONOUS, BUFFER_MILLISECONDS, str(data_folder).encode(), INITIALIZE_DONT_EXIT
        )
        if rate != SAMPLE_RATE:
            raise EspeakError(f"eSpeak NG should start at {SAMPLE_RATE} Hz, but espeak_Initialize returned {rate}.")
        yield library
        library.espeak_Terminate()
    finally:
        ctypes.CDLL(None).dlclose(ctypes.c_void_p(library._handle))


def synthesise(text: str, voice: Voice) -> npt.NDArray[np.float32]:
    """Speak `text`; returns a waveform (n_samples,) at `SAMPLE_RATE` (22 050 Hz), float32 in -1..1.

    A function of its arguments alone: equal text and voice give equal samples, whatever was spoken before. Reseeds C's
    global `rand()`, on which eSpeak NG's breath noise depends.

    Raises EspeakError when the library is missing, when it lacks the voice, and when nothing in `text` can be spoken.
    """
    library_path, data_folder = _installed()
    blocks: list[npt.NDArray[np.int16]] = []

    def receive(samples: Any, n_samples: int, _events: int | None) -> int:
        if samples and n_samples > 0:
            blocks.append(np.ctypeslib.as_array(samples, shape=(n_samples,)).copy())
        return 0

    callback = _CALLBACK(receive)  # named: ctypes keeps no reference on behalf of C
    name = f"{voice.language}+{voice.variant}"
    variants = data_folder / "voices" / "!v"
    with _fresh_library(data_folder, library_path) as library:
        library.espeak_SetSynthCallback(callback)
        # An unknown variant would be ignored by the library without an error, hence the look at its file.
        if not (variants / voice.variant).is_file() or library.espeak_SetVoiceByName(name.encode()) != EE_OK:
            raise EspeakError(f"eSpeak NG has no voice {name!r}; its variants are the files of {variants}.")
        for parameter, value in (
            (RATE, voice.words_per_minute),
            (VOLUME, VOLUME_PERCENT),
            (PITCH, voice.pitch),
            (RANGE, voice.pitch_range),
        ):
            library.espeak_SetParameter(parameter, value, 0)
        # Breath noise comes from the library's own generator, which starts at the time of day, and from C's.
        library.espeak_ng_SetRandSeed(ctypes.c_long(1))
        ctypes.CDLL(None).srand(1)
        encoded = text.encode() + b"\0"
        status = library.espeak_Synth(
            encoded, ctypes.c_size_t(len(encoded)), 0, POS_CHARACTER, 0, CHARS_UTF8, None, None
        )
        if status != EE_OK or library.espeak_Synchronize() != EE_OK:
            raise EspeakError(f"eSpeak NG could not speak {text!r} with voice {name!r}.")
    waveform = np.concatenate([*blocks, np.zeros(0, np.int16)]).astype(np.float32) / PCM_FULL_SCALE
    if not waveform.any():
        raise EspeakError(f"eSpeak NG made no sound of {text!r} with voice {name!r}.")
    return waveform
