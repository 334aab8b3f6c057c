"""One file of a model, whether the model is a folder here or a repository on the Hugging Face Hub.

Units, calibrations and whatever else lies beside the weights are found in this one way.
"""

import re
from pathlib import Path

HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


def find_model_file(reference: str, name: str) -> Path | None:
    """The file called `name` of a folder, or of a Hub id such as you/model, downloaded once into the Hub's cache.

    None where there is no such file, and where neither the network nor the cache has it.
    """
    if Path(reference).exists():
        path = Path(reference) / name
        return path if path.is_file() else None
    if not HUB_ID.fullmatch(reference):
        return None
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    try:
        return Path(hf_hub_download(reference, name))
    except (HfHubHTTPError, HFValidationError, OSError):
        return None  # what is wrong with the repository itself is said where the model is loaded
