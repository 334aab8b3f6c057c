"""n-gram models: probabilities that sum to 1, estimates by hand, ARPA files both ways, and files that are none."""

import gzip
import io
import math
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finetune.language_model import kneser_ney, ngram
from finetune.language_model.__main__ import with_profile_of_model
from finetune.language_model.build import LanguageModelConfig, build_language_model
from finetune.language_model.kneser_ney import estimate, perplexity
from finetune.language_model.ngram import (
    BEGIN,
    BOUNDARY,
    END,
    UNKNOWN,
    NgramModel,
    NgramTable,
    limited_to,
    read_arpa,
    write_arpa,
)
from finetune.language_model.train import TrainLstmConfig
from preprocessing.cli import notes
from preprocessing.corpus.lines import RawText, profile_by_language
from preprocessing.errors import InputError, UsageError, UserError
from tests.commands import assert_one_sentence, run
from tests.conftest import DEMO, write_manifest
from tests.finetune.runs import tiny_run

WORDS = ["a", "b", "c"]
SENTENCES = st.lists(st.lists(st.sampled_from(WORDS), max_size=6), min_size=1, max_size=12)


def mass(model: NgramModel, state: tuple[str, ...]) -> float:
    words = [*model.words, END, UNKNOWN]
    return sum(math.exp(model.score(state, word)[0]) for word in words)


@settings(max_examples=60)
@given(SENTENCES, st.integers(1, 4), st.integers(1, 3))
def test_what_may_follow_sums_to_one(sentences: list[list[str]], order: int, min_count: int) -> None:
    """After every context, met or not, whatever was left out."""
    model = estimate(sentences, order, min_count=min_count)
    assert model.order == order
    for state in [(), (BEGIN,), ("a",), ("a", "b"), ("c", "c"), (BEGIN, "b"), (BEGIN, "a", "b"), (UNKNOWN,)]:
        if len(state) < order:
            assert mass(model, state) == pytest.approx(1.0, abs=1e-6)


@settings(max_examples=60)
@given(SENTENCES, st.integers(1, 4))
def test_each_probability_is_that_of_its_definition(sentences: list[list[str]], order: int) -> None:
    """Counted with dicts of tuples, one n-gram after another."""
    model = estimate(sentences, order)
    marked = [[BEGIN, *sentence, END] for sentence in sentences]
    counts = [Counter(tuple(one[i : i + n]) for one in marked for i in range(len(one) - n + 1))
              for n in range(1, order + 1)]  # fmt: skip
    n_words = len(counts[0]) - 1 + 1  # without <s>, with <unk>

    def adjusted(ngram: tuple[str, ...]) -> int:
        if len(ngram) == order or ngram[0] == BEGIN:
            return counts[len(ngram) - 1][ngram]
        return sum(longer[1:] == ngram for longer in counts[len(ngram)])

    def probability(ngram: tuple[str, ...]) -> float:
        if not ngram:
            return 1.0 / n_words
        mine = {one: adjusted(one) for one in counts[len(ngram) - 1] if one != (BEGIN,)}
        discounts = kneser_ney._discounts(np.array([*mine.values()])) or (0.5, 1.0, 1.5)
        of_context = {one: count for one, count in mine.items() if one[:-1] == ngram[:-1]}
        total = sum(of_context.values())
        freed = {one: discounts[min(count, 3) - 1] for one, count in of_context.items()}
        own = (mine[ngram] - freed[ngram]) / total if ngram in mine else 0.0
        return own + sum(freed.values()) / total * probability(ngram[1:])

    for table in model.entries:
        for words in table:
            if words not in ((BEGIN,), (UNKNOWN,)):
                assert math.exp(table[words][0]) == pytest.approx(probability(words))


def test_bigrams_by_hand() -> None:
    """No unigram has a count of 3: 0.5, 1 and 1.5. Of bigrams 2, 2, 1 and 0 have counts of 1 to 4, and y is 1/3."""
    model = estimate([["a", "b"], ["a", "b"], ["a", "a"]], 2)
    # in how many contexts: a after <s> and a; b after a; </s> after b and a
    left = (1.0 + 0.5 + 1.0) / 5
    unigram = {"a": (2 - 1.0) / 5 + left / 4, "b": (1 - 0.5) / 5 + left / 4, UNKNOWN: left / 4}
    for word, expected in unigram.items():
        assert math.exp(model.score((), word)[0]) == pytest.approx(expected)
    # after a: b twice, a once, </s> once
    one, two, three = 1 - 2 / 3, 2 - 3 / 3 * 1 / 2, 3.0
    left_of_a = (two + one + one) / 4
    assert math.exp(model.score(("a",), "b")[0]) == pytest.approx((2 - two) / 4 + left_of_a * unigram["b"])
    assert math.exp(model.score(("a",), "zebra")[0]) == pytest.approx(left_of_a * unigram[UNKNOWN])
    assert math.exp(model.score((BEGIN,), "a")[0]) == pytest.approx((3 - three) / 3 + three / 3 * unigram["a"])


def test_rare_ngrams_of_three_words_and_more_are_left_out_and_no_others() -> None:
    sentences = [text.split() for text in ("a b a b c", "a b a c", "c a b a", "b b c a", "d", "c a b")]
    counts = Counter(
        gram
        for marked in ([BEGIN, *own, END] for own in sentences)
        for n in range(1, 5)
        for gram in zip(*(marked[start:] for start in range(n)), strict=False)
    )
    entries = estimate(sentences, 4, min_count=2).entries
    for n, table in enumerate(entries[1:], 2):
        assert set(table) == {gram for gram, count in counts.items() if len(gram) == n and (n == 2 or count >= 2)}
        assert {part for gram in table for part in (gram[:-1], gram[1:])} <= set(entries[n - 2])
    assert 1 in {counts[gram] for gram in entries[1]} and len(entries[3]) > 1


def test_discounts_are_those_of_the_paper() -> None:
    """Counts of 1, 2, 3 and 4 that occur 6, 3, 2 and 1 times."""
    words = [
        f"{count}{letter}" for count, letters in ((1, "abcdef"), (2, "abc"), (3, "ab"), (4, "a")) for letter in letters
    ]
    model = estimate([[word] for word in words for _ in range(int(word[0]))], 1)
    y = 6 / (6 + 2 * 3)
    one, two, three = 1 - 2 * y * 3 / 6, 2 - 3 * y * 2 / 3, 3 - 4 * y * 1 / 2
    total = 6 + 6 + 6 + 4 + 22  # and an end for each
    left = (6 * one + 3 * two + 4 * three) / total
    uniform = left / (len(words) + 2)
    assert math.exp(model.score((), "1a")[0]) == pytest.approx((1 - one) / total + uniform)
    assert math.exp(model.score((), "2a")[0]) == pytest.approx((2 - two) / total + uniform)
    assert math.exp(model.score((), "4a")[0]) == pytest.approx((4 - three) / total + uniform)


def having(n1: int, n2: int, n3: int, n4: int) -> list[list[str]]:
    """Sentences of one word: so many words occur once, twice, three and four times, and ten of them five times."""
    counts = [1] * n1 + [2] * n2 + [3] * n3 + [4] * n4 + [5] * 10
    return [[f"w{number}"] for number, count in enumerate(counts) for _ in range(count)]


@pytest.mark.parametrize(
    ("counts", "three"),
    [
        ((6, 3, 2, 0), 3.0),  # none occurs four times: the whole count of 3, which lmplz takes
        ((6, 3, 2, 1), 2.0),
        ((6, 3, 0, 1), 1.5),  # none occurs three times, and lmplz refuses
        ((9, 1, 3, 0), 1.5),  # the discount of 2 is 2 - 3 * 9/11 * 3 < 0, and lmplz refuses
    ],
)
def test_discounts_are_refused_where_lmplz_refuses_them(counts: tuple[int, int, int, int], three: float) -> None:
    sentences = having(*counts)
    model = estimate(sentences, 1)
    total = 2 * len(sentences)  # and an end for each
    last = sentences[-1][0]
    unknown = math.exp(model.score((), UNKNOWN)[0])
    assert math.exp(model.score((), last)[0]) == pytest.approx((5 - three) / total + unknown)
    assert mass(model, ()) == pytest.approx(1.0)


def test_a_discount_of_nothing_leaves_nothing_to_back_off_to(tmp_path: Path) -> None:
    """Where D2 is 2 - 3 * 2/3 * 1 = 0, which lmplz takes."""
    model = estimate([text.split() for text in ("a", "d c", "b", "a", "b", "c d", "b d b")], 2)
    assert math.exp(model.score(("a",), END)[0]) == pytest.approx(1.0)  # after a, twice, is nothing but an end
    assert mass(model, ("a",)) == pytest.approx(1.0)
    path = tmp_path / "some.arpa"
    with path.open("w") as file:
        write_arpa(model, file)
    assert mass(read_arpa(path), ("a",)) == pytest.approx(1.0, abs=1e-4)


def test_discounts_that_cannot_be_estimated_are_said(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notes, "_noted", set())
    estimate([["e", "f", "g"]] * 7, 2)
    assert "the counts of 1-grams, 2-grams give no Kneser-Ney discounts" in capsys.readouterr().err


@pytest.mark.parametrize("zipped", [False, True])
def test_an_arpa_file_says_the_same(tmp_path: Path, zipped: bool) -> None:
    model = estimate([list("abacab"), list("cab"), list("bb")], 3)
    text = io.StringIO()
    write_arpa(model, text)
    path = tmp_path / "some.arpa"
    content = text.getvalue().encode()
    path.write_bytes(gzip.compress(content) if zipped else content)
    read = read_arpa(path)
    for sentence in (list("abc"), list("zab"), [], list("cabbb")):
        assert read.score_sentence(sentence) == pytest.approx(model.score_sentence(sentence), abs=1e-4)
        limited = limited_to(read, [sentence])
        assert limited.score_sentence(sentence) == read.score_sentence(sentence)
        assert sum(map(len, limited.entries)) <= 1 + 3 * (len(sentence) + 2)  # not of all its text, which fills memory
    assert perplexity(read, [list("az")])[1:] == (2, 1)


def test_a_file_of_another_maker() -> None:
    """As SRILM's manual has it: tabs or spaces, backoffs only where there are any, no <unk>."""
    model = read_arpa(Path(__file__).parent / "srilm.arpa")
    assert model.order == 2
    assert model.score(("the",), "cat")[0] == pytest.approx(-0.3 * math.log(10))
    assert model.score(("cat",), "the")[0] == pytest.approx((-0.1 - 1.0) * math.log(10))
    assert model.score((), "dog")[0] < -200


def test_a_file_is_read_as_kenlm_reads_it(tmp_path: Path) -> None:
    """<UNK> for <unk>, words with white space that is neither space nor tab, and probabilities of 0."""
    path = tmp_path / "kenlm.arpa"
    path.write_text(
        "\\data\\\nngram 1=5\nngram 2=1\n\n\\1-grams:\n-1.5\t<UNK>\t-0.5\n-inf\t<s>\n-1\t</s>\n-1\ta\u00a0b\n"
        "-2\tc\u3000\n\n\\2-grams:\n-0.25\t<UNK> a\u00a0b\n\n\\end\\\n",
        encoding="utf-8",
    )
    model = read_arpa(path)
    assert sorted(model.words) == ["a\u00a0b", "c\u3000"]
    assert model.score((), "zebra") == (pytest.approx(-1.5 * math.log(10)), (UNKNOWN,))
    assert model.score((UNKNOWN,), "a\u00a0b")[0] == pytest.approx(-0.25 * math.log(10))
    assert 0.0 * model.score((), BEGIN)[0] == 0.0  # finite, for an alpha of 0


@pytest.mark.parametrize("lines_at_once", [3, 1 << 10])
def test_tables_of_a_file_hold_what_its_lines_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lines_at_once: int
) -> None:
    """Lines of all forms: backoffs or none, tabs or spaces, one or more, words that are no unigrams, and -inf."""
    monkeypatch.setattr(ngram, "LINES_AT_ONCE", lines_at_once)
    sections = [
        ["-1.25\t<s>\t-0.5", "-inf a -0.1", "-2\tb", " -3  c\t0 ", "-0.7\t<unk>\t-inf", "-4\t</s>", "-2.5\td\t-1e-3"],
        ["-0.3\ta b\t-0.2", "-0.4 b c", "-0.5\tb zebra", "-0.6\t<UNK> a\t-0.25", "-0.1\t<s> a"],
        ["-0.15\ta b c", "-0.35\t<s>  a b"],
    ]
    head = "".join(f"ngram {n}={len(lines)}\n" for n, lines in enumerate(sections, 1))
    body = "".join(f"\n\\{n}-grams:\n" + "\n".join(lines) + "\n" for n, lines in enumerate(sections, 1))
    path = tmp_path / "some.arpa"
    path.write_text(f"\\data\\\n{head}{body}\n\\end\\\n")
    model = read_arpa(path)
    for n, (table, lines) in enumerate(zip(model.entries, sections, strict=True), 1):
        expected = {}
        for fields in map(str.split, lines):
            logp, backoff = (max(float(one), -99.0) * math.log(10) for one in (fields[0], (*fields, "0")[n + 1]))
            expected[tuple(field.replace("UNK", "unk") for field in fields[1 : n + 1])] = (logp, backoff)
        assert dict(table) == expected
        assert list(table) == list(expected)
        assert table.get(("zebra",) * n) is None and table.get(("a",) * (n + 1)) is None
    assert "zebra" not in model and sorted(model.words) == ["a", "b", "c", "d"]
    again = tmp_path / "again.arpa"
    with again.open("w") as file:
        write_arpa(model, file)
    assert read_arpa(again).score_sentence(list("abcz")) == pytest.approx(model.score_sentence(list("abcz")))


def test_of_an_ngram_that_stands_twice_the_last_counts(tmp_path: Path) -> None:
    path = tmp_path / "some.arpa"
    path.write_text("\\data\\\n\\1-grams:\n-1 a\n-2 b\n-3 a\n\\2-grams:\n-4 a b\n-5 a a\n-6 a b\n\\end\\\n")
    tables = read_arpa(path).entries
    assert [len(table) for table in tables] == [2, 2]
    assert (tables[0]["a",][0], tables[1]["a", "b"][0]) == (-3 * math.log(10), -6 * math.log(10))


def test_a_file_takes_few_bytes_for_each_ngram(tmp_path: Path) -> None:
    words = [f"w{number}" for number in range(10)]
    model = NgramModel(({(a,): (-1.0, -1.0) for a in words}, {(a, b): (-1.0, 0.0) for a in words for b in words}))
    path = tmp_path / "some.arpa"
    with path.open("w") as file:
        write_arpa(model, file)
    for n, table in enumerate(read_arpa(path).entries, 1):
        assert isinstance(table, NgramTable)
        assert table.ids.nbytes + table.logps.nbytes + table.backoffs.nbytes == (4 * n + 16) * len(table)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "no \\end\\"),
        ("\\data\\\nngram 1=1\n\n\\1-grams:\n-1 a\n", "no \\end\\"),
        ("\\data\\\n\\2-grams:\n", "expected \\1-grams:"),
        ("\\data\\\n\\1-grams:\nminus a\n\\end\\\n", "line 3"),
        ("\\data\\\n\\1-grams:\n-1 a b c\n\\end\\\n", "line 3"),
        ("\\data\\\n\\1-grams:\nnan a\n\\end\\\n", "line 3: 'nan a'; expected the logarithm of a probability"),
        ("\\data\\\n\\1-grams:\n0.5 a\n\\end\\\n", "line 3: '0.5 a'; expected the logarithm of a probability"),
        ("\\data\\\n\\1-grams:\n-1 a nan\n\\end\\\n", "line 3: '-1 a nan'; expected the logarithm"),
        ("\\data\\\nngram 1=2\n\n\\1-grams:\n-1 a\n\\end\\\n", "1 1-grams before it; expected 2"),
        ("\\data\\\nngram 1=1\nngram 2=1\n\n\\1-grams:\n-1 a\n\\end\\\n", "no \\end\\"),
        ("\\data\\\nngram 1=2\n\n\\1-grams:\n-1 a\n-2 a\n\\end\\\n", "line 7: 1 1-grams before it; expected 2"),
        ("\\data\\\n\\1-grams:\n-1 a\n-1\n", "line 4: '-1'; expected a base-10 logarithm, 1 words"),
        ("mmap lm http://kheafield.com/code format version 5\n\0", "binary file of KenLM"),
    ],
)
def test_what_is_no_arpa_file_is_named(tmp_path: Path, content: str, said: str) -> None:
    path = tmp_path / "bad.arpa"
    path.write_text(content)
    with pytest.raises(InputError) as raised:
        read_arpa(path)
    assert str(path) in str(raised.value)
    assert said in str(raised.value)


def test_a_corpus_or_a_text_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    corpus = build_language_model(
        LanguageModelConfig(str(DEMO / "corpus" / "train.jsonl"), tmp_path / "a.arpa", order=2)
    )
    assert len(list(corpus.words)) > 20
    lines = tmp_path / "lines.txt"
    lines.write_text("Hello, world!\n\nhello you\n")
    text = build_language_model(LanguageModelConfig(str(lines), tmp_path / "b.arpa", order=2, evaluate=str(lines)))
    assert sorted(text.words) == ["HELLO", "WORLD", "YOU"]
    assert "per word, over known words and sentence ends; 0 of 4 words unknown" in capsys.readouterr().out


def test_a_text_to_evaluate_that_cannot_be_read_is_named_before_the_estimate(tmp_path: Path) -> None:
    (tmp_path / "lines.txt").write_text("hello\n")
    with pytest.raises(UserError, match=r"none\.txt"):
        build_language_model(
            LanguageModelConfig(str(tmp_path / "lines.txt"), tmp_path / "a.arpa", evaluate=str(tmp_path / "none.txt"))
        )
    assert not (tmp_path / "a.arpa").exists()


def german(folder: Path) -> str:
    """A corpus that names its language."""
    rows = [
        {"audio": f"{number}.wav", "text": text, "duration": 2.0, "language": "de"}
        for number, text in enumerate(["Straße 5", "die Straße"])
    ]
    return str(write_manifest(folder / "de.jsonl", rows))


def test_the_profile_is_that_of_the_corpus_s_language_unless_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = LanguageModelConfig(german(tmp_path), tmp_path / "de.arpa")
    assert sorted(build_language_model(config).words) == ["die", "fünf", "straße"]
    assert "text profile: basic:de, of the corpus's language\n" in capsys.readouterr().out
    named = build_language_model(replace(config, profile="librispeech"))
    assert "STRASSE" in named.words and "text profile" not in capsys.readouterr().out
    lines = tmp_path / "lines.txt"
    lines.write_text("Hello\n")
    assert "HELLO" in build_language_model(replace(config, text=str(lines))).words
    assert "text profile" not in capsys.readouterr().out


def test_the_profile_is_that_of_a_run_s_labels(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tiny_run(tmp_path / "run")
    config = LanguageModelConfig(german(tmp_path), tmp_path / "de.arpa", model=str(run))
    assert with_profile_of_model(config) == replace(config, profile="librispeech", model=None)
    assert capsys.readouterr().out == f"text profile: librispeech, of the labels of {run}\n"
    (tmp_path / "other").mkdir()
    with pytest.raises(InputError, match=r"other: records no text profile of its labels; expected a run"):
        with_profile_of_model(replace(config, model=str(tmp_path / "other")))
    for own in (config, TrainLstmConfig(config.text, tmp_path / "lstm", model=str(run))):
        with pytest.raises(UsageError, match=r"--profile basic and --model .*: leave the other out"):
            with_profile_of_model(replace(own, profile="basic"))
    with pytest.raises(AssertionError, match="with_profile_of_model"):
        build_language_model(config)


@pytest.mark.parametrize(
    ("languages", "expected"),
    [
        (["de-CH", "de"], "text profile: basic:de, of the corpus's language"),
        (["en", None], "text profile: librispeech, of the corpus's language"),
        (["tlh"], "text profile: basic, of the corpus's language"),
        (["de", "en"], "text profile: basic, as not all utterances name the same language"),
        (["de", None], "text profile: basic, as not all utterances name the same language"),
    ],
)
def test_the_profile_of_a_corpus_is_explained(languages: list[str | None], expected: str) -> None:
    assert profile_by_language([RawText("train.jsonl", [], frozenset(languages))])[1] == expected


def test_chinese_characters_stay_as_labels_have_them() -> None:
    assert profile_by_language([RawText("zh.jsonl", [], frozenset({"zh-TW"}))])[0] == "basic:zh-TW"


def test_an_output_that_ends_in_gz_is_gzipped_and_the_same_bytes_each_time(tmp_path: Path) -> None:
    lines = tmp_path / "lines.txt"
    lines.write_text("hello wörld\nhello you\n", encoding="utf-8")
    for name in ("a.arpa", "b.arpa.gz", "c.arpa.gz"):
        build_language_model(LanguageModelConfig(str(lines), tmp_path / name, order=2, profile="basic"))
    zipped = (tmp_path / "b.arpa.gz").read_bytes()
    assert gzip.decompress(zipped) == (tmp_path / "a.arpa").read_bytes()
    assert zipped == (tmp_path / "c.arpa.gz").read_bytes() and zipped[4:8] == bytes(4)  # no time
    assert sorted(read_arpa(tmp_path / "b.arpa.gz").words) == ["hello", "wörld", "you"]


def test_characters_of_a_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = tmp_path / "lines.txt"
    lines.write_text("Hello you\nyou yell\nhello\n")
    config = LanguageModelConfig(
        str(lines), tmp_path / "c.arpa", order=4, units="characters", profile="basic", evaluate=str(lines)
    )
    model = build_language_model(config)
    assert sorted(model.words) == sorted({*"helloyou", BOUNDARY})
    assert model.is_of_characters
    assert read_arpa(tmp_path / "c.arpa").is_of_characters
    assert mass(model, ("y", "o", "u")) == pytest.approx(1.0)
    assert "0 of 22 characters unknown" in capsys.readouterr().out
    with pytest.raises(UsageError, match="expected 1 to 10 of characters"):
        LanguageModelConfig(str(lines), tmp_path / "c.arpa", order=11, units="characters").check()


@pytest.mark.parametrize(
    ("text", "is_said"),
    [("今天天气很好啊\n今天下雨了吗朋友\n", True), ("今天 天气 很 好\n今天 下雨\n", False), ("six sevens\n", False)],
)
def test_clauses_that_would_count_as_words_are_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, is_said: bool
) -> None:
    lines = tmp_path / "lines.txt"
    lines.write_text(text, encoding="utf-8")
    build_language_model(LanguageModelConfig(str(lines), tmp_path / "c.arpa", profile="basic"))
    assert ("'今天天气很好啊' counts as one word; use --units characters" in capsys.readouterr().out) == is_said


@pytest.mark.parametrize("text", ["six\nseven\nsix\n", "今天天气很好\n今天下雨\n"])
def test_characters_of_lines_without_a_space_are_a_model_of_characters(tmp_path: Path, text: str) -> None:
    lines = tmp_path / "lines.txt"
    lines.write_text(text, encoding="utf-8")
    model = build_language_model(
        LanguageModelConfig(str(lines), tmp_path / "c.arpa", order=3, units="characters", profile="basic")
    )
    assert model.is_of_characters and read_arpa(tmp_path / "c.arpa").is_of_characters
    assert model.score((), BOUNDARY)[0] == model.score((), "?")[0]
    for state in [(), (BEGIN,), (text[0],), (text[0], text[1])]:
        assert mass(model, state) == pytest.approx(1.0)


def test_text_with_reserved_words_is_refused(tmp_path: Path) -> None:
    lines = tmp_path / "lines.txt"
    lines.write_text("<s> hello you </s>\nhello <unk>\n")
    config = LanguageModelConfig(str(lines), tmp_path / "w.arpa", profile="verbatim")
    with pytest.raises(InputError, match=r"lines\.txt: a sentence has the word </s>, which n-gram models reserve"):
        build_language_model(config)
    assert not config.output.exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["tune", "runs/none", "absent.jsonl", "--lm", "absent.arpa"], 1, "absent.arpa"),
        (["build", "absent.txt", "out.arpa"], 1, "absent.txt"),
        ([str(DEMO / "corpus" / "train.jsonl"), "out.arpa", "--order", "9"], 2, "--order is 9"),
        ([str(DEMO / "corpus" / "train.jsonl"), "."], 2, "is a folder"),
        ([str(DEMO / "corpus" / "train.jsonl"), "out.arpa", "--least", "2"], 2, "min_count"),
    ],
)
def test_wrong_usage_is_one_sentence(arguments: list[str], code: int, said: str) -> None:
    assert_one_sentence(run("-m", "finetune.language_model", *arguments), code, said)
