"""`--overfit_batch true`: whether a few utterances can be overfitted, and the likeliest reason if they cannot.

A setup that cannot overfit four utterances cannot learn a corpus. Dropout, masks, augmentation, label smoothing,
averages and the decay of the learning rate are off, so that they are not the reason.
"""

import math
from dataclasses import dataclass, replace
from statistics import fmean

import torch
from rich.console import Console

from finetune.config import TrainConfig
from finetune.data.examples import ExampleKey, Examples
from finetune.data.loading import collate
from finetune.models.base import Example, TrainableRecogniser
from finetune.preflight.dry_run import check_trainable
from finetune.training.diagnosis import BLANK_RATIO, NEARLY_ALL_WRONG, Diagnosis
from finetune.training.display import Display, print_diagnosis
from finetune.training.evaluation import Evaluation, Evaluator
from finetune.training.optimisation import make_optimiser, make_schedule
from finetune.training.setup import RunSetup
from finetune.training.step import LogInterval, Stepper
from preprocessing.errors import InputError, UsageError, counted
from preprocessing.text import Profile

N_UTTERANCES = 4
MAX_STEPS = 500
EVAL_STEPS = 10
OVERFITTED_LOSS = 0.05  # per label


def overfit_config(config: TrainConfig) -> TrainConfig:
    """The configuration without randomness and averages, and with the learning rate held at its peak."""
    model = replace(
        config.model,
        dropout=0.0,
        attention_dropout=0.0,
        mask_time_prob=0.0,
        mask_feature_prob=0.0,
        spec_augment="none",
        label_smoothing_factor=0.0,  # with it, the loss of a learnt label stays far above OVERFITTED_LOSS
    )
    return replace(
        config,
        model=model,
        data=replace(config.data, augment=[]),
        max_steps=min(config.max_steps, MAX_STEPS),
        warmup_ratio=0.05,
        hold_ratio=0.95,
        gradient_accumulation_steps=1,
        head_only_steps=0,
        ema_decay=0.0,
        weight_decay=0.0,
        average_best=1,
    )


@dataclass(frozen=True, slots=True)
class OverfitResult:
    """How overfitting went.

    losses: per label, means between evaluations. wer, blank_ratio: of the last evaluation. labels_are_lossless: whether
    labels, decoded, are the references.
    """

    losses: tuple[float, ...]
    wer: float
    blank_ratio: float | None
    learning_rate: float
    labels_are_lossless: bool


def overfit(setup: RunSetup) -> None:
    """Train on one small batch and print the progress. setup: of a configuration from `overfit_config`.

    Raises InputError with the likeliest reason if WER 0 is not reached.
    """
    config, accelerator, recogniser = setup.config, setup.accelerator, setup.recogniser
    if accelerator.num_processes > 1:
        raise UsageError("--overfit_batch true in several processes; expected one: start it without accelerate launch")
    check_trainable(recogniser)
    chosen = small_batch(setup.train, config.data.max_batch_seconds)
    prepared = [chosen[ExampleKey(index)] for index in range(len(chosen))]
    for reject in (item for item in prepared if not isinstance(item, Example)):
        raise InputError(f"{reject.where}: {reject.reason}; it is in the batch to overfit")
    recogniser.fit_statistics(example for example in prepared if isinstance(example, Example))
    loaded = collate(prepared)
    assert loaded.batch is not None
    evaluator = Evaluator(chosen, setup.profile, recogniser, max_batch_seconds=config.data.max_batch_seconds)
    optimiser = make_optimiser(recogniser, config)
    schedule = make_schedule(optimiser, config)
    module, wrapped_optimiser = accelerator.prepare(recogniser.module, optimiser)
    stepper = Stepper(accelerator, recogniser, wrapped_optimiser, schedule, config)
    batch = loaded.batch.to(accelerator.device)
    losses: list[float] = []
    evaluation: Evaluation | None = None
    module.train()
    with Display(config.max_steps, True) as display:
        interval = LogInterval()
        for step in range(1, config.max_steps + 1):
            interval.add(stepper.step(module, [batch], lambda _: torch.Generator().manual_seed(0)))
            display.show_step(step)
            if step % EVAL_STEPS and step != config.max_steps:
                continue
            values = {"learning_rate": max(float(rate) for rate in schedule.get_last_lr()), **interval.values()}
            display.show_training(values)
            losses.append(values["loss"])
            evaluation = evaluator.run(accelerator, module)
            display.show_evaluation(step, evaluation)
            if evaluation.wer == 0.0:
                break
            interval = LogInterval()
    assert evaluation is not None
    if evaluation.wer == 0.0:
        chosen_count = counted(len(chosen), "utterance")
        print(f"{chosen_count} overfitted after {counted(step, 'step')}: the model can learn this data")
        return
    result = OverfitResult(
        tuple(losses),
        evaluation.wer,
        evaluation.blank_ratio,
        config.learning_rate,
        _labels_are_lossless(recogniser, chosen, setup.profile),
    )
    diagnosis = explain_failure(result)
    print_diagnosis(Console(highlight=False, soft_wrap=True), diagnosis)
    raise InputError(
        f"{counted(len(chosen), 'utterance')} not learnt in {counted(config.max_steps, 'step')}, WER is "
        f"{100 * evaluation.wer:.1f} % ({diagnosis.name}); expected 0: {diagnosis.remedy}"
    )


def small_batch(examples: Examples, max_seconds: float) -> Examples:
    """N_UTTERANCES around the median duration, fewer if they exceed the limit of a batch, at least one.

    Those without a text, which are learnt before the first letter, are not among them unless there are no others.
    """
    spoken = [index for index, utterance in enumerate(examples.utterances) if utterance.text.strip()]
    order = sorted(spoken or range(len(examples)), key=lambda index: examples.utterances[index].duration)
    first = max(min(len(order) // 2 - N_UTTERANCES // 2, len(order) - N_UTTERANCES), 0)
    chosen = order[first : first + N_UTTERANCES]
    while len(chosen) > 1 and len(chosen) * examples.utterances[chosen[-1]].duration > max_seconds:
        chosen.pop()
    return replace(
        examples,
        utterances=[examples.utterances[index] for index in chosen],
        labels=[examples.labels[index] for index in chosen],
        augment=None,
    )


def explain_failure(result: OverfitResult) -> Diagnosis:
    """The likeliest reason why the batch was not overfitted, by the course of its loss."""
    losses, rate = result.losses, result.learning_rate
    first, last, best = losses[0], losses[-1], min(losses)
    tail = losses[-max(len(losses) // 4, 1) :]
    observation = f"loss {first:.3g} at first, {last:.3g} at last, {best:.3g} at best; WER {100 * result.wer:.0f} %"
    if not all(map(math.isfinite, losses)) or fmean(tail) > max(1.5 * best, OVERFITTED_LOSS) or last > first:
        return Diagnosis(
            "learning rate too high",
            observation,
            "the loss jumps or climbs instead of falling",
            f"lower --learning_rate ({rate:g}), to a third at first",
        )
    if last <= OVERFITTED_LOSS:
        if not result.labels_are_lossless:
            return Diagnosis(
                "vocabulary mismatch",
                f"{observation}; the decoded labels are not the references",
                "the units cannot write some of the texts, so that no training can reach them",
                "choose another --data.profile, or --model.vocabulary new",
            )
        return Diagnosis(
            "decoding mismatch",
            observation,
            "the loss shows that the labels are learnt, but greedy decoding returns different ones",
            "report this as a bug: training and decoding should use the same audio and labels",
        )
    if (result.blank_ratio or 0.0) > BLANK_RATIO and result.wer >= NEARLY_ALL_WRONG:
        return Diagnosis(
            "all blank",
            f"{observation}; {100 * (result.blank_ratio or 0.0):.0f} % of frames are blank",
            "CTC has learnt that most frames are blank, but no letters yet",
            f"raise --learning_rate ({rate:g}) threefold, or --max_steps; check that the texts belong to the audio",
        )
    if last > 0.9 * first:
        return Diagnosis(
            "learning rate too low",
            observation,
            "the weights hardly change, or too few of them are trained",
            f"raise --learning_rate ({rate:g}) tenfold; check with --dry_run true what is frozen",
        )
    return Diagnosis(
        "not converged yet",
        observation,
        "the loss falls, but too slowly for this number of steps",
        f"raise --learning_rate ({rate:g}) two- to threefold, or --max_steps (at most {MAX_STEPS} are run)",
    )


def _labels_are_lossless(recogniser: TrainableRecogniser, examples: Examples, profile: Profile) -> bool:
    """Whether the units can write every text; true for families without units of their own."""
    return not recogniser.out_of_vocabulary([profile(utterance.text) for utterance in examples.utterances])
