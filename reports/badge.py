"""An SVG badge with the tier, for a README."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..certificate import Certificate
from ..files import write_whole
from ..grade import grade
from ..runfolder import read_run

__all__ = ["Badge", "badge", "render_badge", "write_badge"]

_COLOURS = {0: "#57606a", 1: "#b45309", 2: "#1d4ed8", 3: "#15803d"}  # white text on each has a contrast above 4.5
_INCOMPLETE = "#6b7280"
_NAME, _VERSION = 32, 20  # characters of each that are shown: a version must not fall off behind a long name
# Widths in px of 11 px Verdana, rounded up: narrow and wide letters, and everything else.
_NARROW, _WIDE, _OTHER, _PADDING = 4, 10, 7, 12


@dataclass(frozen=True, slots=True)
class Badge:
    """What the template draws: two texts, the colour behind the second, and widths in px."""

    label: str
    value: str
    colour: str
    label_width: int
    value_width: int

    @property
    def width(self) -> int:
        return self.label_width + self.value_width

    @property
    def title(self) -> str:
        return f"{self.label}: {self.value}"


def badge(certificate: Certificate) -> Badge:
    """``ONNX Runtime 1.20 | Tier 1 (Tier 2 provisional)``; an incomplete certificate says so instead of a tier."""
    name, version = (str(certificate.backend.get(key) or "") for key in ("name", "version"))
    label = f"{_shown(name or 'backend', _NAME)} {_shown(version, _VERSION)}".strip()
    if not certificate.complete:
        value, colour = "incomplete", _INCOMPLETE
    else:
        value, colour = f"Tier {certificate.tier}" if certificate.tier else "no tier", _COLOURS[certificate.tier]
        if certificate.provisional_tier is not None:
            value += f" (Tier {certificate.provisional_tier} provisional)"
    return Badge(label, value, colour, _width(label), _width(value))


def render_badge(certificate: Certificate) -> str:
    """The badge as an SVG document; texts from the backend are escaped."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("conformance.templates", ""),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("badge.svg").render(badge=badge(certificate)) + "\n"


def write_badge(folder: Path | str, certificate: Certificate | None = None) -> Path:
    """Write DIR/badge.svg from the evidence in DIR, or from the grade that was just made of it; returns its path."""
    folder = Path(folder)
    return write_whole(folder / "badge.svg", render_badge(certificate or grade(read_run(folder))))


def _shown(text: str, limit: int) -> str:
    text = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
    return text if len(text) <= limit else text[: limit - 1] + "\N{HORIZONTAL ELLIPSIS}"


def _width(text: str) -> int:
    narrow, wide = "iljtfrI.,:;|!'()[] 1", "mwMWGOQ@%"
    return _PADDING + sum(
        _NARROW if c in narrow else _WIDE if c in wide or ord(c) > 0x2E7F else _OTHER for c in text
    )
