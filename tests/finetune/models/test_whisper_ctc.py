"""The whisper-ctc family: openai-whisper's encoder to 1e-4, exact batches, frozen blocks kept on the disk."""

import math
import multiprocessing
from pathlib import Path
from typing import Any

import pytest
import torch
import whisper
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoModelForCTC, WhisperConfig, WhisperModel
from whisper.model import ModelDimensions, Whisper

from finetune.config import DataConfig, ModelConfig, TrainConfig
from finetune.models import build, frozen_features
from finetune.models.base import Batch, pad_batch
from finetune.models.frozen_features import FeatureCache
from finetune.models.whisper_ctc import WhisperCTCRecogniser
from finetune.models.whisper_ctc_model import ConvBlock
from finetune.systems.base import LoadOptions
from finetune.systems.registry import load_system, parse_models
from finetune.training.log import read_log
from preprocessing import audio
from preprocessing.errors import InputError, UsageError
from preprocessing.features import Features
from preprocessing.text import profile
from tests.commands import run
from tests.conftest import DEMO, absolute, read_manifest, write_manifest

pytestmark = pytest.mark.usefixtures("one_thread")

DIMENSIONS = ModelDimensions(80, 1500, 32, 4, 3, 51_865, 448, 32, 4, 1)
ROWS = read_manifest(DEMO / "corpus" / "train.jsonl")[:3]
TEXTS = [profile("librispeech")(row["text"]) for row in ROWS]
HEADS: list[dict[str, Any]] = [
    {"head": "linear"},
    {"head": "conv", "head_layers": 2, "head_size": 24, "mixed_layers": 3},
    {"head": "lstm", "head_layers": 1, "head_size": 16, "mixed_layers": 2},
]
each_head = pytest.mark.parametrize("head", HEADS, ids=[head["head"] for head in HEADS])


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An OpenAI checkpoint of random weights."""
    torch.manual_seed(0)
    model = Whisper(DIMENSIONS)
    torch.nn.init.normal_(model.decoder.positional_embedding, std=0.01)
    path = tmp_path_factory.mktemp("whisper") / "tiny.pt"
    torch.save({"dims": DIMENSIONS.__dict__, "model_state_dict": model.state_dict()}, path)
    return str(path)


@each_head
@pytest.mark.parametrize("changes", [{}, {"trained_layers": 0}, {"lora_rank": 2}])
def test_every_trained_parameter_has_a_gradient(base: str, head: dict[str, Any], changes: dict[str, Any]) -> None:
    ours = recogniser(base, head=head, **changes)
    waveforms = [audio.load(DEMO / "corpus" / row["audio"]) for row in ROWS]
    batch = pad_batch([ours.prepare(i, wave, ours.encode(TEXTS[i])) for i, wave in enumerate(waveforms)])
    ours.module.train()(batch, None).backward()
    assert [name for name, p in ours.module.named_parameters() if p.requires_grad and p.grad is None] == []


def recogniser(base: str | None, **changes: object) -> WhisperCTCRecogniser:
    settings: dict[str, object] = {"family": "whisper-ctc", "base": base, "vocabulary": "new", "dropout": 0.0}
    built = build(ModelConfig(**settings | changes), TEXTS, seed=0)  # type: ignore[arg-type]
    assert isinstance(built, WhisperCTCRecogniser)
    built.module.eval()
    return built


def waveforms() -> list[Tensor]:
    return [audio.load(DEMO / "corpus" / row["audio"]) for row in ROWS]


def batch_of(ours: WhisperCTCRecogniser, places: tuple[int, ...] = (0, 1, 2)) -> Batch:
    heard = waveforms()
    return pad_batch([ours.prepare(place, heard[place], ours.encode(TEXTS[place])) for place in places])


def test_an_utterance_is_computed_at_its_own_length(base: str) -> None:
    ours = recogniser(base)
    batch = batch_of(ours, (0, 1))
    assert batch.seconds == (sum(batch.n_samples) / 16_000, 2 * max(batch.n_samples) / 16_000)
    assert ours.computed_seconds(1.5) == 1.5


def trained_names(ours: WhisperCTCRecogniser) -> set[str]:
    return {name for name, parameter in ours.module.named_parameters() if parameter.requires_grad}


def test_thirty_seconds_give_openais_encoder(base: str) -> None:
    waveform = 0.1 * torch.randn(30 * 16_000, generator=torch.Generator().manual_seed(0))
    theirs = whisper.load_model(base, device="cpu").encoder(whisper.log_mel_spectrogram(waveform)[None])
    model = recogniser(base, head={"head": "linear"}).module.model
    features = model.features(waveform[None], torch.tensor([len(waveform)]))
    ours = model.upper(model.lower(features, 0), 0, torch.tensor([1500]))
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)


def test_the_head_reads_a_weighted_mean_of_the_normalised_top_blocks(base: str) -> None:
    ours, outputs = recogniser(base, head={"head": "linear", "mixed_layers": 2}), []
    model = ours.module.model
    model.mix.data = torch.tensor([0.3, -0.5])
    for block in model.encoder.layers:
        block.register_forward_hook(lambda *called: outputs.append(called[-1]))
    found = ours.module.hidden(batch_of(ours, (0,)), None)
    low, top = (model.encoder.layer_norm(output) for output in outputs[-2:])
    share = math.exp(0.3) / (math.exp(0.3) + math.exp(-0.5))
    torch.testing.assert_close(found, share * low + (1.0 - share) * top)


def test_frozen_blocks_drop_nothing(base: str) -> None:
    ours, inputs = recogniser(base, trained_layers=1, dropout=0.5), []
    ours.module.model.encoder.layers[2].register_forward_pre_hook(lambda _, given: inputs.append(given[0]))
    for _ in range(2):
        ours.module.train()(batch_of(ours, (0,)), None)
    assert torch.equal(*inputs)


def test_a_convolution_of_the_head_drops_of_what_it_adds() -> None:
    hidden = torch.randn(2, 7, 8)
    torch.testing.assert_close(ConvBlock(8, dropout=1.0).train()(hidden, torch.ones(2, 7, 1)), hidden)


def test_a_transformers_folder_gives_the_same_model(base: str, tmp_path: Path) -> None:
    config = WhisperConfig(
        d_model=32,
        encoder_layers=3,
        encoder_attention_heads=4,
        encoder_ffn_dim=128,
        decoder_layers=1,
        decoder_attention_heads=4,
    )
    theirs = WhisperModel(config)
    ours = recogniser(base).module.model
    theirs.encoder.load_state_dict(ours.encoder.state_dict())
    theirs.save_pretrained(tmp_path)
    again = recogniser(str(tmp_path)).module.model
    for name, weight in ours.encoder.state_dict().items():
        torch.testing.assert_close(again.encoder.state_dict()[name], weight)


@each_head
def test_a_padded_batch_has_the_log_probs_of_single_utterances(base: str, head: dict[str, Any]) -> None:
    ours = recogniser(base, head=head)
    together, frames = ours.module.log_probs(batch_of(ours))
    for place, n_frames in enumerate(frames.tolist()):
        alone, n_alone = ours.module.log_probs(batch_of(ours, (place,)))
        assert n_alone.tolist() == [n_frames] == [alone.shape[1]]
        torch.testing.assert_close(together[place, :n_frames], alone[0], atol=1e-5, rtol=1e-5)


@each_head
def test_gradients_of_a_padded_batch_are_the_sum_of_single_ones(base: str, head: dict[str, Any]) -> None:
    ours = recogniser(base, head=head)
    ours.module(batch_of(ours), None).backward()
    together = {name: p.grad.clone() for name, p in ours.module.named_parameters() if p.grad is not None}
    ours.module.zero_grad()
    for place in range(3):
        ours.module(batch_of(ours, (place,)), None).backward()
    for name, parameter in ours.module.named_parameters():
        if name in together:
            torch.testing.assert_close(together[name], parameter.grad, atol=2e-4, rtol=2e-3)


@each_head
def test_it_is_saved_as_a_transformers_model_and_benchmarked(base: str, head: dict[str, Any], tmp_path: Path) -> None:
    ours = recogniser(base, head=head)
    ours.save(tmp_path, ours.module)
    heard = waveforms()
    loaded = AutoModelForCTC.from_pretrained(tmp_path).eval()
    log_probs, frames = ours.module.log_probs(batch_of(ours, (0,)))
    torch.testing.assert_close(loaded(heard[0][None]).logits.log_softmax(-1), log_probs, atol=1e-5, rtol=1e-5)
    (spec,) = parse_models(f"whisper-ctc={tmp_path}")
    system = load_system(spec, LoadOptions("cpu", None, precision="float32"))
    found = system.forward(system.features([heard[0], torch.zeros(100), heard[1], torch.zeros(0)]))
    assert [len(path) for path in found] == [int(frames[0]), 0, int(ours.module.frames(torch.tensor(len(heard[1])))), 0]
    assert torch.equal(found[0], log_probs[0].argmax(dim=-1))
    again = recogniser(str(tmp_path), vocabulary="keep")
    torch.testing.assert_close(again.module.log_probs(batch_of(again, (0,)))[0], log_probs)
    others = "".join(chr(0x430 + place) for place in range(ours.vocabulary.size - 1))
    new = build(ModelConfig(family="whisper-ctc", base=str(tmp_path), vocabulary="new"), [others], seed=0)
    head_of_others = new.module.model.lm_head.weight
    assert head_of_others.shape == ours.module.model.lm_head.weight.shape
    assert not torch.equal(head_of_others, ours.module.model.lm_head.weight)


def test_another_head_than_the_bases_is_refused(base: str, tmp_path: Path) -> None:
    ours = recogniser(base, head={"head": "conv", "head_layers": 1})
    ours.save(tmp_path, ours.module)
    for head in ({"head": "lstm"}, {"head": "conv", "head_layers": 2}, {"heads": 1}):
        with pytest.raises(UsageError, match=r"--model\.head sets .*, and the head of --model\.base .* has "):
            recogniser(str(tmp_path), head=head)
    assert recogniser(str(tmp_path), head={"head": "conv"}, vocabulary="keep").module.model.config.head_layers == 1


def test_a_long_recording_has_every_frame_once(base: str, tmp_path: Path) -> None:
    ours = recogniser(base, head={"head": "linear"})
    ours.save(tmp_path, ours.module)
    system = load_system(parse_models(f"whisper-ctc={tmp_path}")[0], LoadOptions("cpu", None, precision="float32"))
    n_samples = 71 * 16_000 + 4_321
    long = 0.1 * torch.randn(n_samples, generator=torch.Generator().manual_seed(0))
    (path,) = system.forward(system.features([long]))
    assert len(path) == int(ours.module.frames(torch.tensor(n_samples)))


def test_only_the_top_blocks_and_the_head_are_trained(base: str) -> None:
    names = trained_names(recogniser(base, trained_layers=1))
    assert any("encoder.layers.2." in name for name in names) and any("lm_head" in name for name in names)
    assert not any("encoder.layers.1." in name or "encoder.conv" in name for name in names)
    assert not any("encoder.layers." in name for name in trained_names(recogniser(base, trained_layers=0)))
    assert any("encoder.conv1" in name for name in trained_names(recogniser(base, freeze_feature_encoder=False)))


@each_head
def test_the_whole_head_learns_while_it_learns_alone(base: str, head: dict[str, Any]) -> None:
    """Not its output layer on top of layers that stay random."""
    ours = recogniser(base, head=head)
    ours.train_head_only(True)
    ours.module(batch_of(ours), None).backward()
    moved = {name for name, parameter in ours.module.named_parameters() if parameter.grad is not None}
    mix = {"model.mix"}  # of the encoder's states: learnt with the encoder
    assert moved == {name for name in trained_names(ours) if ".encoder." not in name} - mix
    ours.train_head_only(False)
    ours.module(batch_of(ours), None).backward()
    assert any(p.grad is not None for name, p in ours.module.named_parameters() if "encoder.layers.2." in name)


def test_layers_are_counted_from_the_top(base: str) -> None:
    ours = recogniser(base)
    parts = ("layer_norm.weight", "layers.2.fc1", "layers.0.fc1", "conv1.weight")
    found = [ours.layers_above(f"model.encoder.{part}") for part in parts]
    assert [ours.layers_above("model.lm_head.weight"), *found] == [0, 1, 1, 3, 4]


def test_lora_is_merged_into_a_plain_model(base: str, tmp_path: Path) -> None:
    ours = recogniser(base, lora_rank=2)
    names = trained_names(ours)
    assert any(".lora_" in name for name in names) and any("lm_head" in name for name in names)
    assert not any("encoder" in name and ".lora_" not in name for name in names)
    for name, parameter in ours.module.named_parameters():
        if ".lora_B." in name:
            torch.nn.init.normal_(parameter, std=0.1)
    ours.save(tmp_path, ours.module)
    loaded = AutoModelForCTC.from_pretrained(tmp_path).eval()
    log_probs, _ = ours.module.log_probs(batch_of(ours, (0,)))
    torch.testing.assert_close(loaded(waveforms()[0][None]).logits.log_softmax(-1), log_probs, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("head", [{"head": "linear"}, {"head": "conv", "mixed_layers": 3, "head_size": 24}])
@pytest.mark.parametrize("trained_layers", [0, 1, 2])
def test_cached_states_give_the_same_loss(base: str, tmp_path: Path, trained_layers: int, head: dict[str, Any]) -> None:
    plain = recogniser(base, trained_layers=trained_layers, head=head)
    cached = recogniser(base, trained_layers=trained_layers, head=head, feature_cache=tmp_path)
    expected = plain.module(batch_of(plain), None)
    for _ in range(2):  # computed, then read
        torch.testing.assert_close(cached.module(batch_of(cached), None), expected, atol=0.02, rtol=1e-3)
    assert len(list(tmp_path.rglob("*.safetensors"))) == 3


def test_a_cache_is_by_weights_and_audio_and_bounded(tmp_path: Path) -> None:
    computed: list[int] = []

    def compute(waveform: Tensor) -> Tensor:
        computed.append(len(waveform))
        return waveform[None].repeat(2, 1)

    def cache(weight: float, max_gib: float = 1.0) -> FeatureCache:
        return FeatureCache(tmp_path, max_gib, [("w", torch.tensor([weight]))], compute)

    first, second = torch.ones(10), torch.zeros(10)
    assert torch.equal(cache(1.0)(first), cache(1.0)(first))
    assert computed == [10]
    cache(1.0)(second)
    cache(2.0)(first)
    assert computed == [10, 10, 10]
    full = cache(3.0, max_gib=1e-12)
    assert torch.equal(full(first), full(first))
    assert computed == [10] * 5
    cut = next(iter(sorted(tmp_path.rglob("*.safetensors"))))
    cut.write_bytes(cut.read_bytes()[:20])
    for weight in (1.0, 2.0):
        for waveform in (first, second):
            assert torch.equal(cache(weight)(waveform), waveform[None].repeat(2, 1))


def test_a_cache_that_two_processes_fill_stays_within_its_bound_and_says_once_that_it_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Each has room for 20 waveforms, of which 24 come to both, and counts after four files of its own. A process that
    loads data, forked from the first, says nothing more.
    """
    monkeypatch.setattr(frozen_features, "RECOUNT_WRITES", 4)
    monkeypatch.delenv("RANK", raising=False)
    room = 20 * 2500 / frozen_features.GIB  # 2500 bytes: 1200 halves, and the header of a file
    one, other = (FeatureCache(tmp_path, room, [], lambda waveform: waveform[None]) for _ in range(2))
    for number in range(24):
        for cache, sign in ((one, 1.0), (other, -1.0)):
            cache(torch.full((1200,), sign * (number + 1)))
        if number == 8:
            assert capfd.readouterr().err == ""
    used = sum(path.stat().st_size for path in tmp_path.rglob("*.safetensors"))
    assert 20 * 2500 - 2500 < used < (20 + 2 * 4) * 2500
    assert capfd.readouterr().err.count("the feature cache is full: ") == 2, "each says it once"
    loading = multiprocessing.get_context("fork").Process(target=one, args=(torch.full((1200,), 0.5),))
    loading.start()
    loading.join(60.0)
    assert loading.exitcode == 0 and capfd.readouterr().err == ""
    fresh = FeatureCache(tmp_path, room, [], lambda waveform: waveform[None])
    loading = multiprocessing.get_context("fork").Process(target=fresh, args=(torch.full((1200,), 0.5),))
    loading.start()
    loading.join(60.0)
    fresh(torch.full((1200,), 0.75))
    said = capfd.readouterr().err
    assert said.count("the feature cache is full") == 1 and "raise --model.feature_cache_gib" in said


def test_masks_hide_features_only_in_training(base: str) -> None:
    ours = recogniser(base, spec_augment="LB")
    assert ours.module.spec_augment is not None and ours.module.spec_augment.fill == "mean"
    batch = batch_of(ours)
    ours.module.train()
    losses = {round(float(ours.module(batch, torch.Generator().manual_seed(seed))), 3) for seed in range(3)}
    assert len(losses) == 3
    ours.module.eval()
    assert float(ours.module(batch, torch.Generator().manual_seed(0))) == pytest.approx(float(ours.module(batch, None)))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"vocabulary": "keep"}, "--model.vocabulary is keep"),
        ({"trained_layers": 4}, "--model.trained_layers is 4"),
        ({"feature_cache": Path("x")}, "no block of a pretrained encoder is frozen"),
        ({"head": {"heads": 1}}, "holds heads"),
        ({"head": {"mixed_layers": 9}}, "mixed_layers is 9"),
        ({"base": "no-such-whisper"}, "cannot be loaded"),
    ],
)
def test_what_cannot_be_used_is_refused(base: str, changes: dict[str, Any], expected: str) -> None:
    with pytest.raises((UsageError, InputError), match=expected):
        recogniser(**{"base": base} | changes)


@pytest.mark.parametrize(
    ("model", "data", "expected"),
    [
        (
            {"family": "lstm", "scratch": {}, "trained_layers": 1},
            {},
            "--model.trained_layers is 1, but --model.family is lstm",
        ),
        ({"family": "whisper-ctc", "base": "x", "trained_layers": 1, "lora_rank": 2}, {}, "one of the two"),
        ({"family": "whisper-ctc", "scratch": {"d_model": 8}, "trained_layers": 1}, {}, "of which all are trained"),
        ({"family": "whisper", "scratch": {"n_vocab": 8}, "trained_layers": 0}, {}, "of which all are trained"),
        (
            {"family": "whisper-ctc", "base": "x", "trained_layers": 1, "feature_cache": Path("x")},
            {"augment": [{"name": "gain"}]},
            "--model.feature_cache and --data.augment",
        ),
        ({"family": "whisper-ctc", "base": "x", "language": "de"}, {}, "--model.language is de"),
    ],
)
def test_contradictions_are_refused_by_flag(model: dict[str, Any], data: dict[str, Any], expected: str) -> None:
    config = TrainConfig(
        output_dir=Path("x"),
        model=ModelConfig(**model),
        data=DataConfig(train=["x"], validation_share=0.1, **data),
    )
    with pytest.raises(UsageError, match=expected):
        config.check()


def test_what_lasts_longer_than_the_positions_is_set_aside(base: str) -> None:
    ours = recogniser(base)
    assert "30 s: cut it" in str(ours.rejection_reason(31 * 16_000, TEXTS[0]))
    assert not ours.fits(31 * 16_000, ours.encode(TEXTS[0]))
    with pytest.raises(ValueError, match="1501 frames"):
        ours.module.model.lower(Features(torch.zeros(1, 80, 3002), torch.tensor([3002])), 0)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_run_trains_saves_and_resumes(base: str, tmp_path: Path) -> None:
    train = write_manifest(tmp_path / "train.jsonl", absolute(DEMO / "corpus" / "train.jsonl", 24))
    options = {
        "output_dir": tmp_path / "run",
        "model.family": "whisper-ctc",
        "model.base": base,
        "model.vocabulary": "new",
        "model.trained_layers": 1,
        "model.feature_cache": tmp_path / "cache",
        "model.spec_augment": "SM",
        "data.train": f"[{train}]",
        "data.validation_share": 0.2,
        "max_steps": 12,
        "eval_steps": 6,
        "logging_steps": 2,
        "mixed_precision": "no",
        "report_to": "none",
    }
    command = ("finetune/train.py", *(word for key, value in options.items() for word in (f"--{key}", str(value))))
    first = run(*command)
    assert first.returncode == 0, first.stderr
    weights = load_file(tmp_path / "run" / "model.safetensors")
    log = read_log(tmp_path / "run")
    losses = [line["loss"] for line in log if line["kind"] == "train"]
    assert losses[-1] < losses[0]
    last = tmp_path / "run" / "checkpoints" / "step-00000012"
    expected = load_file(last / "weights.safetensors")
    last.rename(tmp_path / "last")
    again = run(*command)
    assert "resumed at step 6 of 12" in again.stdout, again.stdout + again.stderr
    resumed = load_file(last / "weights.safetensors")
    assert all(torch.equal(resumed[name], weight) for name, weight in expected.items())
    assert set(weights) and len(list((tmp_path / "cache").rglob("*.safetensors"))) == 24
