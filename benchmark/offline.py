"""The corpus of a benchmark, and the embedded one for when the default is not available.

Only the default is replaced; what a user names is opened or refused.
"""

from benchmark.config import BenchmarkConfig
from finetune.systems.availability import hub_has
from preprocessing.cli.data_folder import DEMO, reference_of
from preprocessing.corpus import Corpus, open_corpus

DEMO_CORPUS = DEMO / "corpus" / "test.jsonl"
DEFAULT_DATASET = "openslr/librispeech_asr"
DEFAULT_DATA = f"hf:{DEFAULT_DATASET}:clean:test"


def resolve_corpus(config: BenchmarkConfig, notices: list[str]) -> Corpus:
    """The corpus of --data; without it, LibriSpeech test-clean from the Hub.

    Where the Hub cannot be reached, the embedded demo corpus stands in, and a sentence that says so is added to
    `notices`.
    """
    if config.data is not None:
        return open_corpus(config.data, limit=config.limit)
    if hub_has(DEFAULT_DATASET, kind="dataset"):
        return open_corpus(DEFAULT_DATA, limit=config.limit)
    notices.append(
        "data: LibriSpeech test-clean is not reachable, so the embedded demo corpus replaces it: synthetic commands "
        "that say nothing about real speech."
    )
    return open_corpus(reference_of(DEMO_CORPUS), limit=config.limit)
