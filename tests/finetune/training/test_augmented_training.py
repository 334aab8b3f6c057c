"""What training hears: waveforms changed by seed, epoch, utterance and repeat alone, latents and log-mels masked; never
in validation."""

import functools
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader

from finetune.config import DataConfig, ModelConfig, TrainConfig
from finetune.data.corpora import MAIN
from finetune.data.examples import ExampleKey, Examples
from finetune.data.loading import LoadedBatch, collate
from finetune.models import build
from finetune.models.base import Batch, Example, TrainableRecogniser, pad_batch
from finetune.models.wav2vec2 import Wav2Vec2Module
from finetune.training.setup import set_up
from preprocessing import audio
from preprocessing.augment import Chain, from_config, seeded_generator
from preprocessing.augment.denoise import SpectralGate
from preprocessing.corpus import open_corpus
from preprocessing.errors import UsageError
from tests.conftest import DEMO, absolute, write_manifest
from tests.finetune.runs import TINY

CHANGES = [{"name": "speed", "factors": [0.9, 1.1]}, {"name": "noise", "colour": "pink", "snr_db": [5, 15]}]


@functools.cache
def recogniser(**changes: object) -> TrainableRecogniser:
    return build(ModelConfig(base=str(DEMO / "wav2vec2"), **changes), [], seed=0)  # type: ignore[arg-type]


def examples(
    *, augment: Chain | None = None, denoise: SpectralGate | None = None, labels: Sequence[int] = (5, 6, 7)
) -> Examples:
    utterances = open_corpus(str(DEMO / "corpus" / "train.jsonl")).utterances[:6]
    return Examples(utterances, [tuple(labels)] * 6, recogniser(), denoise, augment, seed=3)


def example(found: object) -> Example:
    assert isinstance(found, Example)
    return found


def heard(from_examples: Examples, visits: Sequence[ExampleKey], workers: int) -> list[Batch]:
    loader: DataLoader[LoadedBatch] = DataLoader(
        from_examples, batch_sampler=[[visit] for visit in visits], collate_fn=collate, num_workers=workers
    )
    return [collated.batch for collated in loader if collated.batch is not None]


def test_the_same_visit_sounds_the_same_in_any_process_and_another_epoch_differently() -> None:
    changed = examples(augment=from_config(CHANGES))
    visits = [ExampleKey(index, epoch) for epoch in (0, 1) for index in range(6)]
    here, elsewhere = heard(changed, visits, 0), heard(changed, visits, 2)
    for mine, theirs in zip(here, elsewhere, strict=True):
        assert torch.equal(mine.inputs, theirs.inputs)
    plain = [example(examples()[ExampleKey(index)]).inputs for index in range(6)]
    for first, second, untouched in zip(here[:6], here[6:], plain, strict=True):
        assert not torch.equal(first.inputs[0], second.inputs[0])
        assert first.inputs.shape[1] != len(untouched)


def test_an_utterance_that_is_repeated_in_an_epoch_sounds_different_each_time() -> None:
    changed = replace(examples(augment=from_config(CHANGES)), repeats=[3.0] * 6)
    keys = list(islice(changed.batches(4.0, start=0), 40))
    visits = sorted(visit for batch in keys for visit in batch if visit.epoch == 0)
    assert visits == [ExampleKey(index, 0, repeat) for index in range(6) for repeat in range(3)]
    assert list(islice(changed.batches(4.0, start=7), 33)) == keys[7:]
    first, second = (example(changed[ExampleKey(0, 0, repeat)]).inputs for repeat in (0, 1))
    assert first.shape != second.shape or not torch.equal(first, second)


def test_another_seed_is_another_order() -> None:
    first, second = (list(islice(replace(examples(), seed=seed).batches(4.0, start=0), 40)) for seed in (3, 4))
    assert first != second


def test_validation_is_never_augmented() -> None:
    changed, plain = examples(augment=from_config(CHANGES)), examples()
    assert torch.equal(example(changed[ExampleKey(0)]).inputs, example(plain[ExampleKey(0)]).inputs)


def test_speech_made_too_fast_for_its_labels_is_heard_as_it_is() -> None:
    faster = from_config([{"name": "speed", "factors": [1.5]}])
    plain = examples()
    n_samples = example(plain[ExampleKey(0)]).n_samples
    full = next(labels for labels in ([5, 6] * n for n in range(999, 0, -1)) if recogniser().fits(n_samples, labels))
    assert example(examples(augment=faster, labels=full)[ExampleKey(0, 0)]).n_samples == n_samples
    assert example(examples(augment=faster)[ExampleKey(0, 0)]).n_samples == pytest.approx(n_samples / 1.5, abs=1)


def test_speech_made_too_fast_for_its_labels_keeps_its_other_augmentation() -> None:
    """In the duration of the utterance, the same at each visit and another in another epoch."""
    plain, noise = examples(), from_config(CHANGES[1:])
    n_samples = example(plain[ExampleKey(0)]).n_samples
    full = next(labels for labels in ([5, 6] * n for n in range(999, 0, -1)) if recogniser().fits(n_samples, labels))
    faster = from_config([{"name": "speed", "factors": [1.5]}, *CHANGES[1:], {"name": "tempo", "factor": 1.5}])
    changed, utterance = examples(augment=faster, labels=full), plain.utterances[0]
    heard_first, again, later = (example(changed[ExampleKey(0, epoch)]).inputs for epoch in (0, 0, 1))
    expected = noise(audio.load(utterance.audio), seeded_generator(3, 0, utterance.id))
    assert torch.equal(heard_first, plain.recogniser.prepare(0, expected, (5, 6, 7)).inputs)
    assert torch.equal(heard_first, again) and not torch.equal(heard_first, later)


def test_noise_removal_is_heard_in_training_and_validation() -> None:
    quiet, plain = examples(denoise=SpectralGate()), examples()
    expected = SpectralGate()(audio.load(plain.utterances[0].audio))
    for visit in (ExampleKey(0), ExampleKey(0, 4)):
        prepared = plain.recogniser.prepare(0, expected, (5, 6, 7))
        assert torch.equal(example(quiet[visit]).inputs, prepared.inputs)
        assert not torch.equal(example(plain[visit]).inputs, prepared.inputs)


def test_noise_is_removed_from_what_was_augmented() -> None:
    """In use, noise is removed from what is heard, so training hears noise that was removed, too."""
    augment = from_config(CHANGES)
    both, noisy = examples(augment=augment, denoise=SpectralGate()), examples(augment=augment)
    utterance, visit = noisy.utterances[0], ExampleKey(0, 4)
    augmented = augment(audio.load(utterance.audio), seeded_generator(3, 4, utterance.id))
    expected = both.recogniser.prepare(0, SpectralGate()(augmented), (5, 6, 7)).inputs
    assert torch.equal(example(both[visit]).inputs, expected)
    assert not torch.equal(example(noisy[visit]).inputs, expected)


def test_a_run_augments_and_repeats_its_training_alone_and_removes_noise_from_all(tmp_path: Path) -> None:
    corpus = write_manifest(tmp_path / "corpus.jsonl", absolute(DEMO / "corpus" / "train.jsonl", 6))
    data = DataConfig(
        [str(corpus)], weights=[2.0], validation_share=0.3, augment=[{"name": "gain", "gain_db": -6.0}], denoise=True
    )
    config = TrainConfig(output_dir=tmp_path, model=ModelConfig(scratch=TINY), data=data, seed=7)
    accelerator: Any = SimpleNamespace(process_index=0, print=lambda _: None)
    setup = set_up(config, accelerator)
    train, validation = setup.train, setup.validation[MAIN]
    assert train.augment is not None and validation.augment is None
    assert train.denoise is not None and validation.denoise is not None
    assert (train.seed, train.repeats) == (7, [2.0] * len(train))


def ctc(**changes: object) -> Wav2Vec2Module:
    module = recogniser(dropout=0.0, **changes).module
    assert isinstance(module, Wav2Vec2Module)
    return module


def latents(module: Wav2Vec2Module, seed: int | None) -> torch.Tensor:
    """What the transformer is given of three utterances [batch, frames, channels]."""
    found: list[torch.Tensor] = []
    hook = module.model.base_model.encoder.register_forward_pre_hook(lambda _, inputs: found.append(inputs[0]))
    batch = pad_batch([example(item) for item in islice((examples()[ExampleKey(i)] for i in range(6)), 3)])
    module(batch, None if seed is None else torch.Generator().manual_seed(seed))
    hook.remove()
    return found[0].detach()


def test_latent_masks_hide_frames_and_channels_of_each_utterance() -> None:
    plain = latents(ctc().train(), None)
    module = ctc(mask_time_prob=0.3, mask_feature_prob=0.3, mask_feature_length=8).train()
    masked = latents(module, 1)
    embedding, channels = module.model.base_model.masked_spec_embed.detach(), set()
    for before, after in zip(plain, masked, strict=True):
        silenced = (after == 0).all(dim=0)
        assert 0.1 < silenced.float().mean() < 0.5
        channels.add(tuple(silenced.tolist()))
        hidden = (after == embedding.masked_fill(silenced, 0.0)).all(dim=1)
        assert 0.1 < hidden.float().mean() < 0.5
        assert torch.equal(after[~hidden][:, ~silenced], before[~hidden][:, ~silenced])
    assert len(channels) == len(masked)
    assert torch.equal(masked, latents(module, 1))
    assert not torch.equal(masked, latents(module, 2))


def test_without_a_generator_or_outside_training_nothing_is_hidden() -> None:
    """transformers would draw masks of its own in training mode."""
    module = ctc(mask_time_prob=0.5, mask_feature_prob=0.5)
    expected = latents(ctc().eval(), None)
    torch.testing.assert_close(latents(module.train(), None), expected)
    torch.testing.assert_close(latents(module.eval(), 1), expected)


def test_a_feature_policy_on_a_waveform_model_is_refused() -> None:
    config = TrainConfig(
        output_dir=DEMO, model=ModelConfig(base="x", spec_augment="LD"), data=DataConfig(["x"], validation="x")
    )
    with pytest.raises(UsageError, match=r"model\.spec_augment is LD.*mask_time_prob"):
        config.check()
