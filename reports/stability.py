"""docs/stability.md: verdicts with other seeds, and the chance of a failure with a fresh one."""

from __future__ import annotations

from ..spec import Verdict
from ..stability import Stability

__all__ = ["markdown"]

_WHY = {
    "rounded": "none: what is rounded once is within its count with every input",
    "elementary": "none: a function that keeps to its table does so with every input",
    "requantised": "none: the interval is derived",
    "random": "derived: one in 10^9 a test",
}


def markdown(found: Stability, command: str) -> str:
    """The page. ``command``: what made it."""
    tracks = found.tracks
    changed = [t for t in tracks if t.changes]
    never = [t for t in tracks if not t.changes and not t.passes]
    planned = sum(found.planned.values())
    backend = f"{found.backend.get('name', '—')} {found.backend.get('version', '')}".strip()
    expected = found.expected()
    lines = [
        "# Verdict stability",
        "",
        "Inputs are drawn from a seed, and a verdict should not hang on it. The cases whose inputs are drawn and whose",
        "results may be off, run with other seeds. Made by",
        "",
        f"    {command}",
        "",
        f"Backend {backend}; suite {found.suite['version']}, digest {found.suite['digest']}, opset {found.suite['opset']}.",
        "",
        "| | |",
        "|---|---|",
        f"| seeds | {len(found.seeds)} ({found.seeds[0]} to {found.seeds[-1]}) |",
        f"| cases | {len(tracks)} of {planned} such cases in the selection |",
        f"| verdicts | {len(tracks) * len(found.seeds)} |",
        f"| cases that pass with every seed | {sum(t.passes for t in tracks)} |",
        f"| cases with another verdict that is always the same | {len(never)} |",
        f"| cases whose verdict changes | {len(changed)} |",
        f"| cases expected to fail on a fresh seed, in an engine like this one | {expected:.2g} |",
        "",
        f"The last figure bounds the chance that any of the {planned} cases fails on a fresh seed. The goal is less than 0.001.",
        "",
        "## By rule",
        "",
        "| rule | cases | largest error in bounds | expected failures, from the tail | from tests with a derived rate |",
        "|---|---:|---:|---:|---:|",
    ]
    for c in found.chances():
        tail = _WHY.get(c.rule, "—") if c.by_tail is None else f"{c.by_tail:.2g}"
        lines.append(f"| {c.rule} | {c.cases} | {c.largest:.3f} | {tail} | {c.by_tests:.2g} |")
    lines += ["", "## Cases whose verdict changes", ""]
    for t in changed:
        others = [
            (s, v, m) for s, v, m in zip(found.seeds, t.verdicts, t.messages, strict=True) if v is not Verdict.PASS
        ]
        seed, verdict, message = others[0]
        lines.append(
            f"- `{t.case}`: not passed with {len(others)} of {len(found.seeds)} seeds; with seed {seed} {verdict}: {message}"
        )
    lines += [] if changed else ["None."]
    lines += [
        "",
        "## How the chance is estimated",
        "",
        "Each case gives one number a seed: the largest error of any element over the bound of that element. A case fails",
        "where it exceeds 1. Twenty such numbers are too few for the tail of one case. So cases that are alike (one rule, and",
        "fewer than 32 elements, fewer than 512, or more) share one, as rivers of a region share the tail of their floods",
        "(Hosking and Wallis, *Regional Frequency Analysis*, 1997): in a group, the numbers have one distribution but for each",
        "case's own mean and standard deviation (not less than 0.02 of the bound: nothing hangs on how small it is). Each is taken",
        "in deviations from the mean of the *other* seeds of its case, as that of a fresh seed would be, so that the uncertainty",
        "of the mean and of the deviation is in it. To the upper 5, 2 and 1 % of them a generalised Pareto",
        "distribution is fitted by probability-weighted moments (Hosking and Wallis, *Technometrics* 29, 1987), as the theory of",
        "peaks over a threshold has it (Pickands, *Annals of Statistics* 3, 1975). Where the fit has an upper end, an",
        "exponential tail takes its place, since an end that was estimated is no proof of one. The chance of a case is what the",
        "tail has beyond its bound. They are added up, the largest sum of the three counts, and cases that were",
        "left out of a sample are taken to be like those in it.",
        "",
        "All of this errs upwards. On errors whose chance is known (`tests/test_stability.py`): normal ones in 400 like cases, 18",
        "to 21 times too large where one case in 30 000 fails a seed and 480 to 1150 times where one in 8 million does; cases of",
        "all sizes with bounds from 5 to 40 deviations off, 2 to 6 times; bounds whose σ comes from 16 draws, 50 to 400 times.",
        "",
        "Operators of which a case was inaccurate or wrong with any seed are left out: where an engine is wrong now and then, its",
        "errors say nothing of a correct one. [findings.md](findings.md) has who is right there.",
        "",
        "Not estimated, because derived: a result that is rounded once, or requantised, is within its bound with every input if",
        "the engine rounds as IEEE 754 asks, and a function if it keeps to its table of ulps. The last rounding of a sum to 16 bits",
        "takes up to half of its bound at every seed; of these sums only what goes beyond that half is taken for luck. A case whose",
        "error is the same with every seed has none. A test of random numbers has a false alarm in 10^9. The sum of the errors in an",
        "ensemble test exceeds its limit with the chance of √(10/s) normal deviations, s being the largest mean square that the",
        "case had in units of its limit; a mean square of 1000 errors scatters by a relative √(2/1000).",
        "",
        "What this cannot see: an error that no seed has shown, such as a wrong branch that needs a rare input. That is not a",
        "matter of bounds, and what the planted defects are for ([numerics.md](numerics.md#what-it-catches-and-what-it-does-not)).",
    ]
    return "\n".join(lines) + "\n"
