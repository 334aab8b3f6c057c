"""Error rates on the model card: their intervals, a benchmark's figures, and benchmarks that are refused."""

import dataclasses
import hashlib
import json
import math
import random
import shutil
from itertools import combinations
from pathlib import Path

import jiwer
import pytest
from huggingface_hub import ModelCard
from scipy.stats import beta, t

from benchmark import results
from finetune.hub.card import CardOptions, model_card
from finetune.hub.folder import open_run
from finetune.hub.results import SUMMARY_SCHEMA, read_benchmark, validation_row
from finetune.metrics import Rate
from preprocessing.errors import InputError
from tests.finetune.runs import PAIRS, PRIVATE


def summary(folder: Path, *checkpoints: str, corpus: str = f"{PRIVATE}/test.jsonl") -> Path:
    """A benchmark's summary.json as its own code writes it."""
    scores = results.Scores(Rate(0.123456, 0.1, 0.15), Rate(0.05, 0.04, 0.06), 100, 90, 5, 5, 2)
    stages = results.StageSeconds(0.001, 0.001, 0.01, 0.001)
    systems = [
        results.SystemSummary(
            facts=results.SystemFacts(f"wav2vec2={checkpoint}", "wav2vec2", checkpoint, 10),
            scores={"basic": scores},
            speed=results.Speed(1.0, 0.1, 0.0321, 0.05, 0.06, 55.5, stages),
            peak_memory_bytes=826_000_000,
            peak_device_memory_bytes=None,
            failed_utterances=0,
        )
        for checkpoint in checkpoints
    ]
    told = results.Summary(
        created="2026-11-22T00:00:00+00:00",
        command="python benchmark/run.py",
        machine={"processor": "A Processor", "cores": "2"},
        corpus=results.CorpusFacts(corpus, 100, 0.25, 15, "speaker"),
        profiles=[results.ProfileUsed("basic", 1, "lower case")],
        systems=systems,
        comparisons=[],
        notices=[],
        settings={},
    )
    folder.mkdir(parents=True, exist_ok=True)
    results.write_summary(folder / "summary.json", told)
    return folder


def test_the_summary_read_is_the_one_that_the_benchmark_writes() -> None:
    assert SUMMARY_SCHEMA == results.SCHEMA


def test_spaces_count_in_the_cer_of_a_language_that_has_them(run: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(run, tmp_path / "run"))
    row = {"id": "u", "reference": "打 开 灯", "hypothesis": "打开灯", "blank_ratio": 0.5, "speaker": None}
    read = open_run(copy)
    assert read.about is not None
    validation = dataclasses.replace(read.about.validation, languages=())
    for name, cer in (("basic:zh", 0.0), ("basic:de", 2 / 5)):
        about = dataclasses.replace(read.about, profile=name, validation=validation)
        scored = validation_row(dataclasses.replace(read, about=about, transcripts=[row]))
        assert scored is not None and scored.cer is not None and scored.cer.value == cer


def test_intervals_are_drawn_over_speakers(run: Path) -> None:
    """Against a studentised bootstrap of plain loops: six people, two utterances each. Neither end is nearer to the
    rate than Clopper and Pearson's of as many independent words.
    """
    scored = validation_row(open_run(run))
    assert scored is not None and scored.unit == "speaker"
    counted = [jiwer.process_words(*pair) for pair in PAIRS]
    errors = [one.substitutions + one.deletions + one.insertions for one in counted]
    words = [one.hits + one.substitutions + one.deletions for one in counted]
    own = [(errors[p] + errors[p + 6], words[p] + words[p + 6]) for p in range(6)]
    people = [(e, w, w / sum(words)) for e, w in own]

    def rate_and_error(drawn: list[tuple[int, int, float]]) -> tuple[float, float]:
        total = sum(w for _, w, _ in drawn)
        rate = sum(e for e, _, _ in drawn) / total
        return rate, sum(((e - rate * w) / total) ** 2 / (1 - share) for e, w, share in drawn) ** 0.5

    value, error = rate_and_error(people)
    draw, deviations = random.Random(1), []
    for _ in range(4000):
        rate, spread = rate_and_error([draw.choice(people) for _ in people])
        deviations.append((rate - value) / spread if spread else math.copysign(6.9, rate - value))  # t at 99.95 %
    deviations.sort()
    shares = [share for _, _, share in people]
    products = 2 * sum(a**2 * b**2 / (1 - a) / (1 - b) for a, b in combinations(shares, 2))
    freedom = 1 / (sum(share**2 for share in shares) + products)
    error *= t.ppf(0.975, freedom) / t.ppf(0.975, 5)
    n_words = sum(words) * (t.ppf(0.975, sum(words) - 1) / t.ppf(0.975, freedom)) ** 2
    least = beta.ppf(0.025, value * n_words, (1 - value) * n_words + 1)
    most = beta.ppf(0.975, value * n_words + 1, (1 - value) * n_words)
    low = max(value - error * min(deviations[-100], 6.9), 0.0)
    high = value - error * max(deviations[100], -6.9)
    assert scored.wer.low == pytest.approx(min(low, least), abs=0.03)
    assert scored.wer.high == pytest.approx(max(high, most), abs=0.03)


def test_a_benchmark_adds_test_figures_and_speed(run: Path, tmp_path: Path) -> None:
    folder = summary(tmp_path / "bench", str(run), f"{PRIVATE}/rival")
    benchmark = read_benchmark(folder, run, "you/my_model")
    text = model_card(open_run(run), CardOptions("you/my_model", benchmark=benchmark))
    assert "| this model | test.jsonl | benchmark | 100 | 12.35 % | 10.00 to 15.00 | 5.00 % | 4.00 to 6.00 |" in text
    assert "| wav2vec2=rival | test.jsonl |" in text
    assert "RTFx 55.5 (seconds of audio per second), median latency 32 ms" in text
    assert "peak memory 826 MB (A Processor, 2 cores)" in text
    assert "0.25 hours by 15 speakers" in text
    assert "separate test set" not in text
    assert [row.metric_value for row in ModelCard(text).data.eval_results][2:] == [12.35, 5.0]


@pytest.mark.parametrize("swapped", [False, True])
def test_other_systems_stand_beside_the_model(run: Path, tmp_path: Path, swapped: bool) -> None:
    """What int8 loses and gains, whichever of the two the benchmark names first."""
    folder = summary(tmp_path / "bench", str(run), f"{PRIVATE}/int8")
    told = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    told["systems"][1]["facts"]["settings"]["precision"] = "int8 in the layers, else float32"
    told["systems"][1]["speed"]["rtfx"] = 111.0
    own, other = (system["facts"]["name"] for system in told["systems"])
    comparison = results.Comparison(own, other, Rate(-0.005, -0.017, 0.007), "", "clean", 0.4, 0.41, False)
    if swapped:
        comparison = dataclasses.replace(comparison, first=other, second=own, difference=Rate(0.005, -0.007, 0.017))
    noisy = dataclasses.replace(comparison, condition="noise:10")
    told["comparisons"] = [dataclasses.asdict(one) for one in (comparison, noisy)]
    (folder / "summary.json").write_text(json.dumps(told), encoding="utf-8")
    text = model_card(open_run(run), CardOptions("you/m", benchmark=read_benchmark(folder, run, "you/m")))
    row = "| wav2vec2=int8 | int8 in the layers, else float32 | +0.50 | -0.70 to +1.70 | 0.41 | 111.0 | 2.0 | 826 |"
    assert text.count("| wav2vec2=int8 | int8") == 1 and row in text


def test_datasets_of_the_hub_are_linked(run: Path, tmp_path: Path) -> None:
    opened = open_run(run)
    assert opened.about is not None
    training = dataclasses.replace(
        opened.about.training, corpora=("hf:google/fleurs:de_de:train",), languages=("de-CH",)
    )
    known = dataclasses.replace(opened, about=dataclasses.replace(opened.about, training=training, base="facebook/x"))
    folder = summary(tmp_path / "bench", str(run), corpus="hf:google/fleurs:de_de:test:100")
    options = CardOptions("you/m", benchmark=read_benchmark(folder, run, "you/m"))
    data = ModelCard(model_card(known, options)).data
    assert (data.language, data.base_model, data.datasets) == ("de", "facebook/x", ["google/fleurs"])
    assert data.eval_results[2].dataset_type == "google/fleurs"
    page = model_card(known, options)
    assert "fine-tuned from [facebook/x](https://huggingface.co/facebook/x)" in page


@pytest.mark.parametrize(
    ("corpora", "held_out", "expected"),
    [
        (["hf:google/fleurs:de_de:validation"], False, ("google/fleurs", "de_de", "validation")),
        (["hf:google/fleurs:de_de:train"] * 2, True, ("google/fleurs", "de_de", "validation")),
        (["hf:google/fleurs:de_de:dev", "hf:google/fleurs:en_us:dev"], False, ("google/fleurs", None, "dev")),
        (["hf:google/fleurs:de_de", "hf:you/calls"], False, ("google/fleurs, you/calls", None, "test")),
        (["hf:google/fleurs:de_de:dev", "dev.jsonl"], False, ("google/fleurs, dev.jsonl", None, None)),
        (["dev.jsonl"], False, ("dev.jsonl", None, "validation")),
    ],
)
def test_results_name_data_set_configuration_and_split(
    corpora: list[str], held_out: bool, expected: tuple[str, str | None, str | None], run: Path, tmp_path: Path
) -> None:
    """Read back from the card; a benchmark's split is that of its corpus, and what is held out is for validation."""
    opened = open_run(run)
    assert opened.about is not None
    part = dataclasses.replace(opened.about.training, corpora=tuple(corpora))
    about = dataclasses.replace(opened.about, training=part, validation=part, held_out=held_out)
    known = dataclasses.replace(opened, about=about)
    folder = summary(tmp_path / "bench", str(run), corpus="hf:google/fleurs:fr_fr:dev:100")
    options = CardOptions("you/m", benchmark=read_benchmark(folder, run, "you/m"))
    data = ModelCard(model_card(known, options)).data
    validation, _, benchmark, _ = data.eval_results
    assert (validation.dataset_type, validation.dataset_config, validation.dataset_split) == expected
    assert validation.dataset_name.startswith(f"{', '.join(dict.fromkeys(corpora))} (validation")
    found = (benchmark.dataset_type, benchmark.dataset_config, benchmark.dataset_split)
    assert found == ("google/fleurs", "fr_fr", "dev")
    of_hub = [name for name in expected[0].split(", ") if "/" in name]
    assert data.datasets == (of_hub or None)


@pytest.mark.parametrize("checkpoints", [["elsewhere"], [], ["RUN", "RUN"]])
def test_results_of_other_models_are_refused(run: Path, tmp_path: Path, checkpoints: list[str]) -> None:
    folder = summary(tmp_path, *(str(run) if name == "RUN" else name for name in checkpoints))
    with pytest.raises(InputError, match="expected one: benchmark this run"):
        read_benchmark(folder, run, "you/m")


def test_figures_of_the_model_alone_are_published(run: Path, tmp_path: Path) -> None:
    """Beside a language model and a pipeline of the same run; those of a language model alone are refused."""
    folder = summary(tmp_path, str(run), str(run), str(run))
    told = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    families = ("pipeline", "wav2vec2+lm", "wav2vec2")
    for system, family in zip(told["systems"], families, strict=True):
        system["facts"] |= {"family": family, "name": f"{family}={run}"}
    (folder / "summary.json").write_text(json.dumps(told), encoding="utf-8")
    rows = read_benchmark(folder, run, "you/m").rows
    assert [row.system for row in rows] == ["pipeline=mine", "wav2vec2+lm=mine", "this model"]
    for kept, expected in (("pipeline", ["this model"]), ("wav2vec2+lm", None)):
        alone = told | {"systems": [one for one in told["systems"] if one["facts"]["family"] == kept]}
        (folder / "summary.json").write_text(json.dumps(alone), encoding="utf-8")
        if expected is None:
            with pytest.raises(InputError, match=r"0 of its systems are .* without a language model"):
                read_benchmark(folder, run, "you/m")
        else:
            assert [row.system for row in read_benchmark(folder, run, "you/m").rows] == expected


def test_figures_of_other_weights_are_refused(run: Path, tmp_path: Path) -> None:
    """A run that was trained on after its benchmark: the figures are not those of what is published."""
    mine = Path(shutil.copytree(run, tmp_path / "mine"))
    folder = summary(tmp_path / "bench", str(mine))
    told = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    weights = mine / "model.safetensors"
    sha256 = hashlib.sha256(weights.read_bytes()).hexdigest()
    told["systems"][0]["facts"]["weights"] = [{"name": weights.name, "bytes": 1, "sha256": sha256}]
    (folder / "summary.json").write_text(json.dumps(told), encoding="utf-8")
    assert read_benchmark(folder, mine, "you/m").rows[0].is_published
    assert read_benchmark(folder, mine, "you/m").rows[0].system == "this model"
    weights.write_bytes(weights.read_bytes() + b" ")
    with pytest.raises(InputError, match=r"measured other weights than .*mine has now; .* run the benchmark again"):
        read_benchmark(folder, mine, "you/m")


@pytest.mark.parametrize("schema", [99, 1])
def test_a_summary_of_another_schema_is_refused(run: Path, tmp_path: Path, schema: int) -> None:
    (tmp_path / "summary.json").write_text(json.dumps({"schema": schema}))
    with pytest.raises(InputError, match=rf"--results .*summary.json: schema {schema}; expected {SUMMARY_SCHEMA}"):
        read_benchmark(tmp_path, run, "you/m")


@pytest.mark.parametrize("content", [None, "no JSON", "[]", "{}"])
def test_what_is_no_summary_is_named(run: Path, tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "summary.json").write_text(content)
    with pytest.raises(InputError, match=r"--results .*summary.json: no summary .* name its --output_dir$"):
        read_benchmark(tmp_path, run, "you/m")
