"""What a training shows: its lines at the terminal, its curve, and what trackers are told."""

import io
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from finetune import training_run
from finetune.config import TrainConfig
from finetune.metrics.word_alignment import align, column_width, wrap_pairs
from finetune.training import display as display_module
from finetune.training.diagnosis import Diagnosis
from finetune.training.display import Display
from finetune.training.evaluation import Evaluation, ValidationSample
from finetune.training.run_folder import draw_curve, start_tracker


@pytest.mark.parametrize("width", [80, 120])
def test_nothing_shown_is_wider_than_the_terminal(width: int) -> None:
    stream = io.StringIO()
    console = Console(file=stream, width=width, highlight=False, soft_wrap=True)
    said, heard = "TURN THE LAMP ON " * 9, "TURN LAMPS ON NOW " * 8
    heard_all = tuple(ValidationSample(str(n), said, heard, 0.7) for n in range(3))
    with Display(100_000, True, console) as display:
        display.show_training(
            {"loss": 0.4331, "learning_rate": 3e-4, "grad_norm": 12.34, "audio_seconds_per_second": 611.0,
             "padding_share": 0.04, "stall_share": 0.31, "skipped_steps": 0}
        )  # fmt: skip
        display.show_evaluation(32_000, Evaluation(0.512, 0.1234, 0.045, 1, 1, 1, 0.62, heard_all))
        display.show_diagnosis(Diagnosis("all blank", "seen " * 40, "means " * 40, "do " * 60))
    lines = stream.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    for expected in ("WER 12.3 %", "CER 4.5 %", "blank 62 %", "padding 4 %", "audio 611×", "stall 31 %", "lr 3.0e-04"):
        assert expected in stream.getvalue()


def test_an_evaluation_says_how_far_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr(display_module, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    stream = io.StringIO()
    with Display(1000, True, Console(file=stream, width=80)) as display:
        for done in range(1, 8):
            clock[0] += 4.0
            display.show_validating("validation", done, 7)
        display.show_step(0)
    assert stream.getvalue() == "validation: batch 3 of 7\nvalidation: batch 6 of 7\n"


def test_of_a_set_in_which_nothing_is_said_the_words_are_counted() -> None:
    stream = io.StringIO()
    noise = (ValidationSample("1", "", "A B", 0.7), ValidationSample("2", "", "C", 0.7))
    evaluation = Evaluation(0.5, float("inf"), float("inf"), 0, 0, 3, 0.6, noise)
    with Display(9, True, Console(file=stream, width=80)) as display:
        display.show_evaluation(1, evaluation, "noise")
    assert stream.getvalue().startswith("step 1/9  3 words where nothing is said  noise loss 0.500")
    log = [{"kind": kind, "step": 1, "loss": 0.5, "wer": wer, "cer": wer}
           for kind, wer in (("validation", 0.3), ("validation noise", None))]  # fmt: skip
    assert [str(line.get_label()) for line in draw_curve(log).axes[1].lines] == ["WER", "CER"]


def test_a_training_that_is_no_terminal_says_how_far_it_is_and_how_long_still(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr(display_module, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    stream = io.StringIO()

    def go_to(step: int, seconds: float) -> str:
        """What is printed when the step is done that many seconds after the run began."""
        clock[0] = 100.0 + seconds
        stream.truncate(stream.seek(0))
        display.show_step(step)
        return stream.getvalue()

    with Display(1000, True, Console(file=stream, width=80)) as display:
        assert go_to(400, 0) == "" == go_to(401, 9.9), "resumed at step 400"
        assert go_to(404, 12) == "step 404/1000, 0:00:12, about 0:29:48 left\n"
        display.show_training({"loss": 1.25, "learning_rate": 1e-4, "grad_norm": 1.0, "audio_seconds_per_second": 9.0,
                               "padding_share": 0.0, "stall_share": 0.0, "skipped_steps": 0})  # fmt: skip
        assert go_to(406, 21) == ""
        assert go_to(408, 22) == "step 408/1000, 0:00:22, about 0:27:08 left, loss 1.250\n"
        for seconds in range(60, 260, 10):
            line = go_to(408 + seconds // 10, seconds)
        assert line.startswith("step 433/1000, 0:04:10, about 1:34:30 left"), "ten lines at a step each 10 s"
        assert go_to(900, 36_000) != "" and go_to(901, 36_100) == "", "a log of ten hours has fewer lines"
    with Display(1000, False, Console(file=stream, width=80, quiet=True)) as display:
        assert go_to(1, 0) == "" == go_to(2, 60), "not the main process"


def test_aligned_words_lie_under_each_other_and_none_is_lost() -> None:
    said, heard = "turn the lamp on please now", "turn lamps on now now"
    pairs = align(said, heard).pairs
    assert " ".join(word for word, _ in pairs if word) == said
    assert " ".join(word for _, word in pairs if word) == heard
    rows = wrap_pairs(pairs, 12)
    assert [pair for row in rows for pair in row] == pairs
    assert all(sum(column_width(pair) + 1 for pair in row) - 1 <= 12 for row in rows)
    ((looping,),) = wrap_pairs(align("no", "on" * 200).pairs, 12)
    assert looping == ("no", "onononononon"[:11] + "…")


def test_a_curve_of_a_run_without_blanks_or_with_a_loss_that_is_none() -> None:
    log = [
        {"kind": "train", "step": 1, "loss": float("nan"), "learning_rate": 1e-4, "grad_norm": float("inf")},
        {"kind": "validation", "step": 1, "loss": 2.0, "wer": 1.0, "cer": 0.5, "blank_ratio": None},
    ]
    for lines in (log, []):
        draw_curve(lines).savefig(io.BytesIO())
    assert len(draw_curve(log).axes) == 4
    assert len(draw_curve([log[0], log[1] | {"blank_ratio": 0.9}]).axes) == 5


@pytest.mark.parametrize(("losses", "scale"), [((1.2, 0.9, 0.4), "linear"), ((12.0, 3.0, 0.4), "log")])
def test_a_curve_has_labels_at_its_loss_every_set_and_the_mean_that_is_saved(
    losses: tuple[float, ...], scale: str
) -> None:
    log: list[dict[str, Any]] = []
    for step, loss in enumerate(losses):
        rates = {"step": step, "loss": loss, "wer": 0.1 * loss, "cer": 0.05 * loss}
        log += [{"kind": "validation", **rates}, {"kind": "validation cost $5, $6", **rates}]
        log.append({"kind": "best", "step": step, "steps": [step], "wer": 0.1 * loss})
    figure = draw_curve([*log, {"kind": "best", "step": 2, "steps": [1, 2], "wer": 0.03}])
    figure.savefig(io.BytesIO())
    axes, errors = figure.axes[:2]
    assert axes.get_yscale() == scale
    low, high = axes.get_ylim()
    ticks = [*axes.yaxis.get_major_ticks(), *axes.yaxis.get_minor_ticks()]
    assert sum(low <= tick.get_loc() <= high and bool(tick.label1.get_text()) for tick in ticks) >= 3
    labels = {str(line.get_label()): line for line in errors.lines}
    assert list(labels) == ["WER", "CER", r"WER, cost \$5, \$6", "WER, mean"]
    assert labels["WER, mean"].get_xydata() == pytest.approx(np.array([[2, 3.0]]))


def test_each_tracker_is_begun_under_its_own_name(tmp_path: Path) -> None:
    begun: list[tuple[str, dict[str, Any]]] = []

    class Spy:
        def init_trackers(self, project: str, **more: Any) -> None:
            begun.append((project, more))

    for name in ("none", "tensorboard"):
        start_tracker(Spy(), TrainConfig(output_dir=tmp_path / "mine", report_to=name))  # type: ignore[arg-type]
    start_tracker(Spy(), TrainConfig(output_dir=tmp_path / "mine", report_to="trackio"))  # type: ignore[arg-type]
    assert [project for project, _ in begun] == ["tensorboard", "finetune"]
    assert begun[1][1]["init_kwargs"] == {"trackio": {"name": "mine"}}
    assert begun[1][1]["config"]["max_steps"] == 1000


def test_a_resumed_run_goes_on_in_wandb_in_the_project_of_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[tuple[str, dict[str, Any]]] = []
    config = TrainConfig(output_dir=tmp_path / "mine", report_to="wandb")
    spy: Any = SimpleNamespace(
        is_main_process=True,
        init_trackers=lambda project, **more: begun.append((project, more["init_kwargs"]["wandb"])),
    )
    for name in ("WANDB_PROJECT", "WANDB_RUN_ID"):
        monkeypatch.delenv(name, raising=False)
    start_tracker(spy, config)
    monkeypatch.setenv("WANDB_PROJECT", "calls")
    start_tracker(spy, config)
    training_run._clear(config.output_dir, overwrite=False)  # begun anew
    start_tracker(spy, config)
    assert [project for project, _ in begun] == ["finetune", "calls", "calls"]
    first, resumed, anew = (options for _, options in begun)
    assert first == resumed and first["resume"] == "allow" and first["name"] == "mine"
    assert len(first["id"]) == 8 and anew["id"] != first["id"]
