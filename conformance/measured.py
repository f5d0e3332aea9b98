"""What the evidence of a run says of a backend's arithmetic: bits of each operator in each dtype, and the modes that it
behaves like, held against what the backend declares.

A pure function of the run folder. Which errors a single case had is `precision`'s and `modes`' matter.
"""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .certificate import Accumulator, Contradiction, Measured, Measurement
from .dtypes import DTYPES
from .precision import FORMATS, Mode
from .runfolder import PlannedCase, Result, RunFolder
from .spec import Source, Verdict

__all__ = ["declared_of", "measured"]

# Significant bits of what a backend may declare as the mode or the accumulator of a dtype. Products of operands that are
# taken apart into bfloat16 numbers: Henry, Tang, Heinecke, "Leveraging the bfloat16 Artificial Intelligence Datatype For
# Higher-Precision Computations", 2019.
DECLARED = {**FORMATS, "float64": 53, "bf16x3": 16, "bf16x6": 24, "bf16x9": 24}

# Bits between which an accumulator is taken for one of a format. Sums of a format with 11 bits show 11 where every term
# is rounded, a bit more where blocks of 4 terms are added at once, two more with blocks of 16.
ACCUMULATORS = (("bfloat16", 7.5, 10.5), ("float16", 10.5, 16.0), ("float32", 20.0, math.inf))
# An accumulator's bits are the same at every K. Errors of the operands gain half a bit whenever K doubles, a term that is
# missing a whole one; so there must be sums of several lengths, and a line through them that is nearly level.
POINTS, SPAN, SLOPE, SCATTER = 4, 8.0, 0.3, 0.75

Key = tuple[str, str, str]  # domain, operator, dtype


@dataclass(slots=True)
class _Found:
    """What the cases of an operator in one dtype had."""

    bits: list[float] = field(default_factory=list)
    cases: int = 0
    inaccurate: int = 0
    failed: int = 0
    modes: Counter[Mode] = field(default_factory=Counter)
    sums: list[tuple[int, float | None]] = field(default_factory=list)
    flushed: int = 0
    kept: int = 0


def declared_of(backend: Mapping[str, Any], dtype: str) -> Mapping[str, Any]:
    """What a backend declares of its numerics in a dtype; ``flush_to_zero`` may stand beside the dtypes, for all."""
    numerics = backend.get("numerics")
    numerics = numerics if isinstance(numerics, Mapping) else {}
    own = numerics.get(dtype)
    own = own if isinstance(own, Mapping) else {}
    return {**own, "flush_to_zero": numerics.get("flush_to_zero") is True or own.get("flush_to_zero") is True}


def measured(run: RunFolder) -> Measured:
    """The operators of a run, from their own cases and from models' nodes. Vectors, blocks and whole models are not
    looked at: they are no single operator of the suite's."""
    found: dict[Key, _Found] = {}
    for ident, case in run.plan.cases.items():
        if case.source in (Source.OPERATOR, Source.MODEL):
            _add(found.setdefault((case.domain, case.operator, case.dtype), _Found()), case, run.results[ident])
    extensions = {o.key for o in run.plan.operators if o.extension}
    operators = tuple(
        _measurement(key, one, declared_of(run.backend, key[2]), key[:2] in extensions)
        for key, one in sorted(found.items(), key=lambda item: (item[0][:2] in extensions, item[0]))
        if one.cases
    )
    # Operators outside ONNX's own domains belong to no tier, whatever becomes of them.
    own = [m for m in operators if not m.extension]
    contradictions = [*_formats(own, found), *_flushing(own, found, run.backend)]
    return Measured(operators, tuple(contradictions))


def _add(to: _Found, case: PlannedCase, result: Result) -> None:
    error = result.error
    if not isinstance(error, Mapping) or not isinstance(error.get("units"), (int, float)):
        return
    if case.dtype not in DTYPES or DTYPES[case.dtype].kind != "float" or error.get("ulp") is None:
        return
    to.cases += 1
    to.failed += not result.passed
    to.inaccurate += result.verdict is Verdict.INACCURATE
    to.flushed += _count(error.get("flushed"))
    to.kept += _count(error.get("kept"))
    if "special" in case.tags:  # infinities and subnormal numbers: their errors say nothing of digits
        return
    bits, mode, terms = _real(error.get("bits")), error.get("mode"), _count(error.get("terms"))
    if bits is not None:
        to.bits.append(bits)
    if isinstance(mode, Mapping):
        inputs, results = mode.get("inputs", ""), mode.get("results", "")
        if {inputs, results} <= {"", *FORMATS} and (inputs or results):
            to.modes[Mode(inputs, results)] += 1
    if terms and not (isinstance(mode, Mapping) and mode.get("inputs")):
        # Where the operands explain the errors, the accumulator has no part in them.
        to.sums.append((terms, _real(error.get("accumulator"))))


def _real(value: Any) -> float | None:
    number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if number else None


def _count(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def _measurement(key: Key, found: _Found, declared: Mapping[str, Any], extension: bool) -> Measurement:
    domain, operator, dtype = key
    mode, named = found.modes.most_common(1)[0] if found.modes else (None, 0)
    return Measurement(
        operator=operator,
        domain=domain,
        dtype=dtype,
        cases=found.cases,
        passed=not found.failed,
        bits=round(statistics.median(found.bits), 1) if found.bits else None,
        least=round(min(found.bits), 1) if found.bits else None,
        mode=mode,
        named=named,
        inaccurate=found.inaccurate,
        accumulator=_accumulator(found.sums),
        declared_mode=_text(declared.get("mode")),
        declared_accumulator=_text(declared.get("accumulator")),
        extension=extension,
    )


def _text(declared: Any) -> str:
    return declared if isinstance(declared, str) else ""


def _accumulator(sums: Sequence[tuple[int, float | None]]) -> Accumulator | None:
    """The accumulator that sums of several lengths show, by the growth of their errors with K."""
    seen = [(math.log2(terms), bits) for terms, bits in sums if bits is not None]
    if len(seen) < POINTS or 2 * len(seen) < len(
        sums
    ):  # in most sums nothing shows but the rounding of the result
        return None
    places, bits = zip(*seen, strict=True)
    if 2.0 ** (max(places) - min(places)) < SPAN:
        return None
    slope, start = statistics.linear_regression(places, bits)
    apart = [b - (start + slope * p) for p, b in seen]
    if abs(slope) > SLOPE or math.sqrt(statistics.fmean(a * a for a in apart)) > SCATTER:
        return None
    middle = statistics.median(bits)
    name = next((name for name, low, high in ACCUMULATORS if low <= middle < high), "")
    return Accumulator(round(middle, 1), name, round(2.0 ** min(places)), round(2.0 ** max(places)))


def _formats(operators: Iterable[Measurement], found: Mapping[Key, _Found]) -> list[Contradiction]:
    """Modes and accumulators that are narrower than declared. One that is wider is no contradiction: more precision than
    was promised is always legal. What is declared in other words than the table's cannot be held against anything."""
    where: dict[tuple[str, str, str, Mode | str], list[str]] = {}
    for m in operators:
        promised = DECLARED.get(m.declared_mode, 0)
        for mode in found[m.domain, m.operator, m.dtype].modes:
            if min(FORMATS[name] for name in (mode.inputs, mode.results) if name) < promised:
                where.setdefault((m.dtype, "mode", m.declared_mode, mode), []).append(m.label)
        own = m.accumulator
        if own is not None and own.format and DECLARED[own.format] < DECLARED.get(m.declared_accumulator, 0):
            where.setdefault((m.dtype, "accumulator", m.declared_accumulator, own.format), []).append(m.label)
    return [Contradiction(*key, tuple(labels)) for key, labels in where.items()]


def _flushing(
    operators: Iterable[Measurement], found: Mapping[Key, _Found], backend: Mapping[str, Any]
) -> list[Contradiction]:
    """Flush-to-zero that is declared, and done in some operators and not in others."""
    by_dtype: dict[str, list[tuple[str, _Found]]] = {}
    for m in operators:
        if declared_of(backend, m.dtype)["flush_to_zero"]:
            by_dtype.setdefault(m.dtype, []).append((m.label, found[m.domain, m.operator, m.dtype]))
    contradictions = []
    for dtype, group in sorted(by_dtype.items()):
        flushing = [label for label, one in group if one.flushed]
        keeping = [label for label, one in group if one.kept]
        if flushing and keeping:
            contradictions.append(
                Contradiction(dtype, "flush_to_zero", "true", ", ".join(flushing), tuple(keeping))
            )
    return contradictions
