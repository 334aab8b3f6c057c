"""Three utterances, and every format that a corpus comes in written from them."""

import csv
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import soundfile


@dataclass(frozen=True)
class Spoken:
    """What a format should give back."""

    id: str
    text: str
    speaker: str
    sex: str
    seconds: float

    @property
    def frequency(self) -> float:
        return 100.0 + 50.0 * self.seconds


SPOKEN = (
    Spoken("19-198-0000", "ONE TWO", "19", "F", 1.0),
    Spoken("19-198-0001", "DREI VIER ÜBER", "19", "F", 0.5),
    Spoken("26-495-0000", "IT'S FIVE", "26", "M", 0.75),
)
SEX_WORDS = {"F": "female", "M": "male"}


def write_audio(path: Path, one: Spoken) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    moments = np.arange(round(one.seconds * 16_000)) / 16_000
    soundfile.write(path, 0.1 * np.sin(2 * np.pi * one.frequency * moments), 16_000)
    return path


def _rows(folder: Path, place: str = "") -> list[dict[str, str]]:
    rows = []
    for one in SPOKEN:
        name = f"{place}{one.id}.wav"
        write_audio(folder / name, one)
        rows.append({"file_name": name, "text": one.text, "id": one.id, "speaker": one.speaker, "sex": one.sex})
    return rows


def _table(path: Path, rows: list[dict[str, str]], **options: object) -> str:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), **options)  # type: ignore[arg-type]
        writer.writeheader()
        writer.writerows(rows)
    return str(path)


def jsonl(folder: Path) -> str:
    path = folder / "corpus.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in _rows(folder, "wav/")), encoding="utf-8")
    return str(path)


def nemo(folder: Path) -> str:
    lines = [
        {"audio_filepath": str(folder / row["file_name"]), "text": row["text"], "duration": one.seconds, "id": one.id}
        | {"speaker": one.speaker, "gender": SEX_WORDS[one.sex]}
        for row, one in zip(_rows(folder), SPOKEN, strict=True)
    ]
    path = folder / "manifest.json"
    path.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    return str(path)


def comma_separated(folder: Path) -> str:
    return _table(folder / "corpus.csv", _rows(folder))


def tab_separated(folder: Path) -> str:
    return _table(folder / "corpus.tsv", _rows(folder), delimiter="\t", lineterminator="\r\n")


def sniffed(folder: Path) -> str:
    return _table(folder / "list of files.txt", _rows(folder), delimiter="\t")


def audiofolder_csv(folder: Path) -> str:
    _table(folder / "metadata.csv", _rows(folder, "train/"))
    return str(folder)


def audiofolder_split(folder: Path) -> str:
    _table(folder / "train" / "metadata.csv", _rows_in(folder / "train"))
    return str(folder)


def _rows_in(folder: Path) -> list[dict[str, str]]:
    folder.mkdir()
    return _rows(folder)


def audiofolder_jsonl(folder: Path) -> str:
    (folder / "metadata.jsonl").write_text("\n".join(map(json.dumps, _rows(folder))), encoding="utf-8")
    return str(folder)


def librispeech(folder: Path) -> str:
    for one in SPOKEN:
        speaker, chapter, _ = one.id.split("-")
        place = folder / "dev-clean" / speaker / chapter
        write_audio(place / f"{one.id}.flac", one)
        with (place / f"{speaker}-{chapter}.trans.txt").open("a", encoding="utf-8") as file:
            file.write(f"{one.id} {one.text}\n")
    table = (
        ";ID |SEX| SUBSET |MINUTES| NAME\n19   | F | dev-clean | 25.19 | Ann\n26   | M | dev-clean | 8.0 | Bob | B.\n"
    )
    (folder / "SPEAKERS.TXT").write_text(table, encoding="utf-8")
    return str(folder)


def common_voice(folder: Path) -> str:
    rows = [
        {
            "client_id": one.speaker,
            "path": f"{one.id}.wav",
            "sentence": one.text,
            "age": "",
            "gender": SEX_WORDS[one.sex],
        }
        for one in SPOKEN
    ]
    for one in SPOKEN:
        write_audio(folder / "clips" / f"{one.id}.wav", one)
    (folder / "clip_durations.tsv").write_text("clip\tduration[ms]\n", encoding="utf-8")
    _table(folder / "validated.tsv", rows, delimiter="\t", quoting=csv.QUOTE_NONE)
    return str(folder)


def kaldi(folder: Path) -> str:
    kaldi_tables(folder)
    wavs = [f"{one.id} {write_audio(folder / 'my audio' / f'{one.id}.wav', one)}\n" for one in SPOKEN]
    (folder / "wav.scp").write_text("".join(wavs), encoding="utf-8")
    (folder / "utt2dur").write_text("".join(f"{one.id} {one.seconds}\n" for one in SPOKEN), encoding="utf-8")
    return str(folder)


def kaldi_tables(folder: Path) -> None:
    (folder / "text").write_text("".join(f"{one.id} {one.text}\n" for one in SPOKEN), encoding="utf-8")
    (folder / "utt2spk").write_text("".join(f"{one.id} {one.speaker}\n" for one in SPOKEN), encoding="utf-8")
    (folder / "spk2gender").write_text("19 f\n26 m\n", encoding="utf-8")


def stm(folder: Path) -> str:
    """As TED-LIUM; segments have times, and no ids."""
    (folder / "stm").mkdir()
    for one in SPOKEN:
        write_audio(folder / "wav" / f"{one.id}.wav", one)
        line = f"{one.id} 1 {one.speaker} 0.0 {one.seconds} <o,f0,{SEX_WORDS[one.sex]}> {one.text}\n"
        (folder / "stm" / f"{one.id}.stm").write_text(f";; reference\n{line}", encoding="utf-8")
    return str(folder)


def beside(folder: Path) -> str:
    for one in SPOKEN:
        write_audio(folder / f"{one.id}.wav", one)
        (folder / f"{one.id}.txt").write_text(one.text + "\n", encoding="utf-8")
    return str(folder)


def parquet(folder: Path) -> str:
    """As the Hub holds audio: encoded bytes, and datasets' features in the schema."""
    folder.mkdir(exist_ok=True)
    rows = _rows(folder.with_name("encoded"))
    table = pa.table(
        {
            "audio": [
                {"bytes": (folder.with_name("encoded") / row["file_name"]).read_bytes(), "path": row["file_name"]}
                for row in rows
            ],
            "sentence": [one.text for one in SPOKEN],
            "speaker_id": [int(one.speaker) for one in SPOKEN],
            "gender": [SEX_WORDS[one.sex] for one in SPOKEN],
            "id": [one.id for one in SPOKEN],
        }
    )
    kinds = {"sentence": "string", "speaker_id": "int64", "gender": "string", "id": "string"}
    features = {name: {"dtype": kind, "_type": "Value"} for name, kind in kinds.items()} | {"audio": {"_type": "Audio"}}
    described = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    path = folder / "test-00000-of-00001.parquet"
    pq.write_table(described, path)
    return str(path)


def parquet_folder(folder: Path) -> str:
    return str(Path(parquet(folder / "data")).parents[1])


def streamed(folder: Path) -> str:
    return f"hf:{Path(parquet(folder / 'set')).parent}"


def streamed_audiofolder(folder: Path) -> str:
    place = folder / "set" / "test"
    place.mkdir(parents=True)
    _table(place / "metadata.csv", _rows(place))
    return f"hf:{folder / 'set'}"


def saved(folder: Path) -> str:
    from datasets import Dataset

    Dataset.from_parquet(parquet(folder / "set"), cache_dir=str(folder / "cache")).save_to_disk(folder / "saved")
    return str(folder / "saved")


WAYS: tuple[Callable[[Path], str], ...] = (
    jsonl, nemo, comma_separated, tab_separated, sniffed, audiofolder_csv, audiofolder_split, audiofolder_jsonl,
    librispeech, common_voice, kaldi, stm, beside, parquet, parquet_folder, streamed, streamed_audiofolder, saved,
)  # fmt: skip
