"""The certification report as one HTML file: evidence on disk in, a self-contained page out."""

from __future__ import annotations

import base64
import hashlib
from fractions import Fraction
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..certificate import TIERS, Certificate, percent
from ..files import write_whole
from ..grade import grade
from ..runfolder import RunFolder, read_run
from .distribution import HEIGHT, TICKS, WIDTH
from .language import Language, load_language
from .payload import as_script, columns
from .tally import SEVERITY, SYMBOLS, figure, weighted
from .tally import percent as part_of
from .viewmodel import Page, page
from .visible import clip, visible

if TYPE_CHECKING:
    from jinja2 import Environment

__all__ = ["SECTIONS", "environment", "render_report", "write_report"]

SECTIONS = (
    *("criteria", "fixes", "operators", "models", "accuracy", "precision", "worst", "further", "vectors"),
    *("declined", "evidence", "method"),
)
ROMAN = {1: "I", 2: "II", 3: "III"}


def grouped(number: int) -> str:
    """A count with its thousands set apart."""
    return f"{number:,}"


def exact_percent(share: Fraction | int) -> str:
    """A share of 1 in per cent, rounded down to hundredths."""
    return percent(share)


def _finalize(value: Any) -> Any:
    """Every value on its way into a page: text from a run is made visible. (Escaping follows, always.)"""
    from markupsafe import Markup

    if value is None or isinstance(value, Markup):
        return value
    return visible(str(value))


def _template(name: str) -> str:
    return files("conformance.templates").joinpath(name).read_text(encoding="utf-8")


@cache
def environment() -> Environment:
    """The templates' environment: autoescape on for every template, an undefined name an error."""
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    env = Environment(
        loader=FunctionLoader(_template),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_finalize,
        trim_blocks=False,
    )
    env.globals.update(
        symbols=SYMBOLS,
        severity=SEVERITY,
        roman=ROMAN,
        tiers=TIERS,
        figure=figure,
        grouped=grouped,
        share=part_of,
        exact_percent=exact_percent,
        weighted=weighted,
        clip=clip,
    )
    return env


def inline_script(name: str) -> tuple[Any, str]:
    """A script of ours as it stands in the page, and its hash for the page's content security policy.

    With the hash there, a browser runs this script and no other, whatever else the page may contain.
    """
    from markupsafe import Markup

    source = _template(name)
    digest = hashlib.sha256(source.encode()).digest()
    return Markup(source), f"sha256-{base64.b64encode(digest).decode()}"


def render_report(content: Page, language: Language) -> str:
    """The page's HTML."""
    from markupsafe import Markup

    script, script_hash = inline_script("script.js")
    words = language.under("js.")
    words.update(
        {f"{kind}.{k}": v for kind in ("verdict", "source") for k, v in language.under(f"{kind}.").items()}
    )
    return (
        environment()
        .get_template("report.html")
        .render(
            page=content,
            t=language,
            anchors=_anchors(content),
            plot={"width": WIDTH, "height": HEIGHT, "ticks": TICKS},
            data=Markup(as_script(columns(content, words))),
            script=script,
            script_hash=script_hash,
        )
    )


def _anchors(content: Page) -> tuple[str, ...]:
    """The sections that the page shows."""
    first = SECTIONS.index("further") if content.without_suite else 0
    beside = {"vectors": content.vectors, "further": content.further}
    return tuple(anchor for anchor in SECTIONS[first:] if beside.get(anchor, True))


def write_report(folder: Path, language: str = "en", graded: tuple[RunFolder, Certificate] | None = None) -> Path:
    """Write ``folder/report/index.html`` from the run folder's evidence alone; returns its path.

    ``graded``: the evidence and its grade, where both have just been made.
    Raises ``UsageError`` for an unknown language or a folder that holds no run.
    """
    spoken = load_language(language)
    if graded is None:
        run = read_run(folder)
        graded = run, grade(run)
    text = render_report(page(*graded), spoken)
    target = Path(folder) / "report" / "index.html"
    target.parent.mkdir(exist_ok=True)
    return write_whole(target, text)
