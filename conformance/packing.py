"""Several cases in one model, for backends whose compilers are slow, and what came of each of them apart again.

A pack only ever gives good news: a case whose part of the outcome is not accepted runs again in a model of its own, and
a pack that fails as a whole is halved until the cases that it fails for are alone.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import compose

from .pool import Outcome, Pool, Task
from .protocol import agree, described

__all__ = ["run_packed"]

# A model of more bytes than this is worth a compilation of its own.
LARGE = 1 << 20


@dataclass(frozen=True, slots=True)
class _Pack:
    """Tasks that share a model: ``counts``, how many of its outputs belong to each."""

    members: tuple[Task, ...]
    task: Task
    counts: tuple[int, ...]


def run_packed(
    pool: Pool,
    tasks: Iterable[Task],
    size: int,
    may: Callable[[Task], bool],
    accept: Callable[[Outcome], bool],
    write: Callable[[onnx.ModelProto], Path],
) -> Iterator[Outcome]:
    """The tasks' outcomes, one for each, as ``Pool.run`` gives them, with up to ``size`` of them in one model.

    ``may``: whether a task can share a model at all. ``accept``: whether an outcome from a shared model stands.
    ``write``: puts a model into a file, which is removed when it was run.
    """
    waiting = _grouped(iter(tasks), size, may)
    again: deque[tuple[Task, ...]] = deque()
    running: dict[str, _Pack] = {}

    def supply() -> Iterator[Task]:
        while True:
            members = again.popleft() if again else next(waiting, None)
            if members is None:
                return
            pack = _packed(members, write)
            running[pack.task.id] = pack
            yield pack.task

    while True:
        for outcome in pool.run(supply()):
            pack = running.pop(outcome.id)
            if len(pack.members) == 1:
                yield outcome
                continue
            pack.task.model.unlink(missing_ok=True)
            parts = _parts(pack, outcome)
            if parts is None:
                half = len(pack.members) // 2
                again += [pack.members[:half], pack.members[half:]]
                continue
            for member, part in zip(pack.members, parts, strict=True):
                if accept(part):
                    yield part
                else:
                    again.append((member,))
        if not again:  # the pool asks no more once there was nothing
            return


def _grouped(tasks: Iterator[Task], size: int, may: Callable[[Task], bool]) -> Iterator[tuple[Task, ...]]:
    """Tasks that can share a model, ``size`` at a time; the others alone."""
    groups: dict[Any, list[Task]] = {}
    for task in tasks:
        kind = _kind(task) if may(task) else None
        if kind is None:
            yield (task,)
            continue
        group = groups.setdefault(kind, [])
        group.append(task)
        if len(group) == size:
            yield tuple(groups.pop(kind))
    yield from map(tuple, groups.values())


def _kind(task: Task) -> Any:
    """What two tasks must have in common to share a model; None for one that shares with nobody."""
    if task.model.stat().st_size > LARGE:
        return None
    first = task.feeds[0]
    for feed in task.feeds:
        if not all(isinstance(value, np.ndarray) for value in feed.values()):
            return None
        if any(np.shape(value) != np.shape(first[name]) for name, value in feed.items()):
            return None
    model = onnx.load(str(task.model), load_external_data=False)
    if model.functions:
        return None
    return len(task.feeds), task.repeats, tuple(sorted((o.domain, o.version) for o in model.opset_import))


def _packed(members: tuple[Task, ...], write: Callable[[onnx.ModelProto], Path]) -> _Pack:
    if len(members) == 1:
        return _Pack(members, members[0], ())
    whole = onnx.ModelProto()
    counts = []
    feeds: list[dict[str, Any]] = [{} for _ in members[0].feeds]
    for position, member in enumerate(members):
        model = onnx.load(str(member.model))
        counts.append(len(model.graph.output))
        prefix = f"case{position}_"
        for feed, own in zip(feeds, member.feeds, strict=True):
            feed.update({prefix + name: value for name, value in own.items()})
        graph = compose.add_prefix_graph(model.graph, prefix)
        if not position:
            whole.CopyFrom(model)
            whole.graph.CopyFrom(graph)
            continue
        whole.ir_version = max(whole.ir_version, model.ir_version)
        for field in ("node", "initializer", "sparse_initializer", "input", "output", "value_info"):
            getattr(whole.graph, field).extend(getattr(graph, field))
    task = Task(
        f"{members[0].id} and {len(members) - 1} more",
        write(whole),
        tuple(feeds),
        repeats=members[0].repeats,
        timeout=max(member.timeout for member in members),
    )
    return _Pack(members, task, tuple(counts))


def _parts(pack: _Pack, outcome: Outcome) -> list[Outcome] | None:
    """Each task's outcome; None where the model failed, or gave another number of outputs than it has."""
    answers = [*outcome.outputs, *(other for others in outcome.others for other in others)]
    if outcome.status != "ok" or any(len(answer) != sum(pack.counts) for answer in answers):
        return None
    parts = []
    start = 0
    for member, count in zip(pack.members, pack.counts, strict=True):
        own = slice(start, start + count)
        start += count
        outputs = [answer[own] for answer in outcome.outputs]
        others = [_different(a, [o[own] for o in b]) for a, b in zip(outputs, outcome.others, strict=False)]
        differs = any(others)
        parts.append(
            replace(
                outcome,
                id=member.id,
                outputs=outputs,
                others=others if differs else [],
                repeat="differs" if differs else "identical" if member.repeats > 1 else "not-repeated",
                seconds=outcome.seconds / len(pack.members),
                prepare_seconds=outcome.prepare_seconds / len(pack.members),
                growth=None,  # nobody can tell whose it was
                packed=len(pack.members),
            )
        )
    return parts


def _different(first: Sequence[Any], others: Sequence[Sequence[Any]]) -> list[list[Any]]:
    """Those of the others that are neither the first nor each other."""
    kept: list[list[Any]] = []
    for other in others:
        if not any(agree(described(other), described(known)) for known in (first, *kept)):
            kept.append(list(other))
    return kept
