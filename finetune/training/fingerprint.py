"""Fingerprint of a run: what a resumed run must have in common with the one that was begun.

Configurations are compared by the run's config.yaml. Of each training utterance three hashes are stored, 24 bytes: of
its id, of its text, duration and part of its file, and of its labels, which change with the vocabulary.
"""

import contextlib
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import yaml

from preprocessing.cli.atomic_write import atomic_file
from preprocessing.corpus import Utterance

UTTERANCES_FILE = "utterances.npy"
# Options that an exact resume does not depend on.
FREE = (
    *("output_dir", "overwrite", "eval_steps", "logging_steps", "report_to", "dry_run", "overfit_batch"),
    *("dataloader_num_workers", "data.validation", "data.eval_sets", "early_stopping_patience"),
    "data.validation_by",  # its effect is in the utterances
    *("push_to_hub", "hub_model_id", "hub_private_repo", "hub_license", "hub_language"),
)
ACCUMULATION = "gradient_accumulation_steps"  # of each process
STREAMING = ("data.streaming", "data.shuffle_buffer", "data.streaming_first")  # without effect unless streaming is true
MAX_KEYS_SHOWN = 5

Hashes = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class RunFingerprint:
    """Options as `run_folder.plain` returns them, and the hashes of the training utterances [utterances, 3]."""

    config: Mapping[str, Any]
    utterances: Hashes

    @property
    def digest(self) -> str:
        """12 hexadecimal digits, equal if a checkpoint of one run can be resumed by the other."""
        flat = _flatten(self.config)
        left_out = FREE if flat.get("data.streaming") else (*FREE, *STREAMING)
        compared = {key: value for key, value in flat.items() if key not in left_out and value is not None}
        content = json.dumps(compared, sort_keys=True).encode() + self.utterances.astype("<u8").tobytes()
        return hashlib.sha256(content).hexdigest()[:12]

    def digests(self, batches_per_step: int) -> set[str]:
        """The digests of this run shared by any number of processes that together take so many batches a step."""
        shares = (n for n in range(1, batches_per_step + 1) if batches_per_step % n == 0)
        return {replace(self, config={**self.config, ACCUMULATION: share}).digest for share in shares}

    def write(self, folder: Path) -> None:
        """Write the hashes into the folder of checkpoints; the options are in the run's config.yaml."""
        folder.mkdir(parents=True, exist_ok=True)
        with atomic_file(folder / UTTERANCES_FILE) as path:
            np.save(path, self.utterances, allow_pickle=False)


def fingerprint_of(
    config: Mapping[str, Any], utterances: Sequence[Utterance], labels: Sequence[Sequence[int]]
) -> RunFingerprint:
    """The fingerprint of a run over the utterances. labels: of each utterance, in their order."""
    rows = [
        (_hash(u.id), _hash(f"{u.text}\n{u.duration:.4f}{_part(u)}"), _hash(" ".join(map(str, ids))))
        for u, ids in zip(utterances, labels, strict=True)
    ]
    return RunFingerprint(config, np.array(rows, dtype=np.uint64).reshape(-1, 3))


def _part(utterance: Utterance) -> str:
    """Which part of its file an utterance is, and which channel; "" of a whole file with its channels mixed."""
    if utterance.start == 0.0 and utterance.stop is None and utterance.channel is None:
        return ""
    return f"\n{utterance.start:.4f} {utterance.stop} {utterance.channel}"


def difference(run: Path, now: RunFingerprint) -> str:
    """How `now` differs from the run in a folder, in words: options with both values, utterances by their number."""
    changes: list[str] = []
    with contextlib.suppress(OSError, yaml.YAMLError):
        before = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))
        changes += _changed_options(_flatten(before), _flatten(now.config))
    with contextlib.suppress(OSError, ValueError):
        before_utterances = np.load(run / "checkpoints" / UTTERANCES_FILE, allow_pickle=False)
        changes += _changed_utterances(before_utterances, now.utterances)
    return "; ".join(changes) or "its folder does not say which"


def _changed_options(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    keys = [key for key in {**before, **now} if key not in FREE and before.get(key) != now.get(key)]
    shown = [f"{key} was {_short(before.get(key))}, now {_short(now.get(key))}" for key in keys[:MAX_KEYS_SHOWN]]
    return shown + ([f"{len(keys) - MAX_KEYS_SHOWN} more keys"] if len(keys) > MAX_KEYS_SHOWN else [])


def _changed_utterances(before: Hashes, now: Hashes) -> list[str]:
    old, new = ({int(name): (int(text), int(ids)) for name, text, ids in rows} for rows in (before, now))
    both = old.keys() & new.keys()
    counts = [
        ("added", len(new.keys() - old.keys())),
        ("removed", len(old.keys() - new.keys())),
        ("changed in text, duration, start, stop or channel", sum(old[name][0] != new[name][0] for name in both)),
        ("with other labels for the same text", sum(old[n][0] == new[n][0] and old[n][1] != new[n][1] for n in both)),
    ]
    changes = [f"{count} {kind}" for kind, count in counts if count]
    if changes:
        return [f"of its {len(before)} training utterances: {', '.join(changes)}"]
    return [] if np.array_equal(before, now) else ["its training utterances are in another order"]


def _flatten(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested keys with dots between; `model.scratch` is one value."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        name = f"{prefix}{key}"
        flat |= _flatten(value, f"{name}.") if isinstance(value, Mapping) and not prefix else {name: value}
    return flat


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else f"{text[:59]}…"
