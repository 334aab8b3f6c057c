"""One file of a model, whether the model is a folder here or a repository on the Hugging Face Hub.

Units, calibrations and whatever else lies beside the weights are found in this one way.
"""

import re
from pathlib import Path

from preprocessing.errors import first_line

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


def loading_reason(error: BaseException) -> str:
    """Why a model cannot be loaded, for a sentence: what the Hub answered, which transformers puts below the first line
    of its error; else that line.
    """
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, RepositoryNotFoundError

    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, HfHubHTTPError):
        cause = cause.__cause__
    if cause is None or isinstance(cause, RepositoryNotFoundError | EntryNotFoundError):
        return first_line(error)  # which says so; also where a private repository is asked for without a token
    status = cause.response.status_code
    if status == 401:
        return "the Hub refuses the token, 401 Unauthorized: correct HF_TOKEN, or run `hf auth login`"
    if status == 403:
        return "the token may not read it, 403 Forbidden: ask for access on the Hub, or set another HF_TOKEN"
    return first_line(cause)
