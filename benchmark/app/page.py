"""The page: gradio's components, the events of each, and the server.

The page loads nothing from the network: fonts are the system's, analytics and outward links are off. Uploads are
deleted after KEPT_SECONDS and when the server ends.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gradio as gr

from benchmark.app import render
from benchmark.app.transcribing import Systems, read_recording
from preprocessing.errors import InputError

KEPT_SECONDS = 3_600
MAX_UPLOAD_BYTES = 2**30
MIN_WIDTH = 280  # pixels of a component; two stand beside each other only where both have that much
SYSTEM_FONTS = ("system-ui", "-apple-system", "Segoe UI", "Noto Sans", "Arial", "sans-serif")
SYSTEM_MONO = ("ui-monospace", "Menlo", "Consolas", "DejaVu Sans Mono", "monospace")
TITLE = "Compare speech recognition systems"
INTRODUCTION = "Drop a file or record yourself. Every system transcribes the same 16 kHz waveform, one after the other."
NO_RECORDING = "There is no recording yet: drop a file or record yourself, then press Transcribe."

PageUpdate = tuple[str, str, render.PageState | None]  # results and picture as HTML, state for a new comparison


class Page:
    """The handlers of the page's events. Holds no state of a visitor: that is in gradio's State."""

    def __init__(self, systems: Systems, normalise: Callable[[str], str], max_seconds: float) -> None:
        self._systems = systems
        self._normalise = normalise
        self._max_seconds = max_seconds

    def transcribe(
        self, file: str | None, recorded: str | None, reference: str, reference_system: str
    ) -> Iterator[PageUpdate]:
        """Yields the page once at the start and after each system; the error of an unreadable file instead."""
        path = file or recorded
        if path is None:
            yield render.message(NO_RECORDING), "", None
            return
        try:
            recording = read_recording(Path(path), self._max_seconds)
        except InputError as error:
            yield render.message(str(error)), "", None
            return
        facts, names = render.recording_facts(recording), self._systems.names
        state = render.PageState(facts, (), names)
        picture = render.picture(recording)
        yield self.compare(state, reference, reference_system), picture, state
        for transcription in self._systems.transcribe(recording):
            transcriptions = (*state.transcriptions, transcription)
            state = render.PageState(facts, transcriptions, names[len(transcriptions) :])
            yield self.compare(state, reference, reference_system), picture, state

    def compare(self, state: render.PageState, reference: str, reference_system: str) -> str:
        """The results as HTML, compared with this reference."""
        return render.results(state, reference, reference_system, self._normalise)

    def compare_again(self, state: render.PageState | None, reference: str, reference_system: str) -> Any:
        """The results for a changed reference; no change of the page before the first recording."""
        return gr.skip() if state is None else self.compare(state, reference, reference_system)


def build(page: Page, systems: Systems) -> gr.Blocks:
    """The components and their events."""
    with gr.Blocks(title=TITLE, analytics_enabled=False, delete_cache=(KEPT_SECONDS, KEPT_SECONDS)) as blocks:
        gr.Markdown(f"# {TITLE}\n{INTRODUCTION}")
        if systems.notices:
            gr.HTML(render.notices(systems.notices), elem_id="notices", apply_default_css=False)
        with gr.Row():
            file = gr.File(label="Audio file", elem_id="file", height=170, min_width=MIN_WIDTH)
            recorded = gr.Audio(
                label="Microphone",
                sources=["microphone"],
                type="filepath",
                elem_id="microphone",
                buttons=[],
                min_width=MIN_WIDTH,
            )
        with gr.Row():
            reference = gr.Textbox(
                label="What was said (optional)",
                placeholder="Reference text that the systems are compared with",
                elem_id="reference",
                min_width=MIN_WIDTH,
                scale=2,
            )
            reference_system = gr.Dropdown(
                list(systems.names),
                value=systems.names[0],
                label="Otherwise compare with",
                elem_id="reference-system",
                min_width=MIN_WIDTH,
                scale=1,
            )
        button = gr.Button("Transcribe", variant="primary", elem_id="transcribe")
        results = gr.HTML(elem_id="results", apply_default_css=False)
        picture = gr.HTML(elem_id="picture", apply_default_css=False)
        state = gr.State(None)
        private: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
        file.upload(lambda: None, outputs=recorded, **private)
        recorded.stop_recording(lambda: None, outputs=file, **private)
        again = {
            "fn": page.compare_again,
            "inputs": [state, reference, reference_system],
            "outputs": results,
            **private,
        }
        transcribing = button.click(
            page.transcribe,
            [file, recorded, reference, reference_system],
            [results, picture, state],
            concurrency_limit=1,  # a model has state while it runs
            **private,
        )
        for event in (transcribing.then, reference.change, reference_system.change):  # text typed meanwhile counts too
            event(**again)
    return blocks


def launch(blocks: gr.Blocks, host: str, port: int) -> str:
    """Serve the page in threads of this process. Returns its address, such as http://127.0.0.1:7860/."""
    theme = gr.themes.Default(
        primary_hue="blue", neutral_hue="zinc", font=SYSTEM_FONTS, font_mono=SYSTEM_MONO, text_size="md"
    )
    _, address, _ = blocks.launch(
        server_name=host,
        server_port=port,
        share=False,
        quiet=True,
        prevent_thread_lock=True,
        ssr_mode=False,
        footer_links=[],
        max_file_size=MAX_UPLOAD_BYTES,
        theme=theme,
        css_paths=Path(__file__).with_name("page.css"),
    )
    return str(address)
