"""Packed layers beside padded ones: losses and gradients of every family, plain calls, dropout, compiling, saving."""

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._dynamo.testing import CompileCounter
from torch.nn.functional import scaled_dot_product_attention

from finetune.config import ModelConfig
from finetune.models import build
from finetune.models.base import Batch, Example, pad_batch
from finetune.models.fast import packing
from finetune.models.fast.packing import IMPLEMENTATION, MULTIPLE, packed
from finetune.models.wav2vec2 import Wav2Vec2Module, Wav2Vec2Recogniser
from tests.conftest import GPU
from tests.finetune.models.test_padding_invariance import ADAPTERS, KINDS, examples, plain_model
from tests.finetune.runs import TINY

PACKED = [kind for kind in [*KINDS, *ADAPTERS] if not kind.startswith(("wavlm", "conformer"))]
each_kind = pytest.mark.parametrize("kind", PACKED)


def one_by_one(
    query: Tensor, key: Tensor, value: Tensor, bounds: Tensor, _: Tensor, longest: int, __: int, *, scale: float | None
) -> Tensor:
    """What torch's varlen_attn computes, which a CPU lacks."""
    attended = []
    for first, end in zip(bounds.tolist(), bounds.tolist()[1:], strict=False):
        assert end - first <= longest
        q, k, v = (one[first:end].transpose(0, 1)[None] for one in (query, key, value))
        attended.append(scaled_dot_product_attention(q, k, v, scale=scale)[0].transpose(0, 1))
    return torch.cat(attended)


@pytest.fixture
def on_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "varlen_attn", one_by_one)
    monkeypatch.setattr(packing, "can_pack", lambda *_: True)


def module(kind: str, attention: Any = "auto") -> Wav2Vec2Module:
    config = ModelConfig(mask_time_prob=0.0, attn_implementation=attention)
    return Wav2Vec2Module(plain_model(kind), config, blank=0)


def recogniser() -> Wav2Vec2Recogniser:
    """Of four layers, the same weights at each call."""
    config = ModelConfig(scratch=TINY | {"num_hidden_layers": 4}, dropout=0.0, mask_time_prob=0.0)
    made = build(config, ["A B C D"], seed=0)
    assert isinstance(made, Wav2Vec2Recogniser)
    return made


def is_packed(ours: Wav2Vec2Module) -> bool:
    assert ours._packed_layers is not None
    return ours._packed_layers.current is not None


@each_kind
def test_losses_and_gradients_are_those_of_padded_layers(kind: str, on_cpu: None) -> None:
    ours, padded = module(kind), module(kind, "sdpa")
    batch = pad_batch(examples())
    losses = [one(batch, None) for one in (ours, padded)]
    torch.testing.assert_close(*losses)
    assert is_packed(ours) and padded._packed_layers is None
    for loss in losses:
        loss.backward()
    for (name, expected), found in zip(padded.named_parameters(), ours.parameters(), strict=True):
        if expected.grad is None:
            assert found.grad is None, name
        else:
            torch.testing.assert_close(found.grad, expected.grad, rtol=1e-3, atol=1e-3, msg=name)


@pytest.mark.parametrize("kind", ["wavlm base", "conformer"])
def test_attention_with_positions_of_its_own_is_left_as_it_is(kind: str) -> None:
    assert module(kind)._packed_layers is None


def test_without_padding_or_lengths_a_call_is_plain(on_cpu: None) -> None:
    ours, plain = module("wav2vec2 layer").eval(), plain_model("wav2vec2 layer").eval()
    with torch.inference_mode():
        ours.log_probs(pad_batch(examples()))
        assert is_packed(ours)
        ours.log_probs(pad_batch(examples()[:1]))
        assert not is_packed(ours)
        waveforms = torch.randn(2, 16_000)
        ours.log_probs(pad_batch(examples()))
        found = ours.model(waveforms).logits  # lengths of the batch before do not count
        assert not is_packed(ours)
        torch.testing.assert_close(found, plain(waveforms).logits)


def test_dropout_of_attention_is_not_packed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (8, 0))
    layer = plain_model("wav2vec2 group").base_model.encoder.layers[0]

    class OnGPU:
        device, dtype = torch.device("cuda"), torch.bfloat16

    assert packing.can_pack(layer.train(), OnGPU())  # type: ignore[arg-type]
    layer.attention.dropout = 0.1
    assert not packing.can_pack(layer, OnGPU())  # type: ignore[arg-type]
    assert packing.can_pack(layer.eval(), OnGPU())  # type: ignore[arg-type]
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (7, 5))
    assert not packing.can_pack(layer, OnGPU())  # type: ignore[arg-type]
    assert not packing.can_pack(layer, torch.zeros(1))


def test_gradient_checkpointing_packs_as_its_forward_pass(on_cpu: None) -> None:
    plain, ours = module("wav2vec2 layer").train(), module("wav2vec2 layer").train()
    ours.model.gradient_checkpointing_enable({"use_reentrant": False})
    for one in (plain, ours):
        one(pad_batch(examples()), None).backward()
        assert is_packed(one)
    for expected, found in zip(plain.parameters(), ours.parameters(), strict=True):
        if expected.grad is not None:
            torch.testing.assert_close(found.grad, expected.grad, atol=1e-4, rtol=1e-3)


def test_a_gpu_is_not_asked_whether_there_is_padding() -> None:
    valid = torch.tensor([[1, 1, 1], [1, 1, 0]])
    found = packing.padding_mask(attention_mask=valid, device=torch.device("cuda"), q_length=3, kv_length=3)
    assert found is not None and found.tolist() == [[[[True, True, True]]], [[[True, True, False]]]]
    assert packing.padding_mask(attention_mask=None, device=torch.device("cuda")) is None


@pytest.mark.parametrize("n_frames", [[5], [3, 1, 4], [64, 64], [127], [128]])
def test_every_valid_frame_has_one_place(n_frames: list[int]) -> None:
    width = max(n_frames) + 2
    found = packed(torch.tensor(n_frames), width, torch.device("cpu"))
    assert len(found.to_packed) % MULTIPLE == 0 and len(found.to_packed) > found.n_valid == sum(n_frames)
    assert found.boundaries.tolist()[-2:] == [sum(n_frames), len(found.to_packed)]
    assert found.boundaries.diff().tolist()[:-1] == n_frames and found.longest >= int(found.boundaries.diff().max())
    frames = [row * width + place for row, n in enumerate(n_frames) for place in range(n)]
    assert found.to_packed[: found.n_valid].tolist() == frames
    assert found.to_padded[frames].tolist() == list(range(found.n_valid))
    padding = set(range(len(n_frames) * width)) - set(frames)
    assert {int(found.to_padded[place]) for place in padding} == {len(found.to_packed) - 1}


@torch.library.custom_op("tests::one_by_one", mutates_args={})
def opaque_one_by_one(query: Tensor, key: Tensor, value: Tensor, bounds: Tensor, longest: int, scale: float) -> Tensor:
    return one_by_one(query, key, value, bounds, bounds, longest, longest, scale=scale).contiguous()


@opaque_one_by_one.register_fake
def _(query: Tensor, key: Tensor, value: Tensor, bounds: Tensor, longest: int, scale: float) -> Tensor:
    return torch.empty_like(query)


@pytest.fixture
def compiler(on_cpu: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[CompileCounter]:
    """torch.compile's backend; varlen attention is one operation to it, as torch's own is."""

    def attention(
        q: Tensor, k: Tensor, v: Tensor, bounds: Tensor, _: Tensor, longest: int, __: int, *, scale: float
    ) -> Tensor:
        return opaque_one_by_one(q, k, v, bounds, longest, scale)

    monkeypatch.setattr(packing, "varlen_attn", attention)
    counter = CompileCounter()
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=counter))
    torch._dynamo.reset()
    with torch._dynamo.config.patch(recompile_limit=8, fail_on_recompile_limit_hit=True):  # 8 is torch's default
        yield counter


def batch_of(*lengths: int) -> Batch:
    """Noise of so many samples each."""
    return pad_batch([Example(i, torch.randn(n), (5, 6), n) for i, n in enumerate(lengths)])


def test_layers_are_compiled_once_for_all_lengths(compiler: CompileCounter) -> None:
    ours, plain = recogniser(), recogniser()
    ours.compile()
    with torch.no_grad():
        for number in range(1, 6):
            batch = batch_of(*(8_000 + 1_600 * number + 800 * place for place in range(2 + number)))
            torch.testing.assert_close(ours.module(batch, None), plain.module(batch, None), rtol=1e-4, atol=1e-3)
    assert is_packed(ours.module)
    assert compiler.frame_count == 1


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["wav2vec2 group", "wavlm base"])
def test_every_way_of_calling_layers_stays_compiled(kind: str, compiler: CompileCounter) -> None:
    """Evaluation, training of the head and of all, with padding, without, and with an utterance over 20.48 s."""
    batches = [batch_of(9_000, 16_000), batch_of(9_000), batch_of(9_000, 9_000), batch_of(9_000, 340_000)]
    ours, plain = module(kind), module(kind)
    Wav2Vec2Recogniser.compile(SimpleNamespace(module=ours))  # type: ignore[arg-type]
    for training, head_only in ((False, False), (True, True), (True, False)):
        for one in (ours, plain):
            one.train(training)
            one.head_only = head_only
        for batch in batches:
            with torch.set_grad_enabled(training):
                torch.testing.assert_close(ours(batch, None), plain(batch, None), rtol=1e-4, atol=1e-3)
    assert compiler.frame_count > 8


def test_a_saved_model_is_a_plain_one(tmp_path: Path) -> None:
    ours = module("wav2vec2 group")
    assert ours.model.config._attn_implementation == IMPLEMENTATION
    ours.model.save_pretrained(tmp_path)
    assert IMPLEMENTATION not in json.loads((tmp_path / "config.json").read_text()).values()
    assert type(ours.model).from_pretrained(tmp_path).config._attn_implementation == "sdpa"


@pytest.mark.parametrize("device", [GPU])
@each_kind
def test_on_a_gpu_as_close_to_float32_as_padded_layers(kind: str, device: str) -> None:
    ours, padded = (module(kind, attention).to(device).train() for attention in ("auto", "sdpa"))
    batch = pad_batch(examples()).to(torch.device(device))
    exact = padded(batch, None)
    exact.backward()
    exact_gradients = {name: p.grad.clone() for name, p in padded.named_parameters() if p.grad is not None}
    padded.zero_grad()
    losses = []
    for one in (ours, padded):
        with torch.autocast(device, torch.bfloat16):
            losses.append(one(batch, None))
        losses[-1].backward()
    assert is_packed(ours)
    error, their_error = (abs(float(loss) - float(exact)) for loss in losses)
    assert error <= 3 * their_error + 1e-2 * float(exact)
    found, theirs = (dict(one.named_parameters()) for one in (ours, padded))
    for name, expected in exact_gradients.items():
        apart, their_apart = (
            torch.linalg.vector_norm(one[name].grad - expected)  # type: ignore[operator]
            for one in (found, theirs)
        )
        assert apart <= 3 * their_apart + 0.02 * torch.linalg.vector_norm(expected) + 1e-3, name
