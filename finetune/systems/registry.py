"""Systems by name: the registry that `--models` refers to, and the demo checkpoints that stand in without a network.

A reference is `wav2vec2` or `whisper` (their published defaults), `pocketsphinx` (one model, in its package),
`FAMILY=CHECKPOINT`, `NAME=FAMILY:CHECKPOINT` with a name for tables and figures, or `package.module:Class` for a class
of the user's own (`finetune.systems.base`); `package.module:Class=CHECKPOINT` gives it a checkpoint. The first `=`
ends the name, so a checkpoint may contain others; commas separate references. `FAMILY=CHECKPOINT` is called by the
family and the last part of the checkpoint: `whisper=models/tiny.en.pt` is "whisper tiny.en". `parse_model` takes a
checkpoint by itself, too, and finds its family.
"""

import difflib
import importlib
import json
import re
import traceback
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from finetune.models.architectures import OTHER_FAMILIES
from finetune.models.availability import check_checkpoint
from finetune.models.checkpoint_checks import check_no_adapter
from finetune.systems.base import LoadOptions, System, SystemSpec
from finetune.systems.facts import TRANSCRIPTS, SystemOptions
from finetune.systems.families import ALL_OPTIONS, FAMILIES, LM_SPELLINGS, SPELLINGS, family_in
from preprocessing.cli.device import resolve_device
from preprocessing.errors import InputError, UsageError, UserError, described
from preprocessing.storage.data_folder import reference_of
from preprocessing.storage.model_file import find_model_file, loading_reason

MODEL = "MODEL"  # of commands that take one system without a flag, as their help calls it


def parse_models(references: str, flag: str = "--models") -> list[SystemSpec]:
    """The systems of a comma-separated `--models`. flag: what the user gave them as, for messages.

    Raises UsageError on an unknown family, or a system named twice.
    """
    specs = [_parse_reference(reference.strip(), flag) for reference in references.split(",") if reference.strip()]
    if not specs:
        raise UsageError(f"{flag} is empty; expected a system or more, such as wav2vec2,whisper: name one")
    for spec, count in Counter(specs).items():
        if count > 1:
            raise UsageError(f"{flag} names {spec.name} twice; expected each system once: leave one out")
    return _with_short_names(specs, flag)


def parse_model(reference: str) -> SystemSpec:
    """The system of one reference of `parse_models`, or of a checkpoint alone: a folder, a Hub id, a size of Whisper or
    a .pt file. A name of SPELLINGS is that family, whatever folder is called so: ./whisper is the folder.

    Raises UsageError on an unknown reference, InputError where the checkpoint is no speech recogniser's.
    """
    is_family = reference.partition("=")[0] in SPELLINGS
    is_checkpoint = not is_family and (
        Path(reference).exists() or is_whisper_size(reference) or ("/" in reference and not set("=:,") & set(reference))
    )
    if is_checkpoint:
        family = family_of(reference)
        (spec,) = _with_short_names([SystemSpec(f"{family}={reference}", family, reference)], MODEL)
        return spec
    specs = parse_models(reference, MODEL)
    if len(specs) > 1:
        raise UsageError(f"{reference} names {len(specs)} systems; expected one: choose one of them")
    if specs[0].family in FAMILIES:
        check_checkpoint(specs[0].checkpoint)
    return specs[0]


def family_of(checkpoint: str) -> str:
    """The family, of those of FAMILIES, that reads a folder, a Hub id, a size of Whisper or a .pt file.

    Raises InputError where it cannot be read, or is of no speech recogniser.
    """
    check_checkpoint(checkpoint)
    path = Path(checkpoint)
    has_config = (path / "config.json").is_file()
    if path.suffix in (".pt", ".pth") or (path.is_dir() and not has_config and any(path.glob("*.pt"))):
        return "whisper"
    if is_whisper_size(checkpoint) and not path.exists():
        return "whisper"
    if (path / "model.onnx").is_file():
        return "onnx"
    if (path / "model.xml").is_file():
        return "openvino"
    if (path / "model.bin").is_file():  # CTranslate2's; transformers' is pytorch_model.bin
        return "faster-whisper"
    from transformers import AutoConfig
    from transformers.models.auto import modeling_auto

    from finetune.models.architectures import register_own_models

    register_own_models()
    try:
        config = AutoConfig.from_pretrained(checkpoint)
    except (OSError, ValueError) as error:
        check_no_adapter(checkpoint)
        raise InputError(
            f"{checkpoint}: cannot be loaded as a speech recogniser ({loading_reason(error)}); expected "
            "the folder of a run, a transformers folder, a Hub id, a size of Whisper or FAMILY=CHECKPOINT: check the "
            "name and the network"
        ) from error
    model_type, classes = str(config.model_type), config.architectures or []
    if model_type in OTHER_FAMILIES:
        return OTHER_FAMILIES[model_type]
    if any("CTC" in name for name in classes) or model_type in modeling_auto.MODEL_FOR_CTC_MAPPING_NAMES:
        return "wav2vec2"
    if model_type in modeling_auto.MODEL_FOR_SPEECH_SEQ_2_SEQ_MAPPING_NAMES:
        return "pipeline"
    raise InputError(
        f"{checkpoint}: is a {model_type}, which is not a speech recogniser; expected a CTC model, a Whisper or "
        "another speech recogniser: name one"
    )


def device_of(family: str, requested: str) -> str:
    """ "cpu" or "cuda", for a system of a family and --device auto, cpu or cuda; auto is the CPU for an exported graph.

    Raises UsageError for cuda without a GPU.
    """
    on_gpu = family not in FAMILIES or FAMILIES[family].on_gpu
    return resolve_device(requested) if on_gpu or requested != "auto" else "cpu"


def is_whisper_size(name: str) -> bool:
    """Whether a name is that of a published size, such as base.en."""
    import whisper

    return name in whisper.available_models()


def check_system_options(specs: Sequence[SystemSpec], given: Mapping[str, SystemOptions]) -> None:
    """Raises UsageError where options are given to a system that is not in the run, or does not take them."""
    by_name = {spec.name: spec for spec in specs}
    for name, options in given.items():
        flag = f"--system_options.{name}"
        if name not in by_name:
            near = difflib.get_close_matches(name, by_name, n=1, cutoff=0.5)
            remedy = f"did you mean {near[0]}?" if near else "name one with --models NAME=whisper:CHECKPOINT"
            raise UsageError(f"{flag} names no system of --models; expected {', '.join(by_name)}: {remedy}")
        check_options_of(by_name[name], options, f"{flag}.")


def check_options_of(spec: SystemSpec, options: SystemOptions, prefix: str) -> None:
    """Raises UsageError where a system does not take one of its options. prefix: of its flag, as the user writes it."""
    family = FAMILIES.get(spec.family)
    taken = ALL_OPTIONS if family is None else family.options
    for key in options.given():
        if key not in taken:
            takes = f"expected {', '.join(sorted(taken))}" if taken else "expected none"
            raise UsageError(
                f"{prefix}{key}: the family {spec.written_family} has no such option; {takes}: leave it out"
            )


def check_precision(spec: SystemSpec, precision: str) -> None:
    """Raises UsageError where a system does not take the value of --precision."""
    family = FAMILIES.get(spec.family)
    if family is None or precision in family.precisions:
        return
    able = [name for name, one in FAMILIES.items() if precision in one.precisions]
    others = f" (the families {', '.join(able)} take {precision})" if able else ""
    raise UsageError(
        f"--precision is {precision}, which the family {spec.written_family} does not support; expected "
        f"{' or '.join(family.precisions)}{others}: leave it out"
    )


def check_language_model(specs: Sequence[SystemSpec], language_model: Path | None, flag: str = "--models") -> None:
    """Raises UsageError where a system needs a language model that neither --lm names nor its checkpoint carries, or
    where no system needs that of --lm. flag: what the user gave the systems as.
    """
    needing = [spec for spec in specs if spec.decodes_with_lm]
    for spec in needing if language_model is None else ():
        from finetune.decoding.language_model_folder import find_language_model

        if find_language_model(spec.checkpoint) is None:
            raise UsageError(
                f"{flag}: {spec.name} decodes with a language model, --lm names none and {spec.checkpoint} has none; "
                "expected an ARPA file: build one from your text with `python -m finetune.language_model build TEXT "
                "OUT.arpa`"
            )
    if language_model is not None and not needing:
        raise UsageError(
            f"--lm {language_model} is used by no system of {flag}; expected one of {', '.join(LM_SPELLINGS)}: as in "
            "wav2vec2+lm=CHECKPOINT"
        )
    if language_model is not None and not language_model.exists():
        raise UsageError(f"--lm {language_model}: no such file; expected an ARPA file: check the name")


def load_system(spec: SystemSpec, options: LoadOptions) -> System:
    """The system, loaded. Raises UserError where it cannot be imported or loaded, whatever a user's class raises."""
    if spec.family == TRANSCRIPTS:
        raise UsageError(
            f"{spec.name} has the texts of recordings that are transcribed already, which only benchmark/run.py "
            "takes; expected a recogniser: name one"
        )
    known = FAMILIES.get(spec.family)
    if known is not None:
        try:
            return _system_class(spec.name, known.system)(spec, options)
        except InputError:
            check_no_adapter(spec.checkpoint)
            _check_family(spec)
            raise
    load = _system_class(spec.name, spec.family)
    try:
        system = load(spec, options)
        _ = system.facts
    except (UserError, MemoryError):  # the latter is no fault of the class
        raise
    except Exception as error:  # a class of the user's own may raise anything
        raise InputError(
            f"{spec.name}: {_with_place(error)}, raised by its constructor; expected {spec.family}(spec, options) to "
            "load and to set facts: correct the class"
        ) from error
    return system


def _check_family(spec: SystemSpec) -> None:
    """Raises InputError where the configuration of a checkpoint is of one of OTHER_FAMILIES that the family named does
    not read.
    """
    path = find_model_file(spec.checkpoint, "config.json") if FAMILIES[spec.family].on_hub else None
    try:
        config = {} if path is None else json.loads(path.read_text(encoding="utf-8"))
        family = OTHER_FAMILIES.get(str(config.get("model_type")), spec.family)
    except (OSError, ValueError, AttributeError):
        return
    if family != spec.family and (spec.family, family) != ("pipeline", "whisper"):
        raise InputError(
            f"{spec.name}: {spec.checkpoint} is a model of the family {family}; expected one of the family "
            f"{spec.family}: write {family} in place of {spec.family}"
        )


def _system_class(name: str, reference: str) -> Callable[[SystemSpec, LoadOptions], System]:
    module_name, _, class_name = reference.partition(":")
    try:
        found: Any = getattr(importlib.import_module(module_name), class_name)
    except (ImportError, AttributeError) as error:
        raise InputError(
            f"{name}: cannot be imported ({error}); expected package.module:Class on PYTHONPATH: correct the name, or "
            "install what it imports"
        ) from error
    except Exception as error:  # a module of the user's own may raise anything
        raise InputError(
            f"{name}: importing {module_name} failed with {_with_place(error)}; expected a module that can be "
            "imported: fix it"
        ) from error
    if not (isinstance(found, type) and issubclass(found, System)):
        raise InputError(
            f"{name}: {class_name} of {module_name} is not a System; expected a subclass of "
            "finetune.systems.base.System: name one"
        )
    constructor: Callable[[SystemSpec, LoadOptions], System] = found
    return constructor


def _with_place(error: Exception) -> str:
    """The error's type, message, and file and line, unless it was raised here or by Python's import machinery."""
    *_, place = traceback.extract_tb(error.__traceback__)
    file = Path(place.filename)
    message = described(error)
    return message if file == Path(__file__) or not file.is_file() else f"{message} ({file.name}, line {place.lineno})"


def _with_short_names(specs: Sequence[SystemSpec], flag: str) -> list[SystemSpec]:
    """The specs with the shortest names that tell them apart; what the user or the project has named stays.

    Raises UsageError where two have the same name all the same.
    """
    depths = [
        0 if spec.family in FAMILIES and spec.name == f"{spec.written_family}={spec.checkpoint}" else None
        for spec in specs
    ]
    while True:
        names = [
            spec.name if depth is None else _short_name(spec, depth) for spec, depth in zip(specs, depths, strict=True)
        ]
        repeated = {name for name, count in Counter(names).items() if count > 1}
        if not repeated:
            return [replace(spec, name=name) for spec, name in zip(specs, names, strict=True)]
        deeper = [
            depth + 1 if depth is not None and name in repeated and _short_name(spec, depth + 1) != name else depth
            for spec, depth, name in zip(specs, depths, names, strict=True)
        ]
        if deeper == depths:
            raise UsageError(
                f"{flag} names {min(repeated)} twice; expected each system once: leave one out, or name it yourself "
                "with NAME=FAMILY:CHECKPOINT"
            )
        depths = deeper


def _short_name(spec: SystemSpec, parents: int) -> str:
    """Family and the last part of the checkpoint, with so many folders before it.

    >>> [_short_name(SystemSpec("", "whisper", path), 0) for path in ("models/tiny.en.pt", "runs/german/whisper.pt")]
    ['whisper tiny.en', 'whisper german']
    >>> _short_name(SystemSpec("", "wav2vec2", "facebook/wav2vec2-base-960h"), 0)
    'wav2vec2-base-960h'
    >>> _short_name(SystemSpec("", "lstm", "a/digits"), 1)
    'lstm a/digits'
    """
    parts = [part for part in Path(spec.checkpoint).parts if part not in ("/", "..")] or [
        Path(spec.checkpoint).resolve().name
    ]
    last = Path(parts[-1])
    parts[-1] = last.stem if last.suffix in (".pt", ".pth", ".bin", ".safetensors") else last.name
    if parts[-1] == spec.written_family and len(parts) > 1:
        parts = parts[:-1]
    label = "/".join(parts[-1 - parents :])
    return label if label.startswith(f"{spec.written_family}-") else f"{spec.written_family} {label}"


def _parse_reference(reference: str, flag: str) -> SystemSpec:
    family, named, checkpoint = reference.partition("=")
    if family_in(reference) != family:
        return _aliased(reference, family, checkpoint, flag)
    if ":" in family:
        return _own_class(reference, family, checkpoint if named else None, flag)
    if family not in SPELLINGS:
        near = difflib.get_close_matches(family, SPELLINGS, n=1, cutoff=0.5)
        remedy = f"did you mean {near[0]}?" if near else "choose one of them, or FAMILY=CHECKPOINT"
        if Path(reference).exists():
            remedy = f"write FAMILY={reference}, such as wav2vec2={reference}"
        raise UsageError(
            f"{flag}: unknown system {family!r}; expected {', '.join(SPELLINGS)} or package.module:Class: {remedy}"
        )
    if not named:
        return _default(family, flag)
    name, decodes_with_lm = SPELLINGS[family]
    if FAMILIES[name].only_checkpoint is not None:
        raise UsageError(
            f"{flag}: {reference!r} names a checkpoint, but {family} has only the one in its package; expected "
            f"{family}: leave it out"
        )
    if not checkpoint:
        raise UsageError(f"{flag}: {reference!r} names no checkpoint; expected {family}=FOLDER or Hub id: add it")
    if checkpoint.partition(":")[0] in SPELLINGS and ":" in checkpoint and not Path(checkpoint).exists():
        raise UsageError(
            f"{flag}: {reference!r} gives a system the name {family!r}, which is a family's; expected a name of "
            f"your own before {checkpoint}, such as my-{family}: rename it"
        )
    return SystemSpec(reference, name, checkpoint, decodes_with_lm=decodes_with_lm)


def _aliased(reference: str, name: str, aliased: str, flag: str) -> SystemSpec:
    """The system of NAME=FAMILY:CHECKPOINT or NAME=FAMILY, under that name; a stand-in keeps its own."""
    family, given, checkpoint = aliased.partition(":")
    if not re.fullmatch(r"[\w.+ -]+", name):
        raise UsageError(
            f"{flag}: {reference!r} gives a system the name {name!r}; expected letters, digits and . _ + -: rename it"
        )
    spec = _parse_reference(f"{family}={checkpoint}" if given else family, flag)
    return replace(spec, name=name) if spec.notice is None else spec


def _own_class(reference: str, family: str, checkpoint: str | None, flag: str) -> SystemSpec:
    module_name, _, class_name = family.partition(":")
    if not class_name.isidentifier() or not all(part.isidentifier() for part in module_name.split(".")):
        raise UsageError(f"{flag}: {reference!r} names no class; expected package.module:Class: correct the name")
    if checkpoint == "":
        raise UsageError(
            f"{flag}: {reference!r} names no checkpoint; expected {family}=CHECKPOINT, or {family} alone: add it"
        )
    return SystemSpec(reference, family, reference if checkpoint is None else checkpoint)


def _default(written: str, flag: str) -> SystemSpec:
    """A family's published default, or the embedded demo under its own name where the default is not available."""
    name, decodes_with_lm = SPELLINGS[written]
    family = FAMILIES[name]
    if family.only_checkpoint is not None:
        return SystemSpec(written, name, family.only_checkpoint)
    if family.default is None or family.stand_in is None:
        raise UsageError(
            f"{flag}: {written} has no published default; expected {written}=FOLDER or a Hub id: name a run, as in "
            f"{written}=runs/{written}"
        )
    if family.is_available(family.default):
        return SystemSpec(written, name, family.default, decodes_with_lm=decodes_with_lm)
    notice = (
        f"{written}: {family.default} is neither cached nor reachable, so the embedded demo checkpoint replaces it as "
        f"{written}-demo. It is tiny and was trained on synthetic speech: its figures say nothing about "
        f"{family.default}."
    )
    return SystemSpec(f"{written}-demo", name, reference_of(family.stand_in), notice, decodes_with_lm)
