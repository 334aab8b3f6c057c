"""Fingerprint of a run: what a resumed run must have in common with the one that was begun.

A checkpoint has the digest of all of it. Where that differs, the run's config.yaml and its folder of checkpoints say
whether what differs matters: corpora, the base and the feature cache may have moved, as what they hold is compared. Of
each training utterance three hashes are stored, 24 bytes: of its id, of its text, duration and part of its file, and of
its labels, which change with the vocabulary.
"""

import contextlib
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import yaml

from finetune.config import TrainConfig
from finetune.training.checkpoint import Progress
from preprocessing.corpus import Utterance
from preprocessing.errors import UsageError
from preprocessing.storage.atomic_write import atomic_file, write_text_atomically

UTTERANCES_FILE = "utterances.npy"
BASE_FILE = "base.txt"  # the digest of a local base
# Options that an exact resume does not depend on.
FREE = (
    *("output_dir", "overwrite", "eval_steps", "logging_steps", "report_to", "dry_run", "overfit_batch"),
    "save_total_limit",
    *("dataloader_num_workers", "data.validation", "data.eval_sets", "early_stopping_patience"),
    "data.max_eval_samples",
    *("data.validation_by", "data.max_train_samples"),  # their effect is in the utterances
    *("push_to_hub", "hub_model_id", "hub_private_repo", "hub_license", "hub_license_name", "hub_license_link"),
    "hub_language",
)
ACCUMULATION = "gradient_accumulation_steps"  # of each process
STREAMING = ("data.streaming", "data.shuffle_buffer", "data.streaming_first")  # without effect unless streaming is true
# Without effect on the training, and part of the digest all the same, as runs of earlier versions have them in theirs.
HARMLESS = (
    *("data.strict", "model.feature_cache_gib"),
    "gradient_checkpointing",  # computes the same values again, with other dropout where rows are packed on a GPU
    ACCUMULATION,  # the batches of all processes are counted
)
WEIGHT_FILES = ("*.safetensors", "*.bin", "*.pt")  # of a model's folder
DIGESTED_BYTES = 1 << 20  # at either end of a file of the base
MAX_KEYS_SHOWN = 5

Hashes = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class RunFingerprint:
    """Options as `run_folder.plain` returns them, and the hashes of the training utterances [utterances, 3]. base: the
    digest of a local base's files; "" of a Hub id, or without a base.
    """

    config: Mapping[str, Any]
    utterances: Hashes
    base: str = ""

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
        write_text_atomically(folder / BASE_FILE, self.base)


def fingerprint_of(
    config: Mapping[str, Any], utterances: Sequence[Utterance], labels: Sequence[Sequence[int]]
) -> RunFingerprint:
    """The fingerprint of a run over the utterances. labels: of each utterance, in their order."""
    rows = [
        (_hash(u.id), _hash(f"{u.text}\n{u.duration:.4f}{_part(u)}"), _hash(" ".join(map(str, ids))))
        for u, ids in zip(utterances, labels, strict=True)
    ]
    base = config.get("model", {}).get("base")
    return RunFingerprint(config, np.array(rows, dtype=np.uint64).reshape(-1, 3), _digest_of(base) if base else "")


def _digest_of(base: str) -> str:
    """16 hexadecimal digits of a local checkpoint, equal after it has moved: of the sizes of its files and of both of
    their ends; "" where there is no file or folder of this name.
    """
    place = Path(base)
    patterns = (*WEIGHT_FILES, "config.json")
    files = sorted(path for pattern in patterns for path in place.glob(pattern)) if place.is_dir() else [place]
    digest = hashlib.blake2b(digest_size=8)
    for path in (path for path in files if path.is_file()):
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            digest.update(f"{path.suffix} {size}\n".encode())
            for start in (0, max(size - DIGESTED_BYTES, 0)):
                file.seek(start)
                digest.update(file.read(DIGESTED_BYTES))
    return digest.hexdigest() if place.exists() else ""


def _part(utterance: Utterance) -> str:
    """Which part of its file an utterance is, and which channel; "" of a whole file with its channels mixed."""
    if utterance.start == 0.0 and utterance.stop is None and utterance.channel is None:
        return ""
    return f"\n{utterance.start:.4f} {utterance.stop} {utterance.channel}"


def difference(run: Path, now: RunFingerprint) -> str | None:
    """How `now` differs from the run in a folder, in words: options with both values, utterances by their number. None
    where it differs in nothing that matters to the training.
    """
    changes: list[str] = []
    compared = 0
    with contextlib.suppress(OSError, yaml.YAMLError):
        before = _flatten(yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8")))
        changes += _changed_options(before, _flatten(now.config), same_base=now.base != "" and _base(run) == now.base)
        compared += 1
    with contextlib.suppress(OSError, ValueError):
        before_utterances = np.load(run / "checkpoints" / UTTERANCES_FILE, allow_pickle=False)
        changes += _changed_utterances(before_utterances, now.utterances)
        compared += 1
    if not changes and compared == 2:
        return None
    return "; ".join(changes) or "its folder does not say which"


def _base(run: Path) -> str:
    """The digest of the base of the run in a folder; "" where it is not known."""
    try:
        return (run / "checkpoints" / BASE_FILE).read_text(encoding="utf-8")
    except OSError:
        return ""


def _changed_options(before: Mapping[str, Any], now: Mapping[str, Any], *, same_base: bool) -> list[str]:
    left_out = {*FREE, *HARMLESS, *(["model.base"] if same_base else [])}
    if not now.get("data.streaming"):  # of a stream, only the first utterances are compared
        left_out |= {"data.train", *STREAMING}
    if before.get("model.feature_cache") and now.get("model.feature_cache"):  # wherever it is
        left_out.add("model.feature_cache")
    keys = [key for key in {**before, **now} if key not in left_out and before.get(key) != now.get(key)]
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


def check_batches_per_step(config: TrainConfig, progress: Progress, n_processes: int) -> None:
    """Raises UsageError if the processes together would take more or fewer batches a step than the run has taken."""
    if progress.batches == progress.step * config.gradient_accumulation_steps * n_processes:
        return
    before = progress.batches / progress.step
    remedy = "launch as many processes as then"
    if before % n_processes == 0:
        remedy += f", or set --gradient_accumulation_steps {before / n_processes:g}"
    raise UsageError(
        f"{config.output_dir} contains a run with {before:g} batches a step, and {n_processes} x "
        f"--gradient_accumulation_steps {config.gradient_accumulation_steps} are "
        f"{config.gradient_accumulation_steps * n_processes} now (processes x batches of each); expected as many as "
        f"before to resume it: {remedy}"
    )


def check_same_run(
    config: TrainConfig, progress: Progress, fingerprint: RunFingerprint, n_processes: int
) -> None:  # fmt: skip
    """Raises UsageError if the checkpoint is of a run over other data or with other options. The batches of a step may
    be shared by another number of processes, and the data, the base and the feature cache may have moved.
    """
    output_dir = config.output_dir
    if progress.fingerprint in fingerprint.digests(config.gradient_accumulation_steps * n_processes):
        return
    differs = difference(output_dir, fingerprint)
    if differs is not None:
        raise UsageError(
            f"{output_dir} contains a run that differs: {differs}; expected its own "
            "options and data to resume it: change them back; or train its model further in another --output_dir with "
            f"--model.base {output_dir}; or delete it and start again with --overwrite true"
        )
