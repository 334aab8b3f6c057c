"""What a run's about.json says of itself to those who use the model: the text profile of its labels, and denoising.

Apart from `finetune.training.about`, which writes the file and reads all of it: models of others have none, and an
older or damaged one must not keep a model from being used.
"""

import json
from pathlib import Path
from typing import Any

ABOUT = "about.json"


def is_of_denoised(checkpoint: str) -> bool:
    """Whether a run was trained on denoised audio (--data.denoise)."""
    return bool(_recorded(checkpoint, "denoise"))


def profile_of(checkpoint: str) -> str | None:
    """The name of the text profile of a run's labels; None of a model without one.

    about.json names no folder of the machine that it was made on, so that the model of a profile `ctc:MODEL` may not be
    found by its name: the run's own units, which its labels are made of, are taken instead.
    """
    recorded = _recorded(checkpoint, "profile")
    if not isinstance(recorded, str) or not recorded:
        return None
    kind, *options = recorded.split(":")
    return ":".join(["ctc", checkpoint, *options[1:]]) if kind == "ctc" else recorded


def _recorded(checkpoint: str, name: str) -> Any:
    """A field of a run's about.json; None where there is none."""
    path = Path(checkpoint) / ABOUT
    try:
        return json.loads(path.read_text(encoding="utf-8"))[name] if path.is_file() else None
    except (ValueError, KeyError, TypeError):
        return None
