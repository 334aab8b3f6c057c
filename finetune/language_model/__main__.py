"""`python -m finetune.language_model COMMAND`: `build` estimates n-grams of a text, `train` trains an LSTM, `tune`
chooses their weight on validation speech. Without a command, build is meant.
"""

import sys
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from preprocessing.cli.options import parse_command, program_name, run_command
from preprocessing.errors import InputError

if TYPE_CHECKING:
    from finetune.language_model.build import LanguageModelConfig
    from finetune.language_model.train import TrainLstmConfig

Config = TypeVar("Config", "LanguageModelConfig", "TrainLstmConfig")
PROGRAM = "python -m finetune.language_model"
DESCRIPTIONS = {
    "build": "Estimate a word or character n-gram language model and write it as an ARPA file.",
    "train": "Train an LSTM language model of characters or words on a text.",
    "tune": "Tune alpha and beta of a language model on validation speech, and test whether it lowers the WER.",
}


def main() -> None:
    arguments = sys.argv[1:]
    if arguments[:1] in ([], ["--help"], ["-h"]):
        lines = [f"  {program_name(PROGRAM)} {name} --help\n      {text}" for name, text in DESCRIPTIONS.items()]
        print("\n".join(["usage:", *lines]))
        return
    command, rest = (arguments[0], arguments[1:]) if arguments[0] in DESCRIPTIONS else ("build", arguments)
    options = {
        "program": f"{PROGRAM} {command}",
        "description": DESCRIPTIONS[command],
        "arguments": rest,
        "positional": True,
    }
    if command == "tune":
        from finetune.tune_language_model import TuneConfig, tune

        tune(parse_command(TuneConfig, several=("alphas", "betas", "rescore_weights"), **options))  # type: ignore[arg-type]
        return
    if command == "train":
        from finetune.language_model.train import TrainLstmConfig, train_language_model

        train_language_model(with_profile_of_model(parse_command(TrainLstmConfig, **options)))  # type: ignore[arg-type]
        return
    from finetune.language_model.build import LanguageModelConfig, build_language_model

    build_language_model(with_profile_of_model(parse_command(LanguageModelConfig, **options)))  # type: ignore[arg-type]


def with_profile_of_model(config: Config) -> Config:
    """The options with the text profile of the labels of --model, which is printed; without --model as they are.

    Raises UsageError on options that cannot be used, InputError where --model records no profile.
    """
    config.check()
    if config.model is None:
        return config
    from finetune.models.companion_files import profile_of

    name = profile_of(config.model)
    if name is None:
        raise InputError(
            f"--model {config.model}: records no text profile of its labels; expected a run of finetune/train.py: "
            "check the name, or name the profile with --profile"
        )
    print(f"text profile: {name}, of the labels of {config.model}")
    return replace(config, profile=name, model=None)


if __name__ == "__main__":
    run_command(main)
