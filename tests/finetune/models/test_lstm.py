"""The LSTM-CTC family: it learns, masks where it should, keeps statistics, and says what it cannot use."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from finetune.config import DataConfig, ModelConfig, TrainConfig
from finetune.models import build
from finetune.models.base import Batch, pad_batch
from finetune.models.lstm import LSTMRecogniser, load
from finetune.systems.base import LoadOptions
from finetune.systems.registry import load_system, parse_models
from preprocessing import audio
from preprocessing.errors import InputError, UsageError
from preprocessing.features import Features, GlobalNorm
from preprocessing.text import profile
from tests.conftest import DEMO, read_manifest

pytestmark = pytest.mark.usefixtures("one_thread")

SMALL = {"hidden_size": 64, "num_layers": 2, "conv_channels": 16}
ROWS = read_manifest(DEMO / "corpus" / "train.jsonl")[:3]
TEXTS = [profile("librispeech")(row["text"]) for row in ROWS]


def recogniser(**changes: object) -> LSTMRecogniser:
    settings: dict[str, object] = {"family": "lstm", "scratch": SMALL, "dropout": 0.0} | changes
    built = build(ModelConfig(**settings), TEXTS, seed=0)  # type: ignore[arg-type]
    assert isinstance(built, LSTMRecogniser)
    return built


def batch_for(ours: LSTMRecogniser) -> Batch:
    waveforms = [audio.load(DEMO / "corpus" / row["audio"]) for row in ROWS]
    return pad_batch([ours.prepare(i, waveform, ours.encode(TEXTS[i])) for i, waveform in enumerate(waveforms)])


def learn(ours: LSTMRecogniser, updates: int) -> None:
    batch = batch_for(ours)
    optimiser = torch.optim.AdamW(ours.module.parameters(), lr=3e-3, betas=(0.9, 0.98))
    ours.module.train()
    for seed in range(updates):
        loss = ours.module(batch, torch.Generator().manual_seed(seed)) / ours.count_labels(batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(ours.module.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad()
    ours.module.eval()


def test_three_utterances_are_learnt_by_heart_saved_and_benchmarked(tmp_path: Path) -> None:
    ours = recogniser()
    learn(ours, 100)
    assert [heard.text for heard in ours.evaluate(ours.module, batch_for(ours)).hypotheses] == TEXTS
    ours.save(tmp_path, ours.module)
    system = load_system(parse_models(f"lstm={tmp_path}")[0], LoadOptions(device="cpu", language=None))
    waveforms = [audio.load(DEMO / "corpus" / row["audio"]) for row in ROWS]
    assert [system.text(system.forward(system.features([waveform])))[0] for waveform in waveforms] == TEXTS
    assert system.facts.settings["frame"] == "20 ms"
    heard = system.text(system.forward(system.features([torch.zeros(100), waveforms[0], torch.zeros(0)])))
    assert heard == ["", TEXTS[0], ""]
    assert system.text(system.forward(system.features([torch.zeros(0)]))) == [""]
    again = recogniser(scratch=None, base=str(tmp_path))
    again.module.eval()
    assert [heard.text for heard in again.evaluate(again.module, batch_for(again)).hypotheses] == TEXTS
    assert all(parameter.requires_grad for parameter in again.module.parameters())
    other = build(ModelConfig(family="lstm", base=str(tmp_path), vocabulary="new"), ["ÄÖÜ"], seed=0)
    assert isinstance(other, LSTMRecogniser)
    assert other.module.model.lm_head.out_features == len(other.vocabulary.units) != len(ours.vocabulary.units)
    assert torch.equal(other.module.model.norm_out.weight, ours.module.model.norm_out.weight)


def test_a_new_output_layer_of_as_many_units_is_new_unless_they_are_the_same(tmp_path: Path) -> None:
    ours = recogniser()
    ours.save(tmp_path, ours.module)
    head = ours.module.model.lm_head.weight
    others = ["".join(chr(0x430 + place) for place in range(len(set("".join(TEXTS)) - {" "})))]
    for texts, is_kept in ((TEXTS, True), (others, False)):
        new = build(ModelConfig(family="lstm", base=str(tmp_path), vocabulary="new"), texts, seed=0)
        assert isinstance(new, LSTMRecogniser)
        assert new.module.model.lm_head.weight.shape == head.shape
        assert torch.equal(new.module.model.lm_head.weight, head) == is_kept


def seen(ours: LSTMRecogniser, batch: Batch, generator: torch.Generator | None, *, training: bool = True) -> Features:
    """What the subsampling is given."""
    found: list[Features] = []
    hook = ours.module.model.subsampling.register_forward_pre_hook(lambda _, inputs: found.append(inputs[0]))
    ours.module.train(training)(batch, generator)
    hook.remove()
    return found[0]


def test_spec_augment_hides_speech_while_training_and_nothing_else() -> None:
    """Clips of 0.7 s and less, which the policy is too short to warp: what differs is hidden, and 0."""
    ours = recogniser(spec_augment="SM")
    batch = batch_for(ours)
    lengths = torch.tensor([11_200, 8_000, 9_999])
    batch = replace(
        batch,
        inputs=batch.inputs[:, :11_200],
        lengths=lengths,
        label_lengths=torch.tensor([3, 2, 2]),
        n_samples=tuple(lengths.tolist()),
    )
    plain = seen(ours, batch, None)
    masked = seen(ours, batch, torch.Generator().manual_seed(1))
    hidden = masked.values != plain.values
    assert 0.1 < (hidden & plain.valid).float().mean() < 0.9
    assert (masked.values[hidden] == 0).all()
    assert (masked.values.masked_select(~masked.valid) == 0).all()
    assert torch.equal(masked.values, seen(ours, batch, torch.Generator().manual_seed(1)).values)
    assert not torch.equal(masked.values, seen(ours, batch, torch.Generator().manual_seed(2)).values)
    assert torch.equal(plain.values, seen(ours, batch, torch.Generator().manual_seed(1), training=False).values)


def test_a_band_is_hidden_with_its_deltas() -> None:
    ours = recogniser(spec_augment="SM", scratch=SMALL | {"deltas": 2})
    hidden = (seen(ours, batch_for(ours), torch.Generator().manual_seed(1)).values == 0).all(dim=-1)
    orders = hidden.view(len(hidden), 3, -1)
    assert orders.any()
    assert torch.equal(orders, orders[:, :1].expand_as(orders))


def test_statistics_of_the_training_audio_are_kept(tmp_path: Path) -> None:
    ours = recogniser(scratch=SMALL | {"normalisation": "global"})
    batch = batch_for(ours)
    examples = [ours.prepare(i, batch.inputs[i, :n], ()) for i, n in enumerate(batch.lengths)]
    frames = np.concatenate([ours.module.model.extractor(example.inputs).numpy() for example in examples], axis=1)
    ours.fit_statistics(examples)
    np.testing.assert_allclose(ours.module.model.norm.mean, frames.mean(axis=1), atol=1e-5)
    np.testing.assert_allclose(ours.module.model.norm.deviation, frames.std(axis=1), atol=1e-5)
    ours.save(tmp_path, ours.module)
    again = recogniser(scratch=None, base=str(tmp_path))
    again.fit_statistics(examples[:1])  # a base keeps its own: its weights were learnt with them
    assert isinstance(again.module.model.norm, GlobalNorm)
    assert torch.equal(again.module.model.norm.mean, ours.module.model.norm.mean)


def test_other_families_decode_nothing_for_statistics() -> None:
    def never():  # type: ignore[no-untyped-def]
        raise AssertionError("an example was asked for")
        yield

    recogniser().fit_statistics(never())


def test_layers_and_the_head_alone() -> None:
    ours = recogniser(scratch=SMALL | {"num_layers": 3})
    heights = {name: ours.layers_above(name) for name, _ in ours.module.named_parameters()}
    assert {height for name, height in heights.items() if ".subsampling." in name} == {4}
    assert {height for name, height in heights.items() if ".layers.0." in name} == {3}
    assert {height for name, height in heights.items() if ".layers.2." in name} == {1}
    assert {name for name, height in heights.items() if height == 0} >= {"model.lm_head.weight", "model.lm_head.bias"}
    ours.train_head_only(True)
    ours.module(batch_for(ours), None).backward()
    moved = {name for name, parameter in ours.module.named_parameters() if parameter.grad is not None}
    assert moved == {"model.lm_head.weight", "model.lm_head.bias"}


@pytest.mark.parametrize(
    ("n_samples", "text", "reason"),
    [
        (200, "A", "receptive field"),
        (16_000, "", "empty label"),
        (960, "TELL", "CTC cannot fit"),
        (16_000, "SET", None),
    ],
)
def test_what_cannot_be_trained_on(n_samples: int, text: str, reason: str | None) -> None:
    found = recogniser().rejection_reason(n_samples, text)
    assert found is None if reason is None else reason in str(found)


@pytest.mark.parametrize("texts", [[TEXTS[0], "", TEXTS[2]], ["", "", ""]], ids=["beside speech", "alone"])
def test_the_loss_of_silence_is_that_of_blanks_alone(texts: list[str]) -> None:
    """CTC of an empty label has one path. Value and gradient are exact, whatever else is in the batch."""
    ours = recogniser()
    assert ours.rejection_reason(16_000, "", is_silence=True) is None
    waveforms = [audio.load(DEMO / "corpus" / row["audio"]) for row in ROWS]
    batch = pad_batch([ours.prepare(i, waveforms[i], ours.encode(text)) for i, text in enumerate(texts)])
    assert ours.count_labels(batch) == sum(max(len(ours.encode(text)), 1) for text in texts)
    ours.module.eval()
    computed, frames = ours.module.log_probs(batch)
    log_probs = computed.detach().double().requires_grad_()
    ours.module.loss(batch, log_probs.log_softmax(dim=-1), frames).backward()
    expected = log_probs.detach().clone().requires_grad_()
    of_blanks = expected.log_softmax(dim=-1)[..., ours.vocabulary.blank]
    silent = [row for row, text in enumerate(texts) if not text]
    torch.stack([-of_blanks[row, : frames[row]].sum() for row in silent]).sum().backward()
    assert log_probs.grad is not None and expected.grad is not None
    torch.testing.assert_close(log_probs.grad[silent], expected.grad[silent])
    for row in silent:
        one = batch.split(len(texts))[row]
        loss = ours.module.loss(one, computed[row : row + 1].double(), frames[row : row + 1])
        torch.testing.assert_close(loss, -computed[row, : frames[row], ours.vocabulary.blank].double().sum())


@pytest.mark.parametrize(
    ("scratch", "expected"),
    [
        ({"hiden_size": 64}, r"holds hiden_size.*hidden_size"),
        ({"features": "spectrogram"}, r"'features'.*'log_mel'"),
        ({"num_layers": 0}, r"num_layers is 0"),
        ({"subsampling_factor": 3}, r"subsampling_factor"),
        ({"n_mfcc": 90, "features": "mfcc"}, r"n_mels"),
    ],
)
def test_a_wrong_description_is_one_sentence(scratch: dict[str, object], expected: str) -> None:
    with pytest.raises(UsageError, match=rf"--model\.scratch.*{expected}"):
        recogniser(scratch=scratch)


def test_a_base_of_another_family_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"demo.wav2vec2: cannot be loaded.*model_type is wav2vec2"):
        load(str(DEMO / "wav2vec2"))
    with pytest.raises(InputError, match=str(tmp_path)):
        recogniser(scratch=None, base=str(tmp_path))
    ours = recogniser()
    ours.save(tmp_path, ours.module)
    with pytest.raises(InputError, match=r"is a model of the family lstm, not wav2vec2; .*: name the family lstm, or"):
        build(ModelConfig(base=str(tmp_path)), TEXTS, seed=0)


@pytest.mark.parametrize("family", ["lstm", "whisper"])
def test_latent_masks_are_refused_where_there_are_none(family: str) -> None:
    def config(**changes: object) -> TrainConfig:
        model = ModelConfig(family=family, scratch={}, **changes)  # type: ignore[arg-type]
        return TrainConfig(output_dir=DEMO, model=model, data=DataConfig(["x"], validation="x"))

    for changes in ({"mask_time_prob": 0.2}, {"mask_feature_prob": 0.1}, {"mask_time_length": 5}):
        with pytest.raises(UsageError, match=rf"model\.{next(iter(changes))} is .*{family} has none.*spec_augment"):
            config(**changes).check()
    config(spec_augment="LD", mask_time_prob=0.0).check()
