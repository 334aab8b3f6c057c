"""The CTC family: what is saved is what was trained, and what cannot be trained on is said."""

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCTC, AutoTokenizer, pipeline

from finetune.config import ModelConfig
from finetune.decoding.greedy import collapse
from finetune.models import build
from finetune.models.base import Example, pad_batch
from finetune.models.wav2vec2 import Wav2Vec2Recogniser
from preprocessing import audio
from preprocessing.errors import InputError, UsageError
from preprocessing.text import profile
from preprocessing.units import Vocabulary
from tests.conftest import DEMO, read_manifest
from tests.finetune.runs import TINY

BASE = str(DEMO / "wav2vec2")


def recogniser(**changes: object) -> Wav2Vec2Recogniser:
    config = ModelConfig(**{"base": BASE} | changes)  # type: ignore[arg-type]
    built = build(config, ["GRÜSSE AUS KÖLN"], seed=0)
    assert isinstance(built, Wav2Vec2Recogniser)
    return built


def test_reloaded_weights_are_identical_and_logits_the_same(tmp_path: Path) -> None:
    """After a training step, plain transformers has the same weights from the saved folder, to the bit, and the same
    logits, which it computes by other convolutions.
    """
    ours = recogniser(dropout=0.0)
    rows = read_manifest(DEMO / "corpus" / "train.jsonl")[:3]
    normalise = profile("librispeech")
    examples = [
        ours.prepare(i, audio.load(DEMO / "corpus" / row["audio"]), ours.encode(normalise(row["text"])))
        for i, row in enumerate(rows)
    ]
    ours.module(pad_batch(examples), torch.Generator().manual_seed(0)).backward()
    torch.optim.SGD([p for p in ours.module.parameters() if p.requires_grad], lr=1e-4).step()
    ours.module.eval()
    ours.save(tmp_path, ours.module)
    plain = AutoModelForCTC.from_pretrained(tmp_path).eval()
    weights = ours.module.model.state_dict()
    assert all(torch.equal(weight, weights[name]) for name, weight in plain.state_dict().items())
    for example in examples:
        with torch.inference_mode():
            expected = ours.module.model(example.inputs[None]).logits
            torch.testing.assert_close(plain(example.inputs[None]).logits, expected, rtol=1e-5, atol=1e-4)


def test_the_vector_of_masked_frames_is_initialised_where_the_base_lacks_it() -> None:
    dirty = [torch.full((192,), torch.nan) for _ in range(5000)]
    del dirty
    vector = recogniser().module.model.wav2vec2.masked_spec_embed
    assert 0.0 <= vector.min() < vector.max() <= 1.0


def test_the_feature_encoder_of_a_base_stays_frozen_unless_told() -> None:
    frozen = [name for name, p in recogniser().module.named_parameters() if not p.requires_grad]
    encoder = [name for name, _ in recogniser().module.named_parameters() if "feature_extractor" in name]
    assert frozen == encoder
    for changes in ({"freeze_feature_encoder": False}, {"base": None, "scratch": TINY}):
        assert all(p.requires_grad for p in recogniser(**changes).module.parameters())


def test_dropout_is_the_configurations_and_layers_are_never_dropped() -> None:
    config = recogniser(dropout=0.3, attention_dropout=0.2).module.model.config
    assert (config.hidden_dropout, config.activation_dropout, config.final_dropout) == (0.3, 0.3, 0.3)
    assert (config.attention_dropout, config.layerdrop) == (0.2, 0.0)


def test_an_evaluation_reads_the_frames_of_each_utterance(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not those of the padding, in its text or in its share of blanks."""
    ours = recogniser()
    blank, decode = ours.vocabulary.blank, ours.vocabulary.decode
    path = torch.tensor([blank, 5, 5, blank, 6, blank, blank, blank])
    log_probs = torch.nn.functional.one_hot(path, ours.vocabulary.size).float().log_softmax(dim=-1).expand(2, -1, -1)
    monkeypatch.setattr(ours.module, "log_probs", lambda _: (log_probs, torch.tensor([8, 3])))
    batch = pad_batch([Example(row, torch.zeros(400), (5,), 400) for row in range(2)])
    found = [(one.text, one.blank_ratio) for one in ours.evaluate(ours.module, batch).hypotheses]
    assert found == [(decode([5, 6]), 5 / 8), (decode([5]), 1 / 3)]


@pytest.mark.parametrize(
    ("scratch", "expected"),
    [
        ({"hiden_size": 64}, r"holds hiden_size; expected keys of Wav2Vec2Config .* choose among hidden_size, "),
        ({"hidden_dropout": 0.1, "vocab_size": 9}, r"holds hidden_dropout, vocab_size; .* that no other option sets"),
        ({"hidden_size": 3.5}, r"cannot be used: .*'hidden_size' expected int, got float"),
        ({"hidden_size": 33}, r"cannot be used: .*divisible"),
        ({"hidden_act": "gelo"}, r"cannot be used: 'gelo'"),
    ],
)
def test_a_wrong_description_of_a_new_model_is_one_sentence(scratch: dict[str, object], expected: str) -> None:
    with pytest.raises(UsageError, match=rf"--model\.scratch {expected}") as caught:
        recogniser(base=None, scratch=TINY | scratch)
    assert "\n" not in str(caught.value)


def test_a_new_model_has_the_attention_that_is_asked_for() -> None:
    for asked, expected in (("eager", "eager"), ("sdpa", "sdpa")):
        model = recogniser(base=None, scratch=TINY, attn_implementation=asked).module.model
        assert model.config._attn_implementation == expected


def test_a_new_vocabulary_gets_a_new_output_layer(tmp_path: Path) -> None:
    ours = recogniser(vocabulary="new")
    assert ours.vocabulary.outside(["GRÜSSE AUS KÖLN"]).total() == 0
    assert ours.module.model.lm_head.out_features == len(ours.vocabulary.units)
    ours.save(tmp_path, ours.module)
    assert AutoModelForCTC.from_pretrained(tmp_path).config.vocab_size == len(ours.vocabulary.units)


def test_a_new_output_layer_of_as_many_units_is_new_unless_they_are_the_same(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """As many units in the same places are other letters: with the base's weights, each would start as another one."""
    base = recogniser()
    head = base.module.model.lm_head
    letters = [unit for unit in base.vocabulary.units if len(unit) == 1 and unit not in base.vocabulary.boundary_unit]
    others = "".join(chr(0x430 + place) for place in range(len(letters)))
    for texts, is_kept in ((["".join(letters)], True), ([others], False)):
        new = build(ModelConfig(base=BASE, vocabulary="new"), texts, seed=0).module.model.lm_head  # type: ignore[union-attr]
        assert new.weight.shape == head.weight.shape
        assert torch.equal(new.weight, head.weight) == torch.equal(new.bias, head.bias) == is_kept
        assert ("weights of its output layer are kept" in capsys.readouterr().err) == is_kept


def test_an_extended_vocabulary_keeps_what_the_base_knows(tmp_path: Path) -> None:
    """Old units with their ids and weights, new ones after them; the saved folder holds both."""
    base, ours = recogniser(), recogniser(vocabulary="extend")
    n_old = len(base.vocabulary.units)
    assert ours.vocabulary.units == (*base.vocabulary.units, "Ö", "Ü")
    head, head_of_base = ours.module.model.lm_head, base.module.model.lm_head
    assert torch.equal(head.weight[:n_old], head_of_base.weight) and torch.equal(head.bias[:n_old], head_of_base.bias)
    assert head.weight[n_old:].std().item() == pytest.approx(0.02, rel=0.2) and not head.bias[n_old:].any()
    ours.check_labels(["GRÜSSE AUS KÖLN"])
    ours.save(tmp_path, ours.module)
    inputs = torch.randn(1, 16_000, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        saved = AutoModelForCTC.from_pretrained(tmp_path).eval()(inputs).logits
        torch.testing.assert_close(saved[..., :n_old], base.module.model.eval()(inputs).logits)
    assert saved.shape[-1] == n_old + 2
    assert recogniser(base=str(tmp_path)).vocabulary.units == ours.vocabulary.units


def test_labels_outside_the_vocabulary_are_counted_never_unknown() -> None:
    ours = recogniser()
    with pytest.raises(UsageError, match=r"'e' 2 times.*as in 'lower case'.*other case: use the profile ctc:MODEL"):
        ours.check_labels(["lower case"])
    with pytest.raises(UsageError, match=r"as in 'другое'.*same case and script"):
        ours.check_labels(["YES", "другое"])
    assert "'Ü' 1 times" in str(ours.rejection_reason(32_000, "GRÜSSE"))
    ours.check_labels(["MOSTLY FINE, ONE Ü"])


@pytest.mark.parametrize(
    ("n_samples", "text", "reason"),
    [(399, "A", "receptive field"), (16_000, "", "empty label"), (720, "AA", "CTC cannot fit"), (16_000, "YES", None)],
)
def test_what_cannot_be_trained_on(n_samples: int, text: str, reason: str | None) -> None:
    found = recogniser().rejection_reason(n_samples, text)
    assert found is None if reason is None else reason in str(found)


def test_equal_labels_fit_where_a_blank_between_them_does() -> None:
    ours = recogniser()
    assert ours.fits(720, (5, 6)) and not ours.fits(720, (5, 5))  # two frames


def test_a_base_that_is_no_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=str(tmp_path)):
        build(ModelConfig(base=str(tmp_path)), [], seed=0)


UNITS: dict[str, dict[str, object]] = {
    "characters": {},
    "syllables": {"units_language": "en_US"},
    "bpe": {"units_size": 60},
    "words": {"units_size": 40},
}


@pytest.mark.parametrize("kind", UNITS)
def test_every_kind_of_unit_trains_saves_and_loads(kind: str, tmp_path: Path) -> None:
    """A handful of updates lower the loss; plain transformers reads from the folder what we read."""
    rows = read_manifest(DEMO / "corpus" / "train.jsonl")[:40]
    texts = [profile("librispeech")(row["text"]) for row in rows]
    config = ModelConfig(base=BASE, vocabulary="new", units=kind, dropout=0.0, **UNITS[kind])  # type: ignore[arg-type]
    config.check_units()
    ours = build(config, texts, seed=0)
    assert isinstance(ours, Wav2Vec2Recogniser)
    assert kind in ours.describe_units(texts)
    assert (ours.vocabulary.outside(texts).total() > 0) == (kind == "words")
    waveforms = [audio.load(DEMO / "corpus" / row["audio"]) for row in rows[:4]]
    assert all(ours.rejection_reason(len(w), text) is None for w, text in zip(waveforms, texts, strict=False))
    batch = pad_batch([ours.prepare(i, w, ours.encode(texts[i])) for i, w in enumerate(waveforms)])
    optimiser = torch.optim.Adam([p for p in ours.module.parameters() if p.requires_grad], lr=1e-3)
    losses = []
    for _ in range(5):
        optimiser.zero_grad()
        loss = ours.module(batch, None)
        loss.backward()
        optimiser.step()
        losses.append(float(loss))
    assert losses[-1] < 0.8 * losses[0]
    ours.module.eval()
    ours.save(tmp_path, ours.module)
    assert Vocabulary.load(str(tmp_path)) == ours.vocabulary and ours.vocabulary.kind == kind
    plain, tokenizer = AutoModelForCTC.from_pretrained(tmp_path).eval(), AutoTokenizer.from_pretrained(tmp_path)
    recognise = pipeline("automatic-speech-recognition", model=str(tmp_path))
    for waveform in waveforms[:2]:
        with torch.inference_mode():
            path = plain(ours.prepare(0, waveform, ()).inputs[None]).logits[0].argmax(dim=-1).tolist()
        read = ours.vocabulary.decode(collapse(path, ours.vocabulary.blank))
        assert tokenizer.decode(path).split() == recognise(waveform.numpy())["text"].split() == read.split()


@pytest.mark.parametrize(
    ("options", "flag"),
    [
        ({"units": "bpe", "units_size": 60}, "--model.vocabulary"),
        ({"units": "bpe", "vocabulary": "new"}, "--model.units_size"),
        ({"units": "syllables", "vocabulary": "new"}, "--model.units_language"),
        ({"units": "words", "vocabulary": "new", "units_language": "en_US"}, "--model.units_language"),
        ({"units_size": 60}, "--model.units_size"),
        ({"units": "words", "family": "whisper", "vocabulary": "new"}, "--model.family"),
        (
            {"units": "syllables", "vocabulary": "new", "units_language": "de_DE", "units_dictionary": "cmudict"},
            "--model.units_dictionary",
        ),
    ],
)
def test_units_that_contradict_are_refused(options: dict[str, object], flag: str) -> None:
    with pytest.raises(UsageError, match=flag):
        ModelConfig(base=BASE, **options).check_units()  # type: ignore[arg-type]
