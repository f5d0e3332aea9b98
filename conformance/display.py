"""What the terminal shows: progress while a run goes on, what came of it at its end, tables."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console, RenderableType
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from .certificate import Blocker, Certificate, percent
from .reports.criteria import CriterionView, tier_views
from .reports.language import Language, load_language
from .reports.tally import SEVERITY, weighted
from .reports.tally import percent as share
from .reports.visible import clip, visible
from .spec import Verdict

if TYPE_CHECKING:
    from .run import Tally
    from .sensitivity import Failure, Sensitivity
    from .stability import Stability

__all__ = ["print_certificate", "print_sensitivity", "print_stability", "print_table", "progress"]

COLOURS = {Verdict.PASS: "green", Verdict.UNSUPPORTED: "yellow", Verdict.NOT_RUN: "magenta"}
PLAIN_SECONDS = 10.0  # between two lines where there is no terminal: a log that a person reads afterwards
SHOWN_BLOCKERS = 5
MOST_ITEMS = 9  # of what keeps a criterion from being met, however wide the terminal is


def _counts(tally: Tally) -> str:
    return "  ".join(f"[{COLOURS.get(v, 'red')}]{tally.counts[v]} {v}[/]" for v in Verdict if tally.counts.get(v))


class _Progress(Progress):
    """A bar as wide as the terminal, and the counts on a line of their own: ten verdicts leave no room beside it."""

    counts = ""

    def get_renderables(self) -> Iterator[RenderableType]:
        yield self.make_tasks_table(self.tasks)
        yield Text.from_markup(self.counts)


@contextlib.contextmanager
def progress() -> Iterator[Callable[[Tally], None]]:
    """Gives a function to call with each new tally: a live bar on a terminal, a line now and then elsewhere."""
    console = Console()
    if not console.is_terminal:
        yield _plain_progress(console)
        return
    with _Progress(
        TextColumn("{task.fields[rate]}"),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        expand=True,
    ) as bar:
        task = bar.add_task("", total=None, rate="")
        began, resumed = time.monotonic(), None

        def show(tally: Tally) -> None:
            nonlocal resumed
            resumed = tally.done if resumed is None else resumed
            rate = (tally.done - resumed) / max(time.monotonic() - began, 1e-3)
            bar.counts = _counts(tally)
            bar.update(task, total=tally.planned, completed=tally.done, rate=f"{rate:4.0f}/s")

        yield show


def _plain_progress(console: Console) -> Callable[[Tally], None]:
    began = last = time.monotonic()

    def show(tally: Tally) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= PLAIN_SECONDS or tally.done == tally.planned:
            last = now
            console.print(
                f"{tally.done}/{tally.planned} after {now - began:.0f} s: {_counts(tally)}",
                soft_wrap=True,
                highlight=False,
            )

    return show


def print_certificate(certificate: Certificate, folder: Path) -> None:
    """The tier, the counts, the criteria not met for the next tier, what to fix first, and where the report is."""
    console = Console(soft_wrap=True, highlight=False)
    console.print(f"\n[bold]{_title(certificate)}[/bold]")
    summary = certificate.summary
    if summary.planned:
        console.print(f"{summary.passed:,} of {summary.planned:,} cases pass")
        if others := _failing({v: summary.count(v) for v in Verdict}):
            console.print(f"  {others}", soft_wrap=not console.is_terminal)
        console.print(
            f"Operators trusted: {summary.operators_trusted} of {summary.operators} ({percent(summary.coverage)}, "
            f"weighted {weighted(summary)})"
        )
        console.print(f"Models whole: {summary.models_whole} of {summary.models}")
    for title, counts in (("ONNX's vectors", summary.vectors), ("Further models' cases", summary.further)):
        if counts:
            rest = _failing(counts)
            console.print(
                f"{title}: {counts.get(Verdict.PASS, 0):,} of {sum(counts.values()):,} pass"
                + (f" ({rest})" if rest else "")
            )
    next_tier = certificate.tier + 1
    views, _ = tier_views(certificate)
    unmet = [row for view in views if view.tier == next_tier for row in view.criteria if row.met is False]
    if unmet and _selected(certificate):  # of a part of the suite, what a tier asks for says nothing
        console.print(f"\nNot met for Tier {next_tier}:")
        for row in unmet:
            console.print(f"  [red]✗[/red] {escape(_criterion(row, load_language('en'), console.width - 4))}")
    if certificate.blockers:
        console.print("\nFix first:")
    for place, blocker in enumerate(certificate.blockers[:SHOWN_BLOCKERS], 1):
        console.print(f"  {place}. {escape(_blocker(blocker))}")
    if len(certificate.blockers) > SHOWN_BLOCKERS:
        console.print(f"  and {len(certificate.blockers) - SHOWN_BLOCKERS} more in the report")
    for error in certificate.waiver_errors:
        console.print(f"[red]waiver[/red] {escape(visible(error))}")
    console.print(f"\nReport: {escape(str(folder / 'report' / 'index.html'))}")


def _selected(certificate: Certificate) -> bool:
    """The plan is the whole suite, not a part that somebody picked."""
    return certificate.suite.get("complete") is True


def _title(certificate: Certificate) -> str:
    if not _selected(certificate):
        return "No tier is given: only a part of the suite was run"
    if not certificate.complete:
        return "No tier is given: some planned cases have no verdict"
    title = f"Tier {certificate.tier}" if certificate.tier else "No tier reached"
    if certificate.provisional:
        title += f" (Tier {certificate.provisional_tier} provisionally: the suite is too small to give it)"
    return title


def _failing(counts: Mapping[Verdict, int]) -> str:
    """``54 wrong, 620 unsupported``: the cases that did not pass, the gravest first."""
    found = [(v, counts.get(v, 0)) for v in SEVERITY if v is not Verdict.PASS]
    return ", ".join(f"[{COLOURS.get(v, 'red')}]{count:,} {v}[/]" for v, count in found if count)


def _criterion(row: CriterionView, language: Language, width: int) -> str:
    """``All Core operators trusted: 33, required ≥ 35 (Pow, Where)``, with as many names as a line has room for."""
    text = f"{language.name('criterion', row.name)}: {row.reached}, required {row.required}"
    if row.short:
        return f"{text}; the suite has {row.available}"
    items = [visible(item) for item in row.items]
    for count in range(min(len(items), MOST_ITEMS), 0, -1):
        rest = f", and {len(items) - count} more" if count < len(items) else ""
        line = f"{text} ({', '.join(items[:count])}{rest})"
        if len(line) <= width:
            return line
    return text


def _blocker(blocker: Blocker) -> str:
    """``Pow in float32: 2 unsupported; alone makes 1 model whole``."""
    counts = ", ".join(f"{blocker.verdicts[v]} {v}" for v in SEVERITY if blocker.verdicts.get(v))
    text = f"{clip(visible(blocker.what), 60)}: {counts}"
    if blocker.unlocks:
        text += f"; alone makes {len(blocker.unlocks)} model{'s' * (len(blocker.unlocks) > 1)} whole"
    return text


def print_sensitivity(found: Sensitivity) -> None:
    """The defects caught by family and dtype, then of each case the first legal variant that was failed."""
    rows = []
    for family, dtype in dict.fromkeys((a.family, a.dtype) for a in found.answers):
        own = [a for a in found.answers if (a.family, a.dtype) == (family, dtype)]
        caught = sum(a.caught for a in own)
        rows.append((family, dtype, f"{caught}/{len(own)}", share(caught, len(own))))
    print_table(("family", "dtype", "caught", "share"), rows)
    said = found.figures()
    print(
        f"{said['caught']} of {said['planted']} planted defects caught ({share(said['caught'], said['planted'])}); "
        f"{said['failed']} of {said['verdicts']} verdicts on legal variants failed"
    )
    first: dict[str, Failure] = {}
    for failure in found.failures:
        first.setdefault(failure.case, failure)
    for failure in first.values():
        print(f"  {failure.case} as {failure.variant}: {failure.message}")


def print_stability(found: Stability) -> None:
    """By rule how near the errors come to their bounds, then each case whose verdict changes."""
    rows = [
        (
            c.rule,
            str(c.cases),
            f"{c.largest:.3f}",
            "—" if c.by_tail is None else f"{c.by_tail:.2g}",
            f"{c.by_tests:.2g}",
        )
        for c in found.chances()
    ]
    print_table(("rule", "cases", "largest", "by tail", "by tests"), rows)
    changed = [track for track in found.tracks if track.changes]
    print(
        f"{len(found.tracks)} cases with {len(found.seeds)} seeds: {len(changed)} change their verdict; "
        f"a fresh seed is expected to fail {found.expected():.2g} of {sum(found.planned.values())}"
    )
    for track in changed:
        print(f"  {track.case}: {', '.join(map(str, track.verdicts))}")


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table on a terminal, tab-separated lines elsewhere (for cut and awk)."""
    console = Console()
    if not console.is_terminal:
        for row in rows:
            print("\t".join(row))
        return
    table = Table(box=None, pad_edge=False)
    for place, title in enumerate(header):
        numbers = all(row[place][:1].isdigit() for row in rows)
        # What the first column names is to be typed again: it is never cut, the others wrap.
        table.add_column(title, no_wrap=place == 0, justify="right" if numbers else "left")
    for row in rows:
        table.add_row(*(escape(cell) for cell in row))
    console.print(table)
