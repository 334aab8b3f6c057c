"""Which language model helps a CTC model: n-grams of words or characters, or an LSTM; in the search or rescoring?

Language models of one text: n-grams of words and of characters, and an LSTM of either. Each decodes the same frames of
an acoustic model, within the beam search (shallow fusion); the LSTMs also rescore its n-best list, with the best
n-gram and without. Weights are tuned on the validation corpus alone; every WER is of the test. Given two acoustic
models, a weak and a good one, it compares what a language model gains for each. A second test set shows its effect in
another domain.

    python -m experiments.language_models --weak runs/librispeech-mini-lstm --best runs/librispeech-mini-whisper-ctc

LSTMs within the search run in plain Python: --fusion_utterances bounds how many utterances they decode, and their rows
are compared with the others on these alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from experiments.harness.decodings import (
    BuiltLanguageModel,
    DecodingErrors,
    Grid,
    Speech,
    decode_all,
    decode_greedy,
    frames_of,
    make_models,
    sentences_of,
    word_perplexity,
)
from experiments.harness.speech import data_folder, require
from experiments.harness.study import StudyOptions, differences_from_default, run_study
from experiments.harness.trainings import ROOT
from preprocessing.cli.options import run_command
from preprocessing.errors import UsageError
from preprocessing.storage.atomic_write import read_json_lines, write_json_lines

if TYPE_CHECKING:
    from experiments.harness.comparing import Compared
    from experiments.study_pages.language_models import Decoding, LanguageModelFacts, Results
    from finetune.metrics import Rate
    from finetune.systems.ctc_model import CTCModel
    from preprocessing.corpus import Utterance
    from preprocessing.text import Profile

DURATION = "2 hours with two acoustic models, half of it for training the LSTMs"


@dataclass(frozen=True)
class Config(StudyOptions):
    """Acoustic models, text, and the corpora for tuning and testing."""

    renamed: ClassVar[Mapping[str, str]] = {"data": "data_dir"}
    replaced_by_quick: ClassVar[Sequence[str]] = (
        "weak", "best", "data_dir", "text", "validation", "test", "other", "word_orders", "character_orders",
        "lstm_epochs", "lstm_hidden_size", "fusion_utterances", "beam_width",
    )  # fmt: skip

    weak: str | None = None
    """Weak acoustic model: a run's folder or another CTC model."""

    best: str | None = None
    """Best acoustic model; one of the two is enough."""

    data_dir: Path | None = None
    """Folder of real speech and text. Default: $ASR_DATA_DIR, else data."""

    text: str | None = None
    """Training text of the language models. Default: text/librispeech-train-clean-100.txt.gz in the data folder."""

    validation: str | None = None
    """Corpus that weights are tuned on. Default: librispeech/dev.jsonl in the data folder."""

    test: str | None = None
    """Test corpus. Default: librispeech/test-other.jsonl in the data folder."""

    other: str | None = None
    """Test corpus of another domain. Default: ljspeech/test.jsonl in the data folder, with numbers as words."""

    word_orders: list[int] = field(default_factory=lambda: [2, 3, 4])
    """Orders of the word n-grams."""

    character_orders: list[int] = field(default_factory=lambda: [3, 4, 5, 6, 7, 8, 9, 10])
    """Orders of the character n-grams."""

    lstm_epochs: int = 4
    """Epochs of the LSTMs; 0 leaves them out."""

    lstm_hidden_size: int = 384
    """Hidden size of the LSTMs."""

    validation_utterances: int | None = 40
    """Number of utterances that weights are tuned on, spread over the corpus."""

    fusion_utterances: int = 10
    """Test utterances decoded with LSTM shallow fusion; 0 leaves that out."""

    beam_width: int = 64
    """Beam width of the CTC beam search."""


def measure(config: Config) -> "tuple[Results, str]":
    """Make the language models, tune each on validation, test. Raises UserError."""
    import torch

    from experiments.harness.transcripts import corpus_name, describe_test, open_test
    from experiments.study_pages.language_models import Acoustic, Results
    from finetune.systems.ctc_model import load_ctc
    from preprocessing.text import profile

    torch.set_num_threads(1)
    folder = config.folder(__file__)
    config = _for_demo(config, folder) if config.quick else config
    text, validation, test, other = _inputs(config, folder)
    acoustics = {role: load_ctc(one) for role, one in (("weak", config.weak), ("best", config.best)) if one}
    if not acoustics:
        raise UsageError(
            "--weak and --best are both unset; expected an acoustic model: name a run's folder with --best"
        )
    profiles = {one.profile for one in acoustics.values()}
    if len(profiles) > 1:
        raise UsageError(
            f"--weak and --best write under two text profiles, {' and '.join(sorted(profiles))}; expected one: train "
            "them on the same labels"
        )
    normalise = profile(profiles.pop())
    tests = {name: open_test(reference) for name, reference in (("test", test), ("other", other))}
    tuned_on = open_test(validation, config.validation_utterances)
    models = make_models(
        text, normalise, folder / "models", word_orders=config.word_orders, character_orders=config.character_orders,
        lstm_epochs=config.lstm_epochs, lstm_hidden_size=config.lstm_hidden_size,
    )  # fmt: skip
    facts = [_facts_of(one, tests, normalise) for one in models]
    found = []
    for role, acoustic in acoustics.items():
        dev = frames_of(acoustic, tuned_on, normalise, f"{role}: validation")
        speech = {name: frames_of(acoustic, own, normalise, f"{role}: {name}") for name, own in tests.items()}
        path = folder / f"{role}.jsonl"
        decodings, kinds = _decode_all(config, acoustic, models, dev, speech, path)
        found.append(
            Acoustic(
                role=role,
                reference=Path(acoustic.reference).name,
                units=acoustic.vocabulary.kind,
                validation=describe_test("validation", dev.utterances),
                decodings=decodings,
                kinds=kinds,
            )
        )
    results = Results(
        text=Path(text).name,
        text_words=sum(len(line) for line in sentences_of(text, normalise)),
        test=describe_test(corpus_name(test), tests["test"]),
        other=describe_test(corpus_name(other), tests["other"]),
        models=facts,
        acoustics=found,
    )
    flags = ("word_orders", "character_orders", "lstm_epochs", "lstm_hidden_size", "fusion_utterances")
    parts = [f"without the {role} acoustic model" for role in ("weak", "best") if getattr(config, role) is None]
    return results, "; ".join(filter(None, [*parts, differences_from_default(config, *flags)]))


def _for_demo(config: Config, folder: Path) -> Config:
    """--quick: the embedded demo, text of its training corpus, small language models."""
    rows = read_json_lines(ROOT / "demo" / "corpus" / "train.jsonl")
    (folder / "text.txt").write_text("".join(row["text"] + "\n" for row in rows[:200]), encoding="utf-8")
    for name, start in (("validation", 200), ("other", 320)):
        chosen = rows[start : start + 4]
        audio = [row | {"audio": str(ROOT / "demo" / "corpus" / row["audio"])} for row in chosen]
        write_json_lines(folder / f"{name}.jsonl", audio)
    return replace(
        config, weak=None, best=str(ROOT / "demo" / "wav2vec2"), text=str(folder / "text.txt"),
        validation=str(folder / "validation.jsonl"), test=str(folder / "other.jsonl"),
        other=str(folder / "other.jsonl"),
        word_orders=[2], character_orders=[3], lstm_epochs=1, lstm_hidden_size=16, fusion_utterances=1, beam_width=8,
    )  # fmt: skip


def _inputs(config: Config, folder: Path) -> tuple[str, str, str, str]:
    """Text, validation, test and the test of another domain. Raises UsageError where one is not there."""
    data = data_folder(config.data_dir)

    def of(given: str | None, name: str) -> str:
        return given or str(require(data / name, "speech and text"))

    other = config.other
    if other is None:
        rows = read_json_lines(require(data / "ljspeech" / "test.jsonl", "speech"))
        in_words = [
            row | {"text": row["normalized_text"], "audio": str((data / "ljspeech" / row["audio"]).resolve())}
            for row in rows
        ]
        write_json_lines(folder / "ljspeech.jsonl", in_words)
        other = str(folder / "ljspeech.jsonl")
    return (
        of(config.text, "text/librispeech-train-clean-100.txt.gz"),
        of(config.validation, "librispeech/dev.jsonl"),
        of(config.test, "librispeech/test-other.jsonl"),
        other,
    )


def _facts_of(
    made: BuiltLanguageModel, tests: "dict[str, list[Utterance]]", normalise: "Profile"
) -> "LanguageModelFacts":
    from experiments.study_pages.language_models import LanguageModelFacts
    from finetune.language_model.lstm import LstmModel

    model = made.load()
    if isinstance(model, LstmModel):
        parameters = sum(one.numel() for one in model.parameters())
    else:
        parameters = sum(map(len, model.entries))
    figures = [word_perplexity(model, [normalise(one.text).split() for one in own]) for own in tests.values()]
    (perplexity, unknown), (other_perplexity, other_unknown) = figures
    return LanguageModelFacts(
        name=made.name,
        kind="LSTM" if made.is_lstm else "n-gram",
        bytes=made.bytes,
        parameters=parameters,
        seconds=made.seconds,
        perplexity=perplexity,
        unknown=unknown,
        other_perplexity=other_perplexity,
        other_unknown=other_unknown,
    )


def _decode_all(
    config: Config,
    acoustic: "CTCModel",
    models: Sequence[BuiltLanguageModel],
    dev: Speech,
    tests: dict[str, Speech],
    path: Path,
) -> "tuple[list[Decoding], Compared | None]":
    """Every decoding of an acoustic model beside greedy decoding, and both kinds of n-gram beside each other; path:
    where decodings are kept.
    """
    from experiments.study_pages.language_models import GREEDY
    from finetune.metrics import holm

    grid = Grid(beam_width=config.beam_width, n_fused=config.fusion_utterances)
    if config.quick:
        grid = replace(grid, alphas=grid.alphas[1:3], betas=grid.betas[1:3], weights=grid.weights[:2], extensions=1)
    plain = decode_greedy(acoustic.vocabulary, dev, tests)
    found = [_decoding(GREEDY, plain, plain, tests)]
    decoded = decode_all(acoustic, models, dev, tests, grid, path)
    for name, one in decoded.items():
        found.append(_decoding(name, one, plain, tests))
    tested = {one.name: one.gain.p_value for one in found if one.gain is not None}
    adjusted = dict(zip(tested, holm(list(tested.values())), strict=True))
    return [replace(one, adjusted_p=adjusted.get(one.name)) for one in found], _kinds(decoded, tests["test"])


def _kinds(decoded: Mapping[str, DecodingErrors], test: Speech) -> "Compared | None":
    best = []
    for kind in ("words", "characters"):
        own = [name for name in decoded if name.endswith(f"gram of {kind}") and "rescoring" not in name]
        own = [name for name in own if len(decoded[name].errors) == len(test.references)]
        if not own:
            return None
        best.append(min(own, key=lambda name: decoded[name].validation_wer))
    return _compare((best[0], best[1]), decoded[best[0]].errors, decoded[best[1]].errors, test)[1]


def _compare(
    names: tuple[str, str], errors: Sequence[int], other: Sequence[int], speech: Speech
) -> "tuple[Rate, Compared]":
    """The WER of the first errors, and it beside that of the others, on the utterances that have the first ones."""
    from experiments.harness.comparing import Errors, compare, mean_rate

    lengths = [len(one.split()) for one in speech.references][: len(errors)]
    speakers = [one.speaker for one in speech.utterances][: len(errors)]
    ours, theirs = (Errors([list(one[: len(errors)])], lengths, speakers) for one in (errors, other))
    return mean_rate(ours), compare(names, ours, theirs)


def _decoding(name: str, own: DecodingErrors, plain: DecodingErrors, tests: dict[str, Speech]) -> "Decoding":
    """Rates and gains of a decoding beside greedy decoding."""
    from experiments.study_pages.language_models import GREEDY, Decoding

    names = (name, GREEDY)
    rate, gain = _compare(names, own.errors, plain.errors, tests["test"])
    others = _compare(names, own.other, plain.other, tests["other"]) if own.other else (None, None)
    is_plain = name == GREEDY
    return Decoding(
        name=name,
        weights=own.weights,
        validation_wer=own.validation_wer,
        wer=rate,
        utterances=len(own.errors),
        seconds=own.seconds,
        gain=None if is_plain else gain,
        adjusted_p=None,
        other_wer=others[0],
        other_gain=None if is_plain else others[1],
        at_end=own.at_end,
    )


def main(arguments: Sequence[str] | None = None) -> None:
    run_study(Config, measure, "experiments.study_pages.language_models", __doc__, __file__, arguments)


if __name__ == "__main__":
    run_command(main)
