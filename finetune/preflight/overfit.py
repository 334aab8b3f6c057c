"""`--overfit_batch true`: learn a few utterances by heart. What cannot do that cannot learn more; here is said why.

Without dropout, masks, augmentation, averages or a falling learning rate, so that only what is wrong is left.
"""

import math
from dataclasses import dataclass, replace
from statistics import fmean

import torch
from accelerate import Accelerator
from rich.console import Console

from finetune.config import TrainConfig
from finetune.data.examples import Examples, Visit, collate
from finetune.models.base import Example, Recogniser
from finetune.preflight.diagnosis import BLANK_RATIO, NEARLY_ALL_WRONG, Diagnosis
from finetune.preflight.dry_run import nothing_is_trained
from finetune.training.display import Display, print_diagnosis
from finetune.training.evaluation import Evaluation, Evaluator
from finetune.training.optimisation import make_optimiser, make_schedule
from finetune.training.step import Stepper, Window
from preprocessing.cli.errors import InputError, UsageError
from preprocessing.text import Profile

UTTERANCES = 4
MOST_UPDATES = 500
EVALUATE_EVERY = 10
LEARNT_LOSS = 0.05  # per label: the batch is known by heart


def without_chance(config: TrainConfig) -> TrainConfig:
    """The configuration that overfits: nothing is drawn, hidden or averaged, the learning rate stays at its peak."""
    model = replace(
        config.model,
        dropout=0.0,
        attention_dropout=0.0,
        mask_time_prob=0.0,
        mask_feature_prob=0.0,
        spec_augment="none",
    )
    return replace(
        config,
        model=model,
        data=replace(config.data, augment=[]),
        max_steps=min(config.max_steps, MOST_UPDATES),
        warmup_ratio=0.05,
        hold_ratio=0.95,
        gradient_accumulation_steps=1,
        head_only_steps=0,
        ema_decay=0.0,
        weight_decay=0.0,
        average_best=1,
    )


@dataclass(frozen=True, slots=True)
class Attempt:
    """What overfitting came to: mean losses per label between evaluations, and the last evaluation."""

    losses: tuple[float, ...]
    wer: float
    blank_ratio: float | None
    learning_rate: float
    written_alike: bool  # labels, written and read back, are the reference


def overfit(
    config: TrainConfig, accelerator: Accelerator, recogniser: Recogniser, examples: Examples, profile: Profile
) -> None:
    """Train on the batch and print how it goes. Raises InputError with what is wrong where WER 0 is not reached.

    config: as `without_chance` makes it.
    """
    if accelerator.num_processes > 1:
        raise UsageError("--overfit_batch true in several processes; expected one: start it without accelerate launch")
    if not any(parameter.requires_grad for parameter in recogniser.module.parameters()):
        raise InputError(nothing_is_trained())
    batch = small_batch(examples, config.data.max_batch_seconds)
    found = [batch[Visit(place)] for place in range(len(batch))]
    ready = [example for example in found if isinstance(example, Example)]
    for reject in (item for item in found if not isinstance(item, Example)):
        raise InputError(f"{reject.where}: {reject.reason}; it is in the batch to overfit")
    recogniser.fit_statistics(ready)
    collated = collate(ready)
    assert collated.batch is not None
    evaluator = Evaluator(batch, profile, recogniser, max_batch_seconds=config.data.max_batch_seconds)
    optimiser = make_optimiser(recogniser, config)
    schedule = make_schedule(optimiser, config)
    module, prepared = accelerator.prepare(recogniser.module, optimiser)
    stepper = Stepper(accelerator, recogniser, prepared, schedule, config)
    on_device = collated.batch.to(accelerator.device)
    updates = config.max_steps
    losses: list[float] = []
    evaluation: Evaluation | None = None
    module.train()
    with Display(updates, True) as display:
        window = Window()
        for update in range(1, updates + 1):
            window.add(stepper.update(module, [on_device], lambda _: torch.Generator().manual_seed(0)))
            display.update(update)
            if update % EVALUATE_EVERY and update != updates:
                continue
            values = {"learning_rate": max(float(rate) for rate in schedule.get_last_lr()), **window.values()}
            display.trained(values)
            losses.append(values["loss"])
            evaluation = evaluator.run(accelerator, module)
            display.evaluated(update, evaluation)
            if evaluation.wer == 0.0:
                break
            window = Window()
    assert evaluation is not None
    if evaluation.wer == 0.0:
        print(
            f"{len(batch)} utterances are known by heart after {update} updates: nothing keeps the model from learning"
        )
        return
    attempt = Attempt(
        tuple(losses),
        evaluation.wer,
        evaluation.blank_ratio,
        config.learning_rate,
        _written_alike(recogniser, batch, profile),
    )
    diagnosis = why_not(attempt)
    print_diagnosis(Console(highlight=False, soft_wrap=True), diagnosis)
    raise InputError(
        f"{len(batch)} utterances are not learnt in {updates} updates, WER is {100 * evaluation.wer:.1f} % "
        f"({diagnosis.name}); expected 0: {diagnosis.remedy}"
    )


def small_batch(examples: Examples, max_seconds: float) -> Examples:
    """A few utterances around the median duration, as many as the cap on a batch allows, one at least."""
    order = sorted(range(len(examples)), key=lambda place: examples.utterances[place].duration)
    first = max(min(len(order) // 2 - UTTERANCES // 2, len(order) - UTTERANCES), 0)
    chosen = order[first : first + UTTERANCES]
    while len(chosen) > 1 and len(chosen) * examples.utterances[chosen[-1]].duration > max_seconds:
        chosen.pop()
    return replace(
        examples,
        utterances=[examples.utterances[place] for place in chosen],
        labels=[examples.labels[place] for place in chosen],
        augment=None,
    )


def why_not(attempt: Attempt) -> Diagnosis:
    """The likeliest reason why the batch was not learnt, from how its loss went."""
    losses, rate = attempt.losses, attempt.learning_rate
    first, last, best = losses[0], losses[-1], min(losses)
    tail = losses[-max(len(losses) // 4, 1) :]
    seen = f"loss {first:.3g} at first, {last:.3g} at last, {best:.3g} at best; WER {100 * attempt.wer:.0f} %"
    if not all(map(math.isfinite, losses)) or fmean(tail) > max(1.5 * best, LEARNT_LOSS) or last > first:
        return Diagnosis(
            "learning rate too high",
            seen,
            "the loss jumps or climbs instead of falling",
            f"lower --learning_rate ({rate:g}), to a third at first",
        )
    if last <= LEARNT_LOSS:
        if not attempt.written_alike:
            return Diagnosis(
                "vocabulary mismatch",
                f"{seen}; the labels read back are not the references",
                "the units lose something of the texts, so that no training can reach them",
                "choose another --data.profile, or --model.vocabulary new",
            )
        return Diagnosis(
            "heard otherwise than trained",
            seen,
            "the labels are known by heart, and yet greedy reading makes something else of them",
            "report this: training and reading should see the same audio and labels",
        )
    if (attempt.blank_ratio or 0.0) > BLANK_RATIO and attempt.wer >= NEARLY_ALL_WRONG:
        return Diagnosis(
            "all blank",
            f"{seen}; {100 * (attempt.blank_ratio or 0.0):.0f} % of frames are blank",
            "CTC has learnt that most frames are blank and no letters yet",
            f"raise --learning_rate ({rate:g}) to its triple, or --max_steps; check that the "
            "texts belong to the audio",
        )
    if last > 0.9 * first:
        return Diagnosis(
            "learning rate too low",
            seen,
            "the weights hardly move, or too few of them are trained",
            f"raise --learning_rate ({rate:g}) tenfold; see with --dry_run true what is frozen",
        )
    return Diagnosis(
        "not there yet",
        seen,
        "the loss falls, too slowly for so many updates",
        f"raise --learning_rate ({rate:g}) to its double or triple, or --max_steps (at most "
        f"{MOST_UPDATES} are made)",
    )


def _written_alike(recogniser: Recogniser, batch: Examples, profile: Profile) -> bool:
    """Whether the units write every text of the batch without loss; families that cannot tell count as alike."""
    return not recogniser.out_of_vocabulary([profile(utterance.text) for utterance in batch.utterances])
