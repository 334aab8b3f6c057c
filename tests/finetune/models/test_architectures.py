"""Each architecture of the wav2vec2 family, tiny and random: trained, saved, measured, aligned; or refused by name."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import (
    AutoFeatureExtractor,
    AutoModelForCTC,
    ParakeetCTCConfig,
    SeamlessM4TFeatureExtractor,
    SEWConfig,
    SEWForCTC,
    UniSpeechConfig,
    UniSpeechForCTC,
    Wav2Vec2BertConfig,
    Wav2Vec2BertForCTC,
    Wav2Vec2CTCTokenizer,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2ForCTC,
)

from finetune.config import ModelConfig
from finetune.models import build
from finetune.models.architectures import ARCHITECTURES
from finetune.models.base import pad_batch
from finetune.models.wav2vec2 import Wav2Vec2Recogniser
from finetune.systems.base import LoadOptions, SystemSpec
from finetune.systems.ctc_model import load_ctc
from finetune.systems.facts import SystemOptions
from finetune.systems.registry import load_system
from finetune.systems.wav2vec2 import Wav2Vec2System
from preprocessing.errors import InputError, UsageError
from preprocessing.units import Vocabulary, frames_needed
from tests.conftest import DEMO
from tests.finetune.models.test_padding_invariance import ADAPTERS, KINDS, SMALL, plain_model

pytestmark = pytest.mark.usefixtures("one_thread")
BERT = {
    "vocab_size": 32,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 48,
    "max_source_positions": 50,
    "hidden_dropout": 0.0,
    "attention_dropout": 0.0,
    "activation_dropout": 0.0,
    "conformer_conv_dropout": 0.0,
    "final_dropout": 0.0,
    "layerdrop": 0.0,
    "mask_time_prob": 0.0,
}
OTHERS: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "unispeech": (UniSpeechConfig, UniSpeechForCTC, SMALL),
    "w2v-bert": (Wav2Vec2BertConfig, Wav2Vec2BertForCTC, BERT),
    "w2v-bert adapter": (
        Wav2Vec2BertConfig,
        Wav2Vec2BertForCTC,
        BERT | {"add_adapter": True, "output_hidden_size": 32},
    ),
}
TRIED = ("wav2vec2 group", "wav2vec2 layer", "hubert base", "wavlm base", "data2vec", "unispeech-sat", "conformer")
TEXTS = ("TURN LEFT", "STOP", "GO ON", "YES")


def waveforms() -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [0.1 * torch.randn(n, generator=generator) for n in (16_000, 9_001, 30_000, 17_360)]


def base_of(folder: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The folder of a plain transformers model with its extractor and 32 units."""
    monkeypatch.setitem(SMALL, "vocab_size", 32)
    if kind in KINDS or kind in ADAPTERS:
        plain_model(kind).save_pretrained(folder)
    else:
        config, model, sizes = OTHERS[kind]
        torch.manual_seed(0)
        model(config(**sizes | {"vocab_size": 32})).save_pretrained(folder)
    extractor = SeamlessM4TFeatureExtractor() if kind.startswith("w2v-bert") else Wav2Vec2FeatureExtractor()
    extractor.save_pretrained(folder)
    Vocabulary.load(DEMO / "wav2vec2").save(folder)
    return str(folder)


def theirs(base: str) -> list[Tensor]:
    """Log-probabilities of each waveform alone, by transformers, which is given no frame of padding: an adapter would
    read it.
    """
    model, extractor = AutoModelForCTC.from_pretrained(base).eval(), AutoFeatureExtractor.from_pretrained(base)
    found = []
    with torch.inference_mode():
        for waveform in waveforms():
            inputs = extractor(
                waveform.numpy(),
                sampling_rate=16_000,
                return_tensors="pt",
                return_attention_mask=model.config.model_type == "wav2vec2-bert",
            )
            n_frames = len(waveform)
            if "attention_mask" in inputs:
                n_frames = int(inputs.pop("attention_mask").sum())
                inputs["input_features"] = inputs["input_features"][:, :n_frames]
            logits = model(**inputs).logits[0, : int(model._get_feat_extract_output_lengths(n_frames))]
            found.append(logits.log_softmax(dim=-1))
    return found


@pytest.mark.parametrize("kind", [*TRIED, *OTHERS])
def test_an_architecture_trains_is_measured_and_aligned(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = base_of(tmp_path / "base", kind, monkeypatch)
    ours = build(ModelConfig(base=base, dropout=0.0, mask_time_prob=0.0), [], seed=0)
    assert isinstance(ours, Wav2Vec2Recogniser)
    examples = [
        ours.prepare(i, one, ours.encode(text)) for i, (one, text) in enumerate(zip(waveforms(), TEXTS, strict=True))
    ]
    labels = ours.encode("TURN LEFT AT ONCE")
    for n_samples in range(400, 40_000, 397):  # by the frames of every length, not of a few of them
        assert ours.fits(n_samples, labels) == (ours._n_frames(n_samples) >= frames_needed(labels)), n_samples
    expected = theirs(base)
    ours.module.train()
    with torch.no_grad():
        log_probs, frames = ours.module.log_probs(pad_batch(examples))
    for row, own in enumerate(expected):
        torch.testing.assert_close(log_probs[row, : frames[row]], own, atol=1e-4, rtol=1e-4)
    optimiser = torch.optim.Adam([p for p in ours.module.parameters() if p.requires_grad], lr=1e-3)
    batch, losses = pad_batch(examples), []
    for _ in range(4):
        optimiser.zero_grad()
        loss = ours.module(batch, torch.Generator().manual_seed(0))
        loss.backward()
        optimiser.step()
        losses.append(float(loss))
    assert losses[-1] < losses[0]
    assert ours.layers_above("model.x.encoder.layers.0.a") == 2
    ours.module.eval()
    ours.save(tmp_path / "saved", ours.module)
    saved = theirs(str(tmp_path / "saved"))
    system = Wav2Vec2System(SystemSpec("tiny", "wav2vec2", str(tmp_path / "saved")), LoadOptions("cpu", None))
    paths = system.forward(system.features([*waveforms(), torch.zeros(0), torch.zeros(100)]))
    assert [path.tolist() for path in paths] == [*(own.argmax(dim=-1).tolist() for own in saved), [], []]
    if kind == "w2v-bert adapter":
        with pytest.raises(InputError, match="its frame times are unknown"):
            load_ctc(str(tmp_path / "saved"))
        return
    assert system.facts.settings["batch"] == "padded, each utterance as it is alone"
    torch.testing.assert_close(
        load_ctc(str(tmp_path / "saved")).log_probs(waveforms()[0]), saved[0], atol=1e-4, rtol=1e-4
    )


def test_batch_norms_keep_the_statistics_of_the_base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else what an utterance is heard as depends on its batch."""
    ours = build(ModelConfig(base=base_of(tmp_path, "conformer", monkeypatch)), [], seed=0)
    norms = [part for part in ours.module.train().modules() if isinstance(part, nn.BatchNorm1d)]
    assert norms and not any(norm.training for norm in norms)


def test_the_times_of_log_mel_frames() -> None:
    """A pair of frames of 25 ms, 10 ms apart, is centred on 17.5 ms."""
    from finetune.models.frame_geometry import frame_times

    times = frame_times(Wav2Vec2BertConfig())
    assert times is not None and times.frame_seconds == 0.02
    assert (times.start(5) + times.end(5)) / 2 == pytest.approx(5 * 0.02 + 0.0175, abs=1e-4)


@pytest.mark.parametrize(
    ("config", "reason"), [(ParakeetCTCConfig, "output layer"), (SEWConfig, "pooled over the padding")]
)
def test_what_is_not_supported_is_refused_by_name(config: Any, reason: str, tmp_path: Path) -> None:
    config().save_pretrained(tmp_path)
    Wav2Vec2FeatureExtractor().save_pretrained(tmp_path)
    name = config.model_type
    with pytest.raises(InputError, match=f"a {name} is not supported, as .*{reason}.*expected one of wav2vec2, hubert"):
        build(ModelConfig(base=str(tmp_path)), [], seed=0)
    with pytest.raises(InputError, match=f"tiny: a {name} is not supported"):
        Wav2Vec2System(SystemSpec("tiny", "wav2vec2", str(tmp_path)), LoadOptions("cpu", None))
    with pytest.raises(InputError, match=f"a {name} is not supported"):
        load_ctc(str(tmp_path))


def test_the_table_in_the_docs_has_each_architecture() -> None:
    docs = (DEMO.parent / "docs" / "finetuning.md").read_text(encoding="utf-8")
    assert [name for name in ARCHITECTURES if f"`{name}`" not in docs] == []


@pytest.fixture
def mms(tmp_path: Path) -> str:
    """A model shaped as MMS with adapters, vocabularies and output layers of two languages, English loaded."""
    folder = tmp_path / "mms"
    units = {
        "eng": ["<pad>", "<s>", "</s>", "<unk>", "|", *"abcdefg"],
        "deu": ["<pad>", "<s>", "</s>", "<unk>", "|", *"abcäöüß"],
    }
    units["deu"].append("z")
    model = plain_model("mms")
    model.save_pretrained(folder)
    Wav2Vec2FeatureExtractor(return_attention_mask=True).save_pretrained(folder)
    (folder / "vocab.json").write_text(
        json.dumps({language: {unit: i for i, unit in enumerate(own)} for language, own in units.items()})
    )
    Wav2Vec2CTCTokenizer(str(folder / "vocab.json"), target_lang="eng").save_pretrained(folder)
    for seed, (language, own) in enumerate(units.items()):
        generator = torch.Generator().manual_seed(seed)
        weights = {
            name: 0.1
            * torch.randn(len(own) if "lm_head" in name else weight.shape[0], *weight.shape[1:], generator=generator)
            for name, weight in model._get_adapters().items()
        }
        save_file(weights, folder / f"adapter.{language}.safetensors", metadata={"format": "pt"})
    return str(folder)


def test_mms_trains_the_adapter_of_a_language(mms: str, tmp_path: Path) -> None:
    """What was trained loads into the base as transformers' load_adapter does it, and the folder on its own."""
    plain = Wav2Vec2ForCTC.from_pretrained(mms, target_lang="deu", ignore_mismatched_sizes=True).eval()
    ours = build(ModelConfig(base=mms, language="deu", dropout=0.0, mask_time_prob=0.0), [], seed=0)
    assert isinstance(ours, Wav2Vec2Recogniser)
    assert ours.vocabulary.units[5:] == (*"abcäöüß", "z")
    trained = {name for name, p in ours.module.model.named_parameters() if p.requires_grad}
    assert trained == set(plain._get_adapters())
    waveform = waveforms()[0]
    example = ours.prepare(0, waveform, ours.encode("büßäz"))
    with torch.inference_mode():
        torch.testing.assert_close(
            ours.module.eval().model(example.inputs[None]).logits, plain(example.inputs[None]).logits
        )
    optimiser = torch.optim.SGD([p for p in ours.module.parameters() if p.requires_grad], lr=1e-2)
    ours.module.train()(pad_batch([example]), None).backward()
    optimiser.step()
    ours.module.eval()
    saved = tmp_path / "saved"
    ours.save(saved, ours.module)
    with torch.inference_mode():
        expected = ours.module.model(example.inputs[None]).logits
        assert not torch.allclose(expected, plain(example.inputs[None]).logits, atol=1e-4)
        (saved / "adapter.deu.safetensors").replace(Path(mms) / "adapter.new.safetensors")
        plain.load_adapter("new")
        torch.testing.assert_close(plain(example.inputs[None]).logits, expected)
        torch.testing.assert_close(AutoModelForCTC.from_pretrained(saved).eval()(example.inputs[None]).logits, expected)
    assert Vocabulary.load(str(saved)) == ours.vocabulary


def test_a_language_that_cannot_be_trained_is_said(mms: str) -> None:
    with pytest.raises(InputError, match=r"has no adapter\.fra\.safetensors; .*--model\.vocabulary new"):
        build(ModelConfig(base=mms, language="fra"), [], seed=0)
    new = build(ModelConfig(base=mms, language="fra", vocabulary="new"), ["été"], seed=0)
    assert isinstance(new, Wav2Vec2Recogniser) and new.module.model.lm_head.out_features == len(new.vocabulary.units)
    with pytest.raises(UsageError, match="has no language adapters; expected one of the MMS models"):
        build(ModelConfig(base=str(DEMO / "wav2vec2"), language="deu"), [], seed=0)
    with pytest.raises(UsageError, match=r"--model\.language is deu, which trains .* --model\.lora_rank is set"):
        ModelConfig(base=mms, language="deu", lora_rank=4).check()


TEXT_OF = {"eng": "a", "deu": "ä"}  # what each adapter writes of any recording


@pytest.fixture
def decided(mms: str) -> str:
    """The same model with output layers that write one letter, another in each language."""
    for language, letter in TEXT_OF.items():
        path = Path(mms) / f"adapter.{language}.safetensors"
        weights = load_file(path)
        weights["lm_head.weight"].zero_()
        weights["lm_head.bias"].zero_()[Vocabulary.load(mms, language).units.index(letter)] = 5.0
        save_file(weights, path, metadata={"format": "pt"})
    model = Wav2Vec2ForCTC.from_pretrained(mms, target_lang="eng", ignore_mismatched_sizes=True)
    model.save_pretrained(mms)
    return mms


@pytest.mark.parametrize("family", ["wav2vec2", "pipeline"])
@pytest.mark.parametrize(
    ("language", "adapter"), [(None, "eng"), ("eng", "eng"), ("deu", "deu"), ("de", "deu"), ("German", "deu")]
)
def test_mms_decodes_with_the_adapter_of_the_language(
    decided: str, family: str, language: str | None, adapter: str
) -> None:
    system = load_system(SystemSpec("mms", family, decided), LoadOptions("cpu", language))
    (found,) = system.transcribe([waveforms()[0]])
    assert (found.text, found.language) == (TEXT_OF[adapter], language or "eng")
    assert system.facts.settings["language"] == adapter
    assert system.takes_language == (language is not None)


def test_alignment_and_tuning_are_of_the_language(decided: str) -> None:
    """Units and text profile are the language's: here only English has capitals."""
    units = Path(decided) / "vocab.json"
    known = json.loads(units.read_text())
    units.write_text(
        json.dumps(known | {"eng": {unit[:1].upper() + unit[1:]: index for unit, index in known["eng"].items()}})
    )
    model = load_ctc(decided, language="de")
    assert model.vocabulary == Vocabulary.load(decided, "deu")
    assert [model.normaliser()("Bad"), model.normaliser("verbatim")("Bad")] == ["bad", "Bad"]
    assert int(model.log_probs(waveforms()[0])[0].argmax()) == model.vocabulary.units.index("ä")
    with pytest.raises(UsageError, match=r"--language is de, but .*wav2vec2 has no language adapters"):
        load_ctc(str(DEMO / "wav2vec2"), language="de")


def test_a_language_that_cannot_be_decoded_is_said(decided: str) -> None:
    def load(language: str | None, own: str | None = None, checkpoint: str = decided) -> None:
        options = LoadOptions("cpu", own or language, system=SystemOptions(language=own))
        load_system(SystemSpec("mms", "wav2vec2", checkpoint), options)

    with pytest.raises(
        InputError, match=r"--language is fr, which is none of the 2 languages of .*one of deu, eng: ch"
    ):
        load("fr")
    load(None, own="de")
    with pytest.raises(InputError, match=r"--system_options\.mms\.language is de, but .* has no language adapters"):
        load(None, own="de", checkpoint=str(DEMO / "wav2vec2"))
    (Path(decided) / "adapter.deu.safetensors").unlink()
    with pytest.raises(InputError, match=r"has no adapter\.deu\.safetensors; expected the adapter of --language de"):
        load("de")
    units = Path(decided) / "vocab.json"
    known = json.loads(units.read_text())
    units.write_text(json.dumps(known | {"srp-script_latin": {}, "srp-script_cyrillic": {}}))
    with pytest.raises(
        InputError, match=r"--language is sr, of which .* has 2; expected one of srp-script_latin, srp-"
    ):
        load("sr")


def test_a_run_of_an_adapter_is_trained_further(mms: str, tmp_path: Path) -> None:
    ours = build(ModelConfig(base=mms, language="deu"), [], seed=0)
    assert isinstance(ours, Wav2Vec2Recogniser)
    ours.save(tmp_path / "run", ours.module)
    again = build(ModelConfig(base=str(tmp_path / "run"), language="deu"), [], seed=0)
    assert isinstance(again, Wav2Vec2Recogniser) and again.vocabulary == ours.vocabulary
    found = load_system(SystemSpec("run", "wav2vec2", str(tmp_path / "run")), LoadOptions("cpu", "en"))
    assert not found.takes_language  # it has the vocabulary of one language


def test_why_sew_is_refused_holds() -> None:
    """With an odd number of frames its last pair is pooled with padding: a batch then differs from its members."""
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    positions = {"num_conv_pos_embeddings": 8, "num_conv_pos_embedding_groups": 2}
    model = SEWForCTC(SEWConfig(**sizes, **positions, feat_extract_norm="layer")).eval()
    alone, n_samples = torch.randn(15_320), 15_320
    batch = torch.stack([torch.nn.functional.pad(alone, (0, 24_000 - n_samples)), torch.randn(24_000)])
    mask = (torch.arange(24_000) < torch.tensor([[n_samples], [24_000]])).long()
    with torch.inference_mode():
        expected, padded = model(alone[None]).logits[0], model(batch, attention_mask=mask).logits[0]
    assert len(expected) % 2 == 1 and (padded[: len(expected)] - expected).abs().max() > 1e-3
