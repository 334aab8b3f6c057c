"""Options of every command: a typed dataclass in, one sentence naming flag or key where a value cannot be used.

`parse_command` fills the dataclass from its defaults, a YAML file and the command line, with jsonargparse. Fields
become flags (those of nested dataclasses after a dot, `--model.base`), the documentation under a field its help.
`refused_options` has the sentences about what it refuses. `run_command` turns a UserError into a line on stderr and an
exit code. The `check_*` functions are for the `check` methods of configurations.
"""

import errno
import json
import math
import os
import re
import select
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, get_args, get_origin, get_type_hints

from preprocessing.cli.refused_options import explain, option_names
from preprocessing.errors import UsageError, UserError, printable
from preprocessing.storage.atomic_write import DISK_FULL
from preprocessing.storage.data_folder import expand_data_folder

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser

Config = TypeVar("Config")
OUT_OF_MEMORY = (  # in the messages of torch's RuntimeErrors: its allocators', and oneDNN's
    "can't allocate memory",
    "out of memory",
    "could not create a primitive",
    "could not execute a primitive",
)
FULL_DISK = (  # in the messages of what torch and safetensors raise instead of an OSError
    *(f"(os error {number})" for number in DISK_FULL),
    "PytorchStreamWriter failed",
    "unexpected pos",
)
SAID_BY_FIRST_SECONDS = 10.0  # for another process of distributed training to come as far


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

    `${ASR_DATA_DIR}` in a value is replaced by the folder of data (`preprocessing.storage.data_folder`).

    arguments: words of the command line, by default those of this process.
    positional: fields without a default are given in their order, without a flag. So is a field of `several` with the
    metadata {"positional": True}, which may be left out.
    short: further spellings of flags, and what they stand for: {"-o": "--output"}.
    several: names of list fields that are given as several words, `--sizes 500 1000`, in YAML as a list. Other list
    fields are given as one word, `--weights 1,2` or `--weights "[1, 2]"`, and in YAML as that or as a list. The flag of
    a bool may stand without a value, for true: `--dry_run`.

    A class attribute `renamed: ClassVar[Mapping[str, str]]` of the dataclass, or of one nested in it, gives the new
    name of each former key, dotted where nested: {"optimisation.updates": "max_steps"}. A former group may stand for
    all of its keys: {"optimization": "optimisation"}. Such a key is refused with its new name. An attribute `instead`
    likewise says what to do instead of giving a key that other programs have: {"fp16": "write --mixed_precision fp16"}.

    Raises UsageError, one sentence, on an unknown key (with the nearest that exists, and the file it is in), a renamed
    one, a missing one or a value of the wrong type.
    """
    import jsonargparse

    from preprocessing.cli.help_format import HelpFormatter, hide_built_in

    program = program_name(program)
    jsonargparse.set_parsing_settings(docstring_parse_attribute_docstrings=True)
    lists = _list_options(config_class)
    parser = jsonargparse.ArgumentParser(
        prog=program,
        description=description,
        formatter_class=HelpFormatter,
        exit_on_error=False,
        allow_abbrev=False,
        parser_mode=_yaml_mode({name: item for name, item in lists.items() if name not in several}),
    )
    parser.add_argument("--config", action="config", help="YAML file with any of the options below.")
    parser.add_class_arguments(config_class, as_positional=positional, fail_untyped=True, skip=set(several))
    _add_several(parser, config_class, several, positional=positional)
    hide_built_in(parser._actions)
    words = list(sys.argv[1:] if arguments is None else arguments)
    words = _with_switches([(short or {}).get(word, word) for word in words], option_names(config_class, of_type=bool))
    words = _with_lists(words, lists, several)
    try:
        options = parser.parse_args(words)
    except (jsonargparse.ArgumentError, TypeError) as error:
        in_order = [action.dest for action in parser._actions if not action.option_strings]
        message = explain(config_class, words, _one_sentence(str(error)), in_order)
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

    A disk or a memory that is full is a sentence, too, with exit code 1. Where the reader of its output has ended, as
    `head` does early, the command ends silently, with 141 as other programs. Of the processes of distributed training,
    the first one says what all of them found.
    """
    try:
        main()
        sys.stdout.flush()
    except BrokenPipeError:
        if not _is_reader_gone():
            raise
        sys.exit(128 + signal.SIGPIPE)
    except UserError as error:
        if os.environ.get("LOCAL_RANK", "0") != "0":
            time.sleep(SAID_BY_FIRST_SECONDS)  # where the first process found the same, the launcher ends this one now
        print(f"error: {printable(str(error))}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(128 + signal.SIGINT)
    except Exception as error:
        sentence = what_ran_out(error)
        if sentence is None:
            raise
        print(f"error: {printable(sentence)}", file=sys.stderr)
        sys.exit(1)


def _is_reader_gone() -> bool:
    """Whether stdout is a pipe that nobody reads any more; it is closed then, so that Python's end says nothing."""
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)
    is_gone = any(event & select.POLLERR for _, event in poll.poll(0))
    if is_gone:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return is_gone


def what_ran_out(error: Exception) -> str | None:
    """The sentence for a disk or a memory that is full, or a disk that became read-only; None for another error."""
    message = " ".join(str(error).split())
    is_of_disk = isinstance(error, OSError) and error.errno in (*DISK_FULL, errno.EROFS)
    if is_of_disk or any(words in message for words in FULL_DISK):
        name = getattr(error, "filename", None) or "a file of the output"
        reason = getattr(error, "strerror", None) or message[:200]
        return (
            f"{name}: cannot be written ({reason}); expected free disk space: free some and run the same command again"
        )
    of_torch = isinstance(error, RuntimeError) and any(words in message for words in OUT_OF_MEMORY)
    of_torch &= "primitive descriptor" not in message  # what oneDNN cannot compute with any memory
    if isinstance(error, MemoryError) or of_torch or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        detail = f" ({message[:200]})" if message else ""
        return (
            f"out of memory{detail}; expected more free memory: close other programs, or lower the batch size, the "
            "number of processes or the longest utterance"
        )
    return None


def check_counts(*counts: tuple[str, int | None, int]) -> None:
    """Raises UsageError naming the first flag whose number is too low; None is not. counts: (flag, number, minimum)."""
    for flag, number, minimum in counts:
        if number is not None and number < minimum:
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


def _yaml_mode(lists: Mapping[str, type[Any]]) -> str:
    """The name of a parser mode that reads YAML in which the value of a list option may be written as a,b or a alone,
    as on the command line.
    """
    import jsonargparse
    import yaml

    load_yaml = jsonargparse.get_loader("yaml")

    def load(text: str) -> Any:
        content = load_yaml(text)
        for name, item in lists.items():
            group, key = content, name  # {data: {train: a}} or {data.train: a}
            while isinstance(group, dict) and key not in group and "." in key:
                outer, _, key = key.partition(".")
                group = group.get(outer)
            value = group.get(key) if isinstance(group, dict) else None
            if isinstance(value, str) or (item is not str and type(value) in (int, float)):
                group[key] = load_yaml(_as_list(str(value), item))
        return content

    mode = "yaml whose lists may be one word"
    jsonargparse.set_loader(mode, load, exceptions=(yaml.YAMLError,))
    return mode


def _with_switches(words: Sequence[str], switches: Sequence[str]) -> list[str]:
    """The command line with `--flag=true` for each flag of a bool that is the last word or before another flag."""
    following = [*words[1:], "--"]  # one more than there are words where there are none
    return [
        f"{word}=true" if word[2:] in switches and word.startswith("--") and after.startswith("--") else word
        for word, after in zip(words, following, strict=False)
    ]


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
    documented = [docstring_parser.parse_from_object(one) for one in reversed(config_class.__mro__[:-1])]
    helps = {parameter.arg_name: parameter.description for one in documented for parameter in one.params}
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
