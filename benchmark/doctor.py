"""`python -m benchmark.doctor`: whether this machine can train and benchmark, a line a part, with the remedy.

Each check returns a Finding; nothing is changed or installed. What the self-test runs is the embedded demo: a recording
of its test set through the embedded wav2vec2. A token for the Hub is never printed, nor is the text of an error of the
Hub's client.
"""

import ctypes.util
import importlib.util
import os
import platform
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Literal

from preprocessing.cli.cores import describe_cores
from preprocessing.cli.options import parse_command, run_command
from preprocessing.errors import first_line, install_extra
from preprocessing.storage.data_folder import DATA_VARIABLE, DEMO, data_folder

PROGRAM = "python -m benchmark.doctor"
DESCRIPTION = "Check this machine for what training and the benchmark need, and show how to install what is missing."
DISTRIBUTION = "speech-on-your-own"
PYPROJECT = Path(__file__).resolve().parents[1] / "pyproject.toml"
OLDEST_PYTHON = (3, 11)
MEMORY_GIB = 4.0  # less is enough for the demo alone
DISK_GIB = 10.0  # a run with its checkpoints, and published models
LEAST_DISK_GIB = 1.0
HUB_TIMEOUT_SECONDS = 5.0
GIB = 1 << 30
MARKS = {"ok": "ok     ", "note": "note   ", "missing": "MISSING"}


@dataclass(frozen=True)
class DoctorConfig:
    """What is checked."""

    hub: bool = True
    """Check whether the Hugging Face Hub is reachable; false uses no network, like HF_HUB_OFFLINE=1."""

    self_test: bool = True
    """Transcribe a demo recording with the embedded wav2vec2 (about 5 seconds)."""


@dataclass(frozen=True)
class Finding:
    """One line: ok, note (it works without), or missing (something needed). `remedy` is empty where it is ok."""

    part: str
    status: Literal["ok", "note", "missing"]
    found: str
    remedy: str = ""

    def __str__(self) -> str:
        return f"{MARKS[self.status]} {self.part}: {self.found}{f'; {self.remedy}' if self.remedy else ''}"


def main(arguments: Sequence[str] | None = None) -> None:
    config = parse_command(DoctorConfig, program=PROGRAM, description=DESCRIPTION, arguments=arguments)
    findings = []
    for finding in examine(config):
        findings.append(finding)
        print(finding, flush=True)
    missing = [finding.part for finding in findings if finding.status == "missing"]
    if missing:
        print(f"\n{', '.join(missing)}: required, see above.")
        sys.exit(1)
    following = "make demo" if PYPROJECT.is_file() else "asr-fetch demo"
    print(f"\nAll requirements are met. Next: {following}; README.md has the steps after it.")


def examine(config: DoctorConfig) -> Iterator[Finding]:
    """Yield the findings in their order, as soon as each is made."""
    checks: list[Callable[[], Finding | list[Finding]]] = [
        check_python, check_libraries, check_torch_pair, check_processor, check_memory, check_disk, check_cuda,
        check_audio, check_extras, lambda: check_hub(ask=config.hub), check_data,
    ]  # fmt: skip
    if config.self_test:
        checks.append(check_by_transcribing)
    for check in checks:
        found = check()
        yield from found if isinstance(found, list) else [found]


def check_python() -> Finding:
    found = f"{platform.python_version()} at {sys.executable}"
    if sys.version_info >= OLDEST_PYTHON:
        return Finding("Python", "ok", found)
    oldest = ".".join(map(str, OLDEST_PYTHON))
    return Finding("Python", "missing", found, f"install {oldest} or newer, then `make PYTHON=python{oldest}`")


def requirements() -> dict[str, list[str]]:
    """Requirements such as "torch==2.11.0" by extra, "" being those that are needed.

    From pyproject.toml in a checkout, from the installed package's metadata elsewhere.
    """
    if PYPROJECT.is_file():
        import tomllib

        project = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]
        needed: dict[str, list[str]] = {"": project["dependencies"]}
        needed.update(project["optional-dependencies"])
        return needed
    by_extra: dict[str, list[str]] = {"": []}
    for line in requires(DISTRIBUTION) or []:
        requirement, _, marker = line.partition(";")
        extra = re.search(r"extra == [\"']([^\"']+)", marker)
        by_extra.setdefault(extra[1] if extra else "", []).append(requirement.strip())
    return by_extra


def unmet(requirement: str) -> str:
    """What is wrong with an installed package, such as "torch 2.9.0 is not ==2.11.0"; empty where nothing is."""
    from packaging.requirements import Requirement

    wanted = Requirement(requirement)
    try:
        installed = version(wanted.name)
    except PackageNotFoundError:
        return f"{wanted.name} is not installed"
    fits = wanted.specifier.contains(installed, prereleases=True)
    return "" if fits else f"{wanted.name} {installed} is not {wanted.specifier}"


def check_libraries() -> Finding:
    if importlib.util.find_spec("packaging") is None:
        return Finding("libraries", "missing", "packaging is not installed", "run `make setup`")
    wanted = requirements()[""]
    wrong = [problem for requirement in wanted if (problem := unmet(requirement))]
    if wrong:
        remedy = "run `make setup`" if PYPROJECT.is_file() else "pip install . in the checkout"
        return Finding("libraries", "missing", ", ".join(wrong), remedy)
    return Finding("libraries", "ok", f"{len(wanted)} of {len(wanted)} in the required versions")


def check_torch_pair() -> Finding:
    """torchaudio's wheel names no torch, and imports with the one of its own version alone."""
    try:
        import torch
        import torchaudio  # noqa: F401
    except (ImportError, OSError) as error:
        pair = " and ".join(f"{name} {_version(name)}" for name in ("torch", "torchaudio"))
        needed = " ".join(repr(one) for one in requirements()[""] if one.startswith("torch"))
        remedy = f"install both in one version: pip install {needed}"
        return Finding("torch and torchaudio", "missing", f"{pair}: {first_line(error)}", remedy)
    return Finding("torch and torchaudio", "ok", f"{torch.__version__} and {_version('torchaudio')}")


def check_processor() -> Finding:
    cores = describe_cores()
    name = platform.processor() or platform.machine()
    if (cpuinfo := Path("/proc/cpuinfo")).is_file():
        model = re.search(r"model name\s*: (.+)", cpuinfo.read_text(encoding="utf-8", errors="replace"))
        name = model[1] if model else name
    try:
        import torch
    except (ImportError, OSError):
        return Finding("processor", "note", f"{name}, {cores}", "its vector instructions are unknown without torch")
    capability = torch.backends.cpu.get_cpu_capability()
    found = f"{name}, {cores}, {capability}"
    if capability in ("DEFAULT", "NO AVX"):
        return Finding("processor", "note", found, "without AVX2 torch is several times slower: use another machine")
    return Finding("processor", "ok", found)


def check_memory() -> Finding:
    """Memory that is free now, or what the cgroup of a container still grants where that is less."""
    import psutil

    memory = psutil.virtual_memory()
    total, free = memory.total, memory.available
    limit, used = (Path("/sys/fs/cgroup") / name for name in ("memory.max", "memory.current"))
    if limit.is_file() and used.is_file() and (text := limit.read_text().strip()).isdigit():
        total = min(total, int(text))
        free = min(free, int(text) - int(used.read_text()))
    found = f"{free / GIB:.1f} of {total / GIB:.1f} GiB free"
    if free < MEMORY_GIB * GIB:
        remedy = f"expected {MEMORY_GIB:g} GiB: close programs, or use --one_at_a_time true and small models"
        return Finding("memory", "note", found, remedy)
    return Finding("memory", "ok", found)


def check_disk() -> list[Finding]:
    """The current folder, where runs are written, and the cache of downloaded models."""
    cache = Path(os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface")
    findings = []
    for part, folder in (("disk", Path.cwd()), ("disk of the model cache", cache.expanduser())):
        place = next(path for path in (folder, *folder.parents) if path.exists())
        free = shutil.disk_usage(place).free / GIB
        found = f"{free:.1f} GiB free at {place}"
        if not os.access(place, os.W_OK):
            findings.append(
                Finding(part, "note", f"{place} cannot be written to", "change to another folder or HF_HOME")
            )
        elif free < DISK_GIB:
            status: Literal["note", "missing"] = "missing" if free < LEAST_DISK_GIB else "note"
            findings.append(
                Finding(part, status, found, f"free some: a run and its models take up to {DISK_GIB:g} GiB")
            )
        else:
            findings.append(Finding(part, "ok", found))
    return findings


def check_cuda() -> Finding:
    try:
        import torch
    except (ImportError, OSError):
        return Finding("GPU", "note", "not known without torch")
    if torch.cuda.is_available():
        devices = [torch.cuda.get_device_properties(index) for index in range(torch.cuda.device_count())]
        names = ", ".join(f"{device.name} with {device.total_memory / GIB:.0f} GiB" for device in devices)
        return Finding("GPU", "ok", f"{names}, CUDA {torch.version.cuda}")
    if Path("/dev/nvidia0").exists() or shutil.which("nvidia-smi"):
        if torch.version.cuda is None:
            remedy = "install the CUDA build of torch and torchaudio"
        else:
            remedy = f"`nvidia-smi` shows why: the driver has to support CUDA {torch.version.cuda}"
        return Finding("GPU", "note", "the NVIDIA driver is installed, but torch finds no GPU", remedy)
    return Finding("GPU", "note", "none", "everything runs on the CPU; expect hours for real corpora")


def check_audio() -> list[Finding]:
    """soundfile and PyAV carry their libraries, and are needed; the ffmpeg program is transformers' alone."""
    findings = []
    try:
        import soundfile

        findings.append(Finding("audio: soundfile", "ok", f"libsndfile {soundfile.__libsndfile_version__}"))
    except (ImportError, OSError) as error:
        where = "" if ctypes.util.find_library("sndfile") else " or install libsndfile with the system's packages"
        remedy = f"pip install --force-reinstall soundfile{where}"
        findings.append(Finding("audio: soundfile", "missing", str(error), remedy))
    try:
        import av

        libavcodec = ".".join(map(str, av.library_versions["libavcodec"]))
        findings.append(Finding("audio: PyAV", "ok", f"{av.__version__}, libavcodec {libavcodec}"))
    except (ImportError, OSError) as error:
        findings.append(Finding("audio: PyAV", "missing", str(error), "pip install --force-reinstall av"))
    if found := shutil.which("ffmpeg"):
        findings.append(Finding("audio: ffmpeg program", "ok", found))
    else:
        remedy = "needed only when transformers' pipeline or openai-whisper read files themselves"
        findings.append(Finding("audio: ffmpeg program", "note", "not there", remedy))
    return findings


def check_extras() -> list[Finding]:
    """The optional dependencies by extra; those of the tests in a checkout alone."""
    if importlib.util.find_spec("packaging") is None:
        return []
    findings = []
    for extra, wanted in sorted(requirements().items()):
        if not extra or (extra == "test" and not PYPROJECT.is_file()):
            continue
        wrong = [problem for requirement in wanted if (problem := unmet(requirement))]
        install = "make setup" if PYPROJECT.is_file() else install_extra(extra)
        remedy = f"optional: {install}"
        part = f"extra {extra}"
        found = ", ".join(wrong) or ", ".join(re.split(r"[\[<>=!~ ]", requirement)[0] for requirement in wanted)
        findings.append(Finding(part, "note", found, remedy) if wrong else Finding(part, "ok", found))
    return findings


def check_hub(*, ask: bool) -> list[Finding]:
    """Whether the Hub answers, and whether it accepts the token that is set."""
    try:
        from huggingface_hub import HfApi, constants, get_token
    except ImportError:
        return [Finding("Hub", "note", "huggingface_hub is not installed", "run `make setup`")]
    token = get_token()
    where = "in HF_TOKEN" if os.environ.get("HF_TOKEN") else "stored by `hf auth login`"
    if not ask or constants.HF_HUB_OFFLINE:
        reason = "HF_HUB_OFFLINE is set" if ask else "--hub is false"
        findings = [Finding("Hub", "note", f"not checked, as {reason}", "models are read from the Hub's local cache")]
        return [*findings, Finding("token", "ok", f"one is {where}, not checked") if token else _no_token()]
    began = time.monotonic()
    try:
        HfApi(token=False).model_info("facebook/wav2vec2-base-960h", timeout=HUB_TIMEOUT_SECONDS)
    except Exception as error:  # of the client, of its HTTP library and of the system
        remedy = "check internet and HTTPS_PROXY, or HF_ENDPOINT for a mirror; meanwhile the embedded demo is used"
        findings = [Finding("Hub", "note", f"{constants.ENDPOINT} does not answer ({type(error).__name__})", remedy)]
        return [*findings, Finding("token", "ok", f"one is {where}, not checked") if token else _no_token()]
    findings = [Finding("Hub", "ok", f"{constants.ENDPOINT} answers in {time.monotonic() - began:.1f} s")]
    if not token:
        return [*findings, _no_token()]
    try:
        HfApi().whoami(token=token)
    except Exception as error:  # as above
        remedy = "`hf auth login` stores another; unset HF_TOKEN if it is an old one"
        return [*findings, Finding("token", "note", f"the one {where} is refused ({type(error).__name__})", remedy)]
    return [*findings, Finding("token", "ok", f"the one {where} is accepted")]


def _no_token() -> Finding:
    return Finding("token", "note", "none", "only publishing and private models need one: `hf auth login`")


def check_data() -> Finding:
    from preprocessing.fetch import DATASETS

    folder = data_folder()
    there = [name for name, dataset in DATASETS.items() if dataset.is_in(folder)]
    missing = [name for name in DATASETS if name not in there]
    found = f"{', '.join(there) or 'nothing'} in {folder}"
    if not missing:
        return Finding("data", "ok", found)
    remedy = f"optional: python -m preprocessing.fetch {' '.join(missing)}, or set {DATA_VARIABLE}"
    return Finding("data", "note", found, remedy)


def check_by_transcribing() -> Finding:
    """A demo recording is decoded and transcribed by the embedded wav2vec2; its text is known up to some errors."""
    part, began = "self-test", time.monotonic()
    try:
        import torch
        import transformers

        from benchmark.offline import DEMO_CORPUS
        from finetune.systems.base import LoadOptions
        from finetune.systems.registry import load_system, parse_models
        from preprocessing import audio
        from preprocessing.corpus import open_corpus

        transformers.utils.logging.disable_progress_bar()
        (spec,) = parse_models(f"wav2vec2={DEMO / 'wav2vec2'}")
        utterance = open_corpus(str(DEMO_CORPUS), limit=1).utterances[0]
        waveform = audio.load(Path(str(utterance.audio)))
        system = load_system(spec, LoadOptions(device="cpu", language=None))
        with torch.inference_mode():
            (text,) = system.text(system.forward(system.features([waveform])))
    except Exception as error:  # whatever fails here is what the user has to know
        line = next(iter(str(error).splitlines()), "")
        remedy = "if nothing above explains it, report it with this output"
        return Finding(part, "missing", f"{type(error).__name__}: {line}", remedy)
    seconds = time.monotonic() - began
    if not text.strip():
        return Finding(part, "missing", f"the embedded wav2vec2 returned no text in {seconds:.1f} s", "install again")
    return Finding(part, "ok", f"{utterance.text!r} was transcribed as {text!r} in {seconds:.1f} s")


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "(not installed)"


if __name__ == "__main__":
    run_command(main)
