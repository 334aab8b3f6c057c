"""Training on a stream: the same batches in every process, resumed exactly, next to nothing on the disk."""

import json
import os
import shutil
from collections.abc import Iterator
from itertools import combinations, islice
from pathlib import Path
from typing import Any

import pyarrow
import pytest
import torch
from accelerate import Accelerator
from pyarrow import parquet

from finetune.config import DataConfig
from finetune.data.corpora import open_corpora, select_utterances, with_unique_ids
from finetune.data.examples import Preparation
from finetune.data.rejects import Rejects
from finetune.data.streaming import StreamedExamples, interleave
from finetune.models.base import Example
from preprocessing.augment import Chain, from_config
from preprocessing.corpus import Reject, Utterance
from preprocessing.errors import InputError, UsageError
from preprocessing.text import profile
from tests.commands import assert_one_sentence, run
from tests.conftest import DEMO, absolute, read_manifest, write_manifest

pytestmark = pytest.mark.timeout(1200)  # a busy machine is slow, not wrong
MEGABYTE = 2**20


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 real commands, one that is no audio and one whose text the profile removes, as the Hub holds a data set."""
    folder = tmp_path_factory.mktemp("parquet")
    rows: list[dict[str, Any]] = [
        {"id": row["id"], "audio": {"bytes": Path(row["audio"]).read_bytes(), "path": None}, "text": row["text"]}
        for row in absolute(DEMO / "corpus" / "train.jsonl", 60)
    ]
    rows.insert(40, {"id": "noise", "audio": {"bytes": b"no audio at all", "path": None}, "text": "stop"})
    rows.insert(50, {"id": "mute", "audio": rows[0]["audio"], "text": "..."})
    (folder / "data").mkdir()
    parquet.write_table(pyarrow.Table.from_pylist(rows), folder / "data" / "train-00000.parquet", row_group_size=16)
    return folder


class AsItIs:
    """What streaming asks of a recogniser."""

    def encode(self, text: str) -> tuple[int, ...]:
        return tuple(map(ord, text))

    def rejection_reason(self, n_samples: int, text: str, *, is_silence: bool = False) -> str | None:
        return None if text else "an empty label"

    def fits(self, n_samples: int, labels: tuple[int, ...]) -> bool:
        return True

    def prepare(self, index: int, waveform: Any, labels: tuple[int, ...]) -> Example:
        return Example(index, waveform, labels, len(waveform))


def streamed(
    corpus: Path, rejects: list[Reject], *, seed: int = 3, augment: Chain | None = None, **keys: Any
) -> StreamedExamples:
    config = DataConfig(train=[f"hf:{corpus}::train"], streaming=True, shuffle_buffer=20, **keys)
    prepare = Preparation(AsItIs(), augment=augment, seed=seed)  # type: ignore[arg-type]
    return StreamedExamples(config, prepare, profile("librispeech"), rejects.append)


def ids(batches: Iterator[Any], count: int) -> list[list[str]]:
    return [[streamed.utterance.id for streamed in batch] for batch in islice(batches, count)]


def test_every_process_deals_the_same_batches_and_any_position_is_found_again(corpus: Path) -> None:
    whole = ids(streamed(corpus, []).batches(12.0, 0), 30)
    processes = [ids(islice(streamed(corpus, []).batches(12.0, 0), rank, None, 2), 15) for rank in (0, 1)]
    assert [batch for both in zip(*processes, strict=True) for batch in both] == whole
    assert ids(streamed(corpus, []).batches(12.0, 17), 13) == whole[17:]
    assert ids(streamed(corpus, [], seed=4).batches(12.0, 0), 8) != whole[:8]
    first_epoch = [name for batch in whole for name in batch][:60]
    assert len(set(first_epoch)) == 60


def test_what_is_unusable_is_told_once_and_labels_belong_to_their_audio(corpus: Path) -> None:
    rejects: list[Reject] = []
    examples = streamed(corpus, rejects)
    told = {row["id"]: row for row in read_manifest(DEMO / "corpus" / "train.jsonl")}
    for batch in islice(examples.batches(12.0, 0), 40):  # more than an epoch
        for one in batch[:1]:
            example = examples[one]
            assert isinstance(example, Example)
            assert "".join(map(chr, example.labels)) == told[one.utterance.id]["text"].upper()
            assert example.n_samples / 16_000 == pytest.approx(told[one.utterance.id]["duration"], abs=0.1)
    assert ["40" in rejects[0].where, rejects[1].where, len(rejects)] == [True, "mute", 2]
    with pytest.raises(InputError, match="40"):
        list(islice(streamed(corpus, [], strict=True).batches(12.0, 0), 40))


def test_each_epoch_of_a_stream_is_augmented_anew(corpus: Path) -> None:
    plain = streamed(corpus, [])
    changed = streamed(corpus, [], augment=from_config([{"name": "gain", "gain_db": [-20.0, -10.0]}]))
    key, heard = next(plain.batches(12.0, 0))[0], []
    for examples, epoch in ((plain, 0), (changed, 0), (changed, 1)):
        example = examples[key._replace(epoch=epoch)]
        assert isinstance(example, Example)
        heard.append(example.inputs)
    assert not any(torch.equal(one, other) for one, other in combinations(heard, 2))


def test_corpora_take_turns(tmp_path: Path) -> None:
    rows = absolute(DEMO / "corpus" / "train.jsonl", 6)
    short = write_manifest(tmp_path / "short.jsonl", rows[:2])
    long = write_manifest(tmp_path / "long.jsonl", rows[2:])
    found = [found.id for found in interleave([str(short), str(long)]) if isinstance(found, Utterance)]
    ids = [row["id"] for row in rows]
    assert found == [ids[0], f"2/{ids[2]}", ids[1], f"2/{ids[3]}", f"2/{ids[4]}", f"2/{ids[5]}"]


def test_equal_ids_of_streamed_corpora_are_told_apart_before_and_while_training(tmp_path: Path) -> None:
    """As rows that are numbered: a reject of each corpus counts, those that are read before training once."""
    paths = list[str]()
    for name, first in (("a", 0), ("b", 6)):
        rows = absolute(DEMO / "corpus" / "train.jsonl", 12)[first : first + 6]
        rows = [row | {"id": f"row-{place}"} for place, row in enumerate(rows)]
        for place in (1, 4):
            rows[place]["text"] = "..."
        paths.append(str(write_manifest(tmp_path / f"{name}.jsonl", rows)))
    validation = str(write_manifest(tmp_path / "dev.jsonl", absolute(DEMO / "corpus" / "test.jsonl", 2)))
    config = DataConfig(train=paths, validation=validation, streaming=True, shuffle_buffer=4, streaming_first=3)
    recogniser: Any = AsItIs()
    data = select_utterances(open_corpora(config), recogniser, profile("librispeech"), config)
    assert [reject.where for reject in data.rejects] == ["row-1", "2/row-1"]
    rejects = Rejects(tmp_path / "rejects.jsonl")
    rejects.begin(data.rejects, resumed=False)
    examples = StreamedExamples(config, Preparation(recogniser, seed=3), profile("librispeech"), rejects.add)
    trained = list[str]()
    for batch in examples.batches(12.0, 0):
        trained += [streamed.utterance.id for streamed in batch if streamed.epoch == 0]
        if batch[0].epoch:
            break
    assert sorted(trained) == sorted(f"{prefix}row-{place}" for prefix in ("", "2/") for place in (0, 2, 3, 5))
    rejects.gather(Accelerator(cpu=True))
    assert [row["where"] for row in read_manifest(tmp_path / "rejects.jsonl")] == [
        "row-1",
        "2/row-1",
        "row-4",
        "2/row-4",
    ]


def test_a_corpus_that_is_streamed_twice_is_refused(tmp_path: Path) -> None:
    path = str(write_manifest(tmp_path / "a.jsonl", absolute(DEMO / "corpus" / "train.jsonl", 4)))
    begun = open_corpora(DataConfig(train=[path, path], streaming=True)).train
    with pytest.raises(UsageError, match="share utterances"):
        with_unique_ids(begun, streamed=True)


@pytest.mark.parametrize(
    ("keys", "flag"), [({"validation_share": 0.1}, "validation_share"), ({"weights": [2.0]}, "weights")]
)
def test_what_needs_a_list_of_utterances_is_refused(keys: dict[str, Any], flag: str) -> None:
    validation = None if "validation_share" in keys else "dev.jsonl"
    with pytest.raises(UsageError, match=rf"--data\.{flag} is .* --data\.streaming is true"):
        DataConfig(train=["hf:x::train"], validation=validation, streaming=True, **keys).check()


@pytest.mark.slow
def test_a_run_on_a_stream_resumes_byte_for_byte_and_writes_little(corpus: Path, tmp_path: Path) -> None:
    validation = write_manifest(tmp_path / "validation.jsonl", absolute(DEMO / "corpus" / "test.jsonl", 4))
    output, caches = tmp_path / "run", {"HF_HOME": str(tmp_path / "hf")}
    arguments = (
        *("finetune/train.py", "--config", "configs/finetune/demo.yaml", "--output_dir", output),
        *("--data.train", f"['hf:{corpus}::train']", "--data.validation", validation, "--data.validation_share", "0"),
        *("--data.streaming", "true", "--data.shuffle_buffer", "16", "--data.streaming_first", "10"),
        *("--data.max_batch_seconds", "12", "--data.max_seconds", "12", "--dataloader_num_workers", "1"),
        *("--max_steps", "24", "--eval_steps", "12", "--logging_steps", "4", "--report_to", "none"),
    )
    first = run(*arguments, **caches)
    assert first.returncode == 0, first.stderr
    assert "a stream that begins with 10 utterances" in first.stdout
    assert "2 utterances rejected" in first.stdout
    assert len(read_manifest(output / "rejects.jsonl")) == 2
    about = json.loads((output / "about.json").read_text())
    assert (about["training"]["utterances"], about["training"]["corpora"]) == (0, [f"hf:{corpus.name}::train"])
    beyond = sum(
        path.stat().st_size for folder in (output, tmp_path / "hf") for path in folder.rglob("*") if path.is_file()
    )
    assert beyond < 100 * MEGABYTE

    last = output / "checkpoints" / "step-00000024"
    weights = (last / "weights.safetensors").read_bytes()
    shutil.rmtree(last)
    again = run(*arguments, **caches)
    assert "resumed at step 12 of 24" in again.stdout, again.stderr
    assert (last / "weights.safetensors").read_bytes() == weights

    other = run(*arguments, "--data.shuffle_buffer", "17", **caches)
    assert_one_sentence(other, 2, "data.shuffle_buffer was 16, now 17")
    assert not os.path.exists(corpus / "cache")
