"""Output units of a CTC model: characters, syllables, byte-pair pieces or words, all behind `Vocabulary`."""

from preprocessing.frames import frames_in, frames_needed
from preprocessing.units.build import KINDS, build
from preprocessing.units.splitting import BLANK, SPECIAL, UNKNOWN, WORD_BOUNDARY
from preprocessing.units.vocabulary import Vocabulary

__all__ = [
    "BLANK",
    "KINDS",
    "SPECIAL",
    "UNKNOWN",
    "WORD_BOUNDARY",
    "Vocabulary",
    "build",
    "frames_in",
    "frames_needed",
]
