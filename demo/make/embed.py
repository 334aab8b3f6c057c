"""Put a finished run into demo/ in half the size: half-precision weights that load as float32.

    python -m demo.make.embed RUN OUT

RUN is the output folder of finetune/train.py, of either family; OUT is demo/wav2vec2 or demo/whisper. Only what the
libraries need to load the model is copied.
"""

import argparse
import json
import shutil
from collections.abc import Sequence
from pathlib import Path

WHISPER = "whisper.pt"  # saved in half precision already, as openai-whisper publishes its own
TRANSFORMERS = ("config.json", "preprocessor_config.json", "tokenizer_config.json", "vocab.json")


def embed(run: Path, out: Path) -> None:
    """Copy the run's model to `out`. Raises FileNotFoundError when `run` holds none."""
    out.mkdir(parents=True, exist_ok=True)
    if (run / WHISPER).is_file():
        shutil.copyfile(run / WHISPER, out / WHISPER)
        return
    from safetensors.torch import load_file, save_file

    weights = load_file(run / "model.safetensors")
    save_file({name: weight.half() for name, weight in weights.items()}, out / "model.safetensors", {"format": "pt"})
    for name in TRANSFORMERS:
        shutil.copyfile(run / name, out / name)
    config = json.loads((out / "config.json").read_text(encoding="utf-8")) | {"dtype": "float32"}
    (out / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m demo.make.embed", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("run", metavar="RUN", type=Path, help="output folder of finetune/train.py")
    parser.add_argument("out", metavar="OUT", type=Path, help="folder to fill")
    options = parser.parse_args(arguments)
    embed(options.run, options.out)


if __name__ == "__main__":
    main()
