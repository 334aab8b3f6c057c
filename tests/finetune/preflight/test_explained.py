"""A dry run and an overfitted batch on the demo, in this process: what they say, and that nothing is written."""

import io
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import yaml
from accelerate import Accelerator
from rich.console import Console
from torch import nn

from finetune.config import DataConfig, ModelConfig, OptimisationConfig, TrainConfig
from finetune.data.corpora import MAIN, RunData
from finetune.data.examples import Examples
from finetune.models.base import TrainableRecogniser
from finetune.preflight import costs
from finetune.preflight.costs import MeasuredBatch, PassCost, RunCosts, StaticMemory, print_costs, static_memory
from finetune.preflight.dry_run import configuration, trained_table
from finetune.preflight.overfit import OverfitResult, explain_failure, overfit_config, small_batch
from finetune.training.log import read_log
from finetune.training.loop import TrainingLoop
from finetune.training.optimisation import make_optimiser
from finetune.training.setup import RunSetup, windows_note
from finetune.training_run import train
from preprocessing.cli.options import parse_command
from preprocessing.corpus import Utterance
from preprocessing.errors import InputError
from preprocessing.text import profile
from tests.conftest import DEMO, ROOT, absolute, write_manifest

pytestmark = pytest.mark.timeout(1200)  # a busy machine is slow, not wrong


def config(folder: Path, **changes: Any) -> TrainConfig:
    manifest = write_manifest(folder / "train.jsonl", absolute(DEMO / "corpus" / "train.jsonl", 24))
    settings: dict[str, Any] = {
        "output_dir": folder / "run",
        "model": ModelConfig(base=str(DEMO / "wav2vec2")),
        "data": DataConfig(
            train=[str(manifest)], validation_share=0.2, validation_by="utterance", max_batch_seconds=20.0
        ),
        "max_steps": 40,
        "learning_rate": 5e-4,
        "mixed_precision": "no",  # whatever the processor is best at
    }
    found = TrainConfig(**settings | changes)
    found.check()
    return found


def test_a_dry_run_says_everything_and_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = absolute(DEMO / "corpus" / "train.jsonl", 24)
    run = config(tmp_path, dry_run=True)
    write_manifest(tmp_path / "train.jsonl", [row | {"text": f"{row['text']} (NOISE)"} for row in rows])
    train(run)
    told = capsys.readouterr().out
    for expected in (
        *("learning_rate: 0.0005  # default: 0.0003", "characters a second", "Shared with training (19 utterances)"),
        *("outside: nothing", "feature_extractor.conv_layers", "optimiser states", "forward and backward in"),
        *("activations of that batch", "40 steps of", "nothing was trained or written"),
        *("; loss per label ", " s to load (in the training process)\n"),
    ):
        assert expected in told
    assert re.search(r"\.\.\. \d+ more *\n", told), "there is no JSON with all of them"
    assert not (tmp_path / "run").exists()


def test_a_dry_run_of_the_recipe_to_copy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--config", str(ROOT / "configs" / "finetune" / "yours.yaml"), "--dry_run", "true"]
    words += ["--data.train", f"[{config(tmp_path).data.train[0]}]", "--data.max_batch_seconds", "20"]
    words += ["--model.base", str(DEMO / "wav2vec2"), "--output_dir", str(tmp_path / "run")]
    recipe = parse_command(TrainConfig, program="", description="", arguments=words)
    recipe.check()
    train(recipe)
    assert "nothing was trained or written" in capsys.readouterr().out


def test_a_dry_run_of_a_new_lstm_needs_no_origin(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = config(tmp_path, dry_run=True, model=ModelConfig(family="lstm"))
    run = replace(run, data=replace(run.data, max_train_samples=12, max_batch_seconds=20.0))
    run.check()
    train(run)
    told = capsys.readouterr().out
    assert "from random weights" in told and "scratch: {}  # default: null" in told


def test_a_finished_run_says_its_best_step_and_can_be_started_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Once more with another validation set, on which nothing has been evaluated then."""
    rows = absolute(DEMO / "corpus" / "test.jsonl", 4)
    one, other = (str(write_manifest(tmp_path / f"{at}.jsonl", rows[at : at + 2])) for at in (0, 2))
    first = config(tmp_path, max_steps=1)
    first = replace(first, data=replace(first.data, validation=one, validation_share=0.0, validation_by=None))
    for validation, says_best in ((one, True), (one, True), (other, False)):
        train(replace(first, data=replace(first.data, validation=validation)))
        told = capsys.readouterr().out
        assert "done: the best model" in told and ("best: step " in told) == says_best


def test_a_run_that_is_stopped_before_its_first_step_logs_the_problems_of_its_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which it has found before: the resumed run begins its log anew."""
    leaking = config(tmp_path, max_steps=1)
    (corpus,) = leaking.data.train
    leaking = replace(leaking, data=replace(leaking.data, validation=corpus, validation_share=0.0, validation_by=None))
    with monkeypatch.context() as stopped:
        stopped.setattr(TrainingLoop, "_train", lambda loop, module, _: loop._save_checkpoint(module))
        train(leaking)
    assert [path.name for path in (leaking.output_dir / "checkpoints").glob("step-*")] == ["step-00000000"]
    train(leaking)
    kinds = [(line["kind"], line["step"], line.get("name")) for line in read_log(leaking.output_dir)]
    assert kinds[:2] == [("diagnosis", 0, "leak"), ("validation", 0, None)] and kinds[-1][1] == 1


def test_a_batch_is_learnt_by_heart_and_nothing_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train(config(tmp_path, overfit_batch=True))
    assert "overfitted after" in capsys.readouterr().out
    assert not (tmp_path / "run").exists()


def test_a_batch_that_is_not_learnt_ends_with_a_named_reason(tmp_path: Path) -> None:
    model = ModelConfig(base=str(DEMO / "wav2vec2"), vocabulary="new")
    with pytest.raises(InputError, match=r"not learnt in 5 steps.*learning_rate") as caught:
        train(config(tmp_path, overfit_batch=True, max_steps=5, learning_rate=1e-9, model=model))
    assert caught.value.exit_code == 1
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("losses", "wer", "blank", "alike", "name"),
    [
        ((4.0, 9.0, 7.0, 12.0), 1.0, 0.5, True, "learning rate too high"),
        ((4.0, float("nan"), 4.0), 1.0, 0.5, True, "learning rate too high"),
        ((4.0, 0.4, 3.0, 0.5, 3.5), 1.0, 0.5, True, "learning rate too high"),
        ((4.0, 3.99, 3.98), 1.0, 0.1, True, "learning rate too low"),
        ((9.0, 3.2, 2.9), 1.0, 0.999, True, "all blank"),
        ((4.0, 2.0, 1.0), 0.8, 0.6, True, "not converged yet"),
        ((4.0, 0.5, 0.01), 0.2, 0.6, False, "vocabulary mismatch"),
        ((4.0, 0.5, 0.01), 0.2, None, True, "decoding mismatch"),
    ],
)
def test_why_a_batch_is_not_learnt(
    losses: tuple[float, ...], wer: float, blank: float | None, alike: bool, name: str
) -> None:
    assert explain_failure(OverfitResult(losses, wer, blank, 1e-3, alike)).name == name


class Two(TrainableRecogniser):
    """A frozen layer below a trained one."""

    def __init__(self) -> None:
        self.module = nn.Sequential(nn.Linear(3, 5), nn.Linear(5, 7))
        self.module[0].requires_grad_(False)

    prepare = encode = fits = rejection_reason = check_labels = evaluate = save = None  # type: ignore[assignment]


Two.__abstractmethods__ = frozenset()  # type: ignore[attr-defined]


def test_memory_is_what_adamw_holds() -> None:
    two = Two()
    optimiser = make_optimiser(two, OptimisationConfig())
    two.module(torch.ones(1, 3)).sum().backward()
    optimiser.step()
    states = [tensor for state in optimiser.state.values() for tensor in state.values()]
    needs = static_memory(two.module, averaged=True)
    assert needs.optimiser_states == sum(t.numel() * t.element_size() for t in states)
    assert (needs.parameters, needs.gradients, needs.average) == (4 * (20 + 42), 4 * 42, 4 * 42)
    assert needs.total == 4 * (62 + 42 + 42) + needs.optimiser_states


def test_the_table_tells_trained_from_frozen(tmp_path: Path) -> None:
    console = Console(file=io.StringIO(), width=80)
    console.print(trained_table(Two(), TrainConfig(output_dir=tmp_path)))
    rows = [line.split() for line in console.file.getvalue().splitlines()]  # type: ignore[attr-defined]
    assert ["in", "all", "42", "20"] in rows


def test_the_configuration_told_is_yaml_with_what_differs_marked(tmp_path: Path) -> None:
    lines = configuration(config(tmp_path))
    assert yaml.safe_load("\n".join(lines))["max_steps"] == 40
    assert {line.strip() for line in lines if "# default" in line} >= {"max_steps: 40  # default: 1000"}
    assert "seed: 0" in lines


@pytest.mark.parametrize("streaming", [False, True])
def test_epochs_are_of_a_corpus_whose_length_is_known(streaming: bool) -> None:
    batch = SimpleNamespace(indices=(0,), seconds=(3.0, 3.0), window_samples=0)
    largest = MeasuredBatch(batch, 0.1, PassCost(0.2, 0, 1.0))  # type: ignore[arg-type]
    costs = RunCosts(StaticMemory(0, 0, 0, 0), largest, 2, 0.2, 0.1, 0.3, 3, 1.0, 60.0)
    data = DataConfig(train=["a"], validation="b", streaming=streaming)
    console = Console(file=io.StringIO(), width=200)
    print_costs(console, TrainConfig(output_dir=Path("run"), data=data, max_steps=200), torch.device("cpu"), costs)
    told = console.file.getvalue()  # type: ignore[attr-defined]
    of_corpus = "1 batch a step, 2 batches an epoch; a batch takes 0.20 s to compute"
    assert (of_corpus in told) == (", 100.0 epochs" in told) == (not streaming)
    unknown = (
        "200 steps of 0.30 s: 1 batch a step of the stream; a batch takes 0.20 s",
        "measured on the first utterances of a stream whose length is unknown",
    )
    assert all((words in told) == streaming for words in unknown)


def setup_of(config: TrainConfig, examples: Examples) -> RunSetup:
    """Of a run that trains and evaluates on the same examples."""
    utterances, accelerator = list(examples.utterances), Accelerator(cpu=True)
    data, sets = RunData(utterances, None, {MAIN: utterances}, []), {MAIN: examples}
    return RunSetup(
        config, accelerator, profile("basic"), examples.recogniser, [], data, examples, sets, denoise=None, augment=None
    )


@pytest.mark.parametrize(
    ("head_only_steps", "workers", "cached", "expected"),
    [
        (0, 0, False, 10 * 2 * (3.0 + 0.5)),
        (4, 0, False, 4 * 2 * (1.0 + 0.5) + 6 * 2 * (3.0 + 0.5)),
        (4, 1, False, 4 * 2 * 1.0 + 6 * 2 * 3.0),
        (4, 0, True, 2 * 2 * (1.0 + 0.5) + 2 * 2 * 1.0 + 6 * 2 * 3.0),  # 2 steps are an epoch
    ],
)
def test_steps_of_the_head_alone_are_costed_as_such(
    head_only_steps: int, workers: int, cached: bool, expected: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 10 steps of two batches, each 3 s to compute, 1 s with the head alone, and 0.5 s to load."""
    passes, batch = list[bool](), SimpleNamespace(indices=(0,), seconds=(1.0, 1.0), window_samples=0)
    recogniser = SimpleNamespace(module=nn.Linear(1, 1), head_only=False, count_labels=lambda _: 1)
    recogniser.computed_seconds = float
    recogniser.train_head_only = lambda only: setattr(recogniser, "head_only", only)

    def measure_pass(*_: object) -> PassCost:
        passes.append(recogniser.head_only)
        return PassCost(1.0 if recogniser.head_only else 3.0, 0, 1.0)

    def measure(*_: object) -> MeasuredBatch:
        return MeasuredBatch(batch, 0.5, measure_pass())  # type: ignore[arg-type]

    def evaluation_seconds(*_: object) -> tuple[float, float]:
        assert not recogniser.head_only
        return 0.0, 0.0

    monkeypatch.setattr(costs, "measure_pass", measure_pass)
    monkeypatch.setattr(costs, "_measure", measure)
    monkeypatch.setattr(costs, "_evaluation_seconds", evaluation_seconds)
    monkeypatch.setattr(costs, "has_cache", lambda _: cached)
    config = TrainConfig(
        output_dir=Path("run"),
        data=DataConfig(train=["a"], validation="b", max_batch_seconds=1.0),
        max_steps=10,
        head_only_steps=head_only_steps,
        gradient_accumulation_steps=2,
        dataloader_num_workers=workers,
    )
    utterances = [Utterance(f"u{n}", "a.wav", "x", 1.0) for n in range(4)]
    examples = Examples(utterances, [(1,)] * 4, recogniser)  # type: ignore[arg-type]
    found = costs.measure_costs(setup_of(config, examples))
    assert found.seconds == pytest.approx(expected)
    assert passes == [False, False, *([True] if head_only_steps else [])]
    console = Console(file=io.StringIO(), width=200)
    print_costs(console, config, torch.device("cpu"), found)
    told = console.file.getvalue()  # type: ignore[attr-defined]
    step, head_step = (2 * (compute + (0.0 if workers else 0.5)) for compute in (3.0, 1.0))
    steps = f"4 of the head alone, of {head_step:.2f} s, and 6 of {step:.2f} s: 2 batches a step, 4 batches an epoch"
    plain = f"10 steps of {step:.2f} s: 2 batches a step, 4 batches an epoch"
    assert (f"10 steps, {steps}" if head_only_steps else plain) in told


class Windowed(Two):
    """Pads each utterance to 30 s."""

    window_seconds = 30.0


WINDOWED = Examples(  # in batches of at most 20 s: two long utterances, and over thirty short ones
    [Utterance(f"u{n}", "a.wav", "x", seconds) for n, seconds in enumerate([9.0, 9.1, *[0.5] * 36])],
    [(1,)] * 38,
    Windowed(),
)


def test_of_windows_the_batch_with_most_is_measured_and_costed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch takes a second for each window; most windows are in the batch of short utterances."""
    measured = list[int]()

    def measure(*arguments: Any) -> MeasuredBatch:
        n = len(arguments[-1])
        measured.append(n)
        batch = SimpleNamespace(indices=range(n), seconds=(0.5 * n, 30.0 * n), window_samples=480_000)
        return MeasuredBatch(batch, 0.0, PassCost(float(n), 0, 1.0))  # type: ignore[arg-type]

    class OneBatch:
        """An evaluator that takes a second for each window."""

        def __init__(self, examples: Examples, *_: object, **__: object) -> None:
            self.seconds = len(examples)

        def run(self, *_: object) -> None:
            clock[0] += self.seconds

    clock = [0.0]
    monkeypatch.setattr(costs, "_measure", measure)
    monkeypatch.setattr(costs, "Evaluator", OneBatch)
    monkeypatch.setattr(costs, "time", SimpleNamespace(perf_counter=lambda: clock[0]))
    monkeypatch.setattr(Examples, "__getitem__", lambda *_: None)
    data = DataConfig(train=["a"], validation="b", max_batch_seconds=20.0)
    config = TrainConfig(output_dir=Path("run"), data=data, max_steps=10, eval_steps=10)
    found = costs.measure_costs(setup_of(config, WINDOWED))
    batches = WINDOWED.first_epoch(20.0)
    assert measured[0] == max(map(len, batches)) > 30
    assert found.compute_seconds == pytest.approx(len(WINDOWED) / len(batches))
    assert found.evaluation_seconds == pytest.approx(len(WINDOWED))
    console = Console(file=io.StringIO(), width=200)
    print_costs(console, config, torch.device("cpu"), found)
    told = console.file.getvalue()  # type: ignore[attr-defined]
    assert f"{measured[0]} utterances, " in told
    assert f" s of audio, {30 * measured[0]:.1f} s with padding to windows of 30 s" in told


def test_windows_far_above_the_bound_are_said() -> None:
    note = windows_note(WINDOWED, 20.0)
    n = max(map(len, WINDOWED.first_epoch(20.0)))
    assert note is not None and f"the largest batch has {n} windows of 30 s, {30 * n:,} s to compute on" in note
    sentences = replace(WINDOWED, utterances=WINDOWED.utterances[:2] * 4, labels=[(1,)] * 8)
    assert windows_note(sentences, 30.0) is None  # three windows, 90 s
    assert windows_note(replace(WINDOWED, recogniser=Two()), 20.0) is None


def test_nothing_keeps_the_loss_of_an_overfitted_batch_up() -> None:
    model = ModelConfig(family="whisper", base="tiny.en", label_smoothing_factor=0.1, spec_augment="LB")
    found = overfit_config(TrainConfig(output_dir=Path("run"), model=model)).model
    assert (found.label_smoothing_factor, found.spec_augment, found.dropout) == (0.0, "none", 0.0)


def test_the_batch_to_overfit_stays_under_the_cap() -> None:
    utterances = [Utterance(f"u{n}", "a.wav", "x", float(n)) for n in range(1, 10)]
    examples = Examples(utterances, [(n,) for n in range(1, 10)], Two())
    assert [u.duration for u in small_batch(examples, 100.0).utterances] == [3.0, 4.0, 5.0, 6.0]
    assert list(small_batch(examples, 9.0).labels) == [(3,), (4,)]
    assert len(small_batch(Examples(utterances[:1], [(1,)], Two()), 0.5)) == 1


def test_the_batch_to_overfit_is_of_speech_where_there_is_some() -> None:
    utterances = [Utterance(f"u{n}", "a.wav", "x" if n < 3 else "", 1.0) for n in range(1, 10)]
    labels = [(n,) if n < 3 else () for n in range(1, 10)]
    assert list(small_batch(Examples(utterances, labels, Two()), 100.0).labels) == [(1,), (2,)]
    assert len(small_batch(Examples(utterances[2:], labels[2:], Two()), 100.0)) == 4
