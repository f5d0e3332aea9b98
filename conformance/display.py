"""What the terminal shows: progress while a run goes on, the tier and what blocks the next one at its end."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from .certificate import Certificate, percent
from .spec import Verdict

if TYPE_CHECKING:
    from .run import Tally

__all__ = ["print_certificate", "print_table", "progress"]

COLOURS = {Verdict.PASS: "green", Verdict.UNSUPPORTED: "yellow", Verdict.NOT_RUN: "magenta"}
PLAIN_SECONDS = 10.0  # between two lines where there is no terminal: a log that a person reads afterwards
SHOWN_BLOCKERS = 5


def _counts(tally: Tally) -> str:
    return "  ".join(f"[{COLOURS.get(v, 'red')}]{tally.counts[v]} {v}[/]" for v in Verdict if tally.counts.get(v))


@contextlib.contextmanager
def progress() -> Iterator[Callable[[Tally], None]]:
    """Gives a function to call with each new tally: a live bar on a terminal, a line now and then elsewhere."""
    console = Console()
    if not console.is_terminal:
        yield _plain_progress(console)
        return
    with Progress(
        TextColumn("{task.fields[rate]}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[counts]}"),
        console=console,
    ) as bar:
        task = bar.add_task("", total=None, rate="", counts="")
        began, resumed = time.monotonic(), None

        def show(tally: Tally) -> None:
            nonlocal resumed
            resumed = tally.done if resumed is None else resumed
            rate = (tally.done - resumed) / max(time.monotonic() - began, 1e-3)
            bar.update(
                task, total=tally.planned, completed=tally.done, rate=f"{rate:4.0f}/s", counts=_counts(tally)
            )

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
    summary = certificate.summary
    if not certificate.complete:
        title = "No tier: the run is not a whole suite, or has cases without a verdict"
    elif certificate.tier:
        title = f"Tier {certificate.tier}"
    else:
        title = "No tier reached"
    if certificate.provisional:
        title += f" (Tier {certificate.provisional_tier} provisionally: the suite is too small to give it)"
    console.print(f"\n[bold]{title}[/bold]")
    console.print(
        f"{summary.passed} of {summary.planned} cases pass; operators trusted "
        f"{summary.operators_trusted} of {summary.operators} ({percent(summary.coverage)}, weighted "
        f"{percent(summary.weighted_coverage)}); models whole {summary.models_whole} of {summary.models}"
    )
    next_tier = certificate.tier + 1
    for missing in certificate.missing:
        if certificate.complete and missing.tier == next_tier:
            console.print(
                f"  tier {missing.tier} asks for {missing.required} {missing.name}; the suite has {missing.available}"
            )
    unmet = [c for c in certificate.criteria if c.tier == next_tier and c.met is False and not c.short]
    for criterion in unmet:
        console.print(
            f"  [red]✗[/red] tier {criterion.tier}: {escape(criterion.name)}: {escape(criterion.detail)}"
        )
    if certificate.blockers:
        console.print("Fix first:")
    for blocker in certificate.blockers[:SHOWN_BLOCKERS]:
        console.print(f"  {escape(blocker.what)}")
    for error in certificate.waiver_errors:
        console.print(f"  [red]waiver[/red] {escape(error)}")
    console.print(f"Report: {escape(str(folder / 'report' / 'index.html'))}")


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table on a terminal, tab-separated lines elsewhere (for cut and awk)."""
    console = Console()
    if not console.is_terminal:
        for row in rows:
            print("\t".join(row))
        return
    table = Table(*header, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*(escape(cell) for cell in row))
    console.print(table)
