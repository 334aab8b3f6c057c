"""`python -m benchmark.peers.training [--json FILE] [--plot FILE]`: fine-tuning beside transformers' CTC example."""

from benchmark.peers.config import TrainingPeersConfig
from preprocessing.command import parse_command, run_command

DESCRIPTION = (
    "The speed of fine-tuning wav2vec2-base beside transformers' Trainer as its CTC example sets it up, and both "
    "losses. Exit 1 where a figure falls short."
)


def main() -> None:
    config = parse_command(TrainingPeersConfig, program="python -m benchmark.peers.training", description=DESCRIPTION)
    from benchmark.peers.fine_tuning import measure

    measure(config)


if __name__ == "__main__":
    run_command(main)
