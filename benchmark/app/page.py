"""The page: gradio's components, what happens when one is used, and a server that asks nothing of the network.

Fonts are the system's, analytics and links outwards are off, and what visitors give is deleted: within the hour, and
when the server ends.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gradio as gr

from benchmark.app import render
from benchmark.app.transcribing import Systems, read
from preprocessing.cli.errors import InputError

KEPT_SECONDS = 3_600
SYSTEM_FONTS = ("system-ui", "-apple-system", "Segoe UI", "Noto Sans", "Arial", "sans-serif")
SYSTEM_MONO = ("ui-monospace", "Menlo", "Consolas", "DejaVu Sans Mono", "monospace")
TITLE = "Speak, and compare"
INTRODUCTION = "Drop a file or record yourself. Every system hears the same 16 kHz waveform, one after the other."
NOTHING = "There is nothing to hear yet: drop a file or record yourself, then press Transcribe."

Outcome = tuple[str, str, render.Shown | None]  # results and picture as HTML, and what a new comparison needs


class Page:
    """What the page answers, whoever asks."""

    def __init__(self, systems: Systems, normalise: Callable[[str], str], max_seconds: float) -> None:
        self._systems = systems
        self._normalise = normalise
        self._max_seconds = max_seconds

    def hear(self, file: str | None, recorded: str | None, said: str, reference_system: str) -> Iterator[Outcome]:
        """The page after each system; a file that cannot be read gives its sentence."""
        given = file or recorded
        if given is None:
            yield render.refusal(NOTHING), "", None
            return
        try:
            recording = read(Path(given), self._max_seconds)
        except InputError as error:
            yield render.refusal(str(error)), "", None
            return
        told, names = render.told(recording), self._systems.names
        shown = render.Shown(told, (), names)
        drawn = render.picture(recording)
        yield self.compare(shown, said, reference_system), drawn, shown
        for hearing in self._systems.hear(recording):
            hearings = (*shown.hearings, hearing)
            shown = render.Shown(told, hearings, names[len(hearings) :])
            yield self.compare(shown, said, reference_system), drawn, shown

    def compare(self, shown: render.Shown, said: str, reference_system: str) -> str:
        """The same hearings against another reference."""
        return render.results(shown, said, reference_system, self._normalise)

    def compare_again(self, shown: render.Shown | None, said: str, reference_system: str) -> Any:
        """What stands there stays where nothing was heard."""
        return gr.skip() if shown is None else self.compare(shown, said, reference_system)


def build(page: Page, systems: Systems) -> gr.Blocks:
    """The components, and what each sets off."""
    with gr.Blocks(title=TITLE, analytics_enabled=False, delete_cache=(KEPT_SECONDS, KEPT_SECONDS)) as blocks:
        gr.Markdown(f"# {TITLE}\n{INTRODUCTION}")
        if systems.notices:
            gr.HTML(render.notices(systems.notices), elem_id="notices", apply_default_css=False)
        with gr.Row():
            file = gr.File(label="Audio file", elem_id="file", height=170)
            recorded = gr.Audio(
                label="Microphone", sources=["microphone"], type="filepath", elem_id="microphone", buttons=[]
            )
        with gr.Row():
            said = gr.Textbox(
                label="What was said (optional)",
                placeholder="The words that the systems are compared with",
                elem_id="said",
                scale=2,
            )
            reference_system = gr.Dropdown(
                list(systems.names),
                value=systems.names[0],
                label="Without it, compare with",
                elem_id="reference",
                scale=1,
            )
        button = gr.Button("Transcribe", variant="primary", elem_id="transcribe")
        results = gr.HTML(elem_id="results", apply_default_css=False)
        drawn = gr.HTML(elem_id="picture", apply_default_css=False)
        shown = gr.State(None)
        private: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
        file.upload(lambda: None, outputs=recorded, **private)
        recorded.stop_recording(lambda: None, outputs=file, **private)
        again = {"fn": page.compare_again, "inputs": [shown, said, reference_system], "outputs": results, **private}
        hearing = button.click(
            page.hear,
            [file, recorded, said, reference_system],
            [results, drawn, shown],
            concurrency_limit=1,  # a model holds state while it runs
            **private,
        )
        for settled in (hearing.then, said.change, reference_system.change):  # what was typed meanwhile counts too
            settled(**again)
    return blocks


def launch(blocks: gr.Blocks, host: str, port: int) -> str:
    """Serve in threads of this process. Returns the address."""
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
        theme=theme,
        css_paths=Path(__file__).with_name("page.css"),
    )
    return str(address)
