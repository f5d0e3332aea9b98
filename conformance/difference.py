"""What changed between two runs: cases, models, operators' fate and the tier. Compares evidence; judges nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .certificate import Certificate
from .facts import facts_of
from .grade import grade
from .runfolder import RunFolder
from .spec import FURTHER, Source, Verdict

__all__ = ["Change", "Difference", "compare"]

_SHOWN = 50  # lines of each kind in the text; the JSON has all


@dataclass(frozen=True, slots=True)
class Change:
    """A case and its verdict before and after; None where that run did not plan it."""

    case: str
    old: Verdict | None
    new: Verdict | None
    message: str = ""

    def as_json(self) -> dict[str, Any]:
        return {
            "case": self.case,
            "old": None if self.old is None else str(self.old),
            "new": None if self.new is None else str(self.new),
            "message": self.message,
        }


@dataclass(frozen=True, slots=True)
class Difference:
    """Two runs side by side.

    ``regressed``: passed before and no longer; ``fixed``: the reverse; ``changed``: failed before and after, in
    different ways; ``new`` and ``gone``: planned in one of the two only. Each in the order of its plan.
    ``models_lost``, ``models_won``: whole in one of the two, among the models that both planned.
    ``notes``: why the two may not be comparable (suite, opset, seed, backend), one line each.
    """

    old: Certificate
    new: Certificate
    regressed: tuple[Change, ...]
    fixed: tuple[Change, ...]
    changed: tuple[Change, ...]
    gone: tuple[Change, ...]
    added: tuple[Change, ...]
    models_lost: tuple[str, ...]
    models_won: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def tier_change(self) -> int:
        """Tiers gained; negative for tiers lost."""
        return self.new.tier - self.old.tier

    def as_json(self) -> dict[str, Any]:
        groups = ("regressed", "fixed", "changed", "added", "gone")
        return {
            "tier": {"old": self.old.tier, "new": self.new.tier},
            **{group: [change.as_json() for change in getattr(self, group)] for group in groups},
            "models": {"lost": list(self.models_lost), "won": list(self.models_won)},
            "notes": list(self.notes),
        }

    def text(self) -> str:
        """For a terminal: the tier, counts, then the cases, worst news first."""
        old, new = self.old.tier, self.new.tier
        tier = f"Tier {old}" + ("" if old == new else f" -> Tier {new}")
        lines = [
            f"{tier}: {len(self.regressed)} regressed, {len(self.fixed)} fixed, {len(self.changed)} failing otherwise,"
            f" {len(self.added)} new, {len(self.gone)} gone"
        ]
        lines += [f"note: {note}" for note in self.notes]
        lines += [f"model no longer whole: {model}" for model in self.models_lost]
        lines += [f"model now whole: {model}" for model in self.models_won]
        for title, changes in (
            ("regressed", self.regressed),
            ("fixed", self.fixed),
            ("failing otherwise", self.changed),
            ("new", self.added),
            ("gone", self.gone),
        ):
            lines += [f"{title}: {_line(change)}" for change in changes[:_SHOWN]]
            if len(changes) > _SHOWN:
                lines.append(f"{title}: and {len(changes) - _SHOWN} more")
        return "\n".join(lines)


def compare(old: RunFolder, new: RunFolder) -> Difference:
    """Compare two runs case by case; both are graded from their evidence. Where only one of the two has ONNX's
    vectors, these are left out; likewise the user's models."""
    grades, notes = (grade(old), grade(new)), _notes(old, new)
    if old.plan.vectors is None or new.plan.vectors is None:
        old, new = (run.only(lambda case: case.source is not Source.VECTOR) for run in (old, new))
    if old.plan.further is None or new.plan.further is None:
        old, new = (run.only(lambda case: FURTHER not in case.tags) for run in (old, new))
    groups: dict[str, list[Change]] = {k: [] for k in ("regressed", "fixed", "changed", "gone", "added")}
    for case, result in new.results.items():
        before = old.results.get(case)
        change = Change(case, before.verdict if before else None, result.verdict, result.message)
        if before is None:
            groups["added"].append(change)
        elif before.verdict is not result.verdict:
            kind = "regressed" if before.passed else "fixed" if result.passed else "changed"
            groups[kind].append(change)
    groups["gone"] = [Change(c, r.verdict, None) for c, r in old.results.items() if c not in new.results]
    whole_old, whole_new = _whole(old), _whole(new)
    shared = [name for name in whole_old if name in whole_new]
    return Difference(
        old=grades[0],
        new=grades[1],
        regressed=tuple(groups["regressed"]),
        fixed=tuple(groups["fixed"]),
        changed=tuple(groups["changed"]),
        gone=tuple(groups["gone"]),
        added=tuple(groups["added"]),
        models_lost=tuple(name for name in shared if whole_old[name] and not whole_new[name]),
        models_won=tuple(name for name in shared if whole_new[name] and not whole_old[name]),
        notes=notes,
    )


def _whole(run: RunFolder) -> dict[str, bool]:
    """Each planned model by name: is it whole?"""
    whole = {model.name for model in facts_of(run, frozenset()).whole}
    return {model.name: model.name in whole for model in run.plan.models}


def _notes(old: RunFolder, new: RunFolder) -> tuple[str, ...]:
    notes = []

    def differing(what: str, one: Mapping[str, Any], two: Mapping[str, Any], keys: tuple[str, ...]) -> None:
        for key in keys:
            if one.get(key) != two.get(key):
                notes.append(f"{what} {key}: {one.get(key)!r} -> {two.get(key)!r}")

    differing("suite", old.suite, new.suite, ("version", "digest", "name", "opset", "seed"))
    differing("backend", old.backend, new.backend, ("name", "version", "device", "driver", "options"))
    mine, other = old.plan.vectors, new.plan.vectors
    if mine is None or other is None:
        if mine or other:
            notes.append(f"only the {'old' if mine else 'new'} run has ONNX's vectors: they are left out here")
    elif mine.digest != other.digest:
        notes.append(f"vectors: {mine.of} ({mine.digest[:8]}) -> {other.of} ({other.digest[:8]})")
    ours, others = old.plan.further, new.plan.further
    if ours is None or others is None:
        if ours or others:
            notes.append(f"only the {'old' if ours else 'new'} run has the user's models: they are left out here")
    elif ours.digest != others.digest:
        was, is_ = (f"{', '.join(further.of)} ({further.digest[:8]})" for further in (ours, others))
        notes.append(f"models from {was} -> {is_}")
    for which, run in (("old", old), ("new", new)):
        missing = sum(result.verdict is Verdict.NOT_RUN for result in run.results.values())
        if missing:
            notes.append(f"the {which} run is incomplete: {missing} cases without a verdict")
    return tuple(notes)


def _line(change: Change) -> str:
    """One line, whatever a backend put into its message."""
    verdicts = f"{change.old or '-'} -> {change.new or '-'}"
    message = " ".join("".join(c if c.isprintable() else " " for c in change.message).split())
    return f"{change.case} ({verdicts})" + (
        f": {message[:160]}" if message and change.new is not Verdict.PASS else ""
    )
