"""`python -m benchmark.peers.decoding [--json FILE]`: the beam search beside pyctcdecode: words and speed."""

from benchmark.peers.decoding_config import DecodingPeersConfig
from preprocessing.command import parse_command, run_command

DESCRIPTION = "CTC beam search with a language model beside pyctcdecode and KenLM. Exit 1 where a figure falls short."


def main() -> None:
    config = parse_command(DecodingPeersConfig, program="python -m benchmark.peers.decoding", description=DESCRIPTION)
    from benchmark.peers.searching import measure

    measure(config)


if __name__ == "__main__":
    run_command(main)
