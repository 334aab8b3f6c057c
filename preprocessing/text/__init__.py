"""Named, versioned text-normalisation profiles: one truth for training labels and for scoring."""

from preprocessing.text.profiles import (
    PARAMETRISED,
    PROFILES,
    corpus_profile,
    profile,
    profile_language,
    scoring_profile,
)
from preprocessing.text.steps import Profile, Step

__all__ = [
    "PARAMETRISED",
    "PROFILES",
    "Profile",
    "Step",
    "corpus_profile",
    "profile",
    "profile_language",
    "scoring_profile",
]
