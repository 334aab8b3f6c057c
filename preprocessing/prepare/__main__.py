"""`python -m preprocessing.prepare DATA OUT [--engine local|ray]`: a corpus prepared once, in parallel, resumable."""

from collections.abc import Sequence

from preprocessing.cli.options import parse_command, run_command
from preprocessing.prepare import PrepareConfig

DESCRIPTION = (
    "Decode, resample, cut and measure a corpus, and write 16 kHz FLAC shards with manifest.jsonl, rejects.jsonl and "
    "statistics.json. Resumable; the output is identical for any number of workers."
)


def main(arguments: Sequence[str] | None = None) -> None:
    config = parse_command(
        PrepareConfig,
        program="python -m preprocessing.prepare",
        description=DESCRIPTION,
        arguments=arguments,
        positional=True,
    )
    config.check()
    from preprocessing.prepare.run import prepare

    prepare(config)


if __name__ == "__main__":
    run_command(main)
