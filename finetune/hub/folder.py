"""The folder of a training run, read for publishing: its files, configuration, log and transcripts.

What leaves the machine is decided here: the model's own files, those that belong to it (`companion_files`), the
configuration `without_folders`, and the curve.
"""

import json
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import yaml

from finetune.config import check_config_file
from finetune.decoding.language_model_folder import find_language_model
from finetune.models import FAMILIES, about, publication
from finetune.models.about import About, without_folders
from finetune.models.base import Publication
from finetune.models.companion_files import companion_files, is_companion
from finetune.training.log import BEST, has_ended, last_step, read_log
from preprocessing.errors import InputError
from preprocessing.storage.atomic_write import read_json_lines

CURVE = "curve.png"
CONFIG = "config.yaml"
ENVIRONMENT = "environment.json"
TRANSCRIPTS = "samples.jsonl"


@dataclass(frozen=True)
class RunFolder:
    """What a training run wrote about itself.

    config: config.yaml. family: what the Hub is told of the run's model family. about: about.json; None where the run
    wrote none. versions: of the packages it ran with. best: the line of log.jsonl about the saved weights, None in runs
    of earlier versions. transcripts: of the best model, one for each validation utterance. stopped_at: the last step of
    a training that was stopped before its end; None of one that ended, and of a run without a log.
    """

    path: Path
    config: dict[str, Any]
    family: Publication
    about: About | None
    versions: dict[str, str]
    best: dict[str, Any] | None
    transcripts: tuple[dict[str, Any], ...]
    stopped_at: int | None = None

    @property
    def is_untrained(self) -> bool:
        """Whether the weights are those before the first update: no later evaluation was better."""
        return self.best is not None and list(self.best["steps"]) == [0]

    @property
    def stopped(self) -> str | None:
        """That the training was stopped before its end, as a clause; None where it was not."""
        if self.stopped_at is None:
            return None
        return f"training was stopped at step {self.stopped_at:,} of {self.config['max_steps']:,}"

    @property
    def model_files(self) -> list[Path]:
        """The model's files that exist, sorted by name."""
        return sorted({path for pattern in self.family.files for path in self.path.glob(pattern) if path.is_file()})

    @property
    def language_model(self) -> dict[str, float] | None:
        """The settings with which `tune` stored a language model in the run, such as alpha and beta; None without."""
        found = find_language_model(self.path)
        return None if found is None else found.attributes

    @property
    def architecture(self) -> str | None:
        """transformers' `model_type`, such as wav2vec2 or hubert; None where the model's configuration has none."""
        try:
            found = json.loads((self.path / "config.json").read_text(encoding="utf-8")).get("model_type")
        except (OSError, ValueError, AttributeError):
            return None
        return found if isinstance(found, str) else None

    def uploads(self) -> dict[str, Path | bytes]:
        """What is uploaded besides the card: each name in the repository, with a local file or the content itself."""
        uploads: dict[str, Path | bytes] = {path.name: path for path in self.model_files}
        uploads[CONFIG] = yaml.safe_dump(public(self.config), sort_keys=False, allow_unicode=True).encode()
        if (self.path / CURVE).is_file():
            uploads[CURVE] = self.path / CURVE
        return uploads | companion_files(self.path)


def is_upload(name: str) -> bool:
    """Whether a file of a repository has a name under which `RunFolder.uploads` puts one, for a run of any family."""
    patterns = [CONFIG, CURVE, *(pattern for family in FAMILIES for pattern in publication(family).files)]
    in_root = "/" not in name
    return is_companion(name) or (in_root and any(fnmatchcase(name, pattern) for pattern in patterns))


def open_run(path: Path) -> RunFolder:
    """The run in a folder. Raises InputError where it is no run's, cannot be read, or has no model in it yet."""
    if not (path / CONFIG).is_file():
        raise InputError(f"{path}: no {CONFIG} there; expected the folder of a run: name a training's --output_dir")
    check_config_file(path / CONFIG)
    try:
        config = yaml.safe_load((path / CONFIG).read_text(encoding="utf-8"))
        family = publication(str(config["model"]["family"]))
        about_json, environment = path / about.NAME, path / ENVIRONMENT
        log = read_log(path)
        run = RunFolder(
            path=path,
            config=config,
            family=family,
            about=about.from_json(about_json.read_text(encoding="utf-8")) if about_json.is_file() else None,
            versions=json.loads(environment.read_text(encoding="utf-8"))["packages"] if environment.is_file() else {},
            best=next((line for line in reversed(log) if line["kind"] == BEST), None),
            transcripts=tuple(read_json_lines(path / TRANSCRIPTS, appended=True)),
            stopped_at=last_step(path) if log and not has_ended(log, config) else None,
        )
    except (ValueError, KeyError, TypeError, OSError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise InputError(
            f"{path}: cannot be read as a run ({reason}); expected the files that training wrote: restore them"
        ) from None
    if not list(path.glob(family.files[0])):
        raise InputError(f"{path}: no {family.files[0]} there; expected a trained model: finish the training first")
    return run


def stopped_note(run: RunFolder) -> str | None:
    """What to say before a run is published or exported whose training was stopped before its end; None of others."""
    if run.stopped is None:
        return None
    return f"NOTE: {run.path}: {run.stopped}, so these are not its final weights; start it again to go on from there"


def public(value: Any) -> Any:
    """A configuration, or a value of one, `without_folders`."""
    match value:
        case str():
            return without_folders(value)
        case dict():
            return {key: public(inner) for key, inner in value.items()}
        case list():
            return [public(inner) for inner in value]
    return value
