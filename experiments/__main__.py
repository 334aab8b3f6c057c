"""`python -m experiments`: every experiment with the question it answers and the usual duration of a default run.

The files of this folder are the registry: the question is the first line of a module's docstring, the duration its
constant `DURATION`. Both are read from the source, so nothing is imported and a new file needs no entry anywhere.
"""

import ast
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Listed:
    """One line of the list. `duration` is that of a default run on 2 CPU cores, in words."""

    name: str
    question: str
    duration: str


def list_experiments(folder: Path = FOLDER) -> list[Listed]:
    """The experiments in a folder, in the order of their names; files that begin with an underscore are none.

    Raises ValueError naming the file whose question or whose `DURATION = "..."` is missing.
    """
    return [_read(path) for path in sorted(folder.glob("*.py")) if not path.name.startswith("_")]


def _read(path: Path) -> Listed:
    module = ast.parse(path.read_text(encoding="utf-8"))
    documentation = ast.get_docstring(module)
    durations = [
        node.value.value
        for node in module.body
        if isinstance(node, ast.Assign)
        and isinstance(node.value, ast.Constant)
        and [ast.unparse(target) for target in node.targets] == ["DURATION"]
    ]
    question = documentation.splitlines()[0] if documentation else ""
    if not question.endswith("?") or not durations:
        raise ValueError(f"{path}: expected a docstring whose first line is the question, and DURATION: add them")
    return Listed(path.stem, question, str(durations[0]))


def main() -> None:
    experiments = list_experiments()
    width = max(len(one.name) for one in experiments)
    print("python -m experiments.NAME [--quick true] [--json FILE] [--plot FILE]; --help describes each.\n")
    for one in experiments:
        print(f"{one.name:{width}}  {one.question} ({one.duration})")
    print("\nDurations are those of a default run on 2 CPU cores; --quick true ends within about a minute.")


if __name__ == "__main__":
    main()
