"""How `--help` shows an option: its documentation, whether it is required, its type and its default.

Types and defaults are shown as they are written on a command line: `path`, `true`, `0.3`. Types that the list of
choices already shows, and defaults of null, which the documentation explains, are left out.
"""

import re
from argparse import SUPPRESS, Action
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import NoneType
from typing import Any, Literal, get_args, get_origin

from jsonargparse import DefaultHelpFormatter

BUILT_IN = {  # options that jsonargparse and argparse describe themselves
    "--help": "Show this help message and exit.",
    "--print_config": "Print the resulting configuration as YAML and exit; --print_config=skip_default leaves out what "
    "has its default value.",
}


MOST_IN_USAGE = 15  # options; of more, the usage names the required ones


def hide_built_in(actions: Sequence[Action]) -> None:
    """Leave out of help and usage what jsonargparse adds by itself, which still works: `--model FILE` beside options
    such as `--model.base`, and `--system_options.help`.
    """
    named = {action.dest for action in actions if not action.dest.endswith(".help")}
    for action in actions:
        is_group = any(name.startswith(f"{action.dest}.") for name in named)
        if action.option_strings and (is_group or action.dest.endswith(".help")):
            action.help = SUPPRESS


class HelpFormatter(DefaultHelpFormatter):
    """jsonargparse's formatter with types and defaults in plain words, and a usage of few lines.

    Paragraphs of a description, which blank lines divide, stay apart; one of indented lines, such as commands to copy,
    stays as it is.
    """

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        paragraphs = re.split(r"\n[ \t]*\n", text.strip("\n"))
        fill = super()._fill_text
        return "\n\n".join(
            one if all(line.startswith("    ") for line in one.splitlines()) else fill(one, width, indent)
            for one in map(str.rstrip, filter(str.strip, paragraphs))
        )

    def _format_usage(self, usage: str | None, actions: Iterable[Action], *args: Any, **kwargs: Any) -> str:
        shown = [action for action in actions if action.help != SUPPRESS]
        if sum(bool(action.option_strings) for action in shown) > MOST_IN_USAGE:
            shown = [one for one in shown if one.required or not one.option_strings or one.dest == "config"]
            shown.append(Action(["options"], dest="options", nargs=0))  # in brackets, as one that may be left out
        return super()._format_usage(usage, shown, *args, **kwargs)

    def _get_help_string(self, action: Action) -> str:
        for flag in action.option_strings:
            if flag in BUILT_IN:
                return BUILT_IN[flag]
        hint = getattr(action, "_typehint", None) or action.type
        kind = "" if hint is None else type_name(hint)
        default = "" if action.default is SUPPRESS or action.default == SUPPRESS else default_text(action)
        facts = [
            "required" if action.required else "",
            f"type: {kind}" if kind else "",
            f"default: {default}" if default else "",
        ]
        shown = ", ".join(fact for fact in facts if fact)
        return f"{action.help or ''} ({shown})" if shown else action.help or ""


def type_name(hint: Any) -> str:
    """A type as the help names it; empty where the choices show it.

    >>> type_name(list[str]), type_name(Path | None), type_name(Literal["a", "b"]), type_name(Literal["a", "b"] | None)
    ('list of str', 'path', '', 'a or b')
    """
    alternatives = [one for one in get_args(hint) if one is not NoneType]
    if NoneType in get_args(hint):
        if len(alternatives) == 1 and get_origin(alternatives[0]) is Literal:
            return " or ".join(map(str, get_args(alternatives[0])))
        return " or ".join(dict.fromkeys(filter(None, map(type_name, alternatives))))
    if hint is bool or get_origin(hint) is Literal:
        return ""
    if get_origin(hint) is list:
        return f"list of {type_name(get_args(hint)[0])}"
    if isinstance(get_origin(hint) or hint, type) and issubclass(get_origin(hint) or hint, Mapping):
        return "mapping"
    if isinstance(hint, type) and issubclass(hint, Path):
        return "path"
    return getattr(hint, "__name__", "")


def default_text(action: Action) -> str:
    """The default of an option as a command line writes it; empty for none."""
    default = action.default
    if isinstance(default, bool):
        return str(default).lower()
    if isinstance(default, list):
        return (" " if action.nargs else ",").join(map(str, default))
    return "" if default is None or default == {} else str(default)
