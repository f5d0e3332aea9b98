"""Wrong usage and bad input: one line that says what is wrong, status 2, and nothing that was there is touched."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from command_line import FEW, MORE, SCRIPTS, Done, call, contents, copied, finish, lines, start, verdicts, wait_for

from conformance import casework, cli
from conformance.certificate import Certificate

PLANTED = Path(__file__).parent / "backends_planted"
WRAPPING = f"{PLANTED / 'wrapping.py'}"

pytestmark = pytest.mark.usefixtures("cache")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


# ------------------------------------------------------------------------------------------ wrong usage


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--operator", "Konv"], "unknown operator Konv; `conformance list operators` shows the"),
        (["--model", "resnet"], "unknown model resnet; `conformance list models` shows the"),
        (["--dtype", "half"], "unknown dtype half; ONNX's names are meant, such as float16"),
        (["--suite", "quick"], "'quick' is not one of 'smoke', 'standard', 'full'"),
        (["--opset", "9"], "opset 9 is outside 13.."),
        (["--opset", "99"], "opset 99 is outside 13.."),
        ([*FEW, "--dtype", "int64", "--dtype", "bool", "--dtype", "half"], "unknown dtype half"),
        (["--model", "tcn", "--operator", "Softmax", "--dtype", "int64"], "the selection leaves no case: loosen"),
        ([*FEW, "--option", "device"], "--option device: KEY=VALUE is meant"),
        ([*FEW, "--option", "=1"], "--option =1: KEY=VALUE is meant"),
        ([*FEW, "--option", "optimization=most"], "does not start: error: ValueError in start: optimization=most"),
        ([*FEW, "--option", "threads=many"], "does not start: error: ValueError in start: invalid literal"),
        ([*FEW, "--python", "/no/python"], "no such interpreter: /no/python"),
        ([*FEW, "--python", "/bin/true"], "does not start: crash: exited with status 0"),
        ([*FEW, "--jobs", "0"], "'--jobs': 0 is not in the range"),
        ([*FEW, "--timeout", "nan"], "'--timeout': 'nan' is not a number of this kind"),
        ([*FEW, "--timeout", "inf"], "'--timeout': 'inf' is not a number of this kind"),
        ([*FEW, "--memory", "inf"], "'--memory': 'inf' is not a number of this kind"),
        ([*FEW, "--memory", "0"], "'--memory': 0.0 is not in the range"),
        ([*FEW, "--require-tier", "4"], "'--require-tier': 4 is not in the range"),
        ([*FEW, "--goldens", "nowhere"], "no such folder of published goldens: nowhere"),
        ([*FEW, "--frobnicate"], "No such option"),
        ([*FEW, "more"], "unexpected extra argument (more)"),
    ],
)
def test_a_run_that_cannot_be_is_one_line_and_leaves_nothing(
    here: Path, arguments: list[str], complaint: str
) -> None:
    done = call("run", "onnxruntime", *arguments, "-o", here / "run")
    assert done.status == 2
    assert complaint in done.complaint
    assert list(here.iterdir()) == []


BACKENDS = {
    "syntax.py": ("class Backend\n", "backend file syntax.py:1: expected ':'"),
    "empty.py": ("x = 1\n", "empty.py has no class with a prepare method"),
    "no_prepare.py": ("class Backend:\n    pass\n", "has no prepare method"),
    "two.py": ("class A:\n    prepare = 1\nclass B:\n    prepare = 1\n", "two.py has several backends: A, B"),
    "raises.py": ("import no_such_driver\n", "No module named 'no_such_driver'"),
    "leaves.py": ("raise SystemExit('licence expired')\n", "SystemExit in start: licence expired"),
    "two_lines.py": ("raise OSError('no device\\nhere')\n", "OSError in start: no device here"),
    "dies.py": (
        (PLANTED / "dies_at_import.py").read_text(encoding="utf-8"),
        "status 9 and no answer (libacme.so: no",
    ),
    "unsupported.py": (
        "class Unsupported(Exception): pass\n"
        "class Backend:\n"
        "    def __init__(self): raise Unsupported('no such card')\n"
        "    def prepare(self, model): pass\n",
        "does not start: unsupported: no such card",
    ),
}


@pytest.mark.parametrize("name", BACKENDS)
def test_a_backend_that_cannot_be_loaded_is_one_line_and_leaves_nothing(here: Path, name: str) -> None:
    source, complaint = BACKENDS[name]
    (here / name).write_text(source, encoding="utf-8")
    done = call("run", name, *FEW, "-o", "run")
    assert done.status == 2
    assert complaint in done.complaint
    assert [path.name for path in here.iterdir() if path.name != "__pycache__"] == [name]


@pytest.mark.parametrize(
    ("backend", "complaint"),
    [
        ("onnxruntme", "unknown backend 'onnxruntme' (did you mean onnxruntime?)"),
        ("./missing.py", "backend file missing.py: No such file or directory"),
        ("no.such.module:Class", "No module named 'no'"),
        (f"{WRAPPING}:Missing", "has no Missing"),
    ],
)
def test_a_backend_that_is_not_there_is_one_line(here: Path, backend: str, complaint: str) -> None:
    done = call("run", backend, *FEW, "-o", "run")
    assert done.status == 2
    assert complaint in done.complaint
    assert list(here.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (None, "waivers.toml: no such file of waivers"),
        ("[[waiver]\n", "waivers.toml: cannot be read as TOML"),
        ("\xff", "waivers.toml: cannot be read as TOML"),
        ('[[waiver]]\ncase = "Conv/*"\n', "waivers.toml: waiver 1: 'backend' is missing or empty"),
        ('waivers = "none"\n', "waivers.toml: unknown key 'waivers'"),
    ],
)
def test_waivers_that_cannot_be_used_stop_the_run_before_it_begins(
    here: Path, text: str | None, complaint: str
) -> None:
    if text is not None:
        (here / "waivers.toml").write_bytes(text.encode("latin-1"))
    before = contents(here)
    done = call("run", "onnxruntime", *FEW, "-o", "run", "--waivers", "waivers.toml")
    assert done.status == 2
    assert complaint in done.complaint
    assert contents(here) == before


def test_no_command_at_all_shows_the_help(here: Path) -> None:
    done = call()
    assert (done.status, done.err) == (2, "")
    assert "Usage: conformance" in done.out


# ---------------------------------------------------------------------------- output that is taken already


OTHERS = [
    ([], "holds a run: continue it with --resume, or choose another folder"),
    (["--resume", "--seed", "1"], "holds another run: its seed is 0, not 1"),
    (["--resume", "--operator", "LogSoftmax"], "holds another run: its digest is"),
    (["--resume", "--option", "threads=2"], 'holds another run: its options is {}, not {"threads": "2"}'),
]


@pytest.mark.parametrize(("arguments", "complaint"), OTHERS)
def test_a_folder_with_another_run_stays_as_it_is(
    good: Path, tmp_path: Path, arguments: list[str], complaint: str
) -> None:
    folder = copied(good, tmp_path / "run")
    done = call("run", "onnxruntime", *MORE, *arguments, "-o", folder)
    assert done.status == 2
    assert complaint in done.complaint
    assert contents(folder) == contents(good)


def test_a_run_is_not_resumed_with_another_backend_or_another_version_of_it(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    assert call("run", f"{WRAPPING}:Good", *FEW, "-o", folder).status == 0
    before = contents(folder)
    done = call("run", "onnxruntime", *FEW, "-o", folder, "--resume")
    assert done.status == 2
    assert "holds another run: its backend is" in done.complaint
    # The same name, but what it stands for was upgraded since.
    header = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    header["backend"]["version"] = "0.9"
    (folder / "run.json").write_text(json.dumps(header), encoding="utf-8")
    before = contents(folder)
    done = call("run", f"{WRAPPING}:Good", *FEW, "-o", folder, "--resume")
    assert done.status == 2
    assert "holds another run: its backend's version is '0.9', not '1'" in done.complaint
    assert contents(folder) == before


@pytest.mark.parametrize("name", ["junit.xml", "waivers.toml", "report", "plan.json"])
def test_somebody_elses_files_are_not_overwritten(here: Path, name: str) -> None:
    (here / "out").mkdir()
    (here / "out" / name).write_text("mine", encoding="utf-8")
    before = contents(here)
    done = call("run", "onnxruntime", *FEW, "-o", "out")
    assert done.status == 2
    assert f"out has a {name} that is of no run here: choose another folder" in done.complaint
    assert contents(here) == before


def test_an_output_below_a_file_is_one_line(here: Path) -> None:
    (here / "file").write_text("mine", encoding="utf-8")
    for output in ("file", "file/run"):
        done = call("run", "onnxruntime", *FEW, "-o", output)
        assert done.status == 2
        assert "file" in done.complaint
    assert (here / "file").read_text(encoding="utf-8") == "mine"


def test_without_an_output_each_run_gets_a_folder_of_its_own_and_resume_takes_the_last(here: Path) -> None:
    for _ in range(2):
        assert call("run", "onnxruntime", *FEW).status == 0
    assert sorted(p.name for p in (here / "runs").iterdir()) == ["onnxruntime", "onnxruntime-2"]
    first, second = (contents(here / "runs" / n) for n in ("onnxruntime", "onnxruntime-2"))
    assert first["results.jsonl"] != second["results.jsonl"]  # the measured times differ
    (here / "runs" / "onnxruntime-2" / "results.jsonl").write_text("", encoding="utf-8")
    assert call("run", "onnxruntime", *FEW, "--resume").status == 0
    assert len(verdicts(here / "runs" / "onnxruntime-2")) == 16
    assert contents(here / "runs" / "onnxruntime") == first


# ----------------------------------------------------------------------- folders that are no run folders


def _none(folder: Path) -> None:
    folder.rmdir()


def _garbage(folder: Path) -> None:
    (folder / "run.json").write_text("{", encoding="utf-8")


def _no_plan(folder: Path) -> None:
    (folder / "plan.json").unlink()


def _middle(folder: Path) -> None:
    journal = folder / "results.jsonl"
    first, second, *rest = journal.read_text(encoding="utf-8").splitlines(keepends=True)
    journal.write_text("".join([first, second[:20] + "\n", *rest]), encoding="utf-8")


def _no_verdict(folder: Path) -> None:
    journal = folder / "results.jsonl"
    first, *rest = journal.read_text(encoding="utf-8").splitlines(keepends=True)
    record = {k: v for k, v in json.loads(first).items() if k != "verdict"}
    journal.write_text("".join([json.dumps(record) + "\n", *rest]), encoding="utf-8")


def _binary(folder: Path) -> None:
    (folder / "plan.json").write_bytes(b"\xff\xfe\x00")


DAMAGE: list[tuple[Callable[[Path], None], str]] = [
    (_garbage, "run.json:1: not JSON"),
    (_no_plan, "plan.json is missing"),
    (_binary, "plan.json: cannot be read"),
    (_middle, "results.jsonl:2: not JSON"),
    (_no_verdict, "results.jsonl:1: 'verdict' is missing"),
]


def _readers(folder: Path, good: Path, site: Path) -> list[tuple[str | Path, ...]]:
    return [
        ("grade", folder),
        ("report", folder),
        ("matrix", good, folder, "-o", site),
        ("diff", good, folder),
        ("diff", folder, good),
        ("export", folder, "Softmax/vector/float16", "-o", site),
    ]


@pytest.mark.parametrize("missing", [True, False], ids=["no folder", "empty folder"])
def test_what_is_no_run_folder_is_one_line_for_every_command(good: Path, tmp_path: Path, missing: bool) -> None:
    folder = tmp_path / "folder"
    if not missing:
        folder.mkdir()
    for arguments in _readers(folder, good, tmp_path / "site"):
        done = call(*arguments)
        assert done.status == 2, arguments
        assert f"{folder} is not a run folder: " in done.complaint
    done = call("verify", folder)
    assert (done.status, "is not signed" in done.complaint) == (2, True)
    assert list(tmp_path.iterdir()) == ([] if missing else [folder])


@pytest.mark.parametrize(("damage", "complaint"), DAMAGE, ids=[d.__name__[1:] for d, _ in DAMAGE])
def test_a_damaged_run_folder_is_one_line_for_every_command_and_stays_as_it_is(
    good: Path, tmp_path: Path, damage: Callable[[Path], None], complaint: str
) -> None:
    folder = copied(good, tmp_path / "run")
    damage(folder)
    before = contents(folder)
    for arguments in _readers(folder, good, tmp_path / "site"):
        done = call(*arguments)
        assert done.status == 2, arguments
        assert complaint in done.complaint
        assert str(folder) in done.complaint
    assert contents(folder) == before
    assert not (tmp_path / "site").exists()


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (_garbage, "run.json is damaged"),
        (_middle, "results.jsonl, line 2: no record; take the line out to run its case again"),
        (_no_verdict, "'verdict' is missing; take its line out"),
    ],
)
def test_a_damaged_run_is_not_resumed_and_stays_as_it_is(
    good: Path, tmp_path: Path, damage: Callable[[Path], None], complaint: str
) -> None:
    folder = copied(good, tmp_path / "run")
    damage(folder)
    before = contents(folder)
    done = call("run", "onnxruntime", *MORE, "-o", folder, "--resume")
    assert done.status == 2
    assert complaint in done.complaint
    assert contents(folder) == before


def test_a_last_line_cut_short_is_no_verdict_and_resume_gives_it_one(good: Path, tmp_path: Path) -> None:
    folder = copied(good, tmp_path / "run")
    journal = folder / "results.jsonl"
    journal.write_bytes(journal.read_bytes()[:-30])
    assert call("grade", folder).status == 3
    assert call("run", "onnxruntime", *MORE, "-o", folder, "--resume").status == 0
    assert verdicts(folder) == verdicts(good)


# --------------------------------------------------------------------------------- export, new-backend


def test_a_case_is_exported_into_a_new_folder_only_and_reproduces_there(good: Path, tmp_path: Path) -> None:
    case, folder = "Conv/dilation-2/float16", tmp_path / "case"
    assert call("export", good, case, "-o", folder).status == 0
    done = subprocess.run(
        [sys.executable, folder / "reproduce.py"], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "0 elements outside their bound" in done.stdout
    before = contents(folder)
    again = call("export", good, case, "-o", folder)
    assert again.status == 2
    assert "exists already; name a new folder" in again.complaint
    assert contents(folder) == before


def test_a_case_that_the_run_does_not_have_is_not_exported(good: Path, tmp_path: Path) -> None:
    done = call("export", good, "Conv/no-such/float16", "-o", tmp_path / "case")
    assert done.status == 2
    assert "has no case Conv/no-such/float16; results.jsonl names those that there are" in done.complaint
    assert list(tmp_path.iterdir()) == []


def test_a_case_that_another_suite_made_is_not_exported_as_its_own(good: Path, tmp_path: Path) -> None:
    folder = copied(good, tmp_path / "run")
    plan = json.loads((folder / "plan.json").read_text(encoding="utf-8"))
    for case in plan["cases"]:
        case["digest"] = case["digest"][::-1]
    (folder / "plan.json").write_text(json.dumps(plan), encoding="utf-8")
    done = call("export", folder, "Softmax/vector/float16", "-o", tmp_path / "case")
    assert done.status == 2
    assert "export it with the version that made the run" in done.complaint
    assert not (tmp_path / "case").exists()


def test_a_new_backend_never_overwrites_a_file(here: Path) -> None:
    (here / "acme.py").write_text("mine", encoding="utf-8")
    done = call("new-backend", "acme")
    assert done.status == 2
    assert "acme.py exists, and stays as it is" in done.complaint
    assert (here / "acme.py").read_text(encoding="utf-8") == "mine"


# ------------------------------------------------------------------------------------------- exit status


def test_done_is_0_and_below_the_required_tier_is_1(
    good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = cli._certify
    tier = 2

    def certify(folder: Path, language: str) -> Certificate:
        return replace(real(folder, language), tier=tier, complete=True)

    # No run that a test has time for is a whole suite: what the grade says of one is put in its place.
    monkeypatch.setattr(cli, "_certify", certify)
    folder = copied(good, tmp_path / "run")
    again = ("run", "onnxruntime", *MORE, "-o", folder, "--resume")
    assert [call(*again, "--require-tier", str(n)).status for n in (1, 2, 3)] == [0, 0, 1]
    monkeypatch.undo()
    assert call(*again).status == 0
    assert call(*again, "--require-tier", "1").status == 1


def test_a_regression_is_1_and_none_is_0(good: Path, tmp_path: Path) -> None:
    folder = copied(good, tmp_path / "run")
    records = lines(folder)
    records[0]["verdict"] = "wrong"
    text = "".join(json.dumps(record) + "\n" for record in records)
    (folder / "results.jsonl").write_text(text, encoding="utf-8")
    worse = call("diff", good, folder)
    assert worse.status == 1
    assert f"regressed: {records[0]['case']}" in worse.out
    assert call("diff", folder, good).status == 0


def test_a_case_without_a_reference_is_3_and_says_why(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(case: Any, content: Any, sample: Any) -> Any:
        raise RuntimeError("no such kernel")

    monkeypatch.setenv("CONFORMANCE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(casework, "expect_content", fails)
    done = call("run", "onnxruntime", *FEW, "-o", tmp_path / "run")
    assert done.status == 3
    assert done.complaint == "incomplete: 16 cases have no verdict"
    assert {line["verdict"] for line in lines(tmp_path / "run")} == {"not-run"}
    assert "RuntimeError: no such kernel" in lines(tmp_path / "run")[0]["message"]
    monkeypatch.undo()
    monkeypatch.setenv("CONFORMANCE_CACHE", str(cache))
    assert call("run", "onnxruntime", *FEW, "-o", tmp_path / "run", "--resume").status == 0


def test_an_interrupted_run_is_3_says_how_to_go_on_and_does_go_on(good: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    arguments = ("run", f"{WRAPPING}:Slow", *MORE, "-o", folder)
    with start(*arguments) as process:
        wait_for(process, folder, 1)
        process.send_signal(signal.SIGINT)
        done = finish(process)
    assert done.status == 3
    assert done.complaint == "interrupted; --resume goes on from here"
    assert 0 < len(lines(folder)) < len(verdicts(good))
    graded = call("grade", folder)
    assert (graded.status, "incomplete" in graded.complaint) == (3, True)
    assert call(*arguments, "--resume").status == 0
    assert verdicts(folder) == verdicts(good)


# ------------------------------------------------------------------------------------------ full disks


# The command, with a limit on the size of the files that it writes.
FULL = """
import resource, sys
from conformance.cli import main

limit = int(sys.argv.pop(1))
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
sys.exit(main())
"""


def test_a_disk_that_fills_up_is_one_line_and_costs_no_verdict_that_was_given(tmp_path: Path) -> None:
    """The system's limit on a file's size stands for a full disk: only the journal grows so far."""
    # None of its inputs is big enough to travel as a file.
    small = ("--model", "tcn", "--dtype", "float16", "--operator", "HardSwish")
    whole, folder = tmp_path / "whole", tmp_path / "run"
    assert call("run", "onnxruntime", *small, "-o", whole).status == 0
    limit = (whole / "plan.json").stat().st_size + 500
    assert limit < (whole / "results.jsonl").stat().st_size
    command = [sys.executable, "-c", FULL, str(limit), "run", "onnxruntime", *small, "-o", str(folder)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path
    ) as process:
        done = finish(process)
    assert done.status == 2
    assert f"{folder / 'results.jsonl'}: File too large; the verdicts so far are safe" in done.complaint
    assert "continue with --resume" in done.complaint
    given = {line["case"]: line["verdict"] for line in lines(folder)}
    assert 0 < len(given) < len(verdicts(whole))
    assert call("run", "onnxruntime", *small, "-o", folder, "--resume").status == 0
    assert verdicts(folder) == verdicts(whole)


def test_a_certificate_that_cannot_be_written_is_one_line_and_leaves_the_old_one(
    good: Path, tmp_path: Path
) -> None:
    folder = copied(good, tmp_path / "run")
    before = contents(folder)
    command = [sys.executable, "-c", FULL, "2000", "grade", str(folder)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path
    ) as process:
        done = finish(process)
    assert done.status == 2
    assert f"{folder / 'certificate.json'}: File too large" in done.complaint
    assert contents(folder) == before


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is forbidden to root")
def test_a_folder_that_may_not_be_written_is_one_line(here: Path) -> None:
    here.chmod(stat.S_IRUSR | stat.S_IXUSR)
    try:
        done = call("run", "onnxruntime", *FEW, "-o", "run")
    finally:
        here.chmod(stat.S_IRWXU)
    assert done.status == 2
    assert "cannot write to run: Permission denied" in done.complaint


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's /dev/full")
def test_a_full_disk_under_the_output_of_a_listing_is_one_line() -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [SCRIPTS / "conformance", "list", "models"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 2
    assert Done(2, "", done.stderr).complaint == "No space left on device"


# ------------------------------------------------------------------------------------- what is imported


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["--version"]])
def test_help_imports_no_heavy_library(tmp_path: Path, arguments: list[str]) -> None:
    code = (
        "import sys; from conformance.cli import main; status = main(sys.argv[1:]);"
        "print([m for m in ('torch', 'onnx', 'numpy', 'onnxruntime', 'ml_dtypes') if m in sys.modules]); sys.exit(status)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert done.stdout.splitlines()[-1] == "[]"
    assert done.stderr == ""
