"""Named, versioned text-normalisation profiles: one truth for training labels and for scoring."""

from preprocessing.text.profiles import PARAMETRISED, PROFILES, Profile, Step, profile

__all__ = ["PARAMETRISED", "PROFILES", "Profile", "Step", "profile"]
