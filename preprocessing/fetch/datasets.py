"""The data sets that can be fetched: where each is published, its licence and checksum, and how its manifests are made.

A function `_build_*` turns the downloaded files into a folder as the configurations name it. Texts and speakers are the
publisher's; durations are those of the files.
"""

import re
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from preprocessing.fetch.archives import GitTree, read_members
from preprocessing.fetch.download import RemoteFile
from preprocessing.storage.atomic_write import write_json_lines

GITHUB = "https://github.com"
FSDD_TREE = "d04322e322a9f937f6f4f7c8546693755184df5b"  # recordings/ of v1.0.10
KERSTIN_COMMIT = "f73127135cf80d6ef52aef6af58c49774f4fd625"
KERSTIN_TREE = "305a67f95e1c9cc8404ede5c4aff44cc4c8fd028"  # verified/
ESC10_COMMIT = "553c8f1743b9dba6b282e1323c3ca8fa76923448"  # the last one that holds the clips
ESC10_TREE = "f8db9607bde042265b003ca19f94b63c484aeefe"
DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
DIGITS_TEST_TAKES = 5  # its README: "Recordings numbered 0-4 (inclusive) are in the test and 5-49 are in the training"
HARD_SPEAKERS = frozenset({"1998", "2033", "2609", "3005", "3331", "367"})  # of test-other, three women and three men
# No published split: the sentences that docs/results.md tests on, by the last part of their ids.
GERMAN_TEST = (
    *(13, 248, 276, 277, 313, 438, 440, 494, 507, 518, 536, 583, 633, 676, 690, 704, 912, 1021, 1022, 1058, 1083, 1126),
    *(1150, 1187, 1199, 1275, 1278, 1412, 1416, 1472, 1489, 1561, 1631, 1675, 1693, 1722, 1768, 1787, 1911, 1954, 1984),
    *(2013, 2038, 2154, 2183, 2195, 2222, 2279, 2281, 2296),
)
Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """One data set.

    folder: below the data folder. holds: files by which a complete one is known. build: makes the folder from the
    downloaded files, in the order of `files`. megabytes: of the folder, about.
    """

    name: str
    folder: str
    what: str
    licence: str
    page: str
    files: tuple[RemoteFile, ...]
    holds: tuple[str, ...]
    megabytes: float
    build: Callable[[list[Path], Path], None]

    def is_in(self, data_dir: Path) -> bool:
        """Whether the data folder holds it."""
        return all((data_dir / self.folder / name).is_file() for name in self.holds)

    @property
    def download_megabytes(self) -> float:
        """Of all files."""
        return sum(file.megabytes for file in self.files)


def _build_digits(files: list[Path], target: Path) -> None:
    tree, rows = GitTree(), []
    (target / "wav").mkdir()
    for name, mode, content in read_members(files[0], lambda name: name.startswith("recordings/")):
        tree.add(name.removeprefix("recordings/"), mode, content)
        path = target / "wav" / Path(name).name
        path.write_bytes(content)
        digit, speaker, _ = path.stem.split("_")
        rows.append(_row(path, target, DIGITS[int(digit)], speaker, domain="digits-8khz"))
    tree.check(FSDD_TREE, str(files[0]))
    is_test = {row["id"]: int(row["id"].rpartition("_")[2]) < DIGITS_TEST_TAKES for row in rows}
    write_manifest(target / "test.jsonl", (row for row in rows if is_test[row["id"]]))
    write_manifest(target / "train.jsonl", (row for row in rows if not is_test[row["id"]]))


def _build_german(files: list[Path], target: Path) -> None:
    tree, texts, rows = GitTree(), dict[str, str](), []
    (target / "audio").mkdir()
    for name, mode, content in read_members(files[0], lambda name: name.startswith(("verified/", "metadata.csv"))):
        if name == "metadata.csv":
            texts = dict(line.split("|", 1) for line in content.decode("utf-8").splitlines() if "|" in line)
            continue
        tree.add(name.removeprefix("verified/"), mode, content)
        if name.endswith(".flac"):
            (target / "audio" / Path(name).name).write_bytes(content)
    tree.check(KERSTIN_TREE, str(files[0]))
    for path in (target / "audio").iterdir():
        facts = {"sex": "F", "language": "de", "domain": "read-wikipedia"}
        rows.append(_row(path, target, texts[path.stem], "kerstin", **facts))
    is_test = {row["id"]: int(row["id"].rpartition("-")[2]) in GERMAN_TEST for row in rows}
    write_manifest(target / "test.jsonl", (row for row in rows if is_test[row["id"]]))
    write_manifest(target / "train.jsonl", (row for row in rows if not is_test[row["id"]]))


def _build_librispeech(files: list[Path], target: Path) -> None:
    """train: Mini LibriSpeech's; dev: two utterances of each speaker of its dev-clean-2; test-other: ten of six."""
    train, dev, test = files
    _librispeech_part(train, target, "train", "read-books", per_speaker=None)
    _librispeech_part(dev, target, "dev", "read-books", per_speaker=2)
    _librispeech_part(test, target, "test-other", "read-books-hard", per_speaker=10, speakers=HARD_SPEAKERS)


def _librispeech_part(
    archive: Path,
    target: Path,
    part: str,
    domain: str,
    *,
    per_speaker: int | None,
    speakers: frozenset[str] | None = None,
) -> None:
    """Write a folder of FLAC files and the manifest of one archive: each speaker's first utterances by their id."""
    texts, sexes = dict[str, str](), dict[str, str]()
    for name, _, content in read_members(archive, lambda name: name.endswith((".trans.txt", "SPEAKERS.TXT"))):
        lines = content.decode("utf-8").splitlines()
        if name.endswith(".trans.txt"):
            texts |= dict(line.split(" ", 1) for line in lines if line)
        else:
            cells = [[cell.strip() for cell in line.split("|")] for line in lines if not line.startswith(";")]
            sexes = {cell[0]: cell[1] for cell in cells if len(cell) > 1}
    chosen: dict[str, list[str]] = {}
    for utterance in sorted(texts):
        speaker = utterance.partition("-")[0]
        if speakers is None or speaker in speakers:
            chosen.setdefault(speaker, []).append(utterance)
    wanted = {one for utterances in chosen.values() for one in utterances[:per_speaker]}
    (target / part).mkdir()
    rows = []
    for name, _, content in read_members(
        archive, lambda name: Path(name).suffix == ".flac" and Path(name).stem in wanted
    ):
        path = target / part / Path(name).name
        path.write_bytes(content)
        speaker = path.stem.partition("-")[0]
        facts = {"sex": sexes[speaker]} if speaker in sexes else {}
        rows.append(_row(path, target, texts[path.stem], speaker, domain=domain, **facts))
    write_manifest(target / f"{part}.jsonl", rows)


def _build_noise(files: list[Path], target: Path) -> None:
    tree = GitTree()
    for name, mode, content in read_members(files[0], lambda name: True):
        tree.add(name, mode, content)
        if name == "README.md":
            (target / "ATTRIBUTION.md").write_bytes(content)
        elif clip := re.fullmatch(r"\d+ - ([^/]+)/([^/]+\.ogg)", name):  # "001 - Dog bark/1-100032-A.ogg"
            (target / f"{clip[1].lower().replace(' ', '-')}_{clip[2]}").write_bytes(content)
    tree.check(ESC10_TREE, str(files[0]))


def _build_rooms(files: list[Path], target: Path) -> None:
    for path in files:
        shutil.copyfile(path, target / path.name)


def _row(path: Path, folder: Path, text: str, speaker: str, **facts: str) -> Row:
    """A manifest's fields; the duration, in seconds to the millisecond, is the file's."""
    import soundfile

    duration = round(soundfile.info(path).duration, 3)
    row: Row = {"id": path.stem, "audio": path.relative_to(folder).as_posix(), "text": text, "speaker": speaker}
    return row | {"duration": duration, "language": "en"} | facts


def write_manifest(path: Path, rows: Iterable[Row]) -> None:
    """JSON Lines in the order of their ids."""
    write_json_lines(path, sorted(rows, key=lambda row: str(row["id"])))


def _github(repository: str, ref: str, name: str, megabytes: float) -> RemoteFile:
    return RemoteFile(f"{GITHUB}/{repository}/archive/{ref}.tar.gz", name, megabytes)


_OPENSLR = "https://www.openslr.org/resources"
_SPEECHBRAIN = "https://raw.githubusercontent.com/speechbrain/speechbrain/v1.0.3/tests/samples/RIRs"
DATASETS = {
    dataset.name: dataset
    for dataset in (
        Dataset(
            name="digits",
            folder="digits",
            what="spoken digits, 6 speakers, 8 kHz: 2,700 to train, 300 to test "
            "(Free Spoken Digit Dataset, official split)",
            licence="CC BY-SA 4.0",
            page=f"{GITHUB}/Jakobovski/free-spoken-digit-dataset",
            files=(_github("Jakobovski/free-spoken-digit-dataset", "refs/tags/v1.0.10", "fsdd.tar.gz", 17),),
            holds=("train.jsonl", "test.jsonl"),
            megabytes=30,
            build=_build_digits,
        ),
        Dataset(
            name="librispeech-mini",
            folder="librispeech",
            what="read English: Mini LibriSpeech to train (5 h), two utterances a speaker to validate, "
            "60 of test-other",
            licence="CC BY 4.0",
            page="https://www.openslr.org/31",
            files=(
                RemoteFile(
                    f"{_OPENSLR}/31/train-clean-5.tar.gz",
                    "train-clean-5.tar.gz",
                    333,
                    "md5:5df7d4e78065366204ca6845bb08f490",
                ),
                RemoteFile(
                    f"{_OPENSLR}/31/dev-clean-2.tar.gz",
                    "dev-clean-2.tar.gz",
                    126,
                    "md5:6d7ab67ac6a1d2c993d050e16d61080d",
                ),
                RemoteFile(
                    f"{_OPENSLR}/12/test-other.tar.gz",
                    "test-other.tar.gz",
                    329,
                    "sha256:d09c181bba5cf717b3dee7d4d592af11a3ee3a09e08ae025c5506f6ebe961c29",
                ),
            ),
            holds=("train.jsonl", "dev.jsonl", "test-other.jsonl"),
            megabytes=360,
            build=_build_librispeech,
        ),
        Dataset(
            name="german",
            folder="german",
            what="read German, one speaker (Kerstin): 1,324 sentences to train, 50 to test",
            licence="CC0 1.0",
            page=f"{GITHUB}/rhasspy/dataset-voice-kerstin",
            files=(_github("rhasspy/dataset-voice-kerstin", KERSTIN_COMMIT, "kerstin.tar.gz", 354),),
            holds=("train.jsonl", "test.jsonl"),
            megabytes=216,
            build=_build_german,
        ),
        Dataset(
            name="noise",
            folder="noise",
            what="400 clips of 5 s: rain, sea, clock, helicopter, chainsaw, dog, ... (ESC-10)",
            licence="CC BY 3.0",
            page=f"{GITHUB}/karolpiczak/ESC-10",
            files=(_github("karolpiczak/ESC-10", ESC10_COMMIT, "esc-10.tar.gz", 42),),
            holds=("ATTRIBUTION.md",),
            megabytes=42,
            build=_build_noise,
        ),
        Dataset(
            name="rooms",
            folder="rir",
            what="3 room impulse responses (SpeechBrain's samples)",
            licence="Apache-2.0",
            page=f"{GITHUB}/speechbrain/speechbrain",
            files=tuple(
                RemoteFile(f"{_SPEECHBRAIN}/rir{number}.wav", f"rir{number}.wav", 0.05, f"sha256:{sha256}")
                for number, sha256 in enumerate(
                    (
                        "c5bfb142416ca367f26a03b3028b2988b06b4635005ed99b9b95f8a3540057d7",
                        "a9b7ebead3a953f32e8da13c3423cf8966aeb4883b49ecc20ac2ce196175cb23",
                        "16278c123def4465ad7f4c4c918ae9338024a5bb494880b33365f7647afaef0f",
                    ),
                    start=1,
                )
            ),
            holds=("rir1.wav", "rir2.wav", "rir3.wav"),
            megabytes=0.2,
            build=_build_rooms,
        ),
    )
}
