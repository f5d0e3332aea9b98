"""The pytest front end: every case of the plan is a test, with the verdicts of the command line.

    pytest --pyargs conformance.suite --backend onnxruntime -k Conv

Verdicts come from `run.verdict_of`; only here do they become passes, failures and skips.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from .casework import Ready
    from .plan import Plan
    from .spec import Case

__all__: list[str] = []


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("conformance", "conformance of an AI backend")
    group.addoption("--backend", help="the backend under test: a built-in name, package.module:Class or a file")
    group.addoption(
        "--backend-option", action="append", default=[], metavar="KEY=VALUE", help="passed to the backend"
    )
    group.addoption("--suite", default="standard", help="smoke, standard or full")
    group.addoption("--opset", type=int, default=21, help="the opset that the suite runs as of")
    group.addoption("--conformance-seed", type=int, default=0, help="draw inputs and weights anew")
    group.addoption("--case-timeout", type=float, default=60.0, help="seconds for one case")


def _plan(config: pytest.Config) -> Plan:
    from .errors import UsageError
    from .plan import Selection, build_plan

    try:
        return build_plan(
            Selection(
                config.getoption("--suite"), config.getoption("--opset"), config.getoption("--conformance-seed")
            )
        )
    except UsageError as error:
        raise pytest.UsageError(str(error)) from None


_PLAN = pytest.StashKey[Any]()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "conformance_case" not in metafunc.fixturenames:
        return
    config = metafunc.config
    if not config.getoption("--backend"):
        raise pytest.UsageError("conformance.suite needs --backend NAME")
    if _PLAN not in config.stash:
        config.stash[_PLAN] = _plan(config)
    cases = config.stash[_PLAN].cases
    metafunc.parametrize("conformance_case", cases, ids=[c.id for c in cases])


class Runner:
    """One backend process and the references, for as long as the session lasts."""

    def __init__(self, config: pytest.Config) -> None:
        from .backends import resolve
        from .casework import Casework
        from .cli import pairs
        from .errors import UsageError
        from .goldens import default_folder
        from .pool import Launch, Pool

        try:
            launch = Launch(resolve(config.getoption("--backend")), pairs(config.getoption("--backend-option")))
        except UsageError as error:
            raise pytest.UsageError(str(error)) from None
        self._plan: Plan = config.stash[_PLAN]
        self._timeout: float = config.getoption("--case-timeout")
        self._pool = Pool(launch)
        self._casework = Casework(self._plan, default_folder())
        self._casework.__enter__()
        self._primed: set[str] = set()

    @cached_property
    def described(self) -> dict[str, Any]:
        """What the backend says of itself."""
        return self._pool.describe()

    def run(self, case: Case) -> Any:
        """The judgement on a case."""
        from .run import judge_one

        return judge_one(self._pool, self._ready(case), case, self.described, self._timeout)

    def _ready(self, case: Case) -> Ready:
        from .spec import Source

        if case.source is Source.OPERATOR:
            return self._casework.operator_case(case)
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
