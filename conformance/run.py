"""A run: the plan's cases through the backend, each verdict in the journal as soon as it is made."""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import platform
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from .casework import Casework, Ready
from .demands import Demands
from .environments import interpreter_of, record_of
from .errors import UsageError
from .figures import published
from .files import write_whole
from .journal import Journal
from .judge import Judgement, combine, judge
from .measured import declared_of
from .modes import named
from .packing import run_packed
from .plan import Plan
from .pool import Launch, Outcome, Pool, Task
from .resume import header_so_far, verdicts_so_far
from .runfolder import PLAN, RUN, WAIVERS
from .spec import Case, Source, Verdict

__all__ = ["Options", "Tally", "execute", "judge_one", "refusal_to_start", "verdict_of"]

# A whole model is one case: what an operator gets, many times over.
WHOLE_MODEL_PATIENCE = 10.0

_STATUS = {
    "unsupported": Verdict.UNSUPPORTED,
    "error": Verdict.ERROR,
    "crash": Verdict.CRASH,
    "timeout": Verdict.TIMEOUT,
    "out-of-memory": Verdict.OUT_OF_MEMORY,
    "malformed": Verdict.WRONG,
}


@dataclass(frozen=True, slots=True)
class Options:
    """How a run goes about its work. ``timeout``: seconds for two runs of one case, and more for more."""

    jobs: int = 1
    timeout: float = 60.0
    resume: bool = False
    cache: Path = Path()
    published_only: bool = False
    command: tuple[str, ...] = ()


@dataclass(slots=True)
class Tally:
    """How far a run has come; what a progress display shows."""

    planned: int
    counts: dict[Verdict, int]
    last: str = ""

    @property
    def done(self) -> int:
        return sum(self.counts.values())


def execute(
    plan: Plan,
    launch: Launch,
    spec: str,
    folder: Path,
    options: Options,
    waivers: Path | None = None,
    progress: Callable[[Tally], None] = lambda tally: None,
) -> Tally:
    """Run a plan into a run folder: run.json, plan.json, results.jsonl and, where given, a copy of the waivers.

    ``spec`` is the backend as the user named it. Raises ``UsageError`` for a folder that holds another run, a
    backend that cannot be started at all, and a disk that takes no more; whatever had a verdict keeps it.
    """
    suite = plan.suite()
    identity = {
        "backend": spec,
        "options": dict(launch.options),
        "python": launch.python,
        "suite": suite["name"],
        "digest": suite["digest"],
        "seed": suite["seed"],
        "vectors": plan.vectors_digest,
        "further": plan.further_digest,
    }
    with Journal.open(folder, resume=options.resume, identity=identity) as journal:
        verdicts = verdicts_so_far(journal.completed, plan, folder)
        finished = {case for case, verdict in verdicts.items() if verdict is not Verdict.NOT_RUN}
        tally = Tally(len(plan.cases), dict(Counter(verdicts[case] for case in finished)))
        started = time.monotonic()
        with Pool(launch, jobs=options.jobs) as pool, contextlib.ExitStack() as stack:
            described = pool.describe()
            if reason := refusal_to_start(spec, described):
                raise UsageError(reason)
            demands = Demands.of(described)
            casework = stack.enter_context(
                Casework(plan, options.cache, demands, published_only=options.published_only)
            )
            header = _run_json(plan, spec, launch, described, options)
            if journal.completed:
                # Waivers are held against the day on which the run began.
                header["started"] = header_so_far(folder, described)["started"]
            _write_json(folder / PLAN, plan.as_json())
            _write_json(folder / RUN, header)
            if waivers is not None:
                (folder / WAIVERS).write_bytes(waivers.read_bytes())
            progress(tally)
            bits = {
                case: record["error"]["bits"]
                for case, record in journal.completed.items()
                if case in finished and _has_bits(record)
            }
            for record in _results(plan, pool, casework, demands, described, finished, options, bits):
                journal.append(record)
                verdict = Verdict(record["verdict"])
                tally.counts[verdict] = tally.counts.get(verdict, 0) + 1
                tally.last = record["case"]
                progress(tally)
        header["finished"] = _now()
        header["seconds"] = round(time.monotonic() - started, 3)
        _write_json(folder / RUN, header)
    return tally


def refusal_to_start(spec: str, described: Mapping[str, Any]) -> str:
    """Why a backend does not start, in one line; "" for one that does."""
    if "interpreter" in described:
        return ""
    reason = " ".join(str(described["error"]).split()).replace("the backend did not start: ", "")
    environment = record_of(spec)
    missing = environment is not None and interpreter_of(environment) is None
    hint = f"; `conformance setup {spec}` makes its environment" if missing else ""
    return f"the backend {spec} does not start: {reason}{hint}"


def _has_bits(record: Mapping[str, Any]) -> bool:
    return record.get("source") == Source.MODEL and record.get("error", {}).get("bits") is not None


def _results(
    plan: Plan,
    pool: Pool,
    casework: Casework,
    demands: Demands,
    described: Mapping[str, Any],
    finished: set[str],
    options: Options,
    bits: dict[str, float],
) -> Iterator[dict[str, Any]]:
    """A record for every case without one, as the verdicts come."""
    waiting: dict[str, Ready] = {}
    settled: list[dict[str, Any]] = []

    def tasks() -> Iterator[Task]:
        for case in plan.cases:
            if case.id not in finished and (why := demands.refusal(case)):
                settled.append(_record(case, Judgement(Verdict.UNSUPPORTED, why, {})))
                finished.add(case.id)
        for ready in casework.ready(lambda case: case.id in finished):
            if ready.declined:
                settled.append(_record(ready.case, Judgement(Verdict.UNSUPPORTED, ready.declined, {})))
                continue
            if ready.problem:
                settled.append(_record(ready.case, Judgement(Verdict.NOT_RUN, ready.problem, {})))
                continue
            waiting[ready.case.id] = ready
            yield _task(ready, options.timeout, plan.selection.runs)

    accepted: dict[str, Judgement] = {}

    def judgement(outcome: Outcome) -> Judgement:
        return _judgement(waiting[outcome.id], outcome, described)

    def may_share(task: Task) -> bool:
        ready = waiting[task.id]
        return ready.expected is not None and ready.case.source is not Source.END_TO_END

    def passes(outcome: Outcome) -> bool:
        found = judgement(outcome)
        if found.verdict is Verdict.PASS:
            accepted[outcome.id] = found
        return outcome.id in accepted

    packed = run_packed(pool, tasks(), demands.packs, may_share, passes, casework.write)
    for outcome in packed if demands.packs > 1 else pool.run(tasks()):
        yield from _take(settled)
        judged = accepted.pop(outcome.id, None) or judgement(outcome)
        ready = waiting.pop(outcome.id)
        record = _record(ready.case, judged, outcome)
        if ready.scratch is not None:
            ready.scratch.unlink(missing_ok=True)
        if _has_bits(record):
            bits[ready.case.id] = record["error"]["bits"]
        if ready.case.source is Source.END_TO_END:
            record["error"]["drift"] = _drift(plan, ready.case, bits)
        if ready.case.source is Source.VECTOR and outcome.status == "ok":
            record["error"]["similar"] = casework.similar(ready.case, outcome.outputs[0])
        yield record
    yield from _take(settled)


def _task(ready: Ready, timeout: float, runs: int) -> Task:
    whole = ready.case.source is Source.END_TO_END
    # A refusal is not repeated, and a whole model costs too much to run twice for its bits alone.
    repeats = 1 if whole or ready.expected is None else runs
    patience = WHOLE_MODEL_PATIENCE if whole else max(1.0, repeats / 2)
    return Task(ready.case.id, ready.model, ready.feeds, repeats=repeats, timeout=timeout * patience)


def judge_one(
    pool: Pool, ready: Ready, case: Case, described: Mapping[str, Any], timeout: float, runs: int
) -> Judgement:
    """The judgement on one case, for a front end that asks for them one at a time."""
    if why := Demands.of(described).refusal(case) or ready.declined:
        return Judgement(Verdict.UNSUPPORTED, why, {})
    if ready.problem:
        return Judgement(Verdict.NOT_RUN, ready.problem, {})
    (outcome,) = pool.run([_task(ready, timeout, runs)])
    judgement = _judgement(ready, outcome, described)
    if ready.scratch is not None:
        ready.scratch.unlink(missing_ok=True)
    return judgement


def _judgement(ready: Ready, outcome: Outcome, described: Mapping[str, Any]) -> Judgement:
    """The verdict by what the backend declares; for one that is inaccurate, the reduced precision that explains it."""
    flush = declared_of(described, ready.case.dtype)["flush_to_zero"]
    return named(verdict_of(ready, outcome, flush_to_zero=flush), ready, outcome.outputs)


def _take(settled: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    while settled:
        yield settled.pop(0)


def verdict_of(ready: Ready, outcome: Outcome, *, flush_to_zero: bool = False) -> Judgement:
    """The verdict on what came of a case: every front end's one way from an outcome to a judgement."""
    if ready.expected is None:
        return _refusal(outcome)
    if outcome.status != "ok":
        return Judgement(_STATUS[outcome.status], outcome.message, {})
    first = _judge_sets(ready, outcome.outputs, flush_to_zero)
    for outputs in _variants(outcome):
        again = _judge_sets(ready, outputs, flush_to_zero)
        if first.verdict is not again.verdict:
            bad = again if first.verdict is Verdict.PASS else first
            message = f"the same inputs gave {first.verdict} and then {again.verdict}: {bad.message}"
            return Judgement(Verdict.FLAKY, message, bad.error)
    return first


def _variants(outcome: Outcome) -> Iterator[Sequence[Sequence[Any]]]:
    """The outputs with those of one input set as another run gave them."""
    for position, others in enumerate(outcome.others):
        for other in others:
            yield [*outcome.outputs[:position], other, *outcome.outputs[position + 1 :]]


def _judge_sets(ready: Ready, outputs: Sequence[Sequence[Any]], flush_to_zero: bool) -> Judgement:
    assert ready.expected is not None
    inputs = ready.inputs or ((),) * len(ready.feeds)
    return combine(
        [
            judge(expected, actual, given, ready.attributes, flush_to_zero=flush_to_zero, lengths=ready.lengths)
            for expected, actual, given in zip(ready.expected, outputs, inputs, strict=True)
        ]
    )


def _refusal(outcome: Outcome) -> Judgement:
    # Only what the backend said of this model: one that does not start has not looked at it.
    if outcome.status in ("unsupported", "error") and outcome.stage in ("prepare", "run"):
        return Judgement(Verdict.PASS, f"refused: {outcome.message}", {})
    if outcome.status == "ok":
        return Judgement(Verdict.WRONG, "the model is invalid, but the backend computed something", {})
    return Judgement(_STATUS[outcome.status], outcome.message, {})


def _drift(plan: Plan, case: Case, bits: Mapping[str, float]) -> dict[str, float]:
    """Which operators the error of a whole model comes from: each one's share of the squared relative errors
    that its nodes had on the reference's inputs (first order, every node amplified alike)."""
    model = plan.model(case.model or "")
    energy: dict[str, float] = {}
    for node in model.nodes:
        if node.case in bits:
            energy[node.operator] = energy.get(node.operator, 0.0) + 4.0 ** -bits[node.case]
    total = sum(energy.values())
    ranked = sorted(energy.items(), key=lambda item: -item[1])
    return {operator: round(value / total, 4) for operator, value in ranked[:5]} if total else {}


def _record(case: Case, judgement: Judgement, outcome: Outcome | None = None) -> dict[str, Any]:
    record: dict[str, Any] = {
        "case": case.id,
        "operator": case.operator,
        "domain": case.domain,
        "opset": case.opset,
        "dtype": case.dtype,
        "source": str(case.source),
        "model": case.model,
        "verdict": str(judgement.verdict),
        "message": judgement.message,
        "error": dict(judgement.error),
        "seconds": 0.0,
        "repeat": "not-repeated",
    }
    if outcome is not None:
        record["seconds"] = round(outcome.seconds, 6)
        record["prepare_seconds"] = round(outcome.prepare_seconds, 6)
        record["repeat"] = outcome.repeat
        if outcome.runs:
            record["runs"] = outcome.runs
        if outcome.growth is not None:
            record["growth"] = round(outcome.growth)
        if outcome.packed > 1:
            record["packed"] = outcome.packed
        if outcome.after is not None:
            record["after"] = outcome.after
        if outcome.log and judgement.verdict is not Verdict.PASS:
            record["log"] = outcome.log
    return record


def _run_json(
    plan: Plan, spec: str, launch: Launch, described: Mapping[str, Any], options: Options
) -> dict[str, Any]:
    return {
        "format": 1,
        "suite": plan.suite(),
        "sensitivity": published(),
        "backend": {**described, "spec": spec, "options": dict(launch.options)},
        "environment": _environment(),
        "command": list(options.command),
        "started": _now(),
        "finished": None,
        "seconds": 0.0,
    }


def _environment() -> dict[str, Any]:
    packages = {}
    for name in ("numpy", "onnx", "onnxruntime", "torch", "ml_dtypes"):
        try:
            packages[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return {
        "platform": platform.platform(),
        "python": platform.python_version(),
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "packages": packages,
    }


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _now() -> str:
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")


def _write_json(path: Path, data: Mapping[str, Any]) -> None:
    """A line for each entry, which is as readable as indented and far faster to write."""
    write_whole(path, "{\n" + ",\n".join(_members(data)) + "\n}\n")


def _members(data: Mapping[str, Any]) -> Iterator[str]:
    for key, value in data.items():
        name = json.dumps(key)
        if isinstance(value, list) and value and isinstance(value[0], dict):
            yield f"{name}: [\n" + ",\n".join(json.dumps(v, ensure_ascii=False) for v in value) + "\n]"
        else:
            yield f"{name}: {json.dumps(value, ensure_ascii=False)}"
