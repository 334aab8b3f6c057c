"""What a run is made of before anything is measured: corpus, device, how it describes itself, the order of samples."""

import hashlib
import shlex
from collections.abc import Sequence
from dataclasses import MISSING, fields
from datetime import UTC, datetime

from benchmark.config import BenchmarkConfig
from benchmark.machine import describe_machine
from benchmark.material import Material
from benchmark.offline import DEMO_CORPUS, hub_has, reference_of
from benchmark.ranks import Ranks
from benchmark.record import Key
from benchmark.results import Run, SystemFacts, SystemRun
from benchmark.systems.base import SystemSpec
from preprocessing.corpus import Corpus, Utterance, open_corpus
from preprocessing.errors import UsageError

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


def chosen_device(asked: str) -> str:
    import torch

    if asked == "cuda" and not torch.cuda.is_available():
        raise UsageError(
            "--device is cuda, but torch finds no GPU; expected one: use --device cpu, or check the driver"
        )
    if asked == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return asked


def described(
    config: BenchmarkConfig,
    specs: Sequence[SystemSpec],
    material: Material,
    corpus: Corpus,
    ranks: Ranks,
    device: str,
    notices: Sequence[str],
) -> Run:
    machine = describe_machine(device)
    if ranks.count > 1:
        machine["processes"] = f"{ranks.count}, the first of which measured latency and throughput"
    return Run(
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        command=command_of(config),
        machine=machine,
        corpus=corpus.reference,
        conditions=[condition.used for condition in material.conditions],
        profiles=list(config.profiles),
        seed=config.seed,
        notices=list(notices),
        settings=config.settings() | {"corpus fingerprint": _fingerprint(corpus.utterances)},
        systems=[
            SystemRun(SystemFacts(spec.name, spec.family, spec.checkpoint, 0, notice=spec.notice)) for spec in specs
        ],
    )


def command_of(config: BenchmarkConfig) -> str:
    """The command that measures this again, whoever called: every setting that is not at its default.

    >>> command_of(BenchmarkConfig(models="whisper", rounds=5, profiles=["basic"]))
    "python benchmark/run.py --models whisper --profiles '[basic]' --rounds 5"
    """
    words = ["python", "benchmark/run.py"]
    for one in fields(config):
        value, default = getattr(config, one.name), one.default
        default = one.default_factory() if one.default_factory is not MISSING else default
        if value != default and one.name not in ("output", "overwrite", "compare", "fail_on_regression"):
            shown = f"[{','.join(value)}]" if isinstance(value, list) else str(value)
            words += [f"--{one.name}", "true" if value is True else shown]
    return shlex.join(words)


def order_of(specs: Sequence[SystemSpec], material: Material) -> dict[Key, int]:
    keys = [
        (spec.name, material.name(item), material.utterance(item).id) for spec in specs for item in material.items()
    ]
    return {key: place for place, key in enumerate(keys)}


def _fingerprint(utterances: Sequence[Utterance]) -> str:
    """Changes with any utterance's name, text or length."""
    digest = hashlib.sha256()
    for one in utterances:
        digest.update(repr((one.id, one.text, one.duration, one.start, one.stop)).encode())
    return digest.hexdigest()[:12]
