"""LSTM language models: what they learn, that both ways of scoring agree, shallow fusion and rescoring."""

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import cross_entropy

from finetune.decoding.beam import BeamSettings
from finetune.decoding.language_model_folder import find_language_model, load_language_model
from finetune.decoding.rescoring import RescoringSearch
from finetune.decoding.search import make_search
from finetune.language_model import lstm, lstm_training, train
from finetune.language_model.kneser_ney import perplexity
from finetune.language_model.lstm import DESCRIPTION, LstmModel, LstmShape
from finetune.language_model.lstm_training import LstmTraining, hold_out
from finetune.language_model.ngram import BOUNDARY, END, UNKNOWN
from finetune.language_model.train import TrainLstmConfig, train_language_model
from preprocessing.errors import InputError, UsageError, UserError
from preprocessing.units import Vocabulary
from tests.finetune.decoding.test_beam import LETTERS, frames, misheard, words_model

UNITS = pytest.mark.parametrize("units", ["words", "characters"])
SENTENCE = "THE CAT SAT"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a model of words and one of characters."""
    folder = tmp_path_factory.mktemp("lstm")
    (folder / "text.txt").write_text("the cat sat\nthe cat\na cat sat\n" * 40)
    for units in ("words", "characters"):
        config = TrainLstmConfig(
            str(folder / "text.txt"), folder / units, units=units, hidden_size=32, num_train_epochs=6,
            batch_tokens=64, learning_rate=0.02, device="cpu",
        )  # fmt: skip
        returned = train_language_model(config).model
        sentence = in_units(SENTENCE, units)
        assert returned.score_sentences([sentence]) == LstmModel.load(folder / units).score_sentences([sentence])
    return folder


def in_units(text: str, units: str) -> list[str]:
    return text.split() if units == "words" else list(text.replace(" ", BOUNDARY))


@UNITS
def test_one_by_one_as_in_a_batch(folder: Path, units: str) -> None:
    model = LstmModel.load(folder / units)
    sentences = [in_units(text, units) for text in (SENTENCE, "A DOG", "THE CAT", "CAT CAT CAT CAT")] + [[]]
    for sentence, score in zip(sentences, model.score_sentences(sentences), strict=True):
        state, total = model.begin(), 0.0
        for unit in sentence:
            logp, state = model.score(state, unit)
            total += logp
        assert total + model.end(state) == pytest.approx(score, abs=1e-4)
    state = model.score(model.begin(), in_units(SENTENCE, units)[0])[1]
    assert sum(math.exp(model.score(state, unit)[0]) for unit in (*model.words, END, UNKNOWN, "<s>")) == pytest.approx(
        1
    )


@UNITS
def test_logits_are_computed_in_parts_however_many_units_there_are(
    folder: Path, units: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = LstmModel.load(folder / units)
    sentences = [in_units(text, units) for text in (SENTENCE, "A DOG", "THE CAT", "CAT CAT CAT CAT")] + [[]]
    scores, perplexity_of_all = model.score_sentences(sentences), model.perplexity(sentences)
    sizes = []
    monkeypatch.setattr(lstm, "LOGITS_AT_ONCE", 60)
    monkeypatch.setattr(
        lstm,
        "cross_entropy",
        lambda logits, *own, **o: sizes.append(logits.numel()) or cross_entropy(logits, *own, **o),
    )
    assert model.score_sentences(sentences) == pytest.approx(scores, abs=1e-5)
    assert model.perplexity(sentences) == pytest.approx(perplexity_of_all, rel=1e-6)
    assert max(sizes) <= 60 < sum(sizes) / 2


@UNITS
def test_it_learns_what_is_said(folder: Path, units: str) -> None:
    model = LstmModel.load(folder / units)
    said, not_said = model.score_sentences([in_units(text, units) for text in (SENTENCE, "SAT THE A")])
    assert said > not_said + 3.0
    assert said > -3.0  # a third of the sentences are this one


@UNITS
def test_it_mends_what_was_misheard(folder: Path, units: str) -> None:
    vocabulary = Vocabulary.of_characters([SENTENCE])
    log_probs = misheard(vocabulary)
    files = find_language_model(folder / units)
    assert files is not None
    model = load_language_model("mine", files, vocabulary)
    assert isinstance(model, LstmModel)
    first = make_search(vocabulary)
    assert first.decode(log_probs).text == "THE CET SAT"
    assert make_search(vocabulary, model).decode(log_probs).text == SENTENCE
    rescored = RescoringSearch(first, model, 0.5)
    assert rescored.decode_batch([log_probs])[0].text == SENTENCE
    for before in first.decode_beams(log_probs):
        (after,) = [one for one in rescored.decode_beams(log_probs) if one.text == before.text]
        own = model.score_sentences([in_units(before.text, units)])[0]
        n_unknown = (
            sum(word not in ("THE", "CAT", "A", "SAT") for word in before.text.split()) if units == "words" else 0
        )
        own -= 10 * math.log(10) * n_unknown
        assert after.score == pytest.approx(before.score + 0.5 * own, abs=1e-3)


def test_words_that_the_lstm_does_not_know_are_rescored_with_the_offset_of_the_search_unless_they_are_hot(
    folder: Path,
) -> None:
    vocabulary = Vocabulary.of_characters([SENTENCE])
    model = LstmModel.load(folder / "words")
    for hotwords, n_unknown in (((), 1), (("CET",), 0)):
        settings = BeamSettings(unk_score_offset=-3.0, hotwords=hotwords)
        first = make_search(vocabulary, None, settings)
        search = RescoringSearch(first, model, 0.5)
        (found,) = search.n_best([misheard(vocabulary)])
        logps = {one.hypothesis.text: one.logp for one in found}
        expected = model.score_sentences([["THE", "CET", "SAT"]])[0] - 3.0 * math.log(10) * n_unknown
        assert logps["THE CET SAT"] == pytest.approx(expected, abs=1e-3)
        assert logps[SENTENCE] == pytest.approx(model.score_sentences([SENTENCE.split()])[0], abs=1e-3)
        assert search.settings == settings


def test_rescoring_with_a_weight_of_0_is_no_worse_than_none() -> None:
    """The n-best list of a narrow beam lacks the text that the search finds with the same beam."""
    model = LstmModel(LstmShape(("A", "B", BOUNDARY), True, 4, 1, 0.0))
    first = make_search(LETTERS, words_model(3), BeamSettings(beam_width=4, unk_score_offset=-2.0))
    n_lacking = 0
    for seed in range(30):
        log_probs = frames(30, seed)
        best, listed = first.decode(log_probs), first.decode_beams(log_probs)
        n_lacking += best.text not in [one.text for one in listed]
        found = RescoringSearch(first, model, 0.0).decode_beams(log_probs)
        assert found[0] == max(best, listed[0], key=lambda one: one.score)
        assert {one.text for one in found} == {best.text, *(one.text for one in listed)}
        assert len(found) == len({one.text for one in found})
    assert n_lacking > 0


def test_a_batch_is_searched_on_threads_and_rescored_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    model = LstmModel(LstmShape(("A", "B", BOUNDARY), True, 4, 1, 0.0))
    first = make_search(LETTERS, words_model())
    search = RescoringSearch(first, model, 0.5)
    several = [frames(n, n) for n in range(1, 9)]
    expected = [search.decode(one) for one in several]
    asked, batches = [], []
    for name in ("decode_batch", "decode_beams_batch"):
        own = getattr(first, name)
        monkeypatch.setattr(first, name, lambda given, threads, own=own: asked.append(threads) or own(given, threads))
    score = model.score_sentences
    monkeypatch.setattr(model, "score_sentences", lambda texts: batches.append(len(texts)) or score(texts))
    found = search.decode_batch(several, threads=3)
    assert [one.text for one in found] == [one.text for one in expected]
    assert [one.score for one in found] == pytest.approx([one.score for one in expected], abs=1e-4)
    assert asked == [3, 3] and len(batches) == 1
    assert batches[0] == sum(map(len, search.n_best(several)))


def test_settings_of_a_rescoring_are_those_of_its_first_search() -> None:
    model, log_probs = LstmModel(LstmShape(("A", "B", BOUNDARY), True, 4, 1, 0.0)), frames(30, 0)
    narrow = BeamSettings(beam_width=2)
    wide = RescoringSearch(make_search(LETTERS, words_model()), model, 0.5)
    expected = RescoringSearch(make_search(LETTERS, words_model(), narrow), model, 0.5).decode_beams(log_probs)
    assert wide.with_settings(narrow).decode_beams(log_probs) == expected != wide.decode_beams(log_probs)


def test_torch_trains_with_the_cores_of_a_containers_quota(tmp_path: Path, threads_under_quota: list[int]) -> None:
    with pytest.raises(InputError, match=r"none\.txt"):
        train_language_model(TrainLstmConfig(str(tmp_path / "none.txt"), tmp_path / "lm", device="cpu"))
    assert threads_under_quota == [1]


def test_words_that_are_not_learnt_from_are_unknown_and_expected_where_they_stand(tmp_path: Path) -> None:
    sentences = [["THE", "CAT", f"{a}{b}"] for a in "ABCDEFGHIJ" for b in "KLMNOPQRST"]
    (tmp_path / "text.txt").write_text("".join(" ".join(words) + "\n" for words in sentences))
    config = TrainLstmConfig(
        str(tmp_path / "text.txt"), tmp_path / "lm", units="words", hidden_size=16, num_train_epochs=4,
        batch_tokens=64, learning_rate=0.02, device="cpu",
    )  # fmt: skip
    model = train_language_model(config).model
    training, held_out = hold_out(sentences, config.seed)
    assert len(held_out) == 2 and sorted([*training, *held_out]) == sorted(sentences)
    assert set(model.words) == {word for words in training for word in words}
    state = model.score(model.score(model.begin(), "THE")[1], "CAT")[1]
    once = [model.score(state, words[2])[0] for words in training]
    assert model.score(state, "XYZZY")[0] > max(once) + 1.0  # near ln 0.5, beside half of ln 0.01 each
    assert model.score(model.begin(), "XYZZY")[0] < -1.0


def tiny_training(training: list[list[str]], held_out: list[list[str]], epochs: int) -> LstmTraining:
    shape = LstmShape(lstm_training.known_units(training, None), False, 4, 1, 0.5)
    return LstmTraining(
        training, held_out, shape, epochs=epochs, learning_rate=0.1, batch_tokens=8, seed=0, device="cpu"
    )


def test_training_goes_on_from_the_last_weights_and_keeps_the_best() -> None:
    """The more the model learns of A, the less it expects B."""
    training = tiny_training([["A"]] * 20 + [["B"]], [["B"]], 3)
    kept, last = [], []
    for epoch in training.run():
        if epoch is not None:
            kept.append((epoch.is_best, training.best_model.bias.detach().clone()))
            last.append(training.state_dict()["model"]["bias"].clone())
    assert [is_best for is_best, _ in kept] == [True, False, False]
    assert all(torch.equal(bias, last[0]) for _, bias in kept)
    assert not torch.equal(last[1], last[0]) and not torch.equal(last[2], last[1])


@pytest.mark.parametrize("n_batches", [1, 4, 11])
def test_a_training_that_is_gone_on_with_after_any_batch_is_the_one_in_one_go(n_batches: int, tmp_path: Path) -> None:
    sentences = [["A", "B"], ["B", "C", "C"], ["A"], ["B", "B"]] * 3 + [["D"]]
    whole, first, second = (tiny_training(sentences, sentences[:3], 3) for _ in range(3))
    perplexities = [epoch.perplexity for epoch in whole.run() if epoch is not None]
    assert n_batches < whole.batches_done == whole.n_batches
    epochs = first.run()
    before = [epoch.perplexity for epoch in (next(epochs) for _ in range(n_batches)) if epoch is not None]
    torch.save(first.state_dict(), tmp_path / "state.pt")
    torch.rand(5)  # other chance of the process does not matter
    second.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    after = [epoch.perplexity for epoch in second.run() if epoch is not None]
    assert before + after == perplexities
    expected, found = (one.best_model.state_dict() for one in (whole, second))
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert second.seconds > first.seconds > 0


def test_the_chance_of_a_process_is_as_it_was() -> None:
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    for _ in tiny_training([["A"]] * 3, [["A"]], 1).run():
        pass
    assert torch.rand(1) == expected


def test_an_interrupted_command_goes_on_and_one_with_other_options_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "text.txt").write_text("the cat sat\nthe cat\na cat sat\n" * 40)

    def config(folder: str, **options: Any) -> TrainLstmConfig:
        values = {"units": "words", "hidden_size": 8, "num_train_epochs": 3, "batch_tokens": 64, "device": "cpu"}
        return TrainLstmConfig(str(tmp_path / "text.txt"), tmp_path / folder, **values | options)

    expected = train_language_model(config("whole")).model.state_dict()
    monkeypatch.setattr(train, "CHECKPOINT_SECONDS", 0.0)
    write, written = train._write, []

    def write_and_stop(training: LstmTraining, checkpoint: Path) -> None:
        write(training, checkpoint)
        written.append(training.batches_done)
        if len(written) == 8:
            raise KeyboardInterrupt

    monkeypatch.setattr(train, "_write", write_and_stop)
    with pytest.raises(KeyboardInterrupt):
        train_language_model(config("stopped"))
    with pytest.raises(InputError, match=r"checkpoint\.pt: of a training with .* other options.*: repeat its command"):
        train_language_model(config("stopped", seed=1))
    capsys.readouterr()
    found = train_language_model(config("stopped")).model.state_dict()
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    said = capsys.readouterr().out
    assert "going on from " in said and written[8] == 9
    assert "30 batches in all are too few to learn much from; raise --num_train_epochs, or lower" in said
    assert sorted(path.name for path in (tmp_path / "stopped").iterdir()) == ["lstm.json", "lstm.safetensors"]
    (tmp_path / "stopped" / "checkpoint.pt").write_bytes(b"PK")
    with pytest.raises(InputError, match=r"checkpoint\.pt: cannot be read .*: delete checkpoint\.pt to train anew"):
        train_language_model(config("stopped"))


def test_a_text_to_evaluate_that_cannot_be_read_is_named_before_the_training(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("the cat\n")
    config = TrainLstmConfig(str(tmp_path / "text.txt"), tmp_path / "lm", evaluate=str(tmp_path / "none.txt"))
    with pytest.raises(UserError, match=r"none\.txt"):
        train_language_model(config)
    assert not (tmp_path / "lm").exists()


def test_a_checkpoint_that_a_full_disk_does_not_take_is_one_sentence_and_leaves_the_one_before(tmp_path: Path) -> None:
    code = f"""
import resource, signal
from pathlib import Path
from finetune.language_model import train
from preprocessing.cli.options import run_command
train.CHECKPOINT_SECONDS = 0.0
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
write, folder = train._write, Path({str(tmp_path)!r})

def write_on_a_disk_that_is_full_at_the_third(training, checkpoint):
    if training.batches_done == 3:
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
    write(training, checkpoint)

train._write = write_on_a_disk_that_is_full_at_the_third
(folder / "text.txt").write_text("the cat sat\\n" * 90)
config = train.TrainLstmConfig(str(folder / "text.txt"), folder / "lm", hidden_size=32, batch_tokens=64, device="cpu")
run_command(lambda: train.train_language_model(config))
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert ended.stderr.startswith("error: ") and "expected free disk space" in ended.stderr
    assert ended.stderr.count("\n") == 1
    assert [path.name for path in (tmp_path / "lm").iterdir()] == ["checkpoint.pt"]
    assert torch.load(tmp_path / "lm" / "checkpoint.pt", weights_only=True)["batches_done"] == 2


def test_units_that_occur_once_alone_are_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    replaced: list[set[int]] = []
    monkeypatch.setattr(lstm_training, "_with_unknown", lambda batch, once, *_: replaced.append(once) or batch)
    sentences = [["A", "A", "A", "B"], ["B", "C"], ["D"]]
    training = tiny_training(sentences, sentences, 1)
    assert any(training.run())
    assert replaced[0] == {training.best_model.encode([word])[1] for word in ("C", "D")}


def test_half_of_the_times_a_unit_is_replaced() -> None:
    batch = [[0, 3, 4, 1]] * 2000
    found = lstm_training._with_unknown(batch, {3}, 2, torch.Generator().manual_seed(0))
    assert all(one in ([0, 3, 4, 1], [0, 2, 4, 1]) for one in found)
    assert 0.45 < sum(one[1] == 2 for one in found) / 2000 < 0.55


@given(st.lists(st.integers(1, 12), min_size=1, max_size=30), st.integers(1, 40))
def test_batches_hold_no_more_units_than_stated_with_padding(lengths: list[int], batch_tokens: int) -> None:
    batches = lstm.batches_of([[0] * length for length in lengths], batch_tokens)
    assert sorted(len(one) for batch in batches for one in batch) == sorted(lengths)
    assert all(len(batch) * max(map(len, batch)) <= batch_tokens or len(batch) == 1 for batch in batches)


@UNITS
def test_perplexity_is_over_what_an_ngram_model_is_measured_on(folder: Path, units: str) -> None:
    model = LstmModel.load(folder / units)
    sentences = [in_units(text, units) for text in ("THE CAT SAT", "A DOG SAT", "CAT")]
    value, n_units, n_unknown = perplexity(model, sentences)  # type: ignore[arg-type]
    assert model.perplexity(sentences) == (pytest.approx(value, rel=1e-4), n_units, n_unknown)
    assert n_unknown == (1 if units == "words" else 3)


def test_what_cannot_be_used_is_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no LSTM language model .*train it again"):
        LstmModel.load(tmp_path)
    (tmp_path / "lstm.json").write_bytes((folder / "words" / "lstm.json").read_bytes())
    (tmp_path / "lstm.safetensors").write_bytes((folder / "words" / "lstm.safetensors").read_bytes()[:500])
    with pytest.raises(InputError, match="no LSTM language model"):
        LstmModel.load(tmp_path)
    with pytest.raises(UsageError, match="--hidden_size is 0"):
        TrainLstmConfig("text.txt", tmp_path, hidden_size=0).check()
    for too_high in (1e4, 1e20):  # beyond what exp can hold, and no number
        config = TrainLstmConfig(
            str(folder / "text.txt"), tmp_path / "new", hidden_size=16, num_train_epochs=1, batch_tokens=64,
            learning_rate=too_high, device="cpu",
        )  # fmt: skip
        with pytest.raises(InputError, match=r"epoch 1: the perplexity .* is not finite; expected .* lower --learn"):
            train_language_model(config)


@pytest.mark.parametrize(("key", "value"), [("num_layers", 10**9), ("hidden_size", 10**7)])
def test_a_description_of_another_size_than_its_weights_is_refused(key: str, value: int, tmp_path: Path) -> None:
    LstmModel(LstmShape(("a", "b"), True, 4, 1, 0.0)).save(tmp_path)
    description = json.loads((tmp_path / DESCRIPTION).read_text(encoding="utf-8"))
    (tmp_path / DESCRIPTION).write_text(json.dumps(description | {key: value}), encoding="utf-8")
    with pytest.raises(InputError, match="no LSTM language model"):
        LstmModel.load(tmp_path)
