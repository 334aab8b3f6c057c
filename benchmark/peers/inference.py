"""`python -m benchmark.peers.inference [--whisper true] [--json FILE]`: transcribing beside what people use."""

from benchmark.peers.inference_config import InferencePeersConfig
from preprocessing.command import parse_command, run_command

DESCRIPTION = (
    "Transcribing with wav2vec2-base beside transformers' pipeline and a plain call, or with Whisper beside "
    "openai-whisper. Exit 1 where a figure falls short."
)


def main() -> None:
    config = parse_command(InferencePeersConfig, program="python -m benchmark.peers.inference", description=DESCRIPTION)
    from benchmark.peers.transcribing import measure

    measure(config)


if __name__ == "__main__":
    run_command(main)
