"""The sentence about a command line or a configuration file that was refused: the flag or key, and the one to write.

`explain` looks for what a user most often gets wrong: a former name, a misspelt one, a file that is no YAML, a value of
another type. Former names are in the class attribute `renamed` of a configuration, names of other programs in `instead`
(`options.parse_command`).
"""

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, get_type_hints

_TYPES = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "str": "text",
    "dict": "key: value pairs",
}
BUILT_IN_OPTIONS = ("config", "help", "print_config", "print_shtab")


def option_names(config_class: type[Any], prefix: str = "", of_type: type[Any] | None = None) -> list[str]:
    """Every key of a configuration dataclass, those of dataclasses in it after a dot. of_type: only those of it."""
    assert is_dataclass(config_class)
    hints = get_type_hints(config_class)
    names: list[str] = []
    for field in fields(config_class):
        name = f"{prefix}{field.name}"
        if is_dataclass(hints[field.name]):
            names += option_names(hints[field.name], f"{name}.", of_type)
        elif of_type is None or hints[field.name] in (of_type, of_type | None):
            names.append(name)
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


def explain(config_class: type[Any], words: Sequence[str], message: str, in_order: Sequence[str] = ()) -> str:
    """The sentence for a command line `words` that the parser refused with `message`.

    in_order: options that are given in this order, without a flag.

    Looks, in this order, for renamed and unknown flags, unreadable configuration files, renamed and unknown keys in
    them, and a wrong value in one of them; else returns `message`.
    """
    known, renamed = option_names(config_class), renamed_options(config_class)
    flags = [word[2:].partition("=")[0] for word in words if word.startswith("--")]
    unknown = [flag for flag in flags if not _is_known(flag, known)]
    if sentence := _explain_renamed(unknown, renamed, "--{}"):
        return sentence
    instead: Mapping[str, str] = getattr(config_class, "instead", {})
    for flag in unknown:
        if flag.replace("-", "_") in instead:
            return f"--{flag} is not an option: {instead[flag.replace('-', '_')]}"
        if flag.removeprefix("no_").removeprefix("no-") not in known:
            return f"--{flag} is not an option{_nearest(flag, known, renamed, '--')}"
    for flag in flags:
        if flag in in_order:
            usage = " ".join(map(str.upper, in_order))
            return f"--{flag} is a flag; expected its value alone, as in {usage}: leave --{flag} out"
    files = _read_config_files(words)
    for path, content in files.items():
        if isinstance(content, str):
            return f"{path}: {content}"
        unknown = [key for key in _keys(content) if not _is_known(key, known)]
        if sentence := _explain_renamed(unknown, renamed, "'{}'"):
            return f"{path}: {sentence}"
        for key in unknown:
            better = f": {instead[key]}" if key in instead else _nearest(key, known, renamed, "")
            return f"{path}: '{key}' is not an option{better}"
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
