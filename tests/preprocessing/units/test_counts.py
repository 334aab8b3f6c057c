"""The figures of the report against naive counting, and the command that prints, draws and writes them."""

import gzip
import json
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preprocessing.audio import SAMPLE_RATE
from preprocessing.corpus.lines import read_lines
from preprocessing.errors import InputError
from preprocessing.text import profile
from preprocessing.units import KINDS, build, frames_in
from preprocessing.units.__main__ import main
from preprocessing.units.counts import (
    Line,
    RunningText,
    count_units,
    count_words,
    coverage_curve,
    hold_out,
    measure_inventory,
)
from tests.commands import assert_one_sentence, run
from tests.conftest import DEMO, write_manifest

ALPHABET = "TO BE OR NOT THAT IS THE QUESTION WHETHER TIS NOBLER IN MIND"
WORDS = st.sampled_from(sorted(ALPHABET.split()))
TEXT = st.lists(WORDS, min_size=1, max_size=8).map(" ".join)
TEXTS = st.lists(TEXT, min_size=1, max_size=6)
ZIPPED = gzip.compress(b"one two\n" * 100, mtime=0)  # the same in every process


@given(kind=st.sampled_from(KINDS), texts=TEXTS, others=TEXTS, seconds=st.floats(0.03, 1.5))
def test_figures_are_those_of_naive_counting(kind: str, texts: list[str], others: list[str], seconds: float) -> None:
    texts = [*texts, ALPHABET] if kind != "words" else texts
    size = None if kind in ("characters", "words") else 30
    vocabulary = build(kind, texts, size=size, language="en_US")
    lines = [Line(text, seconds if number % 2 == 0 else None) for number, text in enumerate(texts)]
    found = measure_inventory(vocabulary, size, RunningText(lines), count_words([Line(text) for text in others]))

    encoded = [vocabulary.encode(text) for text in texts]
    assert found.labels_per_word == pytest.approx(sum(map(len, encoded)) / sum(len(text.split()) for text in texts))
    if kind == "words":
        held = [word for text in others for word in text.split()]
        seen = {word for text in texts for word in text.split()}
        missing = sum(word not in seen for word in held) / len(held)
        assert found.unseen_piece_share == pytest.approx(missing)
        assert found.unwritable_word_share == pytest.approx(missing)
        counts = Counter(word for text in texts for word in text.split())
        assert found.rare_share == sum(n < 10 for n in counts.values()) / len(counts)
    else:
        assert found.unwritable_word_share == 0.0
    available = (round(seconds * SAMPLE_RATE) - 400) // 320 + 1
    spoken = encoded[::2]
    infeasible = 0
    for labels in spoken:
        repeats = sum(labels[i] == labels[i - 1] for i in range(1, len(labels)))
        infeasible += len(labels) + repeats > available
    assert found.timing is not None
    assert found.timing.infeasible_share == infeasible / len(spoken)
    assert found.timing.frames_per_label == pytest.approx(available * len(spoken) / sum(map(len, spoken)))


@given(texts=TEXTS, others=TEXTS, n=st.integers(1, 13))
def test_curves_are_those_of_naive_counting(texts: list[str], others: list[str], n: int) -> None:
    words, held = (count_words([Line(text) for text in side]) for side in (texts, others))
    found = coverage_curve(build("words", texts), words, held)
    ranked = sorted(words, key=lambda word: (-words[word], f" {word}"))
    n = min(n, len(ranked))
    kept = set(ranked[:n])
    every = " ".join(texts).split()
    assert found.covered[n - 1] == pytest.approx(sum(word in kept for word in every) / len(every))
    other = " ".join(others).split()
    assert found.unseen[n - 1] == pytest.approx(sum(word not in kept for word in other) / len(other))
    for share in (0.5, 0.9, 1.0):
        least = next(k for k in range(1, 99) if sum(words[w] for w in ranked[:k]) >= share * len(every) - 1e-9)
        assert found.n_covering(share) == least


def test_a_size_that_the_text_is_too_small_for_is_counted_once() -> None:
    lines = [Line(ALPHABET)]
    report = count_units(
        "x", lines, lines, kinds=["bpe"], sizes=[30, 500, 1000, 5000], language="en_US", syllable_counts={}
    )
    sizes = [row.size for row in report.inventories]
    assert len(sizes) == 2 and sizes[0] == 30 and 30 < sizes[1] < 500


def test_frames_are_those_of_the_model() -> None:
    from transformers import Wav2Vec2Config, Wav2Vec2ForCTC

    model = Wav2Vec2ForCTC(
        Wav2Vec2Config(
            hidden_size=32,
            num_hidden_layers=1,
            num_attention_heads=2,
            num_conv_pos_embedding_groups=2,
            num_conv_pos_embeddings=4,
            intermediate_size=12,
            conv_dim=[4] * 7,
        )
    )
    for n_samples in (400, 719, 720, 16_000, 161_234):
        assert frames_in(n_samples / SAMPLE_RATE) == int(model._get_feat_extract_output_lengths(n_samples))
    assert frames_in(0.01) == 0


def test_a_tenth_is_held_out_and_equal_lines_stay_together() -> None:
    lines = [Line(f"LINE {number}") for number in range(2_000)] * 2
    kept, held = hold_out(lines)
    assert 0.08 < len(held) / len(lines) < 0.12
    assert not {line.text for line in kept} & {line.text for line in held}
    assert hold_out(lines[::-1])[1] == held[::-1]


def test_texts_are_read_from_all_that_hold_some(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("“One, two!”\n\n...\n")
    (tmp_path / "b.txt.gz").write_bytes(gzip.compress(b"drei vier\n"))
    lines = read_lines([str(tmp_path / "a.txt"), str(tmp_path / "b.txt.gz")], profile("librispeech"))
    assert lines == [Line("ONE TWO"), Line("DREI VIER")]
    spoken = read_lines([str(DEMO / "corpus" / "test.jsonl")], profile("librispeech"))
    assert len(spoken) == 100 and all(line.seconds is not None and line.seconds > 0.2 for line in spoken)


@pytest.mark.parametrize(
    ("name", "content"),
    [("absent.txt", None), ("absent.jsonl", None), ("empty.txt", b"\n \n"), ("latin.txt", b"\xe4\n"),
     ("plain.gz", b"no gzip"), ("cut.txt.gz", ZIPPED[:-9]), ("damaged.txt.gz", ZIPPED[:10] + b"\xff" + ZIPPED[11:])],
)  # fmt: skip
def test_what_cannot_be_read_is_named(name: str, content: bytes | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=name.replace(".", r"\.")):
        read_lines([str(tmp_path / name)], profile("librispeech"))


def test_the_command_prints_draws_and_writes(tmp_path: Path) -> None:
    corpus = DEMO / "corpus"
    result = run(
        "-m", "preprocessing.units", corpus / "train.jsonl", "--held-out", corpus / "test.jsonl", "--sizes", "50", "80",
        "-o", tmp_path / "units.png", "--json", tmp_path / "units.json", COLUMNS="80",
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert all(kind in result.stdout for kind in KINDS) and "…" not in result.stdout
    assert (tmp_path / "units.png").read_bytes().startswith(b"\x89PNG")
    told = json.loads((tmp_path / "units.json").read_text())
    assert {row["kind"] for row in told["inventories"]} == set(KINDS)
    assert [row["size"] for row in told["inventories"] if row["kind"] == "bpe"] == [50, 80]
    n_words = sum(len(line.text.split()) for line in read_lines([str(corpus / "train.jsonl")], profile("librispeech")))
    assert told["n_words"] == n_words


def test_profile_and_hyphenation_are_those_of_the_corpus_s_language(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = [f"Straße {number} der Heiligen" for number in range(100)]

    def rows(language: str | None) -> list[dict[str, object]]:
        return [{"audio": f"{n}.wav", "text": t, "duration": 5.0, "language": language} for n, t in enumerate(texts)]

    for language, name, hyphenation in (
        ("de-CH", "basic:de-CH", "de_CH (the corpus's language)"),
        ("German", "basic:de", "de_DE (the corpus's language)"),
        ("fi", "basic:fi", "en_US (the default: --units_language names another)"),
        (None, "librispeech", "en_US (the default: --units_language names another)"),
    ):
        path = str(write_manifest(tmp_path / "m.jsonl", rows(language)))
        main([path, "--kinds", "syllables", "--sizes", "50"])
        printed = " ".join(capsys.readouterr().out.split())
        assert (f"text profile: {name}, of the corpus's language" in printed) == (language is not None)
        assert f"profile {name}" in printed and f"pyphen's hyphenation for {hyphenation}, no dictionary" in printed
    main([path, "--kinds", "syllables", "--sizes", "50", "--units_language", "de_AT", "--profile", "basic"])
    printed = " ".join(capsys.readouterr().out.split())
    assert "profile basic " in printed and "pyphen's hyphenation for de_AT, no dictionary" in printed


def test_a_gzipped_manifest_is_not_counted_as_text(tmp_path: Path) -> None:
    (tmp_path / "train.jsonl.gz").write_bytes(gzip.compress(b'{"audio": "a.wav", "text": "one", "duration": 1.0}\n'))
    with pytest.raises(InputError, match=r"train\.jsonl\.gz: gzipped; expected a manifest .* gunzip it"):
        read_lines([str(tmp_path / "train.jsonl.gz")], profile("basic"))


@pytest.mark.parametrize("name", ["text.txt", "text.txt.gz"])
def test_a_line_that_is_not_utf8_is_named(name: str, tmp_path: Path) -> None:
    content = b"one two\n" * 2000 + b"gr\xfc\xdfe\n"
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    with pytest.raises(InputError, match=r":2001: not UTF-8 at character 3; expected UTF-8: convert the file"):
        read_lines([str(tmp_path / name)], profile("basic"))


@pytest.mark.parametrize(
    ("options", "exit_code", "expected"),
    [
        (["nowhere.txt"], 1, ["nowhere.txt", "No such file"]),
        (["TEXT", "--kinds", "syllabels"], 2, ["syllabels", "did you mean syllables"]),
        (["TEXT", "--sizes", "3", "--kinds", "bpe"], 2, ["--sizes is 3"]),
        (["TEXT", "-o", "x.gif"], 2, ["--plot", ".gif"]),
        (["TEXT", "--units_language", "de_DE", "--units_dictionary", "x"], 2, ["--units_dictionary", "de_DE"]),
        (["TEXT", "--units_dictionary", "nowhere.dict"], 1, ["nowhere.dict"]),
    ],
)
def test_wrong_usage_is_one_sentence(options: list[str], exit_code: int, expected: list[str], tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text("".join(f"this is line {number}\n" for number in range(200)))
    told = [str(text) if option == "TEXT" else option for option in options]
    assert_one_sentence(run("-m", "preprocessing.units", *told), exit_code, *expected)


def test_help_answers_without_loading_torch() -> None:
    code = (
        "import sys, runpy; sys.argv = ['units', '--help']\n"
        "try: runpy.run_module('preprocessing.units', run_name='__main__')\n"
        "except SystemExit: sys.exit('torch' in sys.modules)"
    )
    result = run("-c", code)
    assert result.returncode == 0 and "--sizes" in result.stdout
