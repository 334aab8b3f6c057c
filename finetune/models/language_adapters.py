"""The languages of an MMS model (Pratap et al. 2023): for each, a vocabulary in vocab.json and a file of weights.

The weights are those of adapters in the transformer's layers and of an output layer. A model without a language given
has those that its checkpoint was saved with.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from preprocessing.errors import InputError
from preprocessing.storage.model_file import find_model_file
from preprocessing.text.languages import language_code

ADAPTER = "adapter.{}.safetensors"  # as transformers' load_adapter looks for it
MOST_NAMED = 8  # languages in a message


@dataclass(frozen=True, slots=True)
class LanguageAdapter:
    """The adapter that a model decodes with.

    language: as the model calls it, such as deu or cmn-script_simplified; None where there is no choice, or nothing
    says which language is loaded by default. loading: arguments of transformers' from_pretrained that load it; none
    where it is loaded by default.
    """

    language: str | None = None
    loading: dict[str, Any] = field(default_factory=dict)

    @property
    def chosen(self) -> str | None:
        """The language where it is not the default."""
        return self.language if self.loading else None


def languages_of(checkpoint: str) -> tuple[str, ...]:
    """The languages that a model has a vocabulary for each of; none of a model with one vocabulary, such as a run that
    trained one adapter.
    """
    try:
        path = find_model_file(checkpoint, "vocab.json")
        units = {} if path is None else json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return ()  # what is wrong with it is said where the vocabulary is loaded
    nested = isinstance(units, dict) and all(isinstance(own, dict) for own in units.values())
    return tuple(units) if nested else ()


def adapter_of(name: str, checkpoint: str, language: str | None, flag: str = "--language") -> LanguageAdapter:
    """The adapter of a language, named as the model does or in another way: de, deu, German; None: the default one.

    name: of the system, for messages, in which `flag` is what the language was given as. Raises InputError where a
    model with adapters has none of the language, or several.
    """
    languages = languages_of(checkpoint)
    if not languages:
        return LanguageAdapter()
    if language is None:
        return LanguageAdapter(_default(checkpoint))
    code = language_code(language)
    found = [language] if language in languages else [one for one in languages if code and language_code(one) == code]
    if len(found) > 1:
        raise InputError(
            f"{name}: {flag} is {language}, of which {checkpoint} has {len(found)}; expected one of "
            f"{_listed(found)}: name it"
        )
    if not found:
        raise InputError(
            f"{name}: {flag} is {language}, which is none of the {len(languages)} languages of {checkpoint}; expected "
            f"one of {_listed(languages)}: change {flag}"
        )
    if find_model_file(checkpoint, ADAPTER.format(found[0])) is None:
        raise InputError(
            f"{name}: {checkpoint} has no {ADAPTER.format(found[0])}; expected the adapter of {flag} {language}: "
            "download it, or choose another language"
        )
    return LanguageAdapter(found[0], {"target_lang": found[0], "ignore_mismatched_sizes": True})


def check_own_language(name: str, checkpoint: str, language: str | None, adapter: LanguageAdapter) -> None:
    """Raises InputError where `language` is given for one system alone, whose model has no choice of languages."""
    if language is not None and adapter.chosen is None:
        raise InputError(
            f"--system_options.{name}.language is {language}, but {checkpoint} has no language adapters; expected a "
            "Whisper or one of the MMS models with it: leave it out"
        )


def _default(checkpoint: str) -> str | None:
    """The language of the tokenizer, which is that of the weights of the checkpoint itself."""
    path = find_model_file(checkpoint, "tokenizer_config.json")
    try:
        config = {} if path is None else json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    found = config.get("target_lang") if isinstance(config, dict) else None
    return found if isinstance(found, str) else None


def _listed(languages: Sequence[str]) -> str:
    more = ", ..." if len(languages) > MOST_NAMED else ""
    return ", ".join(languages[:MOST_NAMED]) + more
