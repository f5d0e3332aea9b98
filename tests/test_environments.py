"""Environments of backends: what a record says is installed, after it was shown and agreed to, and then used."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from command_line import call, verdicts

from conformance import environments
from conformance.backends import listing
from conformance.environments import Environment, find, interpreter_of, make, place_of, record_of
from conformance.errors import UsageError
from conformance.pool import Launch, Pool

HERE = f"{sys.version_info[0]}.{sys.version_info[1]}"
ADAPTER = """
import os, numpy, acme_runtime
class Backend:
    def describe(self):
        return {"name": "acme", "version": acme_runtime.VERSION, "home": os.environ["ACME_HOME"]}
    def prepare(self, model):
        return lambda inputs: [numpy.abs(next(iter(inputs.values())))]
"""


def wheel(folder: Path, name: str, version: str, files: dict[str, str], needs: str = "") -> str:
    """A wheel with these files, as pip takes it from a path."""
    about = f"{name}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n" + (
        f"Requires-Dist: {needs}\n" if needs else ""
    )
    contents = files | {
        f"{about}/METADATA": metadata,
        f"{about}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{about}/RECORD": "",
    }
    path = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for file, text in contents.items():
            archive.writestr(file, text)
    return str(path)


@pytest.fixture
def acme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder, and in it the record of a backend whose packages are two local wheels."""
    files = {
        "acme_runtime/__init__.py": "VERSION = '2.1'\n",
        "acme_runtime/simulator": "#!/bin/sh\necho simulated\n",
        "acme_runtime/lib/libc.so.6": "an old one\n",
    }
    runtime = wheel(tmp_path, "acme_runtime", "2.1", files, needs="a-package-that-nobody-has==9")
    tools = wheel(tmp_path, "acme_tools", "1.0", {"acme_tools.py": "\n"})
    record = f"""
        python = ["{HERE}"]
        requirements = ["{tools}"]
        without_dependencies = ["{runtime}"]
        executable = ["acme_runtime/simulator"]
        aside = ["acme_runtime/lib/libc.so*"]
        licence = "Acme's own, see its LICENSE"
        size = "1 kB"
        [variables]
        ACME_HOME = "{{packages}}/acme_runtime"
    """
    records = tmp_path / "records"
    records.mkdir()
    (records / "acme.toml").write_text("\n".join(line.strip() for line in record.splitlines()), encoding="utf-8")
    monkeypatch.setattr(record_of, "__defaults__", (records,))
    monkeypatch.setenv("CONFORMANCE_COMPILE_CACHE", str(tmp_path / "compiled"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def recorded(**changes: object) -> Environment:
    found = record_of("acme")
    assert found is not None
    fields = {name: getattr(found, name) for name in Environment.__dataclass_fields__}
    return Environment(**(fields | changes))


def test_every_record_is_of_a_built_in_backend_and_pins_what_it_installs() -> None:
    names = {name for name, _ in listing()}
    records = [path.stem.replace("_", "-") for path in environments.RECORDS.glob("*.toml")]
    assert records
    for name in records:
        environment = record_of(name)
        assert environment is not None
        assert name in names
        assert environment.python
        assert environment.licence
        assert environment.size
        for requirement in (*environment.requirements, *environment.without_dependencies):
            assert "==" in requirement, f"{name}: {requirement} is not pinned"


def test_an_environment_is_made_as_its_record_says_and_then_found(acme: Path) -> None:
    environment = recorded()
    assert interpreter_of(environment) is None
    said: list[str] = []
    python = make(environment, sys.executable, said.append)
    assert said[0] == "making .venv-acme"
    assert interpreter_of(environment) == python
    packages = Path(environments._packages(str(python)))
    done = subprocess.run([packages / "acme_runtime" / "simulator"], capture_output=True, text=True, check=True)
    assert done.stdout == "simulated\n"
    assert [p.name for p in (packages / "acme_runtime" / "lib").iterdir()] == ["libc.so.6.aside"]
    variables = {"ACME_HOME": f"{packages}/acme_runtime", "CONFORMANCE_COMPILE_CACHE": str(acme / "compiled")}
    assert place_of("acme", None) == (str(python), variables)
    # Another record wants another environment, and an unfinished one is none.
    assert interpreter_of(recorded(requirements=())) is None
    (acme / ".venv-acme" / environments.STAMP).unlink()
    assert interpreter_of(environment) is None
    assert place_of("acme", None)[0] is None


def test_setup_says_what_it_installs_under_which_licence_and_does_nothing_unasked(
    acme: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("conformance.backends.resolve", lambda name: name)
    monkeypatch.setattr("sys.stdin", io.StringIO())
    done = call("setup", "acme")
    assert done.status == 2
    assert done.complaint.startswith("nothing was installed")
    assert "acme_runtime-2.1" in done.out
    assert "licence: Acme's own" in done.out
    assert not (acme / ".venv-acme").exists()
    done = call("setup", "acme", "--yes")
    assert (done.status, done.err) == (0, "")
    assert done.out.splitlines()[-1] == ".venv-acme/bin/python is ready: conformance run acme"
    again = call("setup", "acme", "--yes")
    assert "is there" in again.out
    assert "installing" not in again.out


def test_setup_has_nothing_to_do_for_a_backend_of_this_python() -> None:
    done = call("setup", "onnxruntime")
    assert (done.status, done.out) == (0, "onnxruntime needs no environment of its own\n")
    assert "unknown backend" in call("setup", "onnxruntim").complaint


def test_a_package_that_cannot_be_had_is_one_line_and_leaves_no_finished_environment(acme: Path) -> None:
    environment = recorded(requirements=("./no-such-file-2.1-py3-none-any.whl",))
    with pytest.raises(UsageError, match="no-such-file") as caught:
        make(environment, sys.executable)
    assert "\n" not in str(caught.value)
    assert interpreter_of(environment) is None


def test_a_file_that_the_record_names_must_be_in_the_package(acme: Path) -> None:
    with pytest.raises(UsageError, match="has no acme_runtime/driver"):
        make(recorded(executable=("acme_runtime/driver",)), sys.executable)


def test_a_folder_of_that_name_that_is_no_environment_is_left_alone(acme: Path) -> None:
    (acme / ".venv-acme").mkdir()
    (acme / ".venv-acme" / "mine").write_text("mine", encoding="utf-8")
    with pytest.raises(UsageError, match="no virtual environment"):
        make(recorded(), sys.executable)
    assert (acme / ".venv-acme" / "mine").read_text(encoding="utf-8") == "mine"


def test_the_interpreter_has_a_version_that_the_backend_was_tried_with(acme: Path) -> None:
    assert find(recorded(), None) == sys.executable
    assert find(recorded(), sys.executable) == sys.executable
    with pytest.raises(UsageError, match=r"needs Python 2\.5, and none is here"):
        find(recorded(python=("2.5",)), None)
    with pytest.raises(UsageError, match=rf"is Python {HERE}; acme needs 2\.5"):
        find(recorded(python=("2.5",)), sys.executable)
    with pytest.raises(UsageError, match="no such interpreter"):
        find(recorded(), "/no/such/python")


def test_what_a_backend_compiles_has_a_folder_that_outlives_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CONFORMANCE_COMPILE_CACHE", raising=False)
    monkeypatch.setenv("CONFORMANCE_CACHE", str(tmp_path))
    for name, folder in (("onnxruntime", "onnxruntime"), ("./lib/acme.py:Chip", "lib-acme.py-Chip")):
        _, variables = place_of(name, None)
        assert Path(variables["CONFORMANCE_COMPILE_CACHE"]) == tmp_path / "compiled" / folder
        assert (tmp_path / "compiled" / folder).is_dir()
    (tmp_path / "adapter.py").write_text(
        "import os\nfrom pathlib import Path\n"
        "class Backend:\n"
        "    def describe(self):\n"
        "        mark = Path(os.environ['CONFORMANCE_COMPILE_CACHE'], 'mark')\n"
        "        warm = mark.exists()\n"
        "        mark.touch()\n"
        "        return {'name': 'warm' if warm else 'cold'}\n"
        "    def prepare(self, model): return lambda inputs: []\n",
        encoding="utf-8",
    )
    names = []
    for _ in range(2):
        _, variables = place_of("adapter", None)
        with Pool(Launch(str(tmp_path / "adapter.py"), env=variables)) as pool:
            names.append(pool.describe()["name"])
    assert names == ["cold", "warm"]


def test_a_run_uses_the_environment_and_says_how_to_make_it(
    acme: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (acme / "acme.py").write_text(ADAPTER, encoding="utf-8")
    monkeypatch.setattr("conformance.backends.resolve", lambda name: str(acme / "acme.py"))
    few = ("--operator", "Abs", "--dtype", "float32", "--model", "tcn", "--suite", "smoke")
    done = call("run", "acme", *few, "-o", "run")
    assert "No module named 'acme_runtime'" in done.complaint
    assert done.complaint.endswith("`conformance setup acme` makes its environment")
    python = make(recorded(), sys.executable)
    # The adapter needs NumPy there; a link serves as well as an installation.
    import numpy

    for source in (Path(numpy.__file__).parent, Path(numpy.__file__).parent.with_name("numpy.libs")):
        if source.exists():
            (Path(environments._packages(str(python))) / source.name).symlink_to(source)
    done = call("run", "acme", *few, "-o", "run")
    assert done.status == 0, done
    assert set(verdicts(acme / "run").values()) == {"pass"}
    said = json.loads((acme / "run" / "run.json").read_text(encoding="utf-8"))["backend"]
    assert said["version"] == "2.1"
    assert said["home"].endswith("/acme_runtime")
    assert said["interpreter"]["executable"].endswith(".venv-acme/bin/python")
