"""What a run was over, kept small, so that one over something else is refused with what differs.

Configurations are compared by the run's config.yaml. Of each utterance three numbers are kept, 24 bytes: hashes of its
id, of its text and duration, and of its labels, in which another vocabulary shows.
"""

import contextlib
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import yaml

from preprocessing.corpus import Utterance

FILE = "utterances.npy"
# An exact resume does not depend on these.
FREE = (
    *("output_dir", "overwrite", "eval_steps", "logging_steps", "report_to", "dry_run", "overfit_batch"),
    *("dataloader_num_workers", "data.validation", "data.eval_sets", "early_stopping_patience"),
    *("push_to_hub", "hub_model_id", "hub_private_repo", "hub_license", "hub_language"),
)
STREAMING = ("data.streaming", "data.shuffle_buffer", "data.streaming_first")  # say nothing where nothing is streamed
SHOWN = 5

Rows = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class Identity:
    """Keys of the configuration as `record.plain` gives them, and a row of three hashes for each utterance."""

    config: Mapping[str, Any]
    utterances: Rows  # [utterances, 3]

    @property
    def fingerprint(self) -> str:
        flat = _flat(self.config)
        left_out = FREE if flat.get("data.streaming") else (*FREE, *STREAMING)
        told = {key: value for key, value in flat.items() if key not in left_out and value is not None}
        content = json.dumps(told, sort_keys=True).encode() + self.utterances.astype("<u8").tobytes()
        return hashlib.sha256(content).hexdigest()[:12]

    def write(self, folder: Path) -> None:
        """Into the folder of checkpoints, whole or not at all; config.yaml is the record's to write."""
        folder.mkdir(parents=True, exist_ok=True)
        beside = folder / f"{FILE}.partial"
        with beside.open("wb") as file:
            np.save(file, self.utterances, allow_pickle=False)
        os.replace(beside, folder / FILE)


def identify(config: Mapping[str, Any], utterances: Sequence[Utterance], labels: Sequence[Sequence[int]]) -> Identity:
    """labels: of each utterance, in their order."""
    rows = [
        (_hash(u.id), _hash(f"{u.text}\n{u.duration:.4f}"), _hash(" ".join(map(str, ids))))
        for u, ids in zip(utterances, labels, strict=True)
    ]
    return Identity(config, np.array(rows, dtype=np.uint64).reshape(-1, 3))


def difference(run: Path, now: Identity) -> str:
    """What sets `now` apart from the run in the folder, in words; what the folder does not tell is left out."""
    told: list[str] = []
    with contextlib.suppress(OSError, yaml.YAMLError):
        before = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))
        told += _changed_keys(_flat(before), _flat(now.config))
    with contextlib.suppress(OSError, ValueError):
        told += _changed_utterances(np.load(run / "checkpoints" / FILE, allow_pickle=False), now.utterances)
    return "; ".join(told) or "it does not say which"


def _changed_keys(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    keys = [key for key in {**before, **now} if key not in FREE and before.get(key) != now.get(key)]
    told = [f"{key} was {_short(before.get(key))}, now {_short(now.get(key))}" for key in keys[:SHOWN]]
    return told + ([f"{len(keys) - SHOWN} more keys"] if len(keys) > SHOWN else [])


def _changed_utterances(before: Rows, now: Rows) -> list[str]:
    old, new = ({int(name): (int(text), int(ids)) for name, text, ids in rows} for rows in (before, now))
    both = old.keys() & new.keys()
    counts = [
        ("added", len(new.keys() - old.keys())),
        ("removed", len(old.keys() - new.keys())),
        ("changed in text or duration", sum(old[name][0] != new[name][0] for name in both)),
        ("with other labels for the same text", sum(old[n][0] == new[n][0] and old[n][1] != new[n][1] for n in both)),
    ]
    changes = [f"{count} {what}" for what, count in counts if count]
    if changes:
        return [f"of its {len(before)} training utterances: {', '.join(changes)}"]
    return [] if np.array_equal(before, now) else ["its training utterances are in another order"]


def _flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested keys with dots between; `model.scratch` is one value."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        name = f"{prefix}{key}"
        flat |= _flat(value, f"{name}.") if isinstance(value, Mapping) and not prefix else {name: value}
    return flat


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else f"{text[:59]}…"
