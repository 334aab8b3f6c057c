"""`python -m finetune.language_model COMMAND`: `build` estimates n-grams of a text, `train` trains an LSTM, `tune`
chooses their weight on validation speech. Without a command, build is meant.
"""

import sys

from preprocessing.cli.options import parse_command, program_name, run_command

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
    from finetune.language_model.build import (
        LanguageModelConfig,
        TrainLstmConfig,
        build_language_model,
        train_language_model,
    )

    if command == "train":
        train_language_model(parse_command(TrainLstmConfig, **options))  # type: ignore[arg-type]
        return
    build_language_model(parse_command(LanguageModelConfig, **options))  # type: ignore[arg-type]


if __name__ == "__main__":
    run_command(main)
