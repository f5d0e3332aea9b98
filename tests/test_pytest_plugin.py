"""The suite under pytest: the verdicts of the command line, as tests of a vendor's own that run in their CI."""

from __future__ import annotations

import subprocess
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from command_line import SCRIPTS, call, verdicts

WRAPPING = f"{Path(__file__).parent / 'backends_planted' / 'wrapping.py'}"

pytestmark = pytest.mark.usefixtures("cache")


def run_pytest(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(SCRIPTS / "pytest"), "-q", "-p", "no:cacheprovider", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)


def run_suite(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run_pytest(folder, "--pyargs", "conformance.suite", "--junitxml", "junit.xml", *arguments)


def judged(folder: Path) -> dict[str, tuple[str, str]]:
    """Of each case that ran: its verdict, and what pytest made of it."""
    found = {}
    for test in ET.parse(folder / "junit.xml").getroot().iter("testcase"):
        case = test.get("name", "").removeprefix("test_case[").removesuffix("]")
        (verdict,) = [p.get("value", "") for p in test.iter("property") if p.get("name") == "verdict"]
        outcome = next((child.tag for child in test if child.tag != "properties"), "passed")
        assert case not in found
        found[case] = (verdict, outcome)
    return found


@pytest.fixture(scope="module")
def commanded(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The verdicts that the command line gives for the smoke suite's samples of Softmax and LogSoftmax."""
    folder = tmp_path_factory.mktemp("commanded") / "run"
    selection = ("--suite", "smoke", "--operator", "Softmax", "--operator", "LogSoftmax")
    assert call("run", "onnxruntime", *selection, "-o", folder).status == 0
    return verdicts(folder)


@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["alone", "xdist"])
def test_verdicts_are_those_of_the_command_line(
    tmp_path: Path, commanded: dict[str, str], workers: tuple[str, ...]
) -> None:
    done = run_suite(
        tmp_path, "--backend", "onnxruntime", "--suite", "smoke", "-k", "Softmax/ and not QLinear", *workers
    )
    assert done.returncode == 0, done.stdout
    found = judged(tmp_path)
    assert {case: verdict for case, (verdict, _) in found.items()} == commanded
    assert set(found.values()) == {("pass", "passed"), ("unsupported", "skipped")}


def test_a_planted_defect_fails_its_tests_and_says_what_is_wrong(
    tmp_path: Path, commanded: dict[str, str]
) -> None:
    options = ("--backend-option", "operator=Softmax", "--backend-option", "attribute=axis")
    backend = ("--backend", f"{WRAPPING}:IgnoresAttribute", *options)
    done = run_suite(tmp_path, *backend, "--suite", "smoke", "-k", "Softmax/ and not bfloat16 and not QLinear")
    assert done.returncode == 1
    found = judged(tmp_path)
    failed = {case for case, (_, outcome) in found.items() if outcome == "failure"}
    assert failed == {"Softmax/first-axis/float32", "Softmax/first-axis/float16"}
    assert set(found) == {case for case in commanded if "bfloat16" not in case}
    assert "Softmax/first-axis/float32: inaccurate: " in done.stdout
    assert "Traceback" not in done.stdout
    assert "pytest_plugin.py" not in done.stdout  # where it failed is no news: what failed is


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ([], "conformance.suite needs --backend NAME"),
        (["-n", "2"], "conformance.suite needs --backend NAME"),
        (["--backend", "onnxruntme"], "unknown backend 'onnxruntme' (did you mean onnxruntime?)"),
        (["--backend", "./missing.py"], "backend file missing.py: No such file or directory"),
        (["--backend", "onnxruntime", "--suite", "quick", "-n", "2"], "unknown suite 'quick'; there are smoke,"),
        (["--backend", "onnxruntime", "--opset", "99"], "opset 99 is outside 13.."),
        (["--backend", "onnxruntime", "--backend-option", "x"], "--backend-option x: KEY=VALUE is meant"),
    ],
)
def test_wrong_usage_is_one_line(tmp_path: Path, arguments: list[str], complaint: str) -> None:
    done = run_suite(tmp_path, *arguments)
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    (line,) = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    assert line.startswith(f"ERROR: {complaint}")


def test_a_backend_that_does_not_start_ends_the_session_once(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("import no_such_driver\n", encoding="utf-8")
    done = run_suite(tmp_path, "--backend", "./broken.py", "--suite", "smoke", "-k", "Softmax/ and not QLinear")
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    reason = "the backend ./broken.py does not start: error: ModuleNotFoundError in start: No module named"
    assert done.stdout.count(reason) == 1
    assert "failed" not in done.stdout


TESTS_OF_OTHERS = """
import sys

def test_nothing_heavy_came_with_the_plugin(pytestconfig):
    assert pytestconfig.pluginmanager.hasplugin("conformance")
    assert not {"torch", "onnx", "numpy", "onnxruntime"} & set(sys.modules)
"""


def test_tests_of_others_pay_nothing_for_the_plugin(tmp_path: Path) -> None:
    (tmp_path / "test_others.py").write_text(TESTS_OF_OTHERS, encoding="utf-8")
    done = run_pytest(tmp_path, "-p", "no:hypothesispytest", "test_others.py")
    assert done.returncode == 0, done.stdout
