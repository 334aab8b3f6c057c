"""`python -m finetune.language_model TEXT OUT.arpa [--order 3]`: an n-gram language model of your text, for decoding."""

from finetune.language_model.build import LanguageModelConfig
from preprocessing.cli.options import parse_command, run_command

DESCRIPTION = "Estimate an n-gram language model (modified Kneser-Ney) and write it as an ARPA file."


def main() -> None:
    config = parse_command(
        LanguageModelConfig, program="python -m finetune.language_model", description=DESCRIPTION, positional=True
    )
    from finetune.language_model.build import make

    make(config)


if __name__ == "__main__":
    run_command(main)
