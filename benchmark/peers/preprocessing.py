"""`python -m benchmark.peers.preprocessing [--json FILE]`: decoding and features beside what people use, in one run."""

from benchmark.peers.config import PeersConfig
from preprocessing.command import parse_command, run_command

DESCRIPTION = (
    "Decoding, resampling and log-mel beside openai-whisper, datasets and torchaudio; workers; memory for long files. "
    "Exit 1 where a figure falls short."
)


def main() -> None:
    config = parse_command(PeersConfig, program="python -m benchmark.peers.preprocessing", description=DESCRIPTION)
    from benchmark.peers.waveform_path import measure

    measure(config)


if __name__ == "__main__":
    run_command(main)
