"""Text from a backend made fit to show: what is invisible, or would reorder the page, is spelled out."""

from __future__ import annotations

import re
from typing import Any

__all__ = ["clip", "visible", "visible_all"]

# Control characters other than tab and newline; marks, overrides and isolates that change the direction of the
# text around them (Unicode TR9; "Trojan Source", CVE-2021-42574); line and paragraph separators; zero-width
# space and byte-order mark; lone surrogates, which cannot be written as UTF-8; interlinear marks and
# noncharacters.
_INVISIBLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb"
    "\ufffe\uffff\ud800-\udfff]"
)


def _spell(match: re.Match[str]) -> str:
    code = ord(match.group())
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def visible(text: str) -> str:
    """The text with every invisible or reordering character as its escape: ``\\x1b``, ``\\u202e``."""
    return _INVISIBLE.sub(_spell, text)


def visible_all(data: Any) -> Any:
    """The same for every string, keys included, in a structure as ``json.loads`` returns it."""
    if isinstance(data, str):
        return visible(data)
    if isinstance(data, dict):
        return {visible(str(key)): visible_all(value) for key, value in data.items()}
    if isinstance(data, (list, tuple)):
        return [visible_all(item) for item in data]
    return data


def clip(text: str, limit: int) -> str:
    """At most ``limit`` characters, the middle left out: a message's cause stands at either end."""
    if len(text) <= limit:
        return text
    head = limit * 2 // 3
    return f"{text[:head]} […] {text[len(text) - (limit - head) :]}"
