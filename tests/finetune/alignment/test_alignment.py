"""Forced alignment: exact paths by brute force, torchaudio as an oracle, bounded memory, and the command."""

import itertools
import json
import math
from collections.abc import Iterator, Sequence

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from finetune import align as command
from finetune.alignment import forced
from finetune.alignment import viterbi as search_of_paths
from finetune.alignment.forced import align, align_greedy, align_labels, spells_characters, split_unspaced
from finetune.alignment.plot import AlignedRecording, page
from finetune.alignment.viterbi import viterbi
from finetune.decoding.frame_times import FrameTimes
from finetune.decoding.greedy import collapse
from preprocessing.audio import load, save
from preprocessing.errors import InputError, UsageError
from preprocessing.plot_style import save_figure
from preprocessing.units import Vocabulary, frames_needed
from preprocessing.units import build as build_units
from tests.conftest import DEMO

TIMES = FrameTimes(320, 199.5)
VOCABULARY = Vocabulary.of_characters(["ABC"])  # <pad> <s> </s> <unk> | A B C
BLANK, BOUNDARY, A, B, C = 0, 4, 5, 6, 7


def random_log_probs(seed: int, n_frames: int, n_units: int, scale: float = 1.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (scale * torch.randn(n_frames, n_units, generator=generator)).log_softmax(dim=-1)


def peaked(path: list[int], n_units: int = 8, probability: float = 0.9) -> Tensor:
    """Log-probabilities whose best unit in each frame is the path's."""
    values = torch.full((len(path), n_units), (1 - probability) / (n_units - 1))
    values[torch.arange(len(path)), torch.tensor(path)] = probability
    return values.log()


def score_of(log_probs: Tensor, states: Sequence[int], labels: list[int], slots: list[int], star: float) -> float:
    """What a path of states is worth, with stars in `slots`."""
    total = 0.0
    for row, state in zip(log_probs, states, strict=True):
        unit = labels[state // 2] if state % 2 else BLANK
        value = float(row[unit])
        if state % 2 == 0 and state // 2 in slots:
            value = max(value, float(row.max()) + star)
        total += value
    return total


def paths(n_frames: int, labels: list[int]) -> Iterator[list[int]]:
    """Every sequence of states that CTC allows: from a blank to its label, on to the next blank or another label."""

    def after(path: list[int]) -> Iterator[list[int]]:
        if len(path) == n_frames:
            if path[-1] >= 2 * len(labels) - 1:
                yield path
            return
        state = path[-1]
        following = [state, state + 1]
        if state % 2 and state // 2 + 1 < len(labels) and labels[state // 2] != labels[state // 2 + 1]:
            following.append(state + 2)
        for one in following:
            if one <= 2 * len(labels):
                yield from after([*path, one])

    yield from after([0])
    yield from after([1])


@settings(max_examples=40)
@given(st.data())
def test_path_is_the_best_of_all_by_brute_force(data: st.DataObject) -> None:
    n_frames = data.draw(st.integers(1, 6))
    labels = data.draw(
        st.lists(st.integers(1, 3), min_size=1, max_size=3).filter(lambda x: frames_needed(x) <= n_frames)
    )
    slots = data.draw(st.lists(st.integers(0, len(labels)), unique=True, max_size=2))
    star = data.draw(st.sampled_from([-0.5, -2.0]))
    log_probs = random_log_probs(data.draw(st.integers(0, 999)), n_frames, 4)
    found = viterbi(log_probs, labels, BLANK, star_slots=slots, star_log_prob=star)
    allowed = list(paths(n_frames, labels))
    assert found.tolist() in allowed
    best = max(score_of(log_probs, path, labels, slots, star) for path in allowed)
    assert score_of(log_probs, found.tolist(), labels, slots, star) == pytest.approx(best, abs=1e-5)


@pytest.mark.parametrize(("n_frames", "n_labels"), [(4, 2), (60, 25), (1500, 200), (3000, 900)])
def test_path_equals_torchaudios(n_frames: int, n_labels: int) -> None:
    from torchaudio.functional import forced_align

    log_probs = random_log_probs(n_labels, n_frames, 12)
    labels = torch.randint(1, 12, (n_labels,), generator=torch.Generator().manual_seed(1)).tolist()
    theirs, scores = forced_align(log_probs[None], torch.tensor([labels]), blank=BLANK)
    found = viterbi(log_probs, labels, BLANK)
    path = torch.tensor([labels[state // 2] if state % 2 else BLANK for state in found.tolist()])
    assert torch.equal(path, theirs[0].long())
    assert collapse(path, BLANK) == labels
    on_path = log_probs[torch.arange(n_frames), path].sum()
    assert float(on_path) == pytest.approx(float(scores.sum()), rel=1e-5)


@pytest.fixture(scope="module")
def long_text() -> tuple[Tensor, list[int], np.ndarray]:
    """Peaked log-probabilities of 8,000 frames with pauses of up to 400, its labels, and the states of its frames."""
    generator = np.random.default_rng(0)
    labels, states = [], []
    while len(states) < 8_000:
        if labels and generator.random() < 0.01:
            states += [2 * len(labels)] * int(generator.integers(100, 400))
        states += [2 * len(labels)] * int(generator.integers(1, 4))  # a blank before each label
        labels.append(int(generator.integers(1, 12)))
        states += [2 * len(labels) - 1] * int(generator.integers(1, 3))
    path = [labels[state // 2] if state % 2 else BLANK for state in states]
    noise = 0.2 * random_log_probs(3, len(path), 12)
    return (peaked(path, 12) + noise).log_softmax(dim=-1), labels, np.array(states)


@pytest.mark.parametrize("band", [300, 1500, 100_000])
def test_a_band_finds_the_path_of_the_whole_text(
    long_text: tuple[Tensor, list[int], np.ndarray], band: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search_of_paths, "BLOCK_FRAMES", 64)
    monkeypatch.setattr(search_of_paths, "FAN_OUT", 4)  # four levels of checkpoints
    log_probs, labels, states = long_text
    assert np.array_equal(viterbi(log_probs, labels, BLANK, band_labels=band), states)


def test_a_band_widens_where_the_path_leaves_it() -> None:
    """The text begins only after 600 frames of other speech, which the best partial path takes for it."""
    labels = torch.randint(1, 12, (900,), generator=torch.Generator().manual_seed(2)).tolist()
    other = torch.randint(1, 12, (600,), generator=torch.Generator().manual_seed(3)).tolist()
    spoken = [unit for label in labels for unit in (label, BLANK)]
    log_probs = peaked([*other, *spoken], 12)
    narrow = viterbi(log_probs, labels, BLANK, band_labels=64)
    assert np.array_equal(narrow, viterbi(log_probs, labels, BLANK, band_labels=10_000))


def test_memory_stays_within_the_stated_bound_however_long_the_recording(
    long_text: tuple[Tensor, list[int], np.ndarray],
) -> None:
    import tracemalloc

    log_probs, labels, _ = long_text
    band, peaks = 512, []
    for times in (1, 3):
        values = log_probs.repeat(times, 1)
        emissions = search_of_paths._emissions(values, BLANK, -2.0)
        search = search_of_paths._Band(emissions, labels * times, BLANK, (), band)
        tracemalloc.start()
        assert search.best_path() is not None
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert peaks[-1] < search_of_paths.BYTES_PER_LABEL * band + 8 * len(values) + 200_000
    assert peaks[1] - peaks[0] < 16 * 2 * len(log_probs)


def test_words_units_and_times() -> None:
    path = [BLANK, A, A, BLANK, B, BOUNDARY, BLANK, C, BLANK]
    found = align(peaked(path), "AB C", VOCABULARY, TIMES)
    assert [word.text for word in found.words] == ["AB", "C"]
    assert [(unit.text, unit.first_frame, unit.last_frame) for unit in found.words[0].units] == [
        ("A", 1, 2),
        ("B", 4, 4),
    ]
    first, second = found.words
    assert first.units[0].start == pytest.approx((199.5 + 0.5 * 320) / 16_000)
    assert first.units[-1].end == pytest.approx((199.5 + 4.5 * 320) / 16_000)
    assert first.start == 0.0
    assert first.end == second.start == pytest.approx((first.units[-1].end + second.units[0].start) / 2)
    assert second.end == pytest.approx(TIMES.end(8))


def test_a_word_reaches_as_far_into_a_pause_as_words_do_and_not_into_a_star() -> None:
    pause = [BLANK] * 30
    first, second = align(peaked([*pause, A, BOUNDARY, *pause, B, *pause]), "A B", VOCABULARY, TIMES).words
    for word in (first, second):
        assert word.start == pytest.approx(word.units[0].start - forced.START_SECONDS)
        assert word.end == pytest.approx(word.units[-1].end + forced.END_SECONDS)
    starred = align(peaked([A, BOUNDARY, BLANK, C, C, BLANK, B], probability=0.99), "A * B", VOCABULARY, TIMES)
    assert starred.words[0].end <= starred.untranscribed[0].start
    assert starred.words[1].start >= starred.untranscribed[0].end


def test_probabilities_and_path() -> None:
    path = [BLANK, A, A, BLANK, B, BOUNDARY, BLANK, C, BLANK]
    found = align(peaked(path), "AB C", VOCABULARY, TIMES)
    assert found.words[1].probability == pytest.approx(0.9)
    assert found.words[0].score == pytest.approx(0.0)
    assert found.path.tolist() == path
    assert found.log_prob == pytest.approx(9 * math.log(0.9), abs=1e-5)


@pytest.mark.parametrize("kind", ["characters", "syllables", "bpe", "words"])
def test_words_of_every_kind_of_unit_are_those_of_the_text(kind: str) -> None:
    text = "THE OTHER HOTEL IS THERE AND THE TEA IS HOT"
    vocabulary = build_units(kind, [text], size=20 if kind == "bpe" else None, language="en_US")
    path = [unit for label in vocabulary.encode(text) for unit in (label, vocabulary.blank)]
    found = align(peaked(path, len(vocabulary.units)), text, vocabulary, TIMES)
    assert [word.text for word in found.words] == text.split()
    assert found.path.tolist() == path
    starred = align(peaked(path, len(vocabulary.units)), text, vocabulary, TIMES, stars="everywhere")
    assert [word.text for word in starred.words] == text.split() and starred.untranscribed == ()


def test_score_counts_what_the_model_prefers_by_unit() -> None:
    path = [BLANK, A, B, BOUNDARY, C, BLANK]
    found = align(peaked(path), "AC C", VOCABULARY, TIMES)
    assert found.words[0].score == pytest.approx((math.log(0.1 / 7) - math.log(0.9)) / 2, abs=1e-5)
    assert found.words[1].score == pytest.approx(0.0)


def test_greedy_words_are_those_of_the_decoder_and_aligned_to_themselves() -> None:
    log_probs = random_log_probs(5, 400, 8, scale=3.0)
    log_probs[:, 1:4] = -30.0
    found = align_greedy(log_probs, VOCABULARY, TIMES)
    labels = collapse(log_probs.argmax(dim=-1), BLANK)
    assert " ".join(word.text for word in found.words) == VOCABULARY.decode(labels)
    assert torch.equal(found.path, align_labels(log_probs, labels, VOCABULARY, TIMES).path)
    assert all(word.score == pytest.approx(0.0) for word in found.words)
    silence = align_greedy(peaked([BLANK] * 5), VOCABULARY, TIMES)
    assert (silence.words, silence.path.tolist()) == ((), [BLANK] * 5)


@pytest.mark.parametrize("stars", ["marked", "everywhere"])
def test_a_star_takes_speech_without_text(stars: forced.Stars) -> None:
    untold = [C, BLANK, A, BLANK, C, A, BLANK]
    path = [BLANK, A, BOUNDARY, *untold, B, BLANK]
    text = "A * B" if stars == "marked" else "A B"
    found = align(peaked(path, probability=0.99), text, VOCABULARY, TIMES, stars=stars)
    assert [word.text for word in found.words] == ["A", "B"]
    assert found.words[1].units[0].first_frame == 10
    (span,) = found.untranscribed
    assert (span.before, span.n_frames) == (1, 4)
    assert TIMES.start(3) <= span.start < span.end <= TIMES.end(9)
    assert align(peaked(path, probability=0.99), "A B", VOCABULARY, TIMES).untranscribed == ()


def test_a_star_takes_speech_between_characters_without_spaces() -> None:
    vocabulary = Vocabulary.of_characters(["今天好啊"])
    now, day, good, oh = vocabulary.encode("今天好啊")
    path = [now, BLANK, day, BLANK, *[oh, BLANK] * 4, good, BLANK]
    values = peaked(path, len(vocabulary.units), 0.99)
    found = align(values, "今天好", vocabulary, TIMES, stars="everywhere", splits_unspaced=True)
    assert [word.text for word in found.words] == split_unspaced("今天好") == ["今", "天", "好"]
    (span,) = found.untranscribed
    assert (span.before, span.n_frames) == (2, 4)
    assert all(word.score == pytest.approx(0.0) for word in found.words)


@pytest.mark.parametrize(
    ("units", "expected"),
    [(["今", "天", "a", "b"], True), (["今天", "今", "a"], False), (["a", "b"], False)],
)
def test_units_that_spell_characters_of_scripts_without_spaces(units: list[str], expected: bool) -> None:
    vocabulary = Vocabulary((*Vocabulary.of_characters([]).units, *units))
    assert spells_characters(vocabulary) == expected


def test_bad_input_is_one_sentence() -> None:
    log_probs = random_log_probs(1, 5, 8)
    for text, values, expected in [
        ("", log_probs, "the text has no words"),
        ("* *", log_probs, "the text has no words"),
        ("ABÄ", log_probs, "the text has 'Ä', which the model's units cannot spell; expected text that they can"),
        ("AABBC", log_probs, "the text needs 7 frames and the recording has 5"),
        ("AB", log_probs[:0], "shorter than one frame"),
        (
            "AB",
            log_probs.where(torch.arange(5)[:, None] != 3, torch.nan),
            "log-probabilities of frame 3 are not numbers",
        ),
        ("AB", log_probs.index_fill(1, torch.tensor([A]), -torch.inf), "no path of the text"),
    ]:
        with pytest.raises(InputError, match=expected):
            align(values, text, VOCABULARY, TIMES)
        if text and expected != "the text has no words":
            with pytest.raises(InputError, match=expected):
                align(values, text, VOCABULARY, TIMES, stars="everywhere")


def test_command_writes_words_in_whispers_names_and_a_page(tmp_path, capsys: pytest.CaptureFixture[str]) -> None:
    line = json.loads((DEMO / "corpus" / "test.jsonl").read_text(encoding="utf-8").splitlines()[0])
    audio = DEMO / "corpus" / line["audio"]
    picture, words = tmp_path / "page.png", tmp_path / "words.json"
    arguments = [str(DEMO / "wav2vec2"), str(audio)]
    command.main([*arguments, line["text"], "-o", str(picture), "--json", str(words)])
    found = json.loads(words.read_text(encoding="utf-8"))["words"]
    assert [word["word"] for word in found] == line["text"].upper().split()
    assert set(found[0]) == {"word", "start", "end", "probability", "score"}
    assert all(one["end"] <= after["start"] + 1e-6 for one, after in itertools.pairwise(found))
    assert picture.stat().st_size > 8_000
    capsys.readouterr()
    command.main([*arguments, "-"])
    assert json.loads(capsys.readouterr().out)["words"]
    with pytest.raises(InputError, match=r"test.*needs \d+ frames") as error:
        command.main([*arguments, line["text"] * 20])
    assert str(audio) in str(error.value)
    with pytest.raises(InputError, match="no such file"):
        command.main([*arguments, "words.txt"])
    with pytest.raises(InputError, match=r"/proc/self/mem: cannot be read \(.*\); expected a text file"):
        command.main([*arguments, "/proc/self/mem"])  # a file that nobody can read from its beginning
    with pytest.raises(UsageError, match=r"the page is from 0\.000 to 0\.010 s; expected 0\.02 s or more"):
        command.main([*arguments, "-", "-o", str(picture), "--stop", "0.01", "--json", str(tmp_path / "late.json")])
    assert not (tmp_path / "late.json").exists()


def test_command_aligns_one_channel(tmp_path, capsys: pytest.CaptureFixture[str]) -> None:
    line = json.loads((DEMO / "corpus" / "test.jsonl").read_text(encoding="utf-8").splitlines()[0])
    waveform = load(DEMO / "corpus" / line["audio"])
    save(tmp_path / "mono.wav", waveform)
    soundfile.write(
        tmp_path / "call.wav", torch.stack([waveform.flip(0), waveform], 1).numpy(), 16_000, subtype="PCM_16"
    )
    printed = []
    for words in (["mono.wav"], ["call.wav", "--channel", "1"], ["call.wav"]):
        command.main([str(DEMO / "wav2vec2"), str(tmp_path / words[0]), line["text"], *words[1:]])
        printed.append(capsys.readouterr().out)
    assert printed[0] == printed[1] != printed[2]
    with pytest.raises(InputError, match="has no channel 2; expected 0 to 1"):
        command.main([str(DEMO / "wav2vec2"), str(tmp_path / "call.wav"), line["text"], "--channel", "2"])
    with pytest.raises(UsageError, match="--channel is -1; expected 0 or more"):
        command.main([str(DEMO / "wav2vec2"), str(tmp_path / "call.wav"), line["text"], "--channel", "-1"])


def test_the_page_of_what_comes_after_the_last_frame(tmp_path) -> None:
    waveform = torch.zeros(round(TIMES.end(4) * 16_000) + 400)
    log_probs = peaked([BLANK, A, BLANK, B, BLANK])
    found = align(log_probs, "AB", VOCABULARY, TIMES)
    recording = AlignedRecording(waveform, log_probs, found, [0.5], VOCABULARY, TIMES)
    stop = len(waveform) / 16_000
    save_figure(page(recording, "", "", TIMES.end(4), stop), tmp_path / "page.png")
    assert (tmp_path / "page.png").stat().st_size > 8_000
