"""The corpus of a benchmark, and the embedded one for when the default is not available.

Only the default is replaced; what a user names is opened or refused.
"""

from dataclasses import replace

from benchmark.config import BenchmarkConfig
from finetune.models.availability import hub_has
from preprocessing.corpus import Corpus, open_corpus, parts_beyond_end
from preprocessing.storage.data_folder import DEMO, reference_of

DEMO_CORPUS = DEMO / "corpus" / "test.jsonl"
DEFAULT_DATASET = "openslr/librispeech_asr"
DEFAULT_DATA = f"hf:{DEFAULT_DATASET}:clean:test"


def resolve_corpus(config: BenchmarkConfig, notices: list[str]) -> Corpus:
    """The corpus of --data; without it, LibriSpeech test-clean from the Hub.

    Where the Hub cannot be reached, the embedded demo corpus stands in, and a sentence that says so is added to
    `notices`; others where stated durations are not the files', which speed is measured by, where several texts are of
    the same audio, and where --limit takes a part. Raises InputError where the corpus is not complete, or a part
    stops after the end of its audio.
    """
    corpus = _open(config, notices).require_complete()
    notices += [f"{note}." for note in corpus.notes]
    n_measured = len(corpus.utterances)
    if corpus.whole is not None:
        notices.append(
            f"--limit {config.limit}: only {n_measured:,} of {corpus.whole:,} utterances are measured, evenly spaced."
        )
    elif corpus.unread is None:
        notices.append(
            f"--limit {config.limit}: only the first {n_measured:,} utterances are measured. They may be of few "
            "speakers, or of few different texts."
        )
    beyond_end = parts_beyond_end(corpus.utterances)
    return replace(corpus, rejects=tuple(beyond_end)).require_complete() if beyond_end else corpus


def _open(config: BenchmarkConfig, notices: list[str]) -> Corpus:
    if config.data is not None:
        return open_corpus(config.data, limit=config.limit, spread=True, check_durations=True, columns=config.slices)
    if hub_has(DEFAULT_DATASET, kind="dataset"):
        return open_corpus(DEFAULT_DATA, limit=config.limit, spread=True, columns=config.slices)
    notices.append(
        "data: LibriSpeech test-clean is not reachable, so the embedded demo corpus replaces it: synthetic commands "
        "that say nothing about real speech."
    )
    return open_corpus(reference_of(DEMO_CORPUS), limit=config.limit, spread=True, columns=config.slices)
