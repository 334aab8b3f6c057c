"""`python -m benchmark.peers.denoise [--json FILE]`: noise removal beside noisereduce, quality and speed in one run."""

from benchmark.peers.config import PeersConfig
from preprocessing.command import parse_command, run_command

DESCRIPTION = "Noise removal beside noisereduce: SI-SDR improvement and time. Exit 1 where a figure falls short."


def main() -> None:
    config = parse_command(PeersConfig, program="python -m benchmark.peers.denoise", description=DESCRIPTION)
    from benchmark.peers.noise_removal import measure

    measure(config)


if __name__ == "__main__":
    run_command(main)
