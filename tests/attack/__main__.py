"""`python -m tests.attack`: every attack, or those that `--only` names, then the table."""

import functools
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from preprocessing.cli.options import check_counts, parse_command, run_command
from preprocessing.errors import UsageError
from tests.attack import files, hub, interruptions, places, texts
from tests.attack.trials import Attack, Setting, Trial, table

ATTACKS: dict[str, Attack] = {
    **{f"interruptions.{name}": functools.partial(interruptions.attack, name) for name in interruptions.COMMANDS},
    **{f"places.{name}": attack for name, attack in places.ATTACKS.items()},
    **{f"files.{name}": attack for name, attack in files.ATTACKS.items()},
    **{f"texts.{name}": attack for name, attack in texts.ATTACKS.items()},
    **{f"hub.{name}": attack for name, attack in hub.ATTACKS.items()},
}


@dataclass(frozen=True)
class AttackConfig:
    """What is attacked, and how often."""

    rounds: int = 50
    """interruptions: how often each signal hits each command; places: each a fifth as often; files: 20 times as many
    of each container; texts and hub: the same list each time, so once"""
    only: list[str] = field(default_factory=list)
    """names of attacks, or of their groups: interruptions, places, files, texts, hub; default all"""
    seed: int = 0
    """of the random moments and mutations"""
    list: bool = False
    """print the names and end"""


def main() -> None:
    config = parse_command(
        AttackConfig,
        program="python -m tests.attack",
        description="Attack every command with interruptions, full disks, hostile files and texts, and a broken Hub.",
        several=("only",),
    )
    check_counts(("--rounds", config.rounds, 1))
    wanted = [part for given in config.only for part in given.split(",") if part]
    for one in wanted:
        if not any(_is_named(name, one) for name in ATTACKS):
            raise UsageError(f"--only {one}: no such attack or group; expected some of {', '.join(ATTACKS)}")
    chosen = [name for name in ATTACKS if not wanted or any(_is_named(name, one) for one in wanted)]
    if config.list:
        print("\n".join(chosen))
        return
    console = Console(highlight=False, soft_wrap=True)
    trials: list[Trial] = []
    try:
        for name in chosen:
            trials += _one(name, config, console)
    except KeyboardInterrupt:
        console.print("interrupted: the table so far")
    console.print(table(trials))
    sys.exit(any(trial.lost is not None for trial in trials))


def _is_named(name: str, given: str) -> bool:
    """Whether the attack of a name is the given one, or of the given group."""
    return name == given or name.startswith(f"{given}.")


def _one(name: str, config: AttackConfig, console: Console) -> list[Trial]:
    """The trials of one attack; a line for each that lost something, and one at its end."""
    trials: list[Trial] = []
    began = time.monotonic()

    def say(line: str) -> None:
        console.print(f"{name}: {line}", markup=False)

    with tempfile.TemporaryDirectory(prefix="attack-") as folder:
        try:
            for trial in ATTACKS[name](Setting(config.rounds, config.seed, Path(folder), say)):
                trials.append(trial)
                if trial.lost is not None:
                    say(f"LOST: {trial.fault}, {trial.command}: {trial.lost}")
        except KeyboardInterrupt:
            console.print(table(trials))
            raise
    say(f"{sum(trial.times for trial in trials)} trials, {time.monotonic() - began:.0f} s")
    return trials


if __name__ == "__main__":
    run_command(main)
