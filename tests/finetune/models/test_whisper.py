"""The Whisper family: openai-whisper itself loads what is saved, and the loss is its own cross-entropy."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import whisper
from whisper.model import sinusoids
from whisper.tokenizer import LANGUAGES

from finetune.config import ModelConfig
from finetune.data.corpora import OpenedCorpora
from finetune.models.base import IGNORED_LABEL, pad_batch
from finetune.models.whisper_formats import CHECKPOINT, FULL_CONTEXT
from finetune.systems.base import SystemSpec
from finetune.systems.facts import SystemOptions
from finetune.systems.whisper_decoding import resolve_decoding
from preprocessing.audio import SAMPLE_RATE
from preprocessing.corpus import Corpus, Utterance
from preprocessing.errors import InputError, UsageError
from tests.conftest import DEMO
from tests.finetune.models.trainable_whisper import DIMENSIONS, MULTILINGUAL, noise, recogniser
from tests.finetune.systems.tiny_whisper import save_tiny_whisper


def test_openai_whisper_loads_what_is_saved(tmp_path: Path) -> None:
    ours = recogniser()
    ours.save(tmp_path, ours.module)
    loaded = whisper.load_model(str(tmp_path / CHECKPOINT), device="cpu")
    assert loaded.dims.n_audio_ctx == FULL_CONTEXT
    torch.testing.assert_close(
        loaded.encoder.positional_embedding.float(), sinusoids(FULL_CONTEXT, 16), atol=1e-3, rtol=0
    )
    for name, weight in ours.module.model.state_dict().items():
        if name != "encoder.positional_embedding":
            assert torch.equal(loaded.state_dict()[name].half(), weight.half()), name


def test_a_shorter_window_sees_the_same_positions(tmp_path: Path) -> None:
    full = recogniser(context_seconds=30.0)
    full.save(tmp_path, full.module)
    short = recogniser(scratch=None, base=str(tmp_path), context_seconds=2.0)
    expected = full.module.model.encoder.positional_embedding[:100]
    torch.testing.assert_close(short.module.model.encoder.positional_embedding, expected, atol=1e-3, rtol=0)


def test_labels_are_whispers_own_sequence() -> None:
    tokenizer = whisper.tokenizer.get_tokenizer(multilingual=False)
    labels = recogniser().encode("turn on the lamp")
    assert labels[:2] == (tokenizer.sot, tokenizer.no_timestamps)
    assert labels[-1] == tokenizer.eot
    assert tokenizer.decode(list(labels[2:-1])) == " turn on the lamp"


@pytest.mark.parametrize(
    ("language", "text"),
    [
        *[("bn", "ষষ্ঠ দিন"), ("tr", "ırmak akıyor"), ("vi", "ươm mầm"), ("ru", "привет"), ("de", "äußerst")],
        *[("th", "สวัสดี"), ("lo", "ກິນ"), ("zh", "你好"), ("ja", "こんにちは"), ("yue", "早晨")],
    ],
)
def test_a_text_begins_with_a_token_that_decoding_writes(language: str, text: str) -> None:
    """openai-whisper, faster-whisper and transformers never write the space alone, token 220, first."""
    scratch = MULTILINGUAL | {"n_vocab": 51866, "n_text_ctx": 64}  # 100 languages
    ours = recogniser(scratch=scratch, language=language, timestamp_share=0.5)
    tokenizer = whisper.tokenizer.get_tokenizer(True, num_languages=100, language=language, task="transcribe")
    options = whisper.DecodingOptions(language=language, without_timestamps=True, fp16=False)
    (blank, _) = whisper.decoding.DecodingTask(ours.module.model, options).logit_filters[:2]
    space = "" if language in ("th", "lo", "zh", "ja", "yue") else " "  # as Whisper base begins a text in them
    for index in (0, 2):  # without times, and with
        labels = list(ours.prepare(index, noise(1.0), ours.encode(text)).labels)
        *prompt, first = labels[: len(tokenizer.sot_sequence) + 2]
        written = tokenizer.decode([token for token in labels if token < tokenizer.eot])
        if index == 0:
            assert prompt == list(tokenizer.sot_sequence_including_notimestamps)
            logits = torch.zeros(1, 51866)
            blank.sample_begin = len(prompt)
            blank.apply(logits, torch.tensor([prompt]))
            assert logits[0, first] == 0.0
            assert written.lstrip(" ") == text
        else:
            assert written == space + text


@pytest.mark.parametrize("text", ["<|0.00|> turn it on<|1.20|>", "<|endoftext|>", "so <|nospeech|>"])
def test_the_name_of_a_special_token_in_a_text_is_text(text: str) -> None:
    """As transcripts that another Whisper wrote with timestamps hold them."""
    ours, tokenizer = recogniser(), whisper.tokenizer.get_tokenizer(multilingual=False)
    labels = ours.encode(text)
    assert max(labels[2:-1]) < tokenizer.eot
    assert tokenizer.decode(list(labels[2:-1])) == f" {text}"
    assert ours.rejection_reason(SAMPLE_RATE, text) is None
    assert ours.describe_units([text]).endswith(": < > |")


def test_windows_are_filled_in_both_of_openai_whispers_ways() -> None:
    """As `decode` is given a silence-padded waveform, and as `transcribe` pads the log-mel with zeros."""
    ours, waveform = recogniser(), noise(0.5)
    silence = whisper.log_mel_spectrogram(torch.nn.functional.pad(waveform, (0, round(1.5 * SAMPLE_RATE))))
    by_decode, by_transcribe = (ours.prepare(index, waveform, ()).inputs for index in (0, 1))
    torch.testing.assert_close(by_decode, silence, atol=1e-4, rtol=0)
    torch.testing.assert_close(by_transcribe[:, :50], silence[:, :50], atol=1e-4, rtol=0)
    assert (by_transcribe[:, 50:] == 0).all()


def test_a_batch_is_as_many_windows_whatever_is_said_in_them() -> None:
    ours = recogniser()
    batch = pad_batch([ours.prepare(index, noise(0.5), ours.encode("on")) for index in range(3)])
    assert [one.seconds for one in (batch, *batch.split(3))] == [(1.5, 6.0), *[(0.5, 2.0)] * 3]
    assert batch.inputs.shape[-1] == 200  # frames of 10 ms
    assert ours.computed_seconds(0.5) == 2.0


def test_the_loss_is_the_sum_over_labels_whatever_the_batch() -> None:
    ours = recogniser()
    ours.module.eval()
    examples = [ours.prepare(i, noise(0.4 + 0.3 * i), ours.encode(text)) for i, text in enumerate(["on", "turn it on"])]
    with torch.inference_mode():
        together = ours.module(pad_batch(examples), None)
        alone = sum(ours.module(pad_batch([example]), None) for example in examples)
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-4)
    n_prompt = len(ours.encode("")) - 1
    assert ours.count_labels(pad_batch(examples)) == sum(len(example.labels) - n_prompt for example in examples)


def test_spec_augment_masks_speech_alone_and_in_training_alone() -> None:
    module = recogniser(spec_augment="SS").module
    assert module.spec_augment is not None and module.spec_augment.fill == "mean"
    batch = pad_batch([recogniser().prepare(index, noise(1.0), ()) for index in (0, 1)])
    seen: list[torch.Tensor] = []
    module.model.encoder.conv1.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    labels = replace(batch, labels=torch.tensor([[1, 2]] * 2))
    for training, generator in ((True, torch.Generator().manual_seed(4)), (True, None), (False, torch.Generator())):
        module.train(training)(labels, generator)
    masked, *untouched = seen
    assert (masked[..., :100] != batch.inputs[..., :100]).float().mean() > 0.1
    assert torch.equal(masked[..., 100:], batch.inputs[..., 100:])
    assert all(torch.equal(mel, batch.inputs) for mel in untouched)


def test_a_run_is_transcribed_in_the_language_that_it_was_trained_in(tmp_path: Path) -> None:
    """Detecting it would take a short or rare one for another; what the user names comes first."""
    ours = recogniser(scratch=MULTILINGUAL, language="cy")
    ours.save(tmp_path, ours.module)
    for checkpoint in (str(tmp_path), str(tmp_path / "whisper.pt")):
        spec = SystemSpec("w", "whisper", checkpoint)
        assert resolve_decoding(spec, SystemOptions(), None, LANGUAGES).language == "cy"
        assert resolve_decoding(spec, SystemOptions(), "de", LANGUAGES).language == "de"
        assert resolve_decoding(spec, SystemOptions(), None, ["en", "de"]).language is None
    assert resolve_decoding(SystemSpec("w", "whisper", "base"), SystemOptions(), None, LANGUAGES).language is None


def test_layers_learn_the_slower_the_further_from_the_output() -> None:
    ours = recogniser(scratch=DIMENSIONS)
    heights = {name: ours.layers_above(name) for name, _ in ours.module.named_parameters()}
    n_decoder, n_encoder = DIMENSIONS["n_text_layer"], DIMENSIONS["n_audio_layer"]
    assert heights["model.decoder.token_embedding.weight"] == heights["model.decoder.ln.weight"] == 0
    assert heights[f"model.decoder.blocks.{n_decoder - 1}.mlp.0.weight"] == 1
    assert heights["model.encoder.ln_post.weight"] == n_decoder + 1
    assert heights[f"model.encoder.blocks.{n_encoder - 1}.mlp.0.weight"] == n_decoder + 2
    assert heights["model.encoder.conv1.weight"] == n_decoder + n_encoder + 2


def test_another_language_is_trained_and_asked_for() -> None:
    """The sequence is that of openai-whisper's decoding, which a checkpoint meets in every program that loads it."""
    ours = recogniser(scratch=MULTILINGUAL, language="de")
    labels = ours.encode("schalte das Licht an")
    options = whisper.DecodingOptions(language="de", without_timestamps=True)
    asked = whisper.decoding.DecodingTask(ours.module.model, options).initial_tokens
    assert labels[: len(asked)] == asked
    tokenizer = whisper.tokenizer.get_tokenizer(multilingual=True, language="de")
    assert tokenizer.decode(list(labels[len(asked) : -1])) == " schalte das Licht an"
    assert ours.encode("an") != recogniser(scratch=MULTILINGUAL, language="en").encode("an")


def test_the_loss_leaves_the_prompt_out() -> None:
    """It is that of transformers' convention: what is given in decoding is no label."""
    ours = recogniser(scratch=MULTILINGUAL, language="de")
    batch = pad_batch(
        [ours.prepare(0, noise(0.5), ours.encode("ja")), ours.prepare(1, noise(0.5), ours.encode("so ja"))]
    )
    tokenizer = whisper.tokenizer.get_tokenizer(multilingual=True, language="de")
    kept = [[label for label in row if label != IGNORED_LABEL] for row in ours.module.targets(batch).tolist()]
    assert kept == [[*tokenizer.encode(text), tokenizer.eot] for text in (" ja", " so ja")]
    ours.module.eval()
    logits = ours.module.model.decoder(batch.labels.clamp(min=0)[:, :-1], ours.module.model.encoder(batch.inputs))
    log_probs = logits.detach().log_softmax(dim=-1)
    expected = -sum(
        float(log_probs[row, place - 1, label])
        for row, (labels, length) in enumerate(zip(batch.labels.tolist(), batch.label_lengths.tolist(), strict=True))
        for place, label in enumerate(labels[:length])
        if place >= 4
    )
    assert float(ours.module(batch, None)) == pytest.approx(expected, rel=1e-5)


def test_label_smoothing_is_of_training_alone() -> None:
    plain, smooth = recogniser(), recogniser(label_smoothing_factor=0.2)
    batch = pad_batch([plain.prepare(0, noise(0.5), plain.encode("on"))])
    logits = plain.module.model.decoder(batch.labels[:, :-1], plain.module.model.encoder(batch.inputs)).log_softmax(-1)
    spread = -float(logits[0, 1:].mean(dim=-1).sum())  # of the labels after the prompt, over the vocabulary
    loss = float(plain.module(batch, None))
    assert float(smooth.module(batch, None)) == pytest.approx(0.8 * loss + 0.2 * spread, rel=1e-5)
    outputs = [ours.evaluate(ours.module.eval(), batch).loss for ours in (plain, smooth)]
    assert outputs == pytest.approx([loss, loss])


def test_a_share_of_the_labels_has_the_utterances_times() -> None:
    """In the order of openai-whisper's timestamp rules: begin, text, end; with both ways to fill the window."""
    ours = recogniser(scratch=MULTILINGUAL, language="de", timestamp_share=0.5)
    labels = ours.encode("ja")
    tokenizer = whisper.tokenizer.get_tokenizer(multilingual=True, language="de", num_languages=99)
    prepared = [ours.prepare(index, noise(1.234), labels) for index in range(8)]
    made = [example.labels for example in prepared]
    assert made.count(labels) == 4
    filled = {bool((example.inputs[:, -1] == 0.0).all()) for example in prepared if example.labels != labels}
    assert filled == {True, False}  # with zeros, and with the log-mel of silence
    (timed,) = set(made) - {labels}
    assert tokenizer.decode_with_timestamps(list(timed)) == (
        "<|startoftranscript|><|de|><|transcribe|><|0.00|> ja<|1.24|><|endoftext|>"
    )
    assert ours.count_labels(pad_batch([ours.prepare(2, noise(1.234), labels)])) == len(timed) - 3
    assert ours.prepare(2, noise(0.5), ours.encode("")).labels == ours.encode("")


def test_symbols_that_decoding_never_writes_are_named() -> None:
    assert recogniser().describe_units(["turn it on", "he said: stop", "now"]) == (
        "1 of 3 texts hold symbols that Whisper's decoding never writes: :"
    )
    assert recogniser().describe_units(["turn it on."]) == ""
    assert recogniser().describe_units(["", "now", ""]) == (
        "2 of 3 texts are empty; up to 30 s, Whisper's decoding always writes a token"
    )
    assert recogniser().describe_units(["", "so: go"]).count("1 of 2 texts") == 2


def test_an_evaluation_of_a_short_utterance_ends_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model of random weights never ends a text: half a second gets 32 tokens, not 224."""
    ours = recogniser(scratch=DIMENSIONS | {"n_text_ctx": 448})
    asked: list[int] = []
    decode = whisper.decode
    monkeypatch.setattr(
        whisper, "decode", lambda model, mel, options: asked.append(options.sample_len) or decode(model, mel, options)
    )
    ours.evaluate(ours.module.eval(), pad_batch([ours.prepare(0, noise(0.5), ours.encode("on"))]))
    assert asked == [32]


def test_the_text_of_an_evaluation_does_not_depend_on_the_batch() -> None:
    """A short utterance that never ends gets as many tokens beside a long one as alone."""
    ours = recogniser(scratch=DIMENSIONS | {"n_text_ctx": 448})
    ours.module.eval()
    short, long = (ours.prepare(i, noise(seconds), ours.encode("on")) for i, seconds in enumerate((0.3, 1.0)))
    alone = ours.evaluate(ours.module, pad_batch([short])).hypotheses[0].text
    beside = ours.evaluate(ours.module, pad_batch([short, long])).hypotheses
    assert beside[0].text == alone
    assert len(beside[1].text) > len(alone)


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_an_evaluation_hears_what_decode_hears(precision: torch.dtype) -> None:
    """From one pass through the encoder: the loss of the module's own pass, the text of `whisper.decode`."""
    ours = recogniser(scratch=MULTILINGUAL | {"n_text_ctx": 64}, language="de")
    ours.module.eval()
    batch = pad_batch([ours.prepare(i, noise(0.4 + 0.3 * i), ours.encode(text)) for i, text in enumerate(["ja", "an"])])
    passes: list[int] = []
    ours.module.model.encoder.ln_post.register_forward_hook(lambda *_: passes.append(1))
    with torch.inference_mode(), torch.autocast("cpu", precision, enabled=precision != torch.float32):
        output = ours.evaluate(ours.module, batch)
        assert passes == [1]
        loss = float(ours.module(batch, None))
    assert output.loss == pytest.approx(loss, rel=1e-6)
    assert len(output.hypotheses) == 2
    if precision == torch.float32:
        options = whisper.DecodingOptions(language="de", without_timestamps=True, fp16=False)
        expected = [result.text for result in whisper.decode(ours.module.model, batch.inputs, options)]
        assert [heard.text for heard in output.hypotheses] == expected


def test_the_language_of_the_corpus_is_taken_where_none_is_set() -> None:
    """Where all utterances name the same one."""

    def corpus(*languages: str | None) -> OpenedCorpora:
        utterances = [Utterance(str(n), "x.wav", "ja", 1.0, language=language) for n, language in enumerate(languages)]
        return OpenedCorpora([Corpus("x", tuple(utterances), ())], {})

    unset = ModelConfig(family="whisper", scratch=MULTILINGUAL)
    assert unset.with_language(corpus("de-CH", "de").language()).language == "de"
    assert unset.with_language(corpus("German", "deu").language()).language == "de"
    assert unset.with_language(corpus("de", "en").language()).language is None
    assert unset.with_language(corpus("de", None).language()).language is None
    assert replace(unset, language="fr").with_language("de").language == "fr"
    assert ModelConfig(base="x").with_language("de").language is None


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"scratch": MULTILINGUAL}, "unset .* expected the code of one of its 99 languages"),
        ({"scratch": MULTILINGUAL, "language": "German"}, "is German .* write de$"),
        ({"language": "de"}, "an English-only Whisper; expected en"),
    ],
)
def test_a_language_that_the_model_lacks_is_said(changes: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError, match=f"--model.language .*{said}"):
        recogniser(**changes)


def test_an_end_time_takes_a_position_of_the_text() -> None:
    for share, longest in ((0.0, DIMENSIONS["n_text_ctx"] + 1), (0.5, DIMENSIONS["n_text_ctx"])):
        ours = recogniser(timestamp_share=share)
        assert ours.fits(SAMPLE_RATE, (1,) * longest) and not ours.fits(SAMPLE_RATE, (1,) * (longest + 1))


def test_what_does_not_fit_is_said(tmp_path: Path) -> None:
    ours = recogniser()
    assert "window, 2 s" in str(ours.rejection_reason(3 * SAMPLE_RATE, "x"))
    assert "tokens" in str(ours.rejection_reason(SAMPLE_RATE, "many words " * 40))
    assert ours.rejection_reason(SAMPLE_RATE, "fine") is None
    with pytest.raises(UsageError, match="context_seconds"):
        recogniser(context_seconds=31.0)
    with pytest.raises(UsageError, match="n_audio_stat"):
        recogniser(scratch=DIMENSIONS | {"n_audio_stat": 3})
    with pytest.raises(InputError, match="nowhere"):
        recogniser(scratch=None, base="nowhere")
    with pytest.raises(InputError, match="its model_type is wav2vec2, not whisper"):
        recogniser(scratch=None, base=str(DEMO / "wav2vec2"))
    save_tiny_whisper(tmp_path)
    with pytest.raises(InputError, match="its vocabulary has 1767 tokens, not one of 51864"):
        recogniser(scratch=None, base=str(tmp_path))
