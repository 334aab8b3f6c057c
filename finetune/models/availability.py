"""Whether checkpoints and data sets are on this machine, cached, or can be reached."""

import difflib
import os
import urllib.error
import urllib.request
from pathlib import Path

from finetune.models.checkpoint_checks import check_no_adapter
from preprocessing.errors import UsageError

HUB_TIMEOUT_SECONDS = 5.0  # for the first answer


def check_checkpoint(checkpoint: str, flag: str = "", *, is_path: bool = False) -> None:
    """Raises UsageError where a checkpoint that its user names is a path with nothing there, InputError where it is a
    folder with an adapter alone (`check_no_adapter`).

    It is one where no Hub id is written so (they have one / at most, and not at the beginning), and where the folder
    before its / is on this machine and the Hub has no such model. flag: what named it. is_path: it is one, whatever it
    looks like.
    """
    path = Path(checkpoint)
    if path.exists():
        check_no_adapter(checkpoint)
        return
    is_path |= checkpoint.startswith(("/", "./", "../", "~")) or checkpoint.count("/") > 1 or checkpoint.endswith(".pt")
    is_path = is_path or ("/" in checkpoint and path.parent.is_dir() and not hub_has(checkpoint))
    if not is_path:
        return
    beside = [one.name for one in path.parent.iterdir()] if path.parent.is_dir() else []
    near = difflib.get_close_matches(path.name, beside, n=1, cutoff=0.5)
    remedy = f"did you mean {path.parent / near[0]}?" if near else "check the name"
    raise UsageError(
        f"{flag}{checkpoint}: no such file or folder; expected the folder of a run, another checkpoint on this "
        f"machine or a Hub id: {remedy}"
    )


def hub_has(repository: str, kind: str = "model") -> bool:
    """Whether a Hub repository is in the cache, or the Hub answers for it now. kind: "model" or "dataset"."""
    from huggingface_hub import HfApi, constants, try_to_load_from_cache

    if kind == "model" and isinstance(try_to_load_from_cache(repository, "config.json"), str):
        return True
    if constants.HF_HUB_OFFLINE:
        return False
    api = HfApi()
    try:
        if kind == "model":
            api.model_info(repository, timeout=HUB_TIMEOUT_SECONDS)
        else:
            api.dataset_info(repository, timeout=HUB_TIMEOUT_SECONDS)
    except Exception:  # errors of the client, of its HTTP library and of the system: in each case it is not available
        return False
    return True


def whisper_cache_file(size: str) -> Path | None:
    """The file that openai-whisper has cached of a size, such as base.en; None where there is none."""
    import whisper

    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "whisper"
    file = cache / Path(whisper._MODELS.get(size, "unknown")).name
    return file if file.is_file() else None


def whisper_available(size: str) -> bool:
    """Whether openai-whisper has the size, such as base.en, in its cache or can download it now."""
    import whisper

    if whisper_cache_file(size) is not None:
        return True
    request = urllib.request.Request(whisper._MODELS[size], method="HEAD")
    try:
        with urllib.request.urlopen(request, timeout=HUB_TIMEOUT_SECONDS):
            return True
    except (urllib.error.URLError, TimeoutError, OSError):
        return False
