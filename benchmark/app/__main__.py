"""`python -m benchmark.app --models wav2vec2=runs/mine,whisper`: load the systems once, serve the page until Ctrl-C."""

import os
import signal
import sys
import tempfile
import threading
from collections.abc import Sequence
from importlib.util import find_spec

from benchmark.app import AppConfig, chosen_port
from preprocessing.cli.options import parse_command, run_command
from preprocessing.errors import InputError, install_extra

DESCRIPTION = (
    "Serve a web page that compares systems side by side: drop a file or record yourself, and see each system's "
    "transcript and time."
)


def main(arguments: Sequence[str] | None = None) -> None:
    config = parse_command(AppConfig, program="python -m benchmark.app", description=DESCRIPTION, arguments=arguments)
    config.check()
    if find_spec("gradio") is None:
        raise InputError(f"gradio is not installed; expected it to serve the page: {install_extra('app')}")
    port = chosen_port(config.host, config.port)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    with tempfile.TemporaryDirectory(prefix="speech-app-") as uploads:
        os.environ |= {
            "GRADIO_ANALYTICS_ENABLED": "False",
            "GRADIO_TEMP_DIR": uploads,
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
        }
        _serve(config, port)


def _serve(config: AppConfig, port: int) -> None:
    from finetune.decoding.language_model_folder import TUNED
    from finetune.systems.base import LanguageModelOptions, LoadOptions
    from finetune.systems.registry import check_language_model, parse_models
    from preprocessing.cli.cores import keep_threads_to_quota
    from preprocessing.text import profile

    normalise = profile(config.profile)
    specs = parse_models(config.models)
    check_language_model(specs, config.lm)
    language_model = LanguageModelOptions(config.lm, as_stored=TUNED)
    options = LoadOptions(config.device, config.language, language_model=language_model)

    from benchmark.app.page import Page, build, launch
    from benchmark.app.transcribing import Systems

    keep_threads_to_quota()
    systems = Systems(specs, options, lambda line: print(line, flush=True))
    page = Page(systems, normalise, config.max_seconds)
    print(f"open {launch(build(page, systems), config.host, port)} (Ctrl-C stops it)", flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    run_command(main)
