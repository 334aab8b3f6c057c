"""Systems by name: what `--models` may hold, and what stands in where the Hub cannot be reached.

A reference is `wav2vec2` or `whisper` (their published defaults), `pocketsphinx` (one model, in its package),
`FAMILY=CHECKPOINT`, or `package.module:Class` for a subclass of `systems.base.System` of the user's own, which takes
(SystemSpec, LoadOptions); `package.module:Class=CHECKPOINT` hands it a checkpoint. The first `=` ends the name, so
that a checkpoint may hold others; commas end a reference.
"""

import difflib
import importlib
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmark.offline import DEMO, hub_has, reference_of, whisper_size_available
from benchmark.systems.base import WITH_LM, LoadOptions, System, SystemSpec
from preprocessing.cli.errors import InputError, UsageError, UserError

FAMILIES = {
    "wav2vec2": "benchmark.systems.wav2vec2:Wav2Vec2System",
    "whisper": "benchmark.systems.whisper:WhisperSystem",
    "lstm": "benchmark.systems.lstm:LSTMSystem",
    "wav2vec2+lm": "benchmark.systems.wav2vec2:Wav2Vec2System",
    "lstm+lm": "benchmark.systems.lstm:LSTMSystem",
    "pipeline": "benchmark.systems.pipeline:PipelineSystem",
    "faster-whisper": "benchmark.systems.faster_whisper:FasterWhisperSystem",
    "pocketsphinx": "benchmark.systems.pocketsphinx:PocketSphinxSystem",
}
BUILT_IN = {"pocketsphinx": "en-us, in the package"}  # families without a checkpoint to choose
DEFAULTS = {"wav2vec2": "facebook/wav2vec2-base-960h", "whisper": "base.en"}
DEFAULTS["wav2vec2+lm"] = DEFAULTS["wav2vec2"]
STAND_INS = {"wav2vec2": DEMO / "wav2vec2", "wav2vec2+lm": DEMO / "wav2vec2", "whisper": DEMO / "whisper"}


def parse_models(references: str) -> list[SystemSpec]:
    """The systems of a comma-separated `--models`. Raises UsageError on an unknown family or one named twice."""
    specs = [_parse(reference.strip()) for reference in references.split(",") if reference.strip()]
    if not specs:
        raise UsageError("--models is empty; expected a system or more, such as wav2vec2,whisper: name one")
    names = [spec.name for spec in specs]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"--models names {name} twice; expected each system once: leave one out")
    return specs


def check_language_model(specs: Sequence[SystemSpec], language_model: Path | None) -> None:
    """Raises UsageError where a system wants a language model and there is none, or the other way round."""
    wanting = [spec.name for spec in specs if spec.family.endswith(WITH_LM)]
    if wanting and language_model is None:
        raise UsageError(
            f"--models: {wanting[0]} decodes with a language model, and --lm names none; expected an ARPA file: make "
            "one of your text with `python -m finetune.language_model TEXT OUT.arpa`"
        )
    if language_model is not None and not wanting:
        families = ", ".join(family for family in FAMILIES if family.endswith(WITH_LM))
        raise UsageError(
            f"--lm {language_model} is used by no system of --models; expected one of {families}: as in "
            "wav2vec2+lm=CHECKPOINT"
        )
    if language_model is not None and not language_model.is_file():
        raise UsageError(f"--lm {language_model}: not there; expected an ARPA file: check the name")


def load_system(spec: SystemSpec, options: LoadOptions) -> System:
    """Import the system's class and load it. Raises UserError when that cannot be done, whatever the class raises."""
    load = _system_class(spec.name, FAMILIES.get(spec.family, spec.family))
    if spec.family in FAMILIES:
        return load(spec, options)
    try:
        system = load(spec, options)
        _ = system.facts
    except UserError:
        raise
    except Exception as error:  # a class of the user's own may raise anything
        raise InputError(
            f"{spec.name}: {_told(error)}, raised by its constructor; expected {spec.family}(spec, options) to "
            "load and to set facts: mend the class"
        ) from error
    return system


def _system_class(name: str, reference: str) -> Callable[[SystemSpec, LoadOptions], System]:
    """The class; calling it loads."""
    module_name, _, class_name = reference.partition(":")
    try:
        found: Any = getattr(importlib.import_module(module_name), class_name)
    except (ImportError, AttributeError) as error:
        raise InputError(
            f"{name}: cannot be imported ({error}); expected package.module:Class on PYTHONPATH: mend the name, or "
            "install what it imports"
        ) from error
    except Exception as error:  # so may its module
        raise InputError(
            f"{name}: importing {module_name} failed with {_told(error)}; expected a module that can be imported: "
            "mend it"
        ) from error
    if not (isinstance(found, type) and issubclass(found, System)):
        raise InputError(
            f"{name}: {class_name} of {module_name} is no System; expected a subclass of "
            "benchmark.systems.base.System: name one"
        )
    constructor: Callable[[SystemSpec, LoadOptions], System] = found
    return constructor


def _told(error: Exception) -> str:
    """Its type, what it says, and where it was raised, unless that is here or in Python's import."""
    *_, place = traceback.extract_tb(error.__traceback__)
    where = Path(place.filename)
    told = f"{type(error).__name__}: {error}"
    return told if where == Path(__file__) or not where.is_file() else f"{told} ({where.name}, line {place.lineno})"


def _parse(reference: str) -> SystemSpec:
    family, named, checkpoint = reference.partition("=")
    if ":" in family:
        return _own(reference, family, checkpoint if named else None)
    if family not in FAMILIES:
        near = difflib.get_close_matches(family, FAMILIES, n=1, cutoff=0.5)
        meant = f"did you mean {near[0]}?" if near else "choose one of them, or FAMILY=CHECKPOINT"
        raise UsageError(
            f"--models: unknown system {family!r}; expected {', '.join(FAMILIES)} or package.module:Class: {meant}"
        )
    if named:
        if family in BUILT_IN:
            raise UsageError(
                f"--models: {reference!r}: there is one {family} alone; expected no checkpoint: leave it out"
            )
        if not checkpoint:
            raise UsageError(f"--models: {reference!r} names no checkpoint; expected {family}=FOLDER or Hub id: add it")
        return SystemSpec(reference, family, checkpoint)
    return _default(family)


def _own(reference: str, family: str, checkpoint: str | None) -> SystemSpec:
    """A class of the user's own; without a checkpoint its reference stands there."""
    module_name, _, class_name = family.partition(":")
    if not class_name.isidentifier() or not all(part.isidentifier() for part in module_name.split(".")):
        raise UsageError(f"--models: {reference!r} names no class; expected package.module:Class: mend the name")
    if checkpoint == "":
        raise UsageError(
            f"--models: {reference!r} names no checkpoint; expected {family}=CHECKPOINT, or {family} alone: add it"
        )
    return SystemSpec(reference, family, reference if checkpoint is None else checkpoint)


def _default(family: str) -> SystemSpec:
    """A family's published default, or the embedded demo under its own name where neither cache nor Hub has it."""
    if family in BUILT_IN:
        return SystemSpec(family, family, BUILT_IN[family])
    if family not in DEFAULTS:
        raise UsageError(
            f"--models: {family} has no published default; expected {family}=FOLDER or a Hub id: name a run, as in "
            f"{family}=runs/{family}"
        )
    default = DEFAULTS[family]
    available = whisper_size_available(default) if family == "whisper" else hub_has(default)
    if available:
        return SystemSpec(family, family, default)
    notice = (
        f"{family}: {default} is neither cached nor reachable, so the embedded demo checkpoint stands in as "
        f"{family}-demo. It is tiny and was trained on synthetic speech: its figures say nothing of {default}."
    )
    return SystemSpec(f"{family}-demo", family, reference_of(STAND_INS[family]), notice)
