"""The model card of a run: metadata that the Hub reads, and a page on the model, its data, its results and its limits.

Everything that comes from a user or a file is escaped: for YAML by huggingface_hub's own classes, for Markdown by
`plain_text`, which every value of the template goes through. The page's text is in card.md.jinja.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import jinja2
from huggingface_hub import EvalResult, ModelCard, ModelCardData

from finetune.config import OptimisationConfig
from finetune.hub.folder import CURVE, RunFolder, public
from finetune.hub.results import BenchmarkFigures, ResultRow, validation_row
from finetune.metrics import Rate
from finetune.models.about import without_folders
from finetune.models.companion_files import generation_language
from preprocessing.corpus.readers.hugging_face import HubReference, is_hub_reference
from preprocessing.text.languages import language_code

TASK = "automatic-speech-recognition"  # of the Hub
TEMPLATE = Path(__file__).with_name("card.md.jinja")
_ISO = {"jw": "jv"}  # where Whisper's code is another
_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~$&!])")


@dataclass(frozen=True)
class CardOptions:
    """What a card says that the run does not record. license, language: the Hub's keys, None where unknown.
    license_name, license_link: of a licence that the Hub has no key of, with the key other.
    """

    repo_id: str
    license: str | None = None
    language: str | None = None
    benchmark: BenchmarkFigures | None = None
    license_name: str | None = None
    license_link: str | None = None


class Code(str):
    """Text of this project's own, which the template does not escape."""

    __slots__ = ()


def plain_text(value: object) -> str:
    """Text on one line, escaped so that Markdown shows it unchanged.

    >>> plain_text("| <b>a_b</b>")
    '\\\\| \\\\<b\\\\>a\\\\_b\\\\</b\\\\>'
    """
    return value if isinstance(value, Code) else _SPECIAL.sub(r"\\\1", " ".join(str(value).split()))


def model_card(run: RunFolder, options: CardOptions) -> str:
    """The model card, README.md: YAML metadata, then Markdown."""
    validation = validation_row(run)
    benchmark = options.benchmark
    rows = [row for row in (validation, *(benchmark.rows if benchmark else ())) if row is not None]
    template = jinja2.Environment(
        finalize=plain_text, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined, autoescape=False
    ).from_string(TEMPLATE.read_text(encoding="utf-8"))
    page = template.render(
        name=options.repo_id.partition("/")[2],
        about=run.about,
        family=run.family,
        scratch=run.config["model"].get("scratch") is not None,
        model_input=Code(run.family.model_input),
        usage=Code(run.family.usage.replace("REPO", options.repo_id).replace("LANGUAGE", _model_language(run) or "en")),
        with_language_model=Code(f"{run.config['model']['family']}+lm={options.repo_id}"),
        language_model=run.language_model,
        rows=rows,
        validation=validation,
        benchmark=benchmark,
        denoise=bool(run.config["data"].get("denoise")),
        settings=_settings(run),
        best=_best(run),
        stopped=run.stopped,
        curve=Code(CURVE) if (run.path / CURVE).is_file() else None,
        versions=run.versions,
        interval=_interval,
        percent=_percent,
    )
    return str(ModelCard(f"---\n{metadata(run, options, rows).to_yaml()}\n---\n\n{page}"))


def metadata(run: RunFolder, options: CardOptions, rows: list[ResultRow]) -> ModelCardData:
    """The card's metadata, which the Hub sorts and searches by; error rates in percent, as on its leaderboards."""
    languages = [options.language] if options.language else _languages(run)
    parts = [HubReference.parse(reference) for reference in _corpora(run) if is_hub_reference(reference)]
    datasets = list(dict.fromkeys(one.dataset for one in parts))
    return ModelCardData(
        language=languages[0] if len(languages) == 1 else languages or None,
        license=options.license,
        license_name=options.license_name,
        license_link=options.license_link,
        library_name=run.family.library,
        pipeline_tag=TASK,
        tags=[TASK, *([run.architecture] if run.architecture else []), *run.family.tags],
        base_model=run.about.base if run.about else None,
        datasets=datasets or None,
        metrics=["wer", "cer"] if rows else None,
        model_name=options.repo_id.partition("/")[2],
        eval_results=[_eval_result(row, metric) for row in rows if row.is_published for metric in ("wer", "cer")]
        or None,
    )


def _eval_result(row: ResultRow, metric: str) -> EvalResult:
    error_rate: Rate = getattr(row, metric)
    parts = [HubReference.parse(one) if is_hub_reference(one) else None for one in row.corpora]
    types = [one.dataset if one else corpus for one, corpus in zip(parts, row.corpora, strict=True)]
    own_split = "validation" if row.split.startswith("validation") else None
    held_out = row.split == "validation, held out of training"  # of the Hub's split for training, which it is not
    return EvalResult(
        task_type=TASK,
        task_name="Speech recognition",
        dataset_type=", ".join(dict.fromkeys(types)),
        dataset_name=f"{row.corpus} ({row.split})",
        dataset_config=_common(one.config if one else None for one in parts),
        dataset_split=own_split if held_out else _common(one.split if one else own_split for one in parts),
        metric_type=metric,
        metric_name=f"{metric.upper()}, %",
        metric_value=round(100 * error_rate.value, 2),
        metric_args={
            "profile": row.profile,
            "profile_version": row.profile_version,
            "interval_95": [round(100 * error_rate.low, 2), round(100 * error_rate.high, 2)],
        },
    )


def _common(values: Iterable[str | None]) -> str | None:
    """The value that all have; None of several."""
    different = set(values)
    return different.pop() if len(different) == 1 else None


def _corpora(run: RunFolder) -> tuple[str, ...]:
    return run.about.training.corpora if run.about else ()


def _languages(run: RunFolder) -> list[str]:
    """ISO 639 codes of the languages of the training corpora, de of de-CH and of German; where they name none, of the
    model's, zh of cmn-script_simplified.
    """
    languages = (run.about.training.languages if run.about else ()) or (_model_language(run) or "",)
    codes = (language_code(language) or re.split("[-_]", language)[0].lower() for language in languages)
    return sorted({_ISO.get(code, code) for code in codes if re.fullmatch(r"[a-z]{2,3}", code)})


def _model_language(run: RunFolder) -> str | None:
    """The code of the language that the run was told to train, en of an English-only Whisper; None where it was told
    none.
    """
    language = generation_language(str(run.path)) or run.config["model"].get("language") or ""
    if not language and run.config["model"].get("family") == "whisper":
        language = "en"  # a multilingual one is always told
    return language.strip("<|>") or None


def _settings(run: RunFolder) -> list[tuple[str, str]]:
    """The training's settings and their values, named as the command's options."""
    config: dict[str, Any] = public(run.config)
    model, data = config["model"], config["data"]
    rows = [("model.base", without_folders(str(model.get("base") or "none: trained from scratch")))]
    rows += [(f"model.{key}", str(model[key])) for key in run.family.settings if key in model]
    rows += [(field.name, str(config.get(field.name))) for field in fields(OptimisationConfig)]
    names = ", ".join(str(change.get("name", change)) for change in data.get("augment") or ()) or "none"
    rows += [("data.augment", names), ("data.max_batch_seconds", str(data.get("max_batch_seconds")))]
    return [*rows, ("mixed_precision", str(config.get("mixed_precision"))), ("seed", str(config.get("seed")))]


def _best(run: RunFolder) -> str:
    """Which weights are published, as the end of a sentence that begins with "The weights are"."""
    if run.best is None:
        return "those of the best evaluation on the validation data"
    rate, steps, total = f"validation {run.best['metric'].upper()}", run.best["steps"], run.config["max_steps"]
    if len(steps) > 1:
        return (
            f"the mean of those at steps {', '.join(map(str, steps))} of {total}, whose {rate} is not above that of "
            "any of them"
        )
    untrained = ", before the first update, as no later ones were better" if run.is_untrained else ""
    return f"those with the lowest {rate}, at step {steps[0]} of {total}{untrained}"


def _percent(error_rate: Rate) -> str:
    return f"{100 * error_rate.value:.2f} %"


def _interval(error_rate: Rate) -> str:
    return f"{100 * error_rate.low + 0.0:.2f} to {100 * error_rate.high + 0.0:.2f}"
