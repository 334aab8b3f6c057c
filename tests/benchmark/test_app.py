"""The page in a real Chromium, its server in its own process: files, microphone, broken files, markup, requests."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jiwer
import pytest
import torch

from preprocessing import audio
from preprocessing.text import profile
from tests.benchmark.app_systems import MARKUP
from tests.conftest import DEMO, ROOT

pytest.importorskip("gradio", reason="gradio is not installed: pip install gradio")
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install playwright")

CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on PATH: install it to test the page")

HERE = "tests.benchmark.app_systems"
MODELS = f"wav2vec2=demo/wav2vec2,whisper=demo/whisper,{HERE}:Fails,{HERE}:Markup,{HERE}:Length"
WAV2VEC2, WHISPER = "wav2vec2 demo", "whisper demo"  # their short names, which the page shows
FAILS, TAKES_OVER, LENGTH = MODELS.split(",")[2:]
RECORDING = DEMO / "corpus" / "audio" / "test-0001.opus"
PATIENCE_MS = 90_000


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Of a server that hears at most 4 s."""
    log = tmp_path_factory.mktemp("app") / "log.txt"
    command = [sys.executable, "-m", "benchmark.app", "--models", MODELS, "--port", "0", "--max_seconds", "4"]
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "TMPDIR": str(log.parent)}
    with log.open("wb") as written:
        server = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=written, stderr=subprocess.STDOUT)
    try:
        yield _address(server, log)
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(120)
    assert not list(log.parent.glob("speech-app-*"))  # what visitors gave is gone


def _address(server: "subprocess.Popen[bytes]", log: Path) -> str:
    for _ in range(1_200):
        lines = log.read_text(encoding="utf-8").splitlines()
        opened = [line for line in lines if line.startswith("open http://127.0.0.1:")]
        if opened:
            assert f"loading {WHISPER} ..." in lines
            return opened[0].split()[1]
        assert server.poll() is None, "\n".join(lines)
        time.sleep(0.2)
    raise AssertionError(log.read_text(encoding="utf-8"))


class Visit:
    """A tab on the page, and what it complained of or asked of others."""

    def __init__(self, browser: Any, address: str, **options: Any) -> None:
        self.tab = browser.new_page(**options)
        self.tab.set_default_timeout(PATIENCE_MS)
        self.complaints: list[str] = []
        self.elsewhere: list[str] = []
        self.tab.on("console", self._on_console)
        self.tab.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.tab.on("request", lambda request: self._on_request(request.url, address))
        self.tab.goto(address)
        self.tab.wait_for_selector("#transcribe", timeout=PATIENCE_MS)

    def _on_console(self, message: Any) -> None:
        if message.type == "error":
            self.complaints.append(message.text)

    def _on_request(self, url: str, address: str) -> None:
        if not url.startswith((address, "data:", "blob:")):
            self.elsewhere.append(url)

    def give(self, path: Path) -> None:
        self.tab.set_input_files("#file input[type=file]", str(path))
        self.tab.locator("#file").get_by_label(path.name, exact=True).wait_for(timeout=PATIENCE_MS)

    def transcribe(self) -> None:
        """Until the last system is done."""
        self.tab.get_by_role("button", name="Transcribe").click()
        self.card(LENGTH).locator(".text").wait_for(timeout=PATIENCE_MS)

    def card(self, name: str) -> Any:
        return self.tab.locator(".transcript-card", has=self.tab.get_by_role("heading", name=name))

    def text(self, name: str) -> str:
        return str(self.card(name).locator(".text").inner_text())


@contextmanager
def chromium(*arguments: str) -> Iterator[Any]:
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", *arguments])
        yield browser
        browser.close()


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_dropped_file_is_heard_by_every_system(address: str, scheme: str) -> None:
    with chromium() as browser:
        visit = Visit(browser, address, color_scheme=scheme)
        visit.give(RECORDING)
        visit.tab.get_by_label("What was said").fill("close the office blind now")
        visit.transcribe()
        assert visit.text(WHISPER) == "close the office blinds"  # as demo/corpus/test.jsonl has it
        assert visit.text(LENGTH) == f"{len(audio.load(RECORDING))} samples"
        assert "no room</b> ${2 + 2}" in visit.card(FAILS).locator(".error").inner_text()
        assert visit.text(TAKES_OVER) == MARKUP
        assert visit.tab.title() == "Compare speech recognition systems"
        figures = visit.card(WHISPER).locator(".figures").inner_text()
        assert figures.endswith("· 2 differences in 5 words")
        assert visit.card(WHISPER).locator(".differences del").all_inner_texts() == ["blind", "now"]
        visit.tab.locator(f"#picture img.on-{scheme}").wait_for(timeout=PATIENCE_MS)
        shown = [
            image.get_attribute("class") for image in visit.tab.locator("#picture img").all() if image.is_visible()
        ]
        assert shown == [f"on-{scheme}"]

        visit.tab.get_by_label("What was said").fill("")
        visit.card(WAV2VEC2).locator(".badge").wait_for(timeout=PATIENCE_MS)
        normalise = profile("basic")
        words = jiwer.process_words(normalise(visit.text(WAV2VEC2)), normalise("close the office blinds"))
        errors = words.substitutions + words.deletions + words.insertions
        assert f"· {errors} difference" in visit.card(WHISPER).locator(".figures").inner_text()
        assert visit.complaints == []
        assert visit.elsewhere == []


@pytest.mark.slow
def test_broken_missing_and_long_files_are_answered_in_the_page(address: str, tmp_path: Path) -> None:
    broken, long = tmp_path / "broken.wav", tmp_path / "long.wav"
    broken.write_bytes(b"RIFF and nothing of use" * 40)
    audio.save(long, 0.1 * torch.randn(5 * 16_000, generator=torch.Generator().manual_seed(0)))
    with chromium() as browser:
        visit = Visit(browser, address)
        button, answer = visit.tab.get_by_role("button", name="Transcribe"), visit.tab.get_by_role("alert")
        button.click()
        answer.get_by_text("There is no recording yet").wait_for(timeout=PATIENCE_MS)
        visit.give(broken)
        button.click()
        answer.get_by_text("broken.wav: ").wait_for(timeout=PATIENCE_MS)
        assert "expected" in answer.inner_text()
        assert "Traceback" not in visit.tab.content()
        visit.tab.locator("#file").get_by_role("button", name="Clear").click()
        visit.give(long)
        visit.transcribe()
        assert visit.text(LENGTH) == "64000 samples"
        assert "The file lasts 5 s; only the first 4 s are transcribed" in visit.tab.locator("#results").inner_text()
        assert visit.complaints == []


@pytest.mark.slow
def test_what_the_microphone_hears_is_heard(address: str, tmp_path: Path) -> None:
    audio.save(tmp_path / "spoken.wav", audio.load(RECORDING))
    fake = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
    with chromium(*fake, f"--use-file-for-fake-audio-capture={tmp_path / 'spoken.wav'}") as browser:
        visit = Visit(browser, address, permissions=["microphone"])
        visit.give(RECORDING)
        microphone = visit.tab.locator("#microphone")
        microphone.get_by_role("button", name="Record").click()
        visit.tab.wait_for_timeout(4_000)
        microphone.get_by_role("button", name="Stop").first.click()
        visit.tab.get_by_label("Click to upload or drop files").wait_for(timeout=PATIENCE_MS)  # the file has gone
        visit.transcribe()
        heard = int(visit.text(LENGTH).split()[0])
        assert 4_000 <= heard <= 64_000  # the server hears at most 4 s
        assert heard != len(audio.load(RECORDING))
        assert visit.elsewhere == []


def test_the_demo_says_what_the_test_expects() -> None:
    lines = (DEMO / "corpus" / "test.jsonl").read_text(encoding="utf-8").splitlines()
    (said,) = [row["text"] for row in map(json.loads, lines) if row["id"] == RECORDING.stem]
    assert said == "close the office blinds"
