"""`python -m preprocessing.text --profile basic:en "The 3rd."`: normalise texts and show each step.

Thin: texts from the command line, a manifest, a text file or stdin; results to stdout, one line each.
"""

import io
import json
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from preprocessing.cli.options import parse_command, run_command
from preprocessing.errors import InputError
from preprocessing.text import PARAMETRISED, PROFILES, Profile, profile

DESCRIPTION = (
    "TEXT ... [options]: normalise texts, a file or standard input with a text normalisation profile, and show its "
    "steps."
)
SWITCHES = {"--list": "--list=true", "--count": "--count=true"}


@dataclass(frozen=True)
class TextConfig:
    """Texts are given on the command line; without any, and without --file, they are read from standard input."""

    profile: str = "basic"
    """Text normalisation profile; --list prints their names."""
    file: Path | None = None
    """A .jsonl manifest (its `text`), or a text file with one text per line; the profile is then described on
    stderr."""
    list: bool = False
    """Print the profiles and exit."""
    count: bool = False
    """Print counts instead of texts: lines, changed lines, words, different words, different characters."""


def main(arguments: Sequence[str] | None = None) -> None:
    texts, options = _split_arguments(list(sys.argv[1:] if arguments is None else arguments))
    config = parse_command(
        TextConfig, program="python -m preprocessing.text", description=DESCRIPTION, arguments=options
    )
    if config.list:
        described = {name: f"version {one.version}: {one.description}" for name, one in PROFILES.items()}
        for name, description in (described | PARAMETRISED).items():
            print(f"{name:<38} {description}")
        return
    used = profile(config.profile)
    if texts and config.file is None:
        print(describe(used), end="\n\n")
        lines: Iterable[str] = texts
    else:
        print(describe(used), file=sys.stderr)
        lines = [*texts, *_read(config.file)]
    if config.count:
        print(describe_counts(list(lines), used))
        return
    for line in lines:
        print(used(line))


def describe(used: Profile) -> str:
    """The profile's name, version and description, and each step with its result on its examples, as lines."""
    rows = [f"{used.name}, version {used.version}: {used.description}"]
    for number, step in enumerate(used.steps, start=1):
        rows.append(f"  {number}. {step.description}")
        for example in step.examples:
            shown = repr(example) if example.isprintable() else ascii(example)
            rows.append(f"       {shown} -> {step.rule(example)!r}")
    return "\n".join(rows)


def describe_counts(lines: Sequence[str], used: Profile) -> str:
    """Counts of lines, changed lines, words and characters of the texts under a profile, as one line."""
    normalised = [used(line) for line in lines]
    words = Counter(word for line in normalised for word in line.split())
    characters = {character for line in normalised for character in line if character != " "}
    changed = sum(after != before for before, after in zip(lines, normalised, strict=True))
    return (
        f"lines {len(lines)}, changed {changed}, words {words.total()}, different words {len(words)}, seen once "
        f"{sum(n == 1 for n in words.values())}, different characters {len(characters)}"
    )


def _split_arguments(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """The texts, which may begin with a dash, and the options with their values (`--flag value` or `--flag=value`)."""
    texts: list[str] = []
    options: list[str] = []
    expects_value = False
    for word in words:
        is_flag = word.startswith("--") and not expects_value
        (options if is_flag or expects_value else texts).append(SWITCHES.get(word, word))
        expects_value = is_flag and "=" not in word and word not in SWITCHES and word != "--help"
    return texts, options


def _read(path: Path | None) -> list[str]:
    """The texts of a manifest, or the lines of a text file or, without a path, of standard input.

    Raises InputError where they cannot be read.
    """
    try:
        content = sys.stdin.buffer.read() if path is None else path.read_bytes()
        text = io.StringIO(content.decode("utf-8-sig"), newline=None)  # no splitlines: a transcript may hold U+2028
    except (OSError, UnicodeDecodeError) as error:
        source = "standard input" if path is None else f"--file {path}"
        raise InputError(f"{source}: {error}; expected a manifest or a text file in UTF-8: fix it") from None
    lines = [line.removesuffix("\n") for line in text]
    if path is None or path.suffix != ".jsonl":
        return lines
    texts = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            texts.append(str(json.loads(line)["text"]))
        except (json.JSONDecodeError, KeyError, TypeError):
            raise InputError(
                f"{path}:{number}: no `text` in this line; expected JSON with `text`: fix it, or name it .txt"
            ) from None
    return texts


if __name__ == "__main__":
    run_command(main)
