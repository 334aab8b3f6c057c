"""What transcripts are made with, as a hash: a run goes on only with what gives the same texts, times and files.

Large files count by name, size and time of change: of weights and of a language model. Small ones count by their
content: settings beside the weights, and a calibration. A value that is stored somewhere, as alpha and beta are beside
a language model, counts as resolved. The device does not count: a run may go on elsewhere.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from finetune.alignment.confidence import CALIBRATION, CALIBRATION_OF_SEARCH
from finetune.decoding.language_model_folder import require_language_model
from finetune.language_model.lstm import DESCRIPTION, WEIGHTS
from finetune.models.companion_files import profile_of
from finetune.systems.base import LanguageModelOptions, LoadOptions, SystemSpec
from finetune.systems.identity import settings_of, weights_state


def made_with(spec: SystemSpec, options: LoadOptions, chosen: Mapping[str, Any]) -> str:
    """The model, its language model and calibration, how it is loaded, and the other options that decide the files.

    chosen: these, by name. Raises InputError where a language model is missing or damaged.
    """
    searches = options.language_model is not None or options.search is not None
    calibration = Path(spec.checkpoint) / (CALIBRATION_OF_SEARCH if searches else CALIBRATION)
    parts = [
        spec.written_family,
        [options.language, options.denoise, options.precision, options.system.given()],
        weights_state(spec.family, spec.checkpoint),
        [_by_content(path) for path in settings_of(spec.family, spec.checkpoint)],
        _by_content(calibration) if calibration.is_file() else None,
        None if options.language_model is None else list(_language_model(spec, options.language_model)),
        None if options.search is None else asdict(options.search),
        profile_of(spec.checkpoint) if searches else None,  # of hot words
        dict(chosen),
    ]
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:16]


def _language_model(spec: SystemSpec, given: LanguageModelOptions) -> Iterator[Any]:
    files = require_language_model(given.path or spec.checkpoint, f"{spec.name}: ")
    yield asdict(files.settings(given.search, given.as_stored))
    yield [_by_time(path) for path in files.read]
    if given.rescore is not None:
        yield given.rescore_weight, [_by_time(given.rescore / name) for name in (DESCRIPTION, WEIGHTS)]


def _by_time(path: Path) -> tuple[str, int, int]:
    status = path.stat()
    return path.name, status.st_size, status.st_mtime_ns


def _by_content(path: Path) -> tuple[str, str]:
    return path.name, hashlib.sha256(path.read_bytes()).hexdigest()
