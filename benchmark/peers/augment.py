"""`python -m benchmark.peers.augment [--json FILE]`: how fast augmentation is, beside real time and torchaudio."""

from benchmark.peers.config import PeersConfig
from preprocessing.command import parse_command, run_command

DESCRIPTION = "The speed of waveform augmentation beside real time and torchaudio. Exit 1 where a figure falls short."


def main() -> None:
    config = parse_command(PeersConfig, program="python -m benchmark.peers.augment", description=DESCRIPTION)
    from benchmark.peers.augmentation import measure

    measure(config)


if __name__ == "__main__":
    run_command(main)
