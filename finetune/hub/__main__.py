"""`python -m finetune.hub push RUN REPO`: publish a run's best model on the Hugging Face Hub, with its model card."""

import logging
import sys
from dataclasses import dataclass
from pathlib import Path

from finetune.config import HubConfig, check_repo_id
from preprocessing.cli.options import parse_command, program_name, run_command
from preprocessing.errors import UsageError

DESCRIPTION = "Publish a run's best model on the Hugging Face Hub, with its model card, in one commit."
PROGRAM = "python -m finetune.hub push"


@dataclass(frozen=True)
class PushConfig:
    """Options of `push`."""

    run: Path
    """Folder of a run: a training's --output_dir."""

    repo: str
    """Repository, as you/model; created if it does not exist."""

    private: bool = False
    """Create a private repository; an existing public one is refused."""

    revision: str | None = None
    """Branch to push to, created if it does not exist. Default: main."""

    message: str | None = None
    """Commit message."""

    results: Path | None = None
    """Folder of a benchmark that includes this run; adds its test results and speed to the card."""

    license: str | None = None
    """Licence of the weights, as a key of the Hub such as apache-2.0. Default: the run's hub_license."""

    license_name: str | None = None
    """Name of the licence, with --license other. Default: the run's hub_license_name."""

    license_link: str | None = None
    """Where the text of that licence is, an address or a file of the repository. Default: the run's
    hub_license_link."""

    language: str | None = None
    """Language of the speech, such as de. Default: the run's hub_language, else that of the corpus."""

    card: Path | None = None
    """Write the model card to this file for review, and push nothing."""


def main() -> None:
    arguments = sys.argv[1:]
    program = program_name(PROGRAM)
    usage = f"{program} RUN REPO [options]; `{program} --help` explains them"
    if arguments[:1] in (["--help"], ["-h"]):
        print(f"{DESCRIPTION}\nusage: {usage}")
        return
    if arguments[:1] != ["push"]:
        found = repr(arguments[0]) if arguments else "nothing"
        raise UsageError(f"{found} is not a command of finetune.hub; expected push: {usage}")
    config = parse_command(
        PushConfig, program=PROGRAM, description=DESCRIPTION, arguments=arguments[1:], positional=True
    )
    check_repo_id(config.repo, "REPO")
    HubConfig(
        hub_license=config.license,
        hub_license_name=config.license_name,
        hub_license_link=config.license_link,
        hub_language=config.language,
    ).check_hub("--")
    from finetune.hub.card import CardOptions
    from finetune.hub.folder import open_run, stopped_note
    from finetune.hub.push import Target, card_of, check_trained, publish, push_summary
    from preprocessing.storage.atomic_write import write_output

    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # errors are reported here
    target = Target(config.repo, config.private, config.revision)
    options = CardOptions(
        config.repo,
        config.license,
        config.language,
        license_name=config.license_name,
        license_link=config.license_link,
    )
    run = open_run(config.run)
    check_trained(run)
    if note := stopped_note(run):
        print(note)
    if config.card is not None:
        write_output(config.card, "--card", card_of(run, options, config.results).encode())
        print(f"{config.card}: model card written; nothing was pushed")
        return
    pushed = publish(config.run, target, options, message=config.message, results=config.results)
    print(push_summary(pushed))


if __name__ == "__main__":
    run_command(main)
