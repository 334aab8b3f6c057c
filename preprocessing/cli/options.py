"""Options of every command: a typed dataclass in, one sentence naming flag or key where a value cannot be used.

`parse_command` fills the dataclass from its defaults, a YAML file and the command line, with jsonargparse. Fields
become flags (those of nested dataclasses after a dot, `--model.base`), the documentation under a field its help.
`run_command` turns a UserError into a line on stderr and an exit code. The `check_*` functions are for the `check`
methods of configurations.
"""

import difflib
import errno
import json
import math
import os
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, get_args, get_origin, get_type_hints

from preprocessing.cli.atomic_write import DISK_FULL
from preprocessing.cli.data_folder import expand_data_folder
from preprocessing.cli.errors import UsageError, UserError, printable

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser

Config = TypeVar("Config")
OUT_OF_MEMORY = (  # in the messages of torch's RuntimeErrors: its allocators', and oneDNN's
    "can't allocate memory",
    "out of memory",
    "could not create a primitive",
    "could not execute a primitive",
)
SAID_BY_FIRST_SECONDS = 10.0  # for another process of distributed training to come as far
_TYPES = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "str": "text",
    "dict": "key: value pairs",
}
BUILT_IN_OPTIONS = ("config", "help", "print_config", "print_shtab")


def parse_command(
    config_class: type[Config],
    *,
    program: str,
    description: str,
    arguments: Sequence[str] | None = None,
    positional: bool = False,
    short: Mapping[str, str] | None = None,
    several: Sequence[str] = (),
) -> Config:
    """The configuration: options of the command line over --config's YAML over the dataclass's defaults.

    `${ASR_DATA_DIR}` in a value is replaced by the folder of data (`preprocessing.cli.data_folder`).

    arguments: words of the command line, by default those of this process.
    positional: fields without a default are given in their order, without a flag. So is a field of `several` with the
    metadata {"positional": True}, which may be left out.
    short: further spellings of flags, and what they stand for: {"-o": "--output"}.
    several: names of list fields that are given as several words, `--sizes 500 1000`, in YAML as a list. Other list
    fields are given as one word, `--weights 1,2` or `--weights "[1, 2]"`.

    A class attribute `renamed: ClassVar[Mapping[str, str]]` of the dataclass, or of one nested in it, gives the new
    name of each former key, dotted where nested: {"optimisation.updates": "max_steps"}. A former group may stand for
    all of its keys: {"optimization": "optimisation"}. Such a key is refused with its new name.

    Raises UsageError, one sentence, on an unknown key (with the nearest that exists, and the file it is in), a renamed
    one, a missing one or a value of the wrong type.
    """
    import jsonargparse

    from preprocessing.cli.help_format import HelpFormatter

    program = program_name(program)
    jsonargparse.set_parsing_settings(docstring_parse_attribute_docstrings=True)
    parser = jsonargparse.ArgumentParser(
        prog=program, description=description, formatter_class=HelpFormatter, exit_on_error=False, allow_abbrev=False
    )
    parser.add_argument("--config", action="config", help="YAML file with any of the options below.")
    parser.add_class_arguments(config_class, as_positional=positional, fail_untyped=True, skip=set(several))
    _add_several(parser, config_class, several, positional=positional)
    words = list(sys.argv[1:] if arguments is None else arguments)
    words = _with_lists([(short or {}).get(word, word) for word in words], _list_options(config_class), several)
    try:
        options = parser.parse_args(words)
    except (jsonargparse.ArgumentError, TypeError) as error:
        message = explain(config_class, words, _one_sentence(str(error)))
        mark = "" if message.endswith("?") else ";"
        raise UsageError(f"{message}{mark} see `{program} --help` for the options") from None
    options.pop("config", None)
    configuration: Config = expand_data_folder(config_class(**vars(parser.instantiate(options))))
    return configuration


def program_name(program: str) -> str:
    """How the user typed `python -m finetune.hub push`: `asr-hub push` in a process that was started as asr-hub."""
    typed = Path(sys.argv[0]).stem
    return re.sub(r"(python -m )?\S+", typed, program, count=1) if typed.startswith("asr-") else program


def run_command(main: Callable[[], None]) -> None:
    """Run a command's `main`; a UserError becomes its sentence on stderr and its exit code, Ctrl-C becomes 130.

    A disk or a memory that is full is a sentence, too, with exit code 1. Of the processes of distributed training, the
    first one says what all of them found.
    """
    try:
        main()
    except UserError as error:
        if os.environ.get("LOCAL_RANK", "0") != "0":
            time.sleep(SAID_BY_FIRST_SECONDS)  # where the first process found the same, the launcher ends this one now
        print(f"error: {printable(str(error))}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(128 + signal.SIGINT)
    except (OSError, MemoryError, RuntimeError) as error:
        sentence = what_ran_out(error)
        if sentence is None:
            raise
        print(f"error: {printable(sentence)}", file=sys.stderr)
        sys.exit(1)


def what_ran_out(error: Exception) -> str | None:
    """The sentence for a disk or a memory that is full, or a disk that became read-only; None for another error."""
    if isinstance(error, OSError) and error.errno in (*DISK_FULL, errno.EROFS):
        return (
            f"{error.filename or 'a file of the output'}: cannot be written ({error.strerror}); expected free disk "
            "space: free some and run the same command again"
        )
    message = " ".join(str(error).split())
    of_torch = isinstance(error, RuntimeError) and any(words in message for words in OUT_OF_MEMORY)
    of_torch &= "primitive descriptor" not in message  # what oneDNN cannot compute with any memory
    if isinstance(error, MemoryError) or of_torch or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        detail = f" ({message[:200]})" if message else ""
        return (
            f"out of memory{detail}; expected more free memory: close other programs, or lower the batch size, the "
            "number of processes or the longest utterance"
        )
    return None


def check_counts(*counts: tuple[str, int, int]) -> None:
    """Raises UsageError naming the first flag whose number is too low. counts: (flag, number, minimum)."""
    for flag, number, minimum in counts:
        if number < minimum:
            raise UsageError(f"{flag} is {number}; expected {minimum} or more: raise it")


def check_ranges(*ranges: tuple[str, float, str, bool]) -> None:
    """Raises UsageError naming the first flag whose value is out of range or not finite.

    ranges: (flag, value, the expected range in words, whether the value is in it).
    """
    for flag, value, expected, is_in_range in ranges:
        if not is_in_range or not math.isfinite(value):
            raise UsageError(f"{flag} is {value:g}; expected {expected}: change it")


def check_shares(*shares: tuple[str, float]) -> None:
    """Raises UsageError naming the first flag whose share is outside 0 to 1, or 1 itself. shares: (flag, value)."""
    check_ranges(*((flag, value, "0 or more, below 1", 0.0 <= value < 1.0) for flag, value in shares))


def option_names(config_class: type[Any], prefix: str = "") -> list[str]:
    """Every key of a configuration dataclass, those of dataclasses in it after a dot."""
    assert is_dataclass(config_class)
    hints = get_type_hints(config_class)
    names: list[str] = []
    for field in fields(config_class):
        name = f"{prefix}{field.name}"
        names += option_names(hints[field.name], f"{name}.") if is_dataclass(hints[field.name]) else [name]
    return names


def renamed_options(config_class: type[Any], prefix: str = "") -> dict[str, str]:
    """Former key -> new key, from the `renamed` of a configuration dataclass and of those nested in it."""
    assert is_dataclass(config_class)
    hints = get_type_hints(config_class)
    renamed = {f"{prefix}{old}": f"{prefix}{new}" for old, new in getattr(config_class, "renamed", {}).items()}
    for field in fields(config_class):
        if is_dataclass(hints[field.name]):
            renamed |= renamed_options(hints[field.name], f"{prefix}{field.name}.")
    return renamed


def explain(config_class: type[Any], words: Sequence[str], message: str) -> str:
    """The sentence for a command line `words` that the parser refused with `message`.

    Looks, in this order, for renamed and unknown flags, unreadable configuration files, renamed and unknown keys in
    them, and a wrong value in one of them; else returns `message`.
    """
    known, renamed = option_names(config_class), renamed_options(config_class)
    flags = [word[2:].partition("=")[0] for word in words if word.startswith("--")]
    unknown = [flag for flag in flags if not _is_known(flag, known)]
    if sentence := _explain_renamed(unknown, renamed, "--{}"):
        return sentence
    for flag in unknown:
        if flag.removeprefix("no_").removeprefix("no-") not in known:
            return f"--{flag} is not an option{_nearest(flag, known, renamed, '--')}"
    files = _read_config_files(words)
    for path, content in files.items():
        if isinstance(content, str):
            return f"{path}: {content}"
        unknown = [key for key in _keys(content) if not _is_known(key, known)]
        if sentence := _explain_renamed(unknown, renamed, "'{}'"):
            return f"{path}: {sentence}"
        for key in unknown:
            return f"{path}: '{key}' is not an option{_nearest(key, known, renamed, '')}"
    at_fault = re.search(r'Parser key "([^"]+)"', message)
    if at_fault is not None and at_fault[1] not in flags:
        for path, content in files.items():
            if isinstance(content, Mapping) and at_fault[1] in _keys(content):
                return f"{path}: {_plain(message, at_fault[1])}"
    return message if at_fault is None else _plain(message, f"--{at_fault[1]}")


def _plain(message: str, name: str) -> str:
    """What the parser says of a value, in the words of this project; other messages as they are."""
    found = re.fullmatch(r'Parser key "[^"]+": Expected a (.+?)\. Got value: (.*)', message)
    if found is None:
        return message
    of_class, literal = re.fullmatch(r"<class '(\w+)'>", found[1]), re.fullmatch(r"typing\.Literal\[(.*)\]", found[1])
    if of_class is not None and of_class[1] == "list":
        return f"{name} is {found[2]}; expected a list: write [{found[2]}]"
    if of_class is not None and of_class[1] in _TYPES:
        return f"{name} is {found[2]}; expected {_TYPES[of_class[1]]}: change it"
    if literal is not None:
        *names, last = [one.strip(" '") for one in literal[1].split(",")]
        expected = " or ".join(part for part in (", ".join(names), last) if part)
        return f"{name} is {found[2]}; expected {expected}: change it"
    return message


def _list_options(config_class: type[Any], prefix: str = "") -> dict[str, type[Any]]:
    """The type of the elements, str, int or float, of each option that is a list of them, by its name."""
    hints = get_type_hints(config_class)
    found: dict[str, type[Any]] = {}
    for field in fields(config_class):
        name, hint = f"{prefix}{field.name}", hints[field.name]
        if is_dataclass(hint):
            found |= _list_options(hint, f"{name}.")  # type: ignore[arg-type]
            continue
        for one in (hint, *get_args(hint)):
            if get_origin(one) is list and get_args(one)[0] in (str, int, float):
                found[name] = get_args(one)[0]
    return found


def _with_lists(words: Sequence[str], lists: Mapping[str, type[Any]], several: Sequence[str]) -> list[str]:
    """The command line with the value of each list option as YAML's [a, b], where it is written a,b or a alone, and
    [a, b] as several words where an option is given as these.
    """
    found: list[str] = []
    for number, word in enumerate(words):
        flag, equals, value = word.partition("=")
        before = words[number - 1] if number else ""
        of = before[2:] if before.startswith("--") and not word.startswith("--") else ""
        if flag.startswith("--") and equals and flag[2:] in lists and flag[2:] not in several:
            found.append(f"{flag}={_as_list(value, lists[flag[2:]])}")
        elif of in several and word.startswith("[") and word.endswith("]"):
            found += [one.strip(" '\"") for one in word[1:-1].split(",")]
        else:
            found.append(_as_list(word, lists[of]) if of in lists and of not in several else word)
    return found


def _as_list(value: str, item: type[Any]) -> str:
    if value.startswith("[") or value == "null":
        return value
    items = [one.strip() for one in value.split(",")]
    return f"[{', '.join(json.dumps(one, ensure_ascii=False) if item is str else one for one in items)}]"


def _add_several(parser: "ArgumentParser", config_class: type[Any], names: Sequence[str], *, positional: bool) -> None:
    """Add list fields as arguments of one or more words each, which add_class_arguments has no option for."""
    if not names:
        return
    import docstring_parser

    hints = get_type_hints(config_class)
    documented = docstring_parser.parse_from_object(config_class)
    helps = {parameter.arg_name: parameter.description for parameter in documented.params}
    for field in fields(config_class):
        if field.name not in names:
            continue
        (item,) = get_args(hints[field.name])
        options: dict[str, Any] = {"nargs": "+", "type": item, "help": helps.get(field.name)}
        if positional and field.metadata.get("positional"):
            parser.add_argument(field.name, default=[], **options | {"nargs": "*"})
        elif field.default_factory is not MISSING:
            parser.add_argument(f"--{field.name}", default=field.default_factory(), **options)
        elif positional:
            parser.add_argument(field.name, **options)
        else:
            parser.add_argument(f"--{field.name}", required=True, **options)


def _one_sentence(message: str) -> str:
    lines = [line.strip(" -") for line in message.splitlines()]
    return re.sub(r"Problem with given class_path '[^']*': ", "", " ".join(line for line in lines if line)).rstrip(".")


def _is_known(key: str, known: Sequence[str]) -> bool:
    """An option, a group of them, or a key in the value of one."""
    key = key.rstrip("+")  # appends to a list
    return key in (*BUILT_IN_OPTIONS, *known) or any(
        name.startswith(f"{key}.") or key.startswith(f"{name}.") for name in known
    )


def _new_name(key: str, renamed: Mapping[str, str]) -> str | None:
    """The present name of a former key, by itself or by a group that it is in.

    >>> _new_name("optimization.updates", {"optimization": "optimisation", "optimization.updates": "max_steps"})
    'max_steps'
    >>> _new_name("optimization.seed", {"optimization": "optimisation", "optimization.updates": "max_steps"})
    'optimisation.seed'
    """
    key = key.replace("-", "_").rstrip("+")
    former, below = key, ""
    while former:
        if former in renamed:
            return renamed[former] + below
        former, dot, last = former.rpartition(".")
        below = f"{dot}{last}{below}"
    return None


def _explain_renamed(keys: Sequence[str], renamed: Mapping[str, str], quoted: str) -> str:
    """The sentence about all renamed ones among unknown keys; empty if there are none."""
    new_names = {key: new for key in keys if (new := _new_name(key, renamed)) is not None}
    leaves = {key: new for key, new in new_names.items() if not any(other.startswith(f"{key}.") for other in keys)}
    mark = "--" if quoted.startswith("--") else ""
    pairs = [f"{quoted.format(key)} is now {mark}{new}" for key, new in leaves.items()]
    return f"{', '.join(pairs)}: rename {'it' if len(pairs) == 1 else 'them'}" if pairs else ""


def _nearest(key: str, known: Sequence[str], renamed: Mapping[str, str], mark: str) -> str:
    """The question after an unknown key: an option of the same last part, or formerly of it, else of similar spelling.

    >>> _nearest("optimization.learning_rate", ["seed", "optimisation.learning_rate"], {}, "--")
    '; did you mean --optimisation.learning_rate?'
    >>> _nearest("learning_rate", ["seed", "optimisation.learning_rate"], {}, "--")
    '; did you mean --optimisation.learning_rate?'
    >>> _nearest("updates", ["max_steps"], {"optimisation.updates": "max_steps"}, "--")
    '; did you mean --max_steps?'
    >>> _nearest("max_steps", ["data.max_seconds"], {}, "--")  # another quantity
    ''
    """
    key = key.replace("-", "_")
    last = key.rpartition(".")[2]
    near = [name for name in known if name.rpartition(".")[2] == last]
    near = near or [new for old, new in renamed.items() if old.rpartition(".")[2] == last]
    if not near:
        groups = sorted({name.rpartition(".")[0] for name in known} - {""})
        near = [name for name in difflib.get_close_matches(key, [*known, *groups]) if _is_misspelt(key, name)][:1]
    if not near:
        lasts = {name.rpartition(".")[2]: name for name in known}
        near = [lasts[part] for part in difflib.get_close_matches(last, lasts) if _is_misspelt(last, part)][:1]
    return f"; did you mean {' or '.join(mark + name for name in near)}?" if near else ""


def _is_misspelt(key: str, name: str) -> bool:
    """Whether a key can be meant to be a name: nearly all letters are the same, or the last words are alike too, which
    say the quantity: max_step is max_steps, max_steps is not max_seconds.
    """
    return any(
        difflib.SequenceMatcher(None, *pair).ratio() >= least
        for pair, least in (((key, name), 0.85), ((_last_word(key), _last_word(name)), 0.6))
    )


def _last_word(key: str) -> str:
    return re.split(r"[._]", key)[-1]


def _read_config_files(words: Sequence[str]) -> dict[str, Mapping[str, Any] | str]:
    """The content of each --config file by its path, or the sentence about why it cannot be used."""
    import yaml

    paths = [word.partition("=")[2] for word in words if word.startswith("--config=")]
    paths += [after for word, after in pairwise(words) if word == "--config"]
    contents: dict[str, Mapping[str, Any] | str] = {}
    for path in paths:
        try:
            content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            contents[path] = f"{reason}; expected a YAML file of options: check --config"
            continue
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            reason = " ".join(str(error).replace(' in "<unicode string>",', "").split())
            contents[path] = f"is not valid YAML ({reason}); expected lines of key: value: correct it"
            continue
        is_mapping = isinstance(content, dict)
        contents[path] = content if is_mapping else "holds no keys; expected lines of key: value: correct it"
    return contents


def _keys(content: Mapping[Any, Any], prefix: str = "") -> Iterator[str]:
    """Every key of a nested mapping, groups and what is in them."""
    for key, value in content.items():
        yield f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from _keys(value, f"{prefix}{key}.")
