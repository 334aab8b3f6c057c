"""How every command of the project reads its options and ends: typed dataclasses in, one sentence out when it fails.

A dataclass is the command line: each field an option `--a.b`, its doc the help text, a YAML file through --config.
"""

import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from preprocessing.errors import UsageError, UserError
from preprocessing.wrong_options import explain

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
