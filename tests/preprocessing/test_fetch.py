"""The data folder: downloads over a loopback server that misbehaves, manifests, and the variable in configurations.

Oracles: git's own tree id, the manifests of the real digits, and the bytes served.
"""

import hashlib
import http.server
import io
import json
import resource
import socket
import subprocess
import tarfile
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from finetune.config import TrainConfig
from preprocessing.cli.options import parse_command
from preprocessing.corpus import open_corpus
from preprocessing.errors import InputError, UsageError
from preprocessing.fetch import DATASETS, RemoteFile, datasets, download, fetch
from preprocessing.fetch.__main__ import listing, main
from preprocessing.fetch.archives import GitTree, read_members
from preprocessing.storage.data_folder import DATA_VARIABLE, expand_data_folder
from tests.conftest import ROOT, read_manifest

CONTENT = bytes(range(256)) * 12_000  # 3 MB
SHA256 = f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"


class Server(http.server.ThreadingHTTPServer):
    """Serves `content` at every path but /404; `faults` are what happens to the next requests."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content, self.etag, self.knows_ranges = CONTENT, '"one"', True
        self.faults: list[str] = []
        self.ranges: list[str | None] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        server = self.server
        server.ranges.append(self.headers.get("Range"))
        fault = server.faults.pop(0) if server.faults else ""
        if self.path == "/404" or fault == "503":
            self.send_error(503 if fault else 404)
            return
        start = 0
        is_same = self.headers.get("If-Range", server.etag) == server.etag
        if server.knows_ranges and is_same and (asked := self.headers.get("Range")):
            start = int(asked.removeprefix("bytes=").rstrip("-"))
        if start and start >= len(server.content):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(server.content)}")
            self.end_headers()
            return
        body = server.content[start:]
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(server.content) - 1}/{len(server.content)}")
        if server.etag:
            self.send_header("ETag", server.etag)
        if fault != "no length":
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if fault.startswith("cut at "):
            self.wfile.write(body[: int(fault.removeprefix("cut at "))])
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        self.wfile.write(body)


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def get(server: Server, folder: Path, checksum: str = SHA256, path: str = "file.bin") -> Path:
    return download(RemoteFile(f"{server.url}/{path}", "file.bin", 3, checksum), folder, first_wait=0.001)


def test_a_cut_download_goes_on_where_it_was_cut(server: Server, tmp_path: Path) -> None:
    server.faults = ["cut at 1000000", "503", "cut at 700000"]
    assert get(server, tmp_path).read_bytes() == CONTENT
    assert server.ranges == [None, "bytes=1000000-", "bytes=1000000-", "bytes=1700000-"]
    assert [path.name for path in tmp_path.iterdir()] == ["file.bin"]
    server.ranges.clear()
    get(server, tmp_path)
    assert server.ranges == []  # a complete one is checked, not downloaded


def test_what_has_arrived_is_kept_for_the_next_command(server: Server, tmp_path: Path) -> None:
    server.faults = ["cut at 500000"] * 5
    with pytest.raises(
        InputError, match=r"cut after 0\.5 of .* MB, 5 times; 2\.5 MB have been downloaded .*same command"
    ):
        get(server, tmp_path)
    advanced: list[int] = []
    file = RemoteFile(f"{server.url}/file.bin", "file.bin", 3, SHA256)
    assert download(file, tmp_path, advanced.append).read_bytes() == CONTENT
    assert server.ranges[-1] == "bytes=2500000-" and sum(advanced) == len(CONTENT)


@pytest.mark.parametrize("change", ["another file", "no ranges"])
def test_a_server_that_sends_the_whole_again_is_believed(server: Server, tmp_path: Path, change: str) -> None:
    server.faults = ["cut at 1000000"] + ["503"] * 4
    with pytest.raises(InputError, match="HTTP 503"):
        get(server, tmp_path)
    if change == "another file":
        server.content, server.etag = CONTENT[::-1], '"two"'
    server.knows_ranges = change != "no ranges"
    assert get(server, tmp_path, checksum="").read_bytes() == server.content


def test_a_download_without_length_or_etag_is_complete(server: Server, tmp_path: Path) -> None:
    server.etag, server.faults = "", ["no length"]
    assert get(server, tmp_path).read_bytes() == CONTENT


def test_a_download_killed_before_its_rename_is_not_repeated(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file.bin.part").write_bytes(CONTENT)
    assert get(server, tmp_path).read_bytes() == CONTENT
    assert server.ranges == [f"bytes={len(CONTENT)}-"]


def test_a_wrong_checksum_names_both_and_removes_the_file(server: Server, tmp_path: Path) -> None:
    server.content = b"another"
    with pytest.raises(InputError, match=f"sha256 is {hashlib.sha256(b'another').hexdigest()}; expected {SHA256[7:]}"):
        get(server, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_file_and_a_missing_server_are_said_at_once(server: Server, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="/404: HTTP 404 Not Found; expected the file"):
        get(server, tmp_path, path="404")
    assert len(server.ranges) == 1
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        nobody = RemoteFile(f"http://127.0.0.1:{closed.getsockname()[1]}/file", "file", 1)
    with pytest.raises(InputError, match=r"no connection \(Connection refused\).*ASR_DATA_DIR"):
        download(nobody, tmp_path)


def rooms_of(server: Server) -> datasets.Dataset:
    """The data set of rooms with the same files on the loopback server."""
    files = tuple(replace(file, url=f"{server.url}/{file.name}", checksum=SHA256) for file in DATASETS["rooms"].files)
    return replace(DATASETS["rooms"], files=files)


def test_a_data_set_appears_complete_and_once(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fetch(rooms_of(server), tmp_path, None, Console())
    assert sorted(path.name for path in (tmp_path / "rir").iterdir()) == ["rir1.wav", "rir2.wav", "rir3.wav"]
    assert not (tmp_path / ".downloads" / "rooms").exists() and not (tmp_path / ".rir.partial").exists()
    assert "Apache-2.0" in capsys.readouterr().out
    fetch(rooms_of(server), tmp_path, None, Console())
    assert "already in" in capsys.readouterr().out and len(server.ranges) == 3


def test_a_damaged_archive_is_downloaded_again(server: Server, tmp_path: Path) -> None:
    noise = replace(DATASETS["noise"], files=(RemoteFile(f"{server.url}/noise", "noise.tar.gz", 3),))
    for _ in range(2):
        with pytest.raises(InputError, match=r"not a complete tar archive .*: it has been removed"):
            fetch(noise, tmp_path, None, Console())
        assert list((tmp_path / ".downloads" / "noise").iterdir()) == []
    assert server.ranges == [None, None] and not (tmp_path / "noise").exists()


def test_a_folder_of_something_else_is_not_replaced(server: Server, tmp_path: Path) -> None:
    (tmp_path / "rir").mkdir()
    with pytest.raises(InputError, match=r"exists without rir1\.wav and rir2\.wav and rir3\.wav"):
        fetch(rooms_of(server), tmp_path, None, Console())


def test_what_asr_data_dir_holds_is_copied(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "given" / "rir").mkdir(parents=True)
    for number in (1, 2, 3):
        (tmp_path / "given" / "rir" / f"rir{number}.wav").write_bytes(b"%d" % number)
    fetch(DATASETS["rooms"], tmp_path / "new", tmp_path / "given", Console(width=500))
    assert (tmp_path / "new" / "rir" / "rir2.wav").read_bytes() == b"2"
    assert f"copied from {tmp_path}/given/rir (ASR_DATA_DIR)" in capsys.readouterr().out


def test_a_full_disk_is_one_sentence_and_what_arrived_is_kept(server: Server, tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, hard))  # a write beyond it fails like one on a full disk
    try:
        with pytest.raises(InputError, match=r"File too large; expected a writable path: free about \d+ MB"):
            fetch(rooms_of(server), tmp_path, None, Console())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (tmp_path / ".downloads" / "rooms" / "rir1.wav.part").stat().st_size <= 1_000_000
    fetch(rooms_of(server), tmp_path, None, Console())
    assert (tmp_path / "rir" / "rir1.wav").read_bytes() == CONTENT


def test_a_disk_that_is_too_small_is_said_beforehand(server: Server, tmp_path: Path) -> None:
    huge = replace(rooms_of(server), megabytes=1e12)
    with pytest.raises(InputError, match=r"MB are free; rooms takes about 1000000000000 MB"):
        fetch(huge, tmp_path, None, Console())
    assert server.ranges == []


def archive(path: Path, files: dict[str, bytes], executable: tuple[str, ...] = ()) -> Path:
    """A .tar.gz of files below one top folder, as hosts of repositories make them."""
    with tarfile.open(path, "w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(f"top/{name}")
            member.size, member.mode = len(content), 0o775 if name in executable else 0o664
            tar.addfile(member, io.BytesIO(content))
    return path


def test_the_tree_id_is_gits(tmp_path: Path) -> None:
    files = {"a/b.txt": b"one", "a.txt": b"two", "a0": b"", "a/c/d": b"three", "run": b"#!"}
    for name, content in files.items():
        (tmp_path / "work" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "work" / name).write_bytes(content)
    (tmp_path / "work" / "run").chmod(0o755)

    def git(*words: str) -> str:
        command = ["git", "-C", str(tmp_path / "work"), "-c", "core.fileMode=true", *words]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    git("init", "-q")
    git("add", "-A")
    tree = GitTree()
    for name, mode, content in read_members(archive(tmp_path / "x.tar.gz", files, ("run",)), lambda name: True):
        tree.add(name, mode, content)
    assert tree.id() == git("write-tree")
    with pytest.raises(InputError, match=f"git tree is {tree.id()}; expected 00"):
        tree.check("00", "x.tar.gz")


def test_an_archive_that_leaves_its_folder_or_is_cut_is_refused(tmp_path: Path) -> None:
    outside = archive(tmp_path / "outside.tar.gz", {"../../x": b"1"})
    with pytest.raises(InputError, match="outside of its folder"):
        list(read_members(outside, lambda name: True))
    whole = archive(tmp_path / "whole.tar.gz", {"x": CONTENT})
    whole.write_bytes(whole.read_bytes()[:2000])
    with pytest.raises(InputError, match="not a complete tar archive"):
        list(read_members(whole, lambda name: True))


@pytest.fixture(scope="module")
def digits(speech: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of digits built from an archive of one speaker's real recordings."""
    folder = tmp_path_factory.mktemp("digits")
    files = {f"recordings/{path.name}": path.read_bytes() for path in (speech / "digits" / "wav").glob("*_theo_*")}
    built = folder / "digits"
    built.mkdir()
    tree = GitTree()
    for name, content in files.items():
        tree.add(name.removeprefix("recordings/"), 0o664, content)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datasets, "FSDD_TREE", tree.id())  # a third of the published ones are executable, these are not
        datasets._build_digits([archive(folder / "fsdd.tar.gz", files)], built)
    return built


@pytest.mark.parametrize("split", ["train", "test"])
def test_the_manifests_of_digits_are_those_of_the_official_split(digits: Path, speech: Path, split: str) -> None:
    built, known = read_manifest(digits / f"{split}.jsonl"), read_manifest(speech / "digits" / f"{split}.jsonl")
    assert built == sorted((row for row in known if row["speaker"] == "theo"), key=lambda row: str(row["id"]))
    corpus = open_corpus(str(digits / f"{split}.jsonl"), limit=20)
    assert len(corpus.utterances) == 20 and not corpus.rejects


def test_librispeech_takes_the_first_utterances_of_each_speaker(speech: Path, tmp_path: Path) -> None:
    known = read_manifest(speech / "librispeech" / "dev.jsonl")[:2]
    audio = [(speech / "librispeech" / row["audio"]).read_bytes() for row in known]
    lines = [f"{row['id'][:-4]}{number:04d} {row['text']}" for row in known for number in (2, 1, 0)]
    files = {"SPEAKERS.TXT": b"; comment\n" + "".join(f"{r['speaker']} | {r['sex']} | x\n" for r in known).encode()}
    for row, content in zip(known, audio, strict=True):
        speaker, chapter, _ = row["id"].split("-")
        folder = f"dev-clean-2/{speaker}/{chapter}"
        files |= {f"{folder}/{speaker}-{chapter}-000{number}.flac": content for number in range(3)}
        mine = [line for line in lines if line.startswith(f"{speaker}-")]
        files[f"{folder}/{speaker}-{chapter}.trans.txt"] = "\n".join(mine).encode()
    datasets._librispeech_part(archive(tmp_path / "x.tar.gz", files), tmp_path, "dev", "read-books", per_speaker=1)
    assert read_manifest(tmp_path / "dev.jsonl") == known


def test_noises_are_named_by_class_and_fold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {"README.md": b"who", "001 - Dog bark/1-100032-A.ogg": b"woof", "x.xlsx": b""}
    tree = GitTree()
    for name, content in files.items():
        tree.add(name, 0o664, content)
    monkeypatch.setattr(datasets, "ESC10_TREE", tree.id())
    (tmp_path / "noise").mkdir()
    datasets._build_noise([archive(tmp_path / "x.tar.gz", files)], tmp_path / "noise")
    assert {path.name: path.read_bytes() for path in (tmp_path / "noise").iterdir()} == {
        "ATTRIBUTION.md": b"who",
        "dog-bark_1-100032-A.ogg": b"woof",
    }


def test_german_texts_and_split(speech: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = {split: read_manifest(speech / "german" / f"{split}.jsonl") for split in ("train", "test")}
    (test,), audio = known["test"][:1], (speech / "german" / known["test"][0]["audio"]).read_bytes()
    train = known["train"][0]
    files = {f"verified/{row['id']}.flac": audio for row in (test, train)} | {"verified/metadata.csv": b"x"}
    tree = GitTree()
    for name, content in files.items():
        tree.add(name.removeprefix("verified/"), 0o664, content)
    monkeypatch.setattr(datasets, "KERSTIN_TREE", tree.id())
    files["metadata.csv"] = "".join(f"{row['id']}|{row['text']}\n" for row in (train, test)).encode()
    datasets._build_german([archive(tmp_path / "x.tar.gz", files)], tmp_path)
    assert read_manifest(tmp_path / "test.jsonl") == [test | {"audio": f"audio/{test['id']}.flac"}]
    (built,) = read_manifest(tmp_path / "train.jsonl")
    assert (built["id"], built["text"]) == (train["id"], train["text"])
    chosen = {int(row["id"].rpartition("-")[2]) for row in known["test"]}
    assert chosen == set(datasets.GERMAN_TEST)


def test_the_list_names_sizes_licences_and_sources(capsys: pytest.CaptureFixture[str]) -> None:
    main([])
    text = capsys.readouterr().out
    assert text.strip() == listing()
    for dataset in DATASETS.values():
        assert all(part in text for part in (dataset.name, dataset.licence, dataset.page, dataset.folder))
    with pytest.raises(UsageError, match="'digit' is not a data set; expected digits, "):
        main(["digit"])


def test_every_configuration_finds_its_data_by_one_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(DATA_VARIABLE, "/somewhere")
    held = {f"/somewhere/{one.folder}/{name}" for one in DATASETS.values() for name in one.holds}
    seen = 0
    for path in sorted((ROOT / "configs" / "finetune").glob("*.yaml")):
        assert "../" not in path.read_text(encoding="utf-8"), f"{path}: a path outside of the repository"
        data = parse_command(TrainConfig, program="x", description="x", arguments=["--config", str(path)]).data
        for manifest in (*data.train, data.validation):
            if manifest is not None and not manifest.startswith(("demo/", "runs/", "your/")):
                assert manifest in held, f"{path}: {manifest} is fetched by no data set"
                seen += 1
    assert seen >= 10


def test_the_variable_is_expanded_wherever_an_option_holds_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(DATA_VARIABLE, raising=False)
    words = ["--data.train", "[$ASR_DATA_DIR/a.jsonl, b.jsonl]", "--output_dir", "${ASR_DATA_DIR}/run"]
    config = parse_command(TrainConfig, program="x", description="x", arguments=words)
    assert (config.data.train, config.output_dir) == (["data/a.jsonl", "b.jsonl"], Path("data/run"))
    assert expand_data_folder({"prompt": ("$5 and ${HOME}", None)}) == {"prompt": ("$5 and ${HOME}", None)}
    same = replace(config)
    assert expand_data_folder(same) is same


def test_data_that_was_not_fetched_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(DATA_VARIABLE, "/somewhere")
    with pytest.raises(InputError, match=r"preprocessing\.fetch.*set ASR_DATA_DIR .* holds digits/train\.jsonl"):
        open_corpus("/somewhere/digits/train.jsonl")
    with pytest.raises(InputError) as other:
        open_corpus("/elsewhere/train.jsonl")
    assert "fetch" not in str(other.value)
    assert json.dumps(str(other.value)).count("\\n") == 0
