"""Options of every command: typed dataclasses in, and one sentence naming flag or key where one cannot be used."""

import difflib
import math
import re
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from preprocessing.cli.errors import UsageError, UserError

Config = TypeVar("Config")


def parse_command(
    config_class: type[Config],
    *,
    program: str,
    description: str,
    arguments: Sequence[str] | None = None,
    positional: bool = False,
    short: Mapping[str, str] | None = None,
) -> Config:
    """Options from the command line over --config's YAML over the dataclass's defaults.

    positional: fields without a default are given in their order, without a flag.
    short: one-letter flags and the options that they stand for: {"-o": "--output"}.
    Raises UsageError, one sentence, on an unknown key (with the nearest that there is, and the file it is in), a
    missing one or a value of the wrong type.
    """
    import jsonargparse

    jsonargparse.set_parsing_settings(docstring_parse_attribute_docstrings=True)
    parser = jsonargparse.ArgumentParser(prog=program, description=description, exit_on_error=False)
    parser.add_argument("--config", action="config", help="a YAML file with any of the options below")
    parser.add_class_arguments(config_class, as_positional=positional, fail_untyped=True)
    words = list(sys.argv[1:] if arguments is None else arguments)
    words = [(short or {}).get(word, word) for word in words]
    try:
        options = parser.parse_args(words)
    except (jsonargparse.ArgumentError, TypeError) as error:
        told = explain(config_class, words, _one_sentence(str(error)))
        mark = "" if told.endswith("?") else ";"
        raise UsageError(f"{told}{mark} see `{program} --help` for what there is") from None
    options.pop("config", None)
    instantiated = parser.instantiate_classes(options)
    return config_class(**vars(instantiated))


def _one_sentence(message: str) -> str:
    lines = [line.strip(" -") for line in message.splitlines()]
    return " ".join(line for line in lines if line).rstrip(".")


def run_command(main: Callable[[], None]) -> None:
    """Run a command's `main`; a UserError becomes its sentence on stderr and its exit code, Ctrl-C becomes 130."""
    try:
        main()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(128 + signal.SIGINT)


NOT_OPTIONS = ("config", "help", "print_config", "print_shtab")


def option_names(config_class: type[Any], prefix: str = "") -> list[str]:
    """Every key of a dataclass, those of dataclasses in it after a dot."""
    assert is_dataclass(config_class)
    hints = get_type_hints(config_class)
    names: list[str] = []
    for field in fields(config_class):
        name = f"{prefix}{field.name}"
        names += option_names(hints[field.name], f"{name}.") if is_dataclass(hints[field.name]) else [name]
    return names


def explain(config_class: type[Any], words: Sequence[str], message: str) -> str:
    """The sentence for a command line that the parser refused with `message`."""
    known = option_names(config_class)
    given = [word[2:].partition("=")[0] for word in words if word.startswith("--")]
    for key in given:
        if not _is_known(key, known) and key.removeprefix("no_").removeprefix("no-") not in known:
            return f"--{key} is no option{_nearest(key, known, '--')}"
    files = _configs(words)
    for path, content in files.items():
        if isinstance(content, str):
            return f"{path}: {content}"
        for key in _keys(content):
            if not _is_known(key, known):
                return f"{path}: '{key}' is no option{_nearest(key, known, '')}"
    at_fault = re.search(r'Parser key "([^"]+)"', message)
    if at_fault is not None and at_fault[1] not in given:
        for path, content in files.items():
            if isinstance(content, Mapping) and at_fault[1] in _keys(content):
                return f"{path}: {message}"
    return message


def _is_known(key: str, known: Sequence[str]) -> bool:
    """An option, a group of them, or a key in the value of one."""
    key = key.rstrip("+")  # appends to a list
    return key in (*NOT_OPTIONS, *known) or any(
        name.startswith(f"{key}.") or key.startswith(f"{name}.") for name in known
    )


def _nearest(key: str, known: Sequence[str], mark: str) -> str:
    """By the whole key, or by its last part wherever that lies.

    >>> _nearest("optimization.learning_rate", ["seed", "optimisation.learning_rate"], "--")
    '; did you mean --optimisation.learning_rate?'
    >>> _nearest("learning_rate", ["seed", "optimisation.learning_rate"], "--")
    '; did you mean --optimisation.learning_rate?'
    """
    key = key.replace("-", "_")
    last = key.rpartition(".")[2]
    by_last = [name for name in known if name.rpartition(".")[2] == last]
    groups = sorted({name.rpartition(".")[0] for name in known} - {""})
    near = by_last or difflib.get_close_matches(key, [*known, *groups], n=1, cutoff=0.6)
    if not near:
        lasts = {name.rpartition(".")[2]: name for name in known}
        near = [lasts[part] for part in difflib.get_close_matches(last, lasts, n=1, cutoff=0.6)]
    return f"; did you mean {' or '.join(mark + name for name in near)}?" if near else ""


def _configs(words: Sequence[str]) -> dict[str, Mapping[str, Any] | str]:
    """What each --config file holds, or what is wrong with it, by its path."""
    import yaml

    paths = [word.partition("=")[2] for word in words if word.startswith("--config=")]
    paths += [after for word, after in pairwise(words) if word == "--config"]
    found: dict[str, Mapping[str, Any] | str] = {}
    for path in paths:
        try:
            content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
        except OSError as error:
            found[path] = f"{(error.strerror or str(error)).lower()}; expected a YAML file of options: check --config"
            continue
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            told = " ".join(str(error).replace(' in "<unicode string>",', "").split())
            found[path] = f"is no YAML ({told}); expected key: value lines: mend it"
            continue
        found[path] = content if isinstance(content, dict) else "holds no keys; expected key: value lines: mend it"
    return found


def _keys(content: Mapping[Any, Any], prefix: str = "") -> Iterator[str]:
    """Every key of a nested mapping, groups and what is in them."""
    for key, value in content.items():
        yield f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from _keys(value, f"{prefix}{key}.")


def check_counts(*counts: tuple[str, int, int]) -> None:
    """Of flag, number and the least that it may be. Raises UsageError naming the first that is below."""
    for flag, number, least in counts:
        if number < least:
            raise UsageError(f"{flag} is {number}; expected {least} or more: raise it")


def check_ranges(*ranges: tuple[str, float, str, bool]) -> None:
    """Of flag, value, what is expected, and whether it is that. Raises UsageError naming the first that is not."""
    for flag, value, expected, right in ranges:
        if not right or not math.isfinite(value):
            raise UsageError(f"{flag} is {value:g}; expected {expected}: change it")


def check_shares(*shares: tuple[str, float]) -> None:
    """Of flag and value. Raises UsageError naming the first outside 0 to 1, or 1 itself."""
    check_ranges(*((flag, value, "0 or more, below 1", 0.0 <= value < 1.0) for flag, value in shares))
