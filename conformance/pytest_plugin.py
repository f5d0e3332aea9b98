"""The pytest front end: every case of the plan is a test, with the verdicts of the command line.

    pytest --pyargs conformance.suite --backend onnxruntime -k Conv

Verdicts come from `run.verdict_of`; only here do they become passes, failures and skips.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from .casework import Ready
    from .plan import Plan, Selection
    from .pool import Launch
    from .spec import Case

__all__: list[str] = []


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("conformance", "conformance of an AI backend")
    group.addoption("--backend", help="the backend under test: a built-in name, package.module:Class or a file")
    group.addoption(
        "--backend-option", action="append", default=[], metavar="KEY=VALUE", help="passed to the backend"
    )
    group.addoption("--suite", default="standard", help="smoke, standard, full, vectors or models-from")
    group.addoption("--vectors", default="", metavar="NAME", help="ONNX's published vectors too: onnx for all")
    group.addoption(
        "--models-from",
        action="append",
        default=[],
        metavar="PLACE",
        help="a package's or a folder's .onnx files too",
    )
    group.addoption("--opset", type=int, default=21, help="the opset that the suite runs as of")
    group.addoption("--conformance-seed", type=int, default=0, help="draw inputs and weights anew")
    group.addoption("--case-timeout", type=float, default=60.0, help="seconds for one case")


SUITE = "conformance.suite"


@contextlib.contextmanager
def _usage() -> Iterator[None]:
    """Wrong usage in pytest's own words."""
    from .errors import UsageError

    try:
        yield
    except UsageError as error:
        raise pytest.UsageError(str(error)) from None


def _selection(config: pytest.Config) -> Selection:
    from .plan import Selection

    return Selection(
        config.getoption("--suite"),
        config.getoption("--opset"),
        config.getoption("--conformance-seed"),
        vectors=config.getoption("--vectors"),
        further=tuple(config.getoption("--models-from")),
    )


def _launch(config: pytest.Config) -> Launch:
    from .backends import resolve
    from .cli import pairs
    from .environments import place_of
    from .pool import Launch

    backend = config.getoption("--backend")
    if not backend:
        raise pytest.UsageError(f"{SUITE} needs --backend NAME")
    python, variables = place_of(backend, None)
    options = pairs(config.getoption("--backend-option"), "--backend-option")
    return Launch(resolve(backend), options, python, env=variables)


def pytest_configure(config: pytest.Config) -> None:
    # Here pytest says what is wrong in one line; while it collects, it would be a traceback, with xdist one a worker.
    if any(argument.partition("::")[0].startswith(SUITE) for argument in config.args):
        from .plan import check

        with _usage():
            _launch(config)
            check(_selection(config))


_PLAN = pytest.StashKey[Any]()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "conformance_case" not in metafunc.fixturenames:
        return
    config = metafunc.config
    if _PLAN not in config.stash:
        from .plan import build_plan

        with _usage():
            _launch(config)
            config.stash[_PLAN] = build_plan(_selection(config))
    cases = config.stash[_PLAN].cases
    metafunc.parametrize("conformance_case", cases, ids=[c.id for c in cases])


class Runner:
    """One backend process and the references, for as long as the session lasts."""

    def __init__(self, config: pytest.Config) -> None:
        from .casework import Casework
        from .demands import Demands
        from .goldens import default_folder
        from .pool import Pool
        from .run import refusal_to_start

        self._plan: Plan = config.stash[_PLAN]
        self._timeout: float = config.getoption("--case-timeout")
        self._pool = Pool(_launch(config))
        self.described = self._pool.describe()
        if reason := refusal_to_start(config.getoption("--backend"), self.described):
            self._pool.close()
            if hasattr(config, "workerinput"):  # xdist takes a worker that leaves for a defect of its own
                pytest.fail(reason, pytrace=False)
            pytest.exit(reason, pytest.ExitCode.USAGE_ERROR)
        self._casework = Casework(self._plan, default_folder(), Demands.of(self.described))
        self._casework.__enter__()
        self._primed: set[str] = set()

    def run(self, case: Case) -> Any:
        """The judgement on a case."""
        from .run import judge_one

        runs = self._plan.selection.runs
        return judge_one(self._pool, self._ready(case), case, self.described, self._timeout, runs)

    def _ready(self, case: Case) -> Ready:
        from .spec import Source

        if case.source is Source.OPERATOR:
            return self._casework.operator_case(case)
        if case.source is Source.VECTOR:
            return self._casework.vector_case(case)
        assert case.model is not None
        if case.model not in self._primed:
            # One run of the model makes the references of all its cases.
            self._primed.add(case.model)
            for ready in self._casework.model_cases(
                case.model, [c for c in self._plan.cases if c.model == case.model]
            ):
                if ready.scratch is not None:
                    ready.scratch.unlink()
        return next(iter(self._casework.model_cases(case.model, [case])))

    def close(self) -> None:
        self._casework.__exit__()
        self._pool.close()


@pytest.fixture(scope="session")
def conformance_runner(request: pytest.FixtureRequest) -> Iterator[Runner]:
    """The backend under test, ready to run cases."""
    runner = Runner(request.config)
    yield runner
    runner.close()
