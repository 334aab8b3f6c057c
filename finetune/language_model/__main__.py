"""`python -m finetune.language_model TEXT OUT.arpa [--order 3]`: estimates an n-gram language model of a text."""

from finetune.language_model.build import LanguageModelConfig, build_language_model
from preprocessing.cli.options import parse_command, run_command

DESCRIPTION = "Estimate an n-gram language model (modified Kneser-Ney) and write it as an ARPA file."


def main() -> None:
    config = parse_command(
        LanguageModelConfig,
        program="python -m finetune.language_model",
        description=DESCRIPTION,
        positional=True,
    )
    build_language_model(config)


if __name__ == "__main__":
    run_command(main)
