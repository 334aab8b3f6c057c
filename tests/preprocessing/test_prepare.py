"""prepare: the same samples as the source has, the same bytes whoever does the work, nothing lost by a kill."""

import json
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from preprocessing import audio
from preprocessing.audio import SAMPLE_RATE, waveform
from preprocessing.corpus import Utterance, open_corpus
from preprocessing.errors import InputError, UsageError
from preprocessing.prepare.division import split_into_shards
from preprocessing.prepare.shards import Cutting, forget, write_shard
from tests.commands import assert_one_sentence, run
from tests.conftest import DEMO, ROOT, absolute, read_manifest, write_manifest
from tests.preprocessing.preparing import SHARD_SECONDS, bytes_of, prepare


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 demo utterances; one cut out of a stereo file of another rate; one file missing, one duration a lie; 65 s of
    hum without text."""
    folder = tmp_path_factory.mktemp("corpus")
    time_axis = np.arange(65 * SAMPLE_RATE) / SAMPLE_RATE
    soundfile.write(folder / "hum.wav", 0.1 * np.sin(2 * np.pi * 120 * time_axis), SAMPLE_RATE)
    soundfile.write(folder / "two.flac", np.random.default_rng(0).normal(0, 0.1, (3 * 44_100, 2)), 44_100)
    rows = absolute(DEMO / "corpus" / "train.jsonl", 24)
    rows.insert(7, {"id": "part", "audio": "two.flac", "text": "part", "start": 0.5, "stop": 1.75, "speaker": "x"})
    rows.insert(9, {"id": "gone", "audio": "gone.wav", "text": "gone", "duration": 1.0})
    rows.insert(12, {"id": "liar", "audio": "two.flac", "text": "liar", "duration": 9.0})
    rows.append({"id": "hum", "audio": "hum.wav", "text": ""})
    return write_manifest(folder / "corpus.jsonl", rows)


@pytest.fixture(scope="module")
def prepared(manifest: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepare(manifest, tmp_path_factory.mktemp("prepared") / "one", "--workers", "1")


def test_the_prepared_corpus_holds_the_same_samples_and_facts(manifest: Path, prepared: Path) -> None:
    before = {utterance.id: utterance for utterance in open_corpus(str(manifest)).utterances}
    after = open_corpus(str(prepared / "manifest.jsonl")).require_complete()
    kept = [name for name in before if name != "gone"]
    assert [utterance.id for utterance in after.utterances] == kept
    for utterance in after.utterances:
        source = before[utterance.id]
        expected = audio.load(source.audio, start=source.start, stop=source.stop)
        found = audio.load(utterance.audio, start=utterance.start, stop=utterance.stop)
        assert torch.equal(found, expected), utterance.id
        assert utterance.duration == pytest.approx(len(expected) / SAMPLE_RATE, abs=1e-9)
        assert utterance.recording_id is not None and str(source.audio).endswith(utterance.recording_id)
        facts = (utterance.text, utterance.speaker, utterance.language, utterance.domain)
        assert facts == (source.text, source.speaker, source.language, source.domain)


def test_shards_are_16_bit_flac_without_a_gap(prepared: Path) -> None:
    rows = read_manifest(prepared / "manifest.jsonl")
    shards = sorted((prepared / "shards").glob("*.flac"))
    assert len(shards) > 2
    for shard in shards:
        held = [row for row in rows if row["audio"] == f"shards/{shard.name}"]
        info = soundfile.info(shard)
        assert (info.samplerate, info.channels, info.subtype) == (SAMPLE_RATE, 1, "PCM_16")
        assert [row["start"] for row in held] == [0.0, *(row["stop"] for row in held[:-1])]
        assert held[-1]["stop"] == info.frames / SAMPLE_RATE


def test_rejects_and_statistics(prepared: Path) -> None:
    rejects = {row["where"]: row["reason"] for row in read_manifest(prepared / "rejects.jsonl")}
    assert rejects.keys() == {"gone"}
    assert "no such file" in rejects["gone"]
    statistics = json.loads((prepared / "statistics.json").read_text())
    assert statistics["utterances"] == 27


@pytest.mark.slow
@pytest.mark.parametrize("options", [("--workers", "2"), ("--workers", "2", "--engine", "ray")])
def test_the_same_bytes_whoever_does_the_work(
    manifest: Path, prepared: Path, tmp_path: Path, options: tuple[str, ...]
) -> None:
    if "ray" in options:
        pytest.importorskip("ray", reason="the extra `ray` is not installed")
    found = run("-m", "preprocessing.prepare", manifest, tmp_path / "out", "--shard_seconds", SHARD_SECONDS, *options)
    assert found.returncode == 0, found.stderr
    assert bytes_of(tmp_path / "out") == bytes_of(prepared)


def test_a_corpus_is_not_prepared_over_itself(tmp_path: Path) -> None:
    manifest = write_manifest(tmp_path / "manifest.jsonl", absolute(DEMO / "corpus" / "train.jsonl", 2))
    before = manifest.read_bytes()
    with pytest.raises(UsageError, match=r"manifest\.jsonl would be overwritten by its own preparation"):
        prepare(manifest, tmp_path, "--overwrite", "true")
    assert manifest.read_bytes() == before


def test_the_rejects_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [*absolute(DEMO / "corpus" / "train.jsonl", 1), {"audio": "gone.wav", "text": "gone", "duration": 1.0}]
    prepare(write_manifest(tmp_path / "corpus.jsonl", rows), tmp_path / "out", "--workers", "1")
    printed = capsys.readouterr()
    assert printed.out.endswith("in 1 shard; 1 rejected\n")
    assert re.search(r"writing 0\.00 h of audio: 1 shard, \d+\.\d s\n", printed.err), (
        "no terminal, and a line all the same"
    )


@pytest.mark.slow
def test_killed_it_goes_on_to_the_same_bytes_and_leaves_no_process(
    manifest: Path, prepared: Path, tmp_path: Path
) -> None:
    output = tmp_path / "killed"
    command = [sys.executable, "-m", "preprocessing.prepare", str(manifest), str(output), "--workers", "2"]
    command += ["--shard_seconds", str(SHARD_SECONDS)]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL, start_new_session=True)
    deadline = time.monotonic() + 120
    while not list(output.glob("shards/*.jsonl")) and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    while _group_lives(process.pid) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not _group_lives(process.pid)
    first = min(output.glob("shards/*.jsonl"))
    written = first.stat().st_mtime_ns
    prepare(manifest, output, "--workers", "1")
    assert first.stat().st_mtime_ns == written
    assert bytes_of(output) == bytes_of(prepared)


def _group_lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize("method", ["fixed", "speech"])
def test_every_utterance_says_where_in_its_recording_it_is(method: str, tmp_path: Path) -> None:
    """Prepared once, and prepared again from what was prepared, the times are still those of the call."""
    noise = audio.quantise(0.1 * torch.randn(8 * SAMPLE_RATE, 2, generator=torch.Generator().manual_seed(0)))
    soundfile.write(tmp_path / "call.wav", noise.numpy(), SAMPLE_RATE)
    rows = [
        {"id": "part", "audio": "call.wav", "text": "yes", "start": 0.5, "stop": 1.25},
        {"id": "side", "audio": "call.wav", "text": "", "channel": 1, "start": 1.0},
    ]
    once = prepare(write_manifest(tmp_path / "c.jsonl", rows), tmp_path / "once", "--workers", "1")
    cut = ("--workers", "1", "--segmentation", method, "--max_seconds", "3")
    for name, corpus in (("cut", tmp_path / "c.jsonl"), ("again", once / "manifest.jsonl")):
        folder = prepare(corpus, tmp_path / name, *cut)
        part, *pieces = read_manifest(folder / "manifest.jsonl")
        assert (part["source_start"], part["source_stop"]) == (0.5, 1.25) and "source_channel" not in part
        assert len(pieces) >= 3 and pieces[0]["source_start"] == 1.0 and pieces[-1]["source_stop"] == 8.0
        for piece in pieces:
            assert (piece["source_channel"], piece["recording_id"]) == (1, "call.wav")
            start, stop = (round(piece[key] * SAMPLE_RATE) for key in ("source_start", "source_stop"))
            found = audio.load(folder / piece["audio"], start=piece["start"], stop=piece["stop"])
            assert torch.equal(found, noise[start:stop, 1])


def test_utterances_of_one_mp3_are_decoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, opened, open_sndfile = tmp_path / "talk.mp3", [], waveform.open_sndfile
    soundfile.write(path, np.random.default_rng(0).normal(0, 0.1, 6 * 44_100), 44_100, format="MP3")
    utterances = [Utterance(str(n), str(path), "", 1.0, start=float(n), stop=n + 1.0) for n in range(6)]
    expected = torch.cat([audio.load(path, start=one.start, stop=one.stop) for one in utterances])
    monkeypatch.setattr(waveform, "open_sndfile", lambda *given: opened.append(given) or open_sndfile(*given))
    shard = split_into_shards(utterances, 60.0)[0]
    write_shard(shard, tmp_path, Cutting("none", 30.0))
    assert len(opened) == 1
    assert torch.equal(audio.load(tmp_path / f"{shard.name}.flac"), expected)


def test_long_recordings_without_text_are_cut_with_nothing_lost(manifest: Path, tmp_path: Path) -> None:
    source = next(utterance for utterance in open_corpus(str(manifest)).utterances if utterance.id == "hum")
    whole = audio.load(source.audio)
    shard = split_into_shards([source], SHARD_SECONDS)[0]
    for segment in ("fixed", "speech"):
        folder = tmp_path / segment / "shards"
        folder.mkdir(parents=True)
        write_shard(shard, folder, Cutting(segment, 20.0))
        pieces = [line["utterance"] for line in read_manifest(folder / f"{shard.name}.jsonl")[1:]]
        assert [piece["id"] for piece in pieces] == [f"hum-{n:04d}" for n in range(len(pieces))]
        assert all(piece["duration"] <= 20.0 for piece in pieces)
        assert torch.equal(audio.load(folder / f"{shard.name}.flac"), whole)


def test_a_long_recording_with_one_text_is_set_aside_where_it_would_be_cut(tmp_path: Path) -> None:
    row = absolute(DEMO / "corpus" / "train.jsonl", 1)[0]
    utterance = Utterance("long", row["audio"], "its text", audio.probe(row["audio"]).duration)
    shard = split_into_shards([utterance], 1.0)[0]
    write_shard(shard, tmp_path, Cutting("speech", 0.5))
    (rejected,) = read_manifest(tmp_path / f"{shard.name}.jsonl")[0]["rejects"]
    assert "with one text" in rejected["reject"]["reason"]


@pytest.mark.slow
def test_wrong_usage_is_one_sentence(manifest: Path, prepared: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for arguments, exit_code, expected in (
        ((manifest, tmp_path / "out", "--workers", "0"), 2, "--workers is 0"),
        ((manifest, tmp_path / "file"), 2, "is a file"),
        ((manifest, prepared), 2, "with other options"),
        ((tmp_path / "nowhere.jsonl", tmp_path / "out"), 1, "nowhere.jsonl"),
    ):
        assert_one_sentence(run("-m", "preprocessing.prepare", *arguments), exit_code, expected)


def test_a_full_disk_is_one_sentence_and_leaves_no_shard(tmp_path: Path) -> None:
    """A limit on the size of files stands for the disk: the kernel refuses the write in the same way."""
    row = absolute(DEMO / "corpus" / "train.jsonl", 1)[0]
    utterance = Utterance("u", row["audio"], "its text", audio.probe(row["audio"]).duration)
    shard, cutting = split_into_shards([utterance], 1.0)[0], Cutting("none", 30.0)
    write_shard(shard, tmp_path, cutting)
    n_bytes = (tmp_path / f"{shard.name}.flac").stat().st_size
    forget(shard.name, tmp_path)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    for limit in (10_000, n_bytes - 1):
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
        try:
            with pytest.raises(InputError, match=r"[0-9a-f]{16}.flac: cannot be written .*run the same command again"):
                write_shard(shard, tmp_path, cutting)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_cluster_that_does_not_answer_is_one_sentence(manifest: Path, tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="the extra `ray` is not installed")
    words = ("-m", "preprocessing.prepare", manifest, tmp_path / "out", "--engine", "ray")
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # and does not listen
        address = f"127.0.0.1:{closed.getsockname()[1]}"
        ended = run(*words, RAY_ADDRESS=address, timeout=120)
    assert_one_sentence(ended, 2, "RAY_ADDRESS", address, "ray start --head")
