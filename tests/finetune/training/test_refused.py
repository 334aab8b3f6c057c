"""Contradictions are refused by flag before a model loads; a resumed run over something else is told what differs."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from finetune import models
from finetune.config import DataConfig, ModelConfig, TrainConfig
from finetune.config.families import FAMILIES, OWN_KEYS
from finetune.data.examples import Examples
from finetune.training.checkpoint import Progress
from finetune.training.fingerprint import (
    DIGESTED_BYTES,
    RunFingerprint,
    check_batches_per_step,
    check_same_run,
    difference,
    fingerprint_of,
)
from finetune.training.run_folder import plain
from finetune.training.setup import with_steps
from preprocessing.cli.options import parse_command
from preprocessing.cli.refused_options import option_names
from preprocessing.corpus import Utterance
from preprocessing.errors import UsageError
from tests.conftest import ROOT
from tests.finetune.runs import TINY

GOOD = TrainConfig(
    output_dir=Path("runs/x"),
    model=ModelConfig(base="base"),
    data=DataConfig(train=["train.jsonl"], validation="dev.jsonl"),
)


@pytest.mark.parametrize(
    ("part", "changes", "expected"),
    [
        (None, {"learning_rate": 0.0}, "--learning_rate is 0"),
        (None, {"learning_rate": float("nan")}, "--learning_rate is nan"),
        (None, {"ema_decay": 1.0}, "--ema_decay"),
        (None, {"layer_decay": 1.5}, "--layer_decay"),
        (None, {"max_grad_norm": 0.0}, "--max_grad_norm"),
        (None, {"warmup_ratio": -0.5}, "--warmup_ratio"),
        (None, {"warmup_ratio": 0.7, "hold_ratio": 0.4}, "--warmup_ratio and --hold_ratio"),
        (None, {"head_only_steps": -1}, "--head_only_steps"),
        (None, {"head_only_steps": 1000}, "--head_only_steps is 1000 and --max_steps 1000"),
        (None, {"dataloader_num_workers": -1}, "--dataloader_num_workers is -1"),
        ("data", {"min_seconds": 30.0}, "--data.min_seconds is 30 and --data.max_seconds 20"),
        ("data", {"max_seconds": 100.0}, "--data.max_batch_seconds is 80"),
        ("model", {"dropout": 1.0}, "--model.dropout"),
        ("model", {"mask_time_prob": 2.0}, "--model.mask_time_prob"),
        ("model", {"mask_time_length": 0}, "--model.mask_time_length is 0"),
        ("model", {"family": "lstm", "attention_dropout": 0.1}, "--model.attention_dropout is 0.1"),
        ("model", {"context_seconds": 10.0}, "--model.context_seconds is 10.0"),
        ("model", {"family": "whisper", "vocabulary": "new"}, "--model.vocabulary is new"),
        ("model", {"family": "whisper", "dropout": 0.3}, "--model.dropout is 0.3"),
        (None, {"dry_run": True, "overfit_batch": True}, "--dry_run and --overfit_batch"),
        (None, {"report_to": "trackio"}, "pip install trackio"),
        (None, {"eval_steps": 0}, "--eval_steps is 0"),
        (None, {"save_total_limit": 0}, "--save_total_limit is 0"),
        (None, {"max_steps": -1}, "--max_steps is -1"),
        (None, {"seed": -1}, "--seed is -1"),
        (None, {"num_train_epochs": 0.0}, "--num_train_epochs is 0"),
        (None, {"num_train_epochs": 2.0, "max_steps": 50}, "--num_train_epochs is 2 and --max_steps 50"),
        ("data", {"max_train_samples": 0}, "--data.max_train_samples is 0"),
        ("data", {"max_eval_samples": 0}, "--data.max_eval_samples is 0"),
        ("data", {"max_train_samples": 5, "streaming": True}, "--data.max_train_samples is 5"),
        ("data", {"max_eval_samples": 5, "validation": None, "validation_share": 0.1}, "--data.max_eval_samples is 5"),
    ],
)
def test_numbers_out_of_range(
    part: str | None, changes: dict[str, Any], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("finetune.config.training.find_spec", lambda _: None)
    GOOD.check()
    wrong = replace(GOOD, **(changes if part is None else {part: replace(getattr(GOOD, part), **changes)}))
    with pytest.raises(UsageError, match="^" + expected.replace(".", r"\.") if expected.startswith("--") else expected):
        wrong.check()


def test_a_run_lasts_steps_or_epochs_of_a_known_length() -> None:
    for steps in (-1, TrainConfig.max_steps):
        replace(GOOD, num_train_epochs=1.5, max_steps=steps).check()
    streamed = replace(GOOD, num_train_epochs=1.5, data=replace(GOOD.data, streaming=True))
    with pytest.raises(UsageError, match=r"--num_train_epochs is 1\.5 and --data\.streaming is true"):
        streamed.check()


@pytest.mark.parametrize(
    ("epochs", "accumulation", "n_processes", "steps"), [(2.0, 1, 1, 20), (0.25, 1, 1, 3), (3.0, 2, 4, 4)]
)
def test_epochs_become_steps(epochs: float, accumulation: int, n_processes: int, steps: int) -> None:
    """Ten batches of one utterance each; the last step takes batches of the next epoch."""
    recogniser = models.build(ModelConfig(scratch=TINY, dropout=0.0), ["YES"], seed=0)
    examples = Examples([replace(one, duration=10.0) for one in UTTERANCES], LABELS, recogniser)
    data = replace(GOOD.data, max_batch_seconds=10.0)
    config = replace(GOOD, data=data, num_train_epochs=epochs, max_steps=-1, gradient_accumulation_steps=accumulation)
    said: list[str] = []
    accelerator: Any = SimpleNamespace(num_processes=n_processes, print=said.append)
    resolved = with_steps(config, examples, accelerator)
    assert (resolved.max_steps, resolved.num_train_epochs) == (steps, None)
    a_step = {1: "1 batch a step", 8: "8 batches a step"}[accumulation * n_processes]
    assert said == [f"{steps} steps for {epochs:g} epochs of 10 batches, {a_step}"]
    with pytest.raises(UsageError, match="only the head would be trained"):
        with_steps(replace(config, head_only_steps=steps), examples, accelerator)


CTC = ("wav2vec2", "whisper-ctc", "lstm")
ENCODERS = ("whisper", "whisper-ctc")
ABLE: list[tuple[str | None, dict[str, Any], tuple[str, ...]]] = [
    ("model", {"adapters_only": True}, ("wav2vec2",)),
    ("model", {"attn_implementation": "sdpa"}, ("wav2vec2",)),
    ("model", {"attention_dropout": 0.1}, ("wav2vec2",)),
    ("model", {"mask_time_prob": 0.2}, ("wav2vec2",)),
    ("model", {"mask_feature_prob": 0.2}, ("wav2vec2",)),
    ("model", {"spec_augment": "SM"}, (*ENCODERS, "lstm")),
    ("model", {"lora_rank": 4}, ("wav2vec2", *ENCODERS)),
    ("model", {"trained_layers": 2}, ENCODERS),
    ("model", {"trained_layers": 2, "lora_rank": 4}, ("whisper",)),
    ("model", {"feature_cache": Path("cache")}, ENCODERS),
    ("model", {"head": {"head": "conv"}}, ("whisper-ctc",)),
    ("model", {"timestamp_share": 0.5}, ("whisper",)),
    ("model", {"label_smoothing_factor": 0.1}, ("whisper",)),
    ("model", {"context_seconds": 10.0}, ("whisper",)),
    ("model", {"language": "de"}, ("wav2vec2", "whisper")),
    ("model", {"vocabulary": "new"}, CTC),
    ("model", {"units": "words", "vocabulary": "new"}, CTC),
    ("model", {"dropout": 0.3}, CTC),
    (None, {"head_only_steps": 5}, CTC),
    (None, {"gradient_checkpointing": True}, ("wav2vec2", *ENCODERS)),
    (None, {"torch_compile": True}, ("wav2vec2",)),
]


@pytest.mark.parametrize(("part", "changes", "able"), ABLE, ids=[" ".join(changes) for _, changes, _ in ABLE])
def test_a_family_takes_the_options_that_it_has(
    part: str | None, changes: dict[str, Any], able: tuple[str, ...], tmp_path: Path
) -> None:
    for family in models.FAMILIES:
        config = replace(GOOD, model=ModelConfig(family=family, base=str(tmp_path)))  # type: ignore[arg-type]
        given = replace(config, **(changes if part is None else {part: replace(config.model, **changes)}))
        if family in able:
            given.check()
        else:
            with pytest.raises(UsageError, match=f"^--(model.)?({'|'.join(changes)}) is "):
                given.check()


def test_each_family_has_a_record_of_what_it_has() -> None:
    assert tuple(FAMILIES) == models.FAMILIES
    names = {name.removeprefix("model.") for name in option_names(TrainConfig)}
    assert names >= OWN_KEYS


def test_whisper_has_no_head_of_its_own() -> None:
    whisper = ModelConfig(family="whisper", base="base.en")
    with pytest.raises(UsageError, match="take head_only_steps out of the configuration"):
        replace(GOOD, model=whisper, head_only_steps=5).check()


def test_an_lstm_without_base_is_a_new_one() -> None:
    lstm = ModelConfig(family="lstm")
    replace(GOOD, model=lstm).check()
    replace(GOOD, model=replace(lstm, units="bpe", units_size=100)).check()
    assert lstm.with_origin().scratch == {}
    for origin in (ModelConfig(family="lstm", base="runs/x"), ModelConfig(family="lstm", scratch={"num_layers": 2})):
        origin.check_origin()
        assert origin.with_origin() == origin
    for unclear in (ModelConfig(), ModelConfig(family="lstm", base="runs/x", scratch={})):
        assert unclear.with_origin() == unclear
        with pytest.raises(UsageError, match="expected exactly one of them"):
            unclear.check_origin()


@pytest.mark.parametrize(
    ("family", "base", "remedy"),
    [
        ("lstm", "facebook/wav2vec2-base-960h", "leave --model.base out to train a new model"),
        ("lstm", "openai/whisper-base", "leave --model.base out"),
        ("lstm", "base.en", "leave --model.base out"),
        ("whisper", "facebook/wav2vec2-base-960h", "a Whisper, such as the size base"),
        ("whisper-ctc", "facebook/wav2vec2-base-960h", "a Whisper, such as the size base"),
        ("wav2vec2", "openai/whisper-base", "a CTC model of transformers"),
    ],
)
def test_a_base_of_another_family_is_refused_by_its_name(
    family: Any, base: str, remedy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = ModelConfig(family=family, base=base)
    with pytest.raises(UsageError, match=f"^--model.base is {base}, .* --model.family {family}; expected .*{remedy}"):
        replace(GOOD, model=model).check()
    monkeypatch.chdir(tmp_path)
    (tmp_path / base).mkdir(parents=True)
    replace(GOOD, model=model).check()  # a folder of the name may be a run


@pytest.mark.parametrize(
    ("family", "base"),
    [
        ("lstm", "you/lstm"), ("whisper", "base"), ("whisper", "openai/whisper-base"), ("whisper-ctc", "tiny.en"),
        ("wav2vec2", "facebook/mms-1b-all"), ("wav2vec2", "you/whisper-like"),
    ],
)  # fmt: skip
def test_a_base_that_may_be_of_the_family_is_left_to_the_hub(family: Any, base: str) -> None:
    replace(GOOD, model=ModelConfig(family=family, base=base)).check()


def test_a_batch_to_overfit_has_no_steps_of_the_head_alone() -> None:
    replace(GOOD, head_only_steps=1000, overfit_batch=True).check()


CONFIGURATIONS = sorted((ROOT / "configs" / "finetune").glob("*.yaml"))


@pytest.mark.parametrize("path", CONFIGURATIONS, ids=lambda path: path.stem)
def test_the_configurations_that_are_there_hold(path: Path) -> None:
    parse_command(TrainConfig, program="", description="", arguments=["--config", str(path)]).check()


def test_a_key_left_unset_does_not_tell_runs_apart() -> None:
    """So that a run begun before there was such a key goes on."""
    now = fingerprint_of(plain(GOOD), [], [])
    before = replace(
        now, config={**now.config, "model": {k: v for k, v in now.config["model"].items() if v is not None}}
    )
    assert before.config != now.config
    assert before.digest == now.digest
    assert now.digest != fingerprint_of(plain(replace(GOOD, seed=1)), [], []).digest


def test_a_language_is_whispers_or_an_adapters() -> None:
    with pytest.raises(UsageError, match=r"--model\.language is de, but --model\.family is lstm"):
        replace(GOOD, model=replace(GOOD.model, family="lstm", base=None, scratch={}, language="de")).check()


UTTERANCES = [Utterance(f"u{n}", f"{n}.wav", f"text {n}", 1.0 + n) for n in range(10)]
LABELS = [(n, n + 1) for n in range(10)]


def fingerprint(
    config: TrainConfig = GOOD, utterances: list[Utterance] = UTTERANCES, labels: list[tuple[int, int]] = LABELS
) -> RunFingerprint:
    return fingerprint_of(plain(config), utterances, labels)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    fingerprint().write(tmp_path / "checkpoints")
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(plain(GOOD)))
    return tmp_path


def test_what_does_not_matter_changes_nothing() -> None:
    free = replace(GOOD, output_dir=Path("y"), logging_steps=3, report_to="none", dataloader_num_workers=4)
    free = replace(free, save_total_limit=None, data=replace(GOOD.data, max_train_samples=99, max_eval_samples=9))
    assert fingerprint(free).digest == fingerprint().digest


def test_larger_batches_are_another_run() -> None:
    data = replace(GOOD.data, max_batch_seconds=GOOD.data.max_batch_seconds + 1)
    assert fingerprint(replace(GOOD, data=data)).digest != fingerprint().digest


def test_the_batches_of_a_step_may_be_shared_by_other_processes() -> None:
    """Two processes of three batches are one of six, or six of one; four batches a step are another run."""
    begun = fingerprint(replace(GOOD, gradient_accumulation_steps=3)).digest
    for share in (1, 2, 3, 6):
        assert begun in fingerprint(replace(GOOD, gradient_accumulation_steps=share)).digests(6)
    assert begun not in fingerprint(GOOD).digests(4)
    assert begun not in fingerprint(replace(GOOD, seed=1)).digests(6)


@pytest.mark.parametrize(
    ("accumulation", "n_processes", "remedy"),
    [(1, 1, "launch as many processes as then, or set --gradient_accumulation_steps 2$"), (1, 4, "as then$")],
)
def test_another_number_of_batches_a_step_is_refused(accumulation: int, n_processes: int, remedy: str) -> None:
    config = replace(GOOD, gradient_accumulation_steps=accumulation)
    progress = Progress(step=5, batches=10)
    with pytest.raises(UsageError, match=rf"2 batches a step, and {n_processes} x .* are {n_processes} now.*{remedy}"):
        check_batches_per_step(config, progress, n_processes)


def test_the_same_batches_a_step_are_resumed() -> None:
    for accumulation, n_processes in ((1, 2), (2, 1)):
        config = replace(GOOD, gradient_accumulation_steps=accumulation)
        check_batches_per_step(config, Progress(step=5, batches=10), n_processes)
        check_batches_per_step(config, Progress(), n_processes)


def test_a_run_out_of_memory_is_resumed_with_gradient_checkpointing(run: Path) -> None:
    now = fingerprint(replace(GOOD, gradient_checkpointing=True))
    check_same_run(
        replace(GOOD, output_dir=run), Progress(step=1, batches=1, fingerprint=fingerprint().digest), now, n_processes=1
    )


def test_changed_keys_are_named_with_both_values(run: Path) -> None:
    now = fingerprint(replace(GOOD, seed=3, learning_rate=1e-3, logging_steps=7))
    assert now.digest != fingerprint().digest
    assert difference(run, now) == "learning_rate was 0.0003, now 0.001; seed was 0, now 3"


def test_data_base_and_cache_may_have_moved(tmp_path: Path) -> None:
    """What they hold is compared: another base at the new place is refused, and so is a base without a known one."""

    def run_on(place: str, weights: bytes) -> RunFingerprint:
        base = tmp_path / place / "base"
        base.mkdir(parents=True)
        (base / "model.safetensors").write_bytes(weights)
        model = replace(
            GOOD.model, base=str(base), feature_cache=tmp_path / place / "cache", feature_cache_gib=len(place)
        )
        data = replace(GOOD.data, train=[f"{place}/train.jsonl"], strict=place == "new")
        return fingerprint(replace(GOOD, model=model, data=data))

    middle = bytes(2 * DIGESTED_BYTES)  # of a file whose ends alone are compared
    begun, now = (run_on(place, b"a" + middle + b"a") for place in ("old", "new"))
    other, tuned = run_on("other", b"b" + middle + b"a"), run_on("tuned", b"a" + middle + b"b")
    begun.write(tmp_path / "checkpoints")
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(begun.config))
    config, progress = replace(GOOD, output_dir=tmp_path), Progress(step=1, batches=1, fingerprint=begun.digest)
    check_same_run(config, progress, now, 1)
    for changed in (other, tuned, fingerprint(replace(GOOD, seed=1)), replace(now, utterances=now.utterances[::-1])):
        with pytest.raises(UsageError, match=r"a run that differs: (model\.base was|seed was|its training utt)"):
            check_same_run(config, progress, changed, 1)
    (tmp_path / "checkpoints" / "base.txt").unlink()  # as of an earlier version
    check_same_run(config, progress, begun, 1)
    with pytest.raises(UsageError, match=r"model\.base was"):
        check_same_run(config, progress, now, 1)
    streamed = replace(now, config={**now.config, "data": {**now.config["data"], "streaming": True}})
    assert "data.train was" in str(difference(tmp_path, streamed))


def test_utterances_are_counted_by_what_happened_to_them(run: Path) -> None:
    changed = [*UTTERANCES[2:9], replace(UTTERANCES[9], text="other")]
    changed += [Utterance(f"new{n}", "n.wav", "new", 1.0) for n in range(3)]
    now = fingerprint(utterances=changed, labels=[*LABELS[2:], (1, 1), (2, 2), (3, 3)])
    assert difference(run, now) == (
        "of its 10 training utterances: 3 added, 2 removed, 1 changed in text, duration, start, stop or channel"
    )


def test_another_vocabulary_shows_in_the_labels(run: Path) -> None:
    now = fingerprint(labels=[(n + 1, n) for n in range(10)])
    assert now.digest != fingerprint().digest
    assert "10 with other labels for the same text" in str(difference(run, now))


def test_another_order_is_another_run(run: Path) -> None:
    now = fingerprint(utterances=UTTERANCES[::-1], labels=LABELS[::-1])
    assert now.digest != fingerprint().digest
    assert "in another order" in str(difference(run, now))


def test_a_folder_that_tells_nothing_is_no_defect(tmp_path: Path) -> None:
    assert "does not say" in str(difference(tmp_path, fingerprint()))
