"""What the Hub refuses in the metadata of a model card, as far as the cards of this project can have it.

Licences are those of https://huggingface.co/docs/hub/repositories-licenses; a language is a code of ISO 639-1, 639-2 or
639-3, perhaps with a script or a region.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

_LICENCES = """
    apache-2.0 mit openrail bigscience-openrail-m creativeml-openrail-m bigscience-bloom-rail-1.0 bigcode-openrail-m
    afl-3.0 artistic-2.0 bsl-1.0 bsd bsd-2-clause bsd-3-clause bsd-3-clause-clear c-uda cc cc0-1.0 cc-by-2.0 cc-by-2.5
    cc-by-3.0 cc-by-4.0 cc-by-sa-3.0 cc-by-sa-4.0 cc-by-nc-2.0 cc-by-nc-3.0 cc-by-nc-4.0 cc-by-nd-4.0 cc-by-nc-nd-3.0
    cc-by-nc-nd-4.0 cc-by-nc-sa-2.0 cc-by-nc-sa-3.0 cc-by-nc-sa-4.0 cdla-sharing-1.0 cdla-permissive-1.0
    cdla-permissive-2.0 wtfpl ecl-2.0 epl-1.0 epl-2.0 etalab-2.0 eupl-1.1 eupl-1.2 agpl-3.0 gfdl gpl gpl-2.0 gpl-3.0
    lgpl lgpl-2.1 lgpl-3.0 isc lppl-1.3c ms-pl mpl-2.0 odc-by odbl openrail++ osl-3.0 postgresql ofl-1.1 ncsa unlicense
    zlib pddl lgpl-lr llama2 llama3 gemma unknown other
"""
LANGUAGE = re.compile(r"[a-z]{2,3}(-[A-Z][a-z]{3})?(-[A-Z]{2})?|multilingual|code")
REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")


def refused_metadata(fields: Mapping[str, Any]) -> Iterator[str]:
    """Yields the Hub's message on each field that it refuses."""
    if "license" in fields and fields["license"] not in _LICENCES.split():
        yield '"license" must be one of the known'
    languages = fields.get("language", [])
    for place, one in enumerate([languages] if isinstance(languages, str) else languages):
        if not LANGUAGE.fullmatch(str(one)):
            yield f'"language[{place}]" must be an ISO 639-1, 639-2 or 639-3 code'
    if "base_model" in fields and not REPOSITORY.fullmatch(str(fields["base_model"])):
        yield '"base_model" with value is not valid'
