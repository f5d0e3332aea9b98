"""The languages that a report is written in: one flat table of texts each, under the same keys."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files

from ..errors import UsageError

__all__ = ["LANGUAGES", "Language", "load_language"]

LANGUAGES = ("en", "zh")
_TAGS = {"en": "en", "zh": "zh-Hans"}  # BCP 47, for the page's lang attribute


@dataclass(frozen=True, slots=True)
class Language:
    """The texts of a language. ``tag``: its BCP 47 tag."""

    code: str
    tag: str
    texts: Mapping[str, str]

    def __call__(self, key: str, **values: object) -> str:
        """The text under ``key`` with ``{name}`` filled in. Raises ``KeyError`` for an unknown key."""
        text = self.texts[key]
        return text.format(**values) if values else text

    def name(self, kind: str, raw: object) -> str:
        """The name of something from the evidence: ``family.convolution``; as it stands where there is none.

        A run may come from a newer suite, or from an extension, with families and domains of its own.
        """
        return self.texts.get(f"{kind}.{raw}", str(raw))

    def under(self, prefix: str) -> dict[str, str]:
        """The texts whose keys start with ``prefix``, keyed by the rest."""
        return {key[len(prefix) :]: text for key, text in self.texts.items() if key.startswith(prefix)}


def load_language(code: str) -> Language:
    """The language with this code. Raises ``UsageError`` for one that there is none of."""
    if code not in LANGUAGES:
        raise UsageError(f"unknown language {code!r}; there are {', '.join(LANGUAGES)}")
    text = files("conformance.templates").joinpath(f"{code}.json").read_text(encoding="utf-8")
    return Language(code, _TAGS[code], json.loads(text))
