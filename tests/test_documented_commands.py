"""Every flag that README, docs and configurations give a command is one of the command's options."""

import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.commands import run
from tests.conftest import ROOT

PAGES = ("README.md", "docs/**/*.md", "demo/*.md", "configs/**/*.yaml")
OURS = ("preprocessing", "finetune", "benchmark", "experiments")
WITH_SUBCOMMANDS = ("finetune.language_model", "finetune.hub")
_COMMAND = re.compile(
    rf"(?:python -m ((?:{'|'.join(OURS)})[\w.]*)|(benchmark/run\.py|finetune/train\.py))((?:[^`\n|&;#>]|\\\n)*)"
)
_FLAG = re.compile(r"(?<![\w-])--([A-Za-z_][\w.]*)")
_NAMED_BY_USER = re.compile(r"system_options\..*")  # --system_options.NAME.KEY


def documented() -> Iterator[tuple[str, str, Path]]:
    """Each command (a module, with its subcommand, or a script) with a flag that a page gives it."""
    for pattern in PAGES:
        for page in sorted(ROOT.glob(pattern)):
            for module, script, rest in _COMMAND.findall(page.read_text(encoding="utf-8")):
                words = rest.split()
                subcommand = f" {words[0]}" if module in WITH_SUBCOMMANDS and words else ""
                for flag in _FLAG.findall(rest):
                    known = _NAMED_BY_USER.sub("system_options", flag)
                    yield f"{module or script}{subcommand}", known, page.relative_to(ROOT)


FLAGS: dict[str, dict[str, Path]] = defaultdict(dict)
for command, flag, page in documented():
    FLAGS[command].setdefault(flag, page)


@pytest.mark.parametrize("command", sorted(FLAGS))
def test_every_documented_flag_is_an_option(command: str) -> None:
    name, *subcommand = command.split()
    start = [name] if "/" in name else ["-m", name]
    result = run(*start, *subcommand, "--help")
    assert result.returncode == 0, result.stderr
    options = set(_FLAG.findall(result.stdout))
    assert not {flag: str(page) for flag, page in FLAGS[command].items() if flag not in options}


def test_the_pages_give_commands() -> None:
    assert len(FLAGS) > 30 and {"config"} <= FLAGS["finetune/train.py"].keys()
