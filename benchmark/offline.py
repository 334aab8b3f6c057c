"""Whether the published defaults can be had, and what the project carries for when they cannot.

Only defaults are ever replaced; what a user names is loaded or refused.
"""

import os
import urllib.error
import urllib.request
from pathlib import Path

from benchmark.config import BenchmarkConfig
from preprocessing.corpus import Corpus, open_corpus

DEMO = Path(__file__).resolve().parents[1] / "demo"
DEMO_CORPUS = DEMO / "corpus" / "test.jsonl"
PATIENCE_SECONDS = 5.0  # for the Hub's first answer


def reference_of(path: Path) -> str:
    """How a report names something embedded: from the current folder where it lies below, without the user's own."""
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def hub_has(repository: str, kind: str = "model") -> bool:
    """True where a Hub repository is in the cache or answers now; kind: "model" or "dataset"."""
    from huggingface_hub import HfApi, constants, try_to_load_from_cache

    if kind == "model" and isinstance(try_to_load_from_cache(repository, "config.json"), str):
        return True
    if constants.HF_HUB_OFFLINE:
        return False
    api = HfApi()
    try:
        if kind == "model":
            api.model_info(repository, timeout=PATIENCE_SECONDS)
        else:
            api.dataset_info(repository, timeout=PATIENCE_SECONDS)
    except Exception:  # the client's own errors, its HTTP library's and the system's all mean: not to be had now
        return False
    return True


def whisper_size_available(size: str) -> bool:
    """True where openai-whisper has the size in its cache or can download it now."""
    import whisper

    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "whisper"
    address = whisper._MODELS[size]
    if (cache / Path(address).name).is_file():
        return True
    request = urllib.request.Request(address, method="HEAD")
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE_SECONDS):
            return True
    except (urllib.error.URLError, TimeoutError, OSError):
        return False


DEFAULT_DATASET = "openslr/librispeech_asr"
DEFAULT_DATA = f"hf:{DEFAULT_DATASET}:clean:test"


def chosen_corpus(config: BenchmarkConfig, notices: list[str]) -> Corpus:
    """The corpus asked for; the embedded demo where the default one is out of reach, said in `notices`."""
    if config.data is not None:
        return open_corpus(config.data, limit=config.limit)
    if hub_has(DEFAULT_DATASET, kind="dataset"):
        return open_corpus(DEFAULT_DATA, limit=config.limit)
    notices.append(
        "data: LibriSpeech test-clean is not reachable, so the embedded demo corpus stands in: synthetic commands "
        "that say nothing of real speech."
    )
    return open_corpus(reference_of(DEMO_CORPUS), limit=config.limit)
