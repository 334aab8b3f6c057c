"""CTC systems in batches: every family's outcome is transformers' own for each utterance."""

import itertools
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from transformers import Wav2Vec2FeatureExtractor

from finetune.systems import wav2vec2
from finetune.systems.base import PRECISIONS, LoadOptions, SystemSpec, resolve_precision
from finetune.systems.ctc_pieces import Batching, Piece, optimal_batches
from finetune.systems.wav2vec2 import Wav2Vec2System
from preprocessing.errors import InputError, UsageError
from preprocessing.features import normalise_waveform
from preprocessing.segment import Chunk, Chunking, chunks
from preprocessing.units import Vocabulary
from tests.conftest import DEMO
from tests.finetune.models.test_padding_invariance import KINDS, SMALL, plain_model

LENGTHS = (16_000, 15_001, 30_000, 400, 28_999, 17_000)


def waveforms() -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [0.1 * torch.randn(n, generator=generator) for n in LENGTHS]


def saved(folder: Path, model: Any) -> SystemSpec:
    model.save_pretrained(folder)
    Wav2Vec2FeatureExtractor().save_pretrained(folder)
    Vocabulary.load(DEMO / "wav2vec2").save(folder)
    return SystemSpec("tiny", "wav2vec2", str(folder))


@pytest.fixture(autouse=True)
def many_units(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SMALL, "vocab_size", 32)


def logits_of(system: Wav2Vec2System, rows: list[Tensor], monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """Logits of one padded batch, cut to each row's frames."""
    seen: list[Tensor] = []
    system._model.lm_head.register_forward_hook(lambda _, __, logits: seen.append(logits))
    system._compute([normalise_waveform(row) for row in rows])
    (logits,) = seen
    return [together[: system._n_frames(len(row))] for together, row in zip(logits, rows, strict=True)]


@pytest.mark.parametrize("kind", KINDS)
def test_a_padded_batch_has_the_logits_of_single_utterances(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = plain_model(kind).eval()
    system = Wav2Vec2System(saved(tmp_path, plain), LoadOptions("cpu", None))
    with torch.inference_mode():
        for row, logits in zip(waveforms(), logits_of(system, waveforms(), monkeypatch), strict=True):
            alone = plain(normalise_waveform(row)[None]).logits[0]
            torch.testing.assert_close(logits, alone, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("kind", ["wav2vec2 group", "wav2vec2 layer", "data2vec"])
def test_paths_keep_their_order(kind: str, tmp_path: Path) -> None:
    plain = plain_model(kind).eval()
    system = Wav2Vec2System(saved(tmp_path, plain), LoadOptions("cpu", None))
    with torch.inference_mode():
        alone = [plain(normalise_waveform(row)[None]).logits[0].argmax(-1).tolist() for row in waveforms()]
    assert [path.tolist() for path in system.forward(system.features(waveforms()))] == alone
    assert len({tuple(path) for path in alone}) == len(LENGTHS)


def test_adapters_are_heard_one_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SMALL, "add_adapter", True)
    monkeypatch.setitem(SMALL, "output_hidden_size", 48)
    plain = plain_model("wav2vec2 layer").eval()
    system = Wav2Vec2System(saved(tmp_path, plain), LoadOptions("cpu", None))
    assert system.facts.settings["batch"].startswith("one at a time")
    with torch.inference_mode():
        alone = [plain(normalise_waveform(row)[None]).logits[0].argmax(-1).tolist() for row in waveforms()]
    assert [path.tolist() for path in system.forward(system.features(waveforms()))] == alone


@pytest.mark.parametrize("kind", KINDS)
def test_bfloat16_decides_in_float32(kind: str, tmp_path: Path) -> None:
    system = Wav2Vec2System(saved(tmp_path, plain_model(kind)), LoadOptions("cpu", None, False, "bfloat16"))
    assert system.facts.settings["batch"].endswith("but for the rounding of bfloat16")
    seen = []
    system._model.lm_head.register_forward_hook(lambda _, __, logits: seen.append(logits.dtype))
    paths = system.forward(system.features(waveforms()))
    assert set(seen) == {torch.float32}
    assert system._model.base_model.dtype == torch.bfloat16
    assert [len(path) for path in paths] == [49, 46, 93, 1, 90, 52]


@pytest.mark.parametrize(("requested", "expected"), [("auto", "float32"), ("bfloat16", "bfloat16")])
def test_a_cpu_computes_in_float32_unless_told(requested: str, expected: str) -> None:
    """Also one that multiplies bfloat16 faster: there, other batches may write other words."""
    chosen = resolve_precision(requested, "cpu")
    assert chosen.description.startswith(expected)
    assert chosen.dtype == PRECISIONS[expected]


@pytest.mark.parametrize("requested", ["float64", "float16"])
def test_other_precisions_are_refused(requested: str) -> None:
    with pytest.raises(UsageError, match=f"precision is .?{requested}"):
        resolve_precision(requested, "cpu")


def test_batches_hold_everything_once() -> None:
    lengths = [int(n) for n in torch.randint(1, 1000, (200,), generator=torch.Generator().manual_seed(4))]
    batches = optimal_batches(lengths, pass_cost=100, maximum=3000)
    assert sorted(index for batch in batches for index in batch) == list(range(200))
    assert all(max(lengths[i] for i in batch) * len(batch) <= 3000 for batch in batches)
    assert wav2vec2.Wav2Vec2System.batched


@pytest.mark.parametrize("chunks_at_once", [None, 3])
def test_chunks_are_passes_of_their_own_or_share_those_of_recordings(chunks_at_once: int | None) -> None:
    chunking = Chunking(keep=16_000, context=3_200)
    planned = [
        *((0, chunk) for chunk in chunks(70_000, chunking)),
        (1, Chunk(0, 15_000, 0, 15_000)),
        *((2, chunk) for chunk in chunks(90_000, chunking)),
    ]
    pieces = [Piece(place, chunk, torch.empty(0), chunk.stop - chunk.start) for place, chunk in planned]
    batches = Batching(chunks_at_once=chunks_at_once).batches(pieces)
    assert sorted(place for batch in batches for place in batch) == list(range(len(pieces)))
    assert sum(one.kept_seconds for one in pieces) == pytest.approx(175_000 / 16_000)
    assert [one.recording for one in pieces if one.is_whole] == [1]
    of_several = [batch for batch in batches if len({pieces[place].recording for place in batch}) > 1]
    if chunks_at_once is None:
        assert of_several
        return
    assert not of_several and max(map(len, batches)) == 3
    assert all(len({pieces[place].length for place in batch}) == 1 for batch in batches)


@given(st.lists(st.integers(1, 50), max_size=8), st.integers(0, 60), st.integers(1, 120))
def test_no_division_costs_less(lengths: list[int], pass_cost: int, maximum: int) -> None:
    """Beside every division of the sorted lengths into neighbours."""

    def cost(passes: list[list[int]]) -> float:
        allowed = all(len(one) == 1 or max(one) * len(one) <= maximum for one in passes)
        return sum(pass_cost + max(one) * len(one) for one in passes) if allowed else float("inf")

    ordered = sorted(lengths, reverse=True)
    divisions = []
    for cuts in itertools.product([False, True], repeat=max(len(ordered) - 1, 0)):
        places = [0, *(place + 1 for place, cut in enumerate(cuts) if cut), len(ordered)]
        divisions.append([ordered[first:last] for first, last in itertools.pairwise(places) if last > first])
    found = [[lengths[i] for i in one] for one in optimal_batches(lengths, pass_cost=pass_cost, maximum=maximum)]
    assert cost(found) == min(cost(division) for division in divisions)


def test_what_leaves_the_range_of_float16_is_refused(tmp_path: Path) -> None:
    system = Wav2Vec2System(saved(tmp_path, plain_model("wav2vec2 group")), LoadOptions("cpu", None))
    features = system.features(waveforms())
    system._dtype = torch.float16
    assert len(system.forward(features)) == len(LENGTHS)
    system._model.lm_head.register_forward_hook(lambda _, __, logits: logits * float("inf"))
    with pytest.raises(InputError, match="--precision bfloat16"):
        system.forward(features)
