"""The command line: reads what the user wants, hands it to the engine, prints what came of it."""

from __future__ import annotations

import contextlib
import functools
import json
import math
import shlex
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ._version import __version__
from .errors import UsageError

if TYPE_CHECKING:
    from .certificate import Certificate
    from .plan import Plan, Selection
    from .run import Tally
    from .runfolder import RunFolder

__all__ = ["main", "pairs"]

DONE, BELOW, USAGE, INCOMPLETE = 0, 1, 2, 3
LANGUAGES = ("en", "zh")

Folder = click.Path(path_type=Path, file_okay=False)


class Finite(click.FloatRange):
    """A number in a range: "nan" and "inf" parse as floats, but are no limits."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value!r} is not a number of this kind.", param, ctx)
        return number


class Incomplete(Exception):
    """A run that ended with cases left without a verdict."""


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="conformance")
def cli() -> None:
    """Operator-level conformance and certification for AI backends.

    A BACKEND is a built-in name (see `conformance list backends`), package.module:Class or path/to/file.py[:Class].

    Exit status: 0 done, 1 below the required tier, 2 wrong usage, 3 incomplete.
    """


# The fields of a `Selection` and the parameters of its options.
_CHOSEN = ("suite", "opset", "seed", "operators", "models", "dtypes", "vectors", "further")


def _selection(function: Callable[..., None]) -> Callable[..., None]:
    """The options that say what of the suite is wanted; the command gets them in one mapping, ``chosen``: importing the
    plan takes longer than some commands."""
    options = (
        click.option(
            "--suite",
            type=click.Choice(["smoke", "standard", "full", "vectors", "models-from"]),
            default="standard",
            show_default=True,
            help="smoke: two samples of every operator, and no certificate. full: twenty runs of every case, which "
            "Tier 3 asks for. vectors: ONNX's published node tests alone, and no certificate; models-from: likewise the "
            "models of --models-from.",
        ),
        click.option(
            "--vectors",
            default="",
            metavar="NAME",
            help="ONNX's published node tests as well, which no tier counts: 'onnx' for all, or a name or pattern of "
            "them ('test_conv*').",
        ),
        click.option(
            "--models-from",
            "further",
            multiple=True,
            metavar="PLACE",
            help="The .onnx files of an installed package or of a folder as well, or one such file, op by op and whole, "
            "which no tier counts. Repeatable.",
        ),
        click.option(
            "--operator", "operators", multiple=True, metavar="NAME", help="Only this operator. Repeatable."
        ),
        click.option("--model", "models", multiple=True, metavar="NAME", help="Only this model. Repeatable."),
        click.option("--dtype", "dtypes", multiple=True, metavar="NAME", help="Only this dtype. Repeatable."),
        click.option("--opset", type=int, default=21, show_default=True, help="Run the suite as of this opset."),
        click.option("--seed", type=int, default=0, show_default=True, help="Draw inputs and weights anew."),
    )

    @functools.wraps(function)
    def gathered(**given: Any) -> None:
        function(chosen={name: given.pop(name) for name in _CHOSEN}, **given)

    for option in reversed(options):
        gathered = option(gathered)
    return gathered


@cli.command(short_help="Run the suite against BACKEND, grade it, write the report.")
@click.argument("backend", required=False)
@click.option(
    "--command",
    metavar="TEXT",
    help="Instead of BACKEND, a command that reads {model} and the test data in {inputs}, and writes {outputs}.",
)
@click.option("-o", "--output", type=Folder, help="The run folder.  [default: runs/NAME, numbered]")
@_selection
@click.option(
    "--jobs", type=click.IntRange(1, 256), default=1, show_default=True, help="Backend processes at a time."
)
@click.option("--timeout", type=Finite(0.1), default=60.0, show_default=True, help="Seconds for one case.")
@click.option("--memory", type=Finite(0.1), metavar="GB", help="Memory limit of one backend process.")
@click.option("--python", "interpreter", metavar="EXECUTABLE", help="Run the backend in this interpreter.")
@click.option("--option", "options", multiple=True, metavar="KEY=VALUE", help="Passed to the backend. Repeatable.")
@click.option("--waivers", type=click.Path(path_type=Path), help="Known failures (TOML).")
@click.option("--require-tier", type=click.IntRange(1, 3), help="Exit with 1 below this tier.")
@click.option("--resume", is_flag=True, help="Go on with an interrupted run.")
@click.option("--goldens", type=Folder, help="Published references, instead of computing them.")
@click.option("--language", type=click.Choice(LANGUAGES), default="en", show_default=True, help="Of the report.")
def run(
    backend: str | None,
    command: str | None,
    output: Path | None,
    chosen: dict[str, Any],
    jobs: int,
    timeout: float,
    memory: float | None,
    interpreter: str | None,
    options: tuple[str, ...],
    waivers: Path | None,
    require_tier: int | None,
    resume: bool,
    goldens: Path | None,
    language: str,
) -> None:
    """Run the suite against BACKEND, grade it and write the certification report."""
    from .backends import resolve
    from .environments import place_of
    from .goldens import default_folder
    from .plan import Selection
    from .pool import Launch
    from .run import Options, execute

    keywords = pairs(options)
    if (backend is None) == (command is None):
        raise UsageError("name a BACKEND, or a --command in its place")
    if command is not None:
        backend, keywords["command"] = "command", command
    assert backend is not None
    python, variables = place_of(backend, interpreter)
    launch = Launch(
        resolve(backend),
        options=keywords,
        python=python,
        memory=None if memory is None else int(memory * 2**30),
        env=variables,
    )
    if goldens is not None and not goldens.is_dir():
        raise UsageError(f"no such folder of published goldens: {goldens}")
    if waivers is not None:
        _check_waivers(waivers)
    plan = _plan(Selection(**chosen))
    folder = output or _numbered(Path("runs") / (Path(backend.partition(":")[0]).stem or "backend"), resume)
    settings = Options(
        jobs=jobs,
        timeout=timeout,
        resume=resume,
        cache=goldens or default_folder(),
        published_only=goldens is not None,
        command=("conformance", *sys.argv[1:]),
    )
    beside = [f"{len(plan.vectors)} of them ONNX's vectors"] if plan.vectors else []
    beside += [f"{len(plan.further)} further models"] if plan.further else []
    of_them = f" ({', '.join(beside)})" if beside else ""
    click.echo(
        f"{len(plan.cases)} cases{of_them}, {len(plan.models)} models, "
        f"suite {plan.selection.suite} {__version__} at opset {plan.selection.opset} → {folder}"
    )
    with _progress() as show:
        tally = execute(plan, launch, backend, folder, settings, waivers, show)
    certificate = _certify(folder, language)
    _print_certificate(certificate, folder)
    if tally.done < tally.planned or tally.counts.get(_not_run(), 0):
        raise Incomplete(f"{tally.planned - tally.done + tally.counts.get(_not_run(), 0)} cases have no verdict")
    if require_tier is not None and certificate.tier < require_tier:
        sys.exit(BELOW)


@cli.command()
@click.argument("folder", type=Folder)
def grade(folder: Path) -> None:
    """Grade a run folder again, from the evidence alone."""
    _, certificate = _grade(folder)
    _print_certificate(certificate, folder)
    if not certificate.complete:
        raise Incomplete("the certificate is incomplete")


@cli.command(short_help="Write the HTML report of a run folder again.")
@click.argument("folder", type=Folder)
@click.option("--language", type=click.Choice(LANGUAGES), default="en", show_default=True)
def report(folder: Path, language: str) -> None:
    """Write the HTML report of a run folder again, from the evidence alone."""
    _certify(folder, language)
    click.echo(folder / "report" / "index.html")


@cli.command(short_help="Build a compatibility matrix, a static site.")
@click.argument("folders", nargs=-1, required=True, type=Folder)
@click.option("-o", "--output", type=Folder, required=True, help="The folder of the site.")
@click.option("--language", type=click.Choice(LANGUAGES), default="en", show_default=True)
def matrix(folders: tuple[Path, ...], output: Path, language: str) -> None:
    """Build a compatibility matrix, a static site, from many run folders."""
    from .reports.matrix import write_matrix

    click.echo(write_matrix(folders, output, language))


@cli.command()
@click.argument("old", type=Folder)
@click.argument("new", type=Folder)
def diff(old: Path, new: Path) -> None:
    """Show what changed between two runs: regressions first. Exit status 1 where a case regressed."""
    from .difference import compare
    from .runfolder import read_run

    difference = compare(read_run(old), read_run(new))
    click.echo(difference.text())
    if difference.regressed:
        sys.exit(BELOW)


@cli.command(short_help="Write one case as an ONNX test-data folder and a script.")
@click.argument("folder", type=Folder)
@click.argument("case")
@click.option("-o", "--output", type=Folder, required=True, help="A new folder.")
def export(folder: Path, case: str, output: Path) -> None:
    """Write one case of a run as a standard ONNX test-data folder and a script that reproduces it."""
    from .export import export_case

    click.echo(export_case(folder, case, output))


@cli.command("list")
@click.argument("what", type=click.Choice(["operators", "models", "cases", "backends"]))
@_selection
@click.option("--set", "group", type=click.Choice(["core", "common"]), help="Only operators of this set.")
def list_(
    what: str,
    chosen: dict[str, Any],
    group: str | None,
) -> None:
    """List what there is: operators, models, cases or backends."""
    if what == "backends":
        from .backends import listing

        _table(("backend", "what it is"), listing())
        return
    if what == "models":
        from .models import manifest

        rows = [
            (
                m.name,
                m.domain,
                m.suite,
                m.form,
                str(m.nodes),
                str(m.operators),
                f"{m.parameters / 1e6:.1f} M",
                str(m.opset),
            )
            for m in manifest().values()
        ]
        _table(("model", "domain", "suite", "form", "nodes", "operators", "params", "opset"), rows)
        return
    from .plan import Selection

    plan = _plan(Selection(**chosen))
    if what == "cases":
        for case in plan.cases:
            click.echo(case.id)
        return
    _list_operators(plan, group)


def _list_operators(plan: Plan, group: str | None) -> None:
    from .spec import of_suite

    counts: dict[tuple[str, str], int] = {}
    for case in plan.cases:
        if not of_suite(case.source, case.tags):
            continue
        counts[case.domain, case.operator] = counts.get((case.domain, case.operator), 0) + 1
    rows = []
    for row in plan.as_json()["operators"]:
        if group is not None and not row[group]:
            continue
        sets = "core" if row["core"] else "common" if row["common"] else ""
        name = f"{row['domain']}.{row['operator']}" if row["domain"] else row["operator"]
        number = str(counts[row["domain"], row["operator"]])
        rows.append((name, row["family"], row["rule"], sets, f"{100 * row['weight']:.2f} %", number))
    _table(("operator", "family", "rule", "set", "weight", "cases"), rows)


@cli.command(short_help="Measure what the suite sees: planted defects and legal variants.")
@click.option("--family", "families", multiple=True, metavar="NAME", help="Only this family. Repeatable.")
@click.option("--dtype", "dtypes", multiple=True, metavar="NAME", help="Only this dtype. Repeatable.")
@click.option("--jobs", type=click.IntRange(1, 256), default=1, show_default=True, help="Processes at a time.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write the page here (Markdown).")
@click.option("--figures", type=click.Path(path_type=Path), help="Write what certificates show here (JSON).")
def sensitivity(
    families: tuple[str, ...], dtypes: tuple[str, ...], jobs: int, output: Path | None, figures: Path | None
) -> None:
    """Measure what the standard suite sees: which of the defects planted into a correct backend it catches, and whether
    it fails a backend that computes otherwise but rightly. Exit status 1 if it does.

    Takes some minutes, and torch.
    """
    from .display import print_sensitivity
    from .files import write_whole
    from .goldens import default_folder
    from .reports.sensitivity import markdown
    from .sensitivity import measure

    found = measure(families, dtypes, default_folder(), jobs, lambda name: click.echo(name, err=True))
    print_sensitivity(found)
    if output is not None:
        write_whole(output, markdown(found))
    if figures is not None:
        write_whole(figures, json.dumps(found.figures(), indent=1) + "\n")
    if found.failures:
        sys.exit(BELOW)


@cli.command(short_help="Run cases with other seeds: do verdicts change, and could they?")
@click.argument("backend")
@_selection
@click.option(
    "--seeds", type=click.IntRange(2, 1000), default=20, show_default=True, help="How many, after --seed."
)
@click.option("--sample", type=click.IntRange(1), help="At most so many cases of each operator and dtype.")
@click.option("--jobs", type=click.IntRange(1, 256), default=1, show_default=True, help="Seeds at a time.")
@click.option("--timeout", type=Finite(min=0.1), default=60.0, show_default=True, help="Seconds a case.")
@click.option("--option", "options", multiple=True, metavar="KEY=VALUE", help="Passed to the backend. Repeatable.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write the page here (Markdown).")
def stability(
    backend: str,
    chosen: dict[str, Any],
    seeds: int,
    sample: int | None,
    jobs: int,
    timeout: float,
    options: tuple[str, ...],
    output: Path | None,
) -> None:
    """Run the cases whose results may be off with other seeds, list those whose verdict changes, and estimate how many a
    fresh seed would fail. Exit status 1 where a verdict changes.

    Models run only where --model names them. Takes torch, and for all operators half an hour of two cores.
    """
    from .backends import resolve
    from .display import print_stability
    from .environments import place_of
    from .files import write_whole
    from .plan import Selection
    from .pool import Launch
    from .reports.stability import markdown
    from .stability import measure

    wanted = Selection(**chosen)
    if wanted.suite == "vectors" or wanted.vectors:
        raise UsageError("the inputs of ONNX's vectors are published: no seed changes them")
    if wanted.further:
        raise UsageError("--models-from takes no other seeds: leave it out")
    python, variables = place_of(backend, None)
    found = measure(
        Launch(resolve(backend), options=pairs(options), python=python, env=variables),
        wanted,
        range(wanted.seed + 1, wanted.seed + 1 + seeds),
        sample,
        jobs,
        timeout,
        lambda done: click.echo(f"seed {done}", err=True),
    )
    print_stability(found)
    if output is not None:
        write_whole(output, markdown(found, shlex.join(["conformance", *sys.argv[1:]])))
    if any(track.changes for track in found.tracks):
        sys.exit(BELOW)


@cli.command(short_help="Make the environment of a backend that needs a Python of its own.")
@click.argument("backend")
@click.option("--python", "interpreter", metavar="EXECUTABLE", help="Make it from this interpreter.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def setup(backend: str, interpreter: str | None, yes: bool) -> None:
    """Make BACKEND's environment, .venv-BACKEND in the current folder: `conformance run BACKEND` then uses it. Says
    what it installs, and under which licence, before it does."""
    from . import environments
    from .backends import resolve

    resolve(backend)  # a name that is none is said to be none
    environment = environments.record_of(backend)
    if environment is None:
        click.echo(f"{backend} needs no environment of its own")
        return
    if (made := environments.interpreter_of(environment)) is not None:
        click.echo(f"{made} is there, as {backend} wants it")
        return
    python = environments.find(environment, interpreter)
    click.echo(f"{backend}: {environment.folder}, made from {python}, about {environment.size}")
    for requirement in (*environment.requirements, *environment.without_dependencies):
        click.echo(f"  {requirement}")
    click.echo(f"licence: {environment.licence}")
    if environment.notes:
        click.echo(environment.notes)
    if not yes and not _agreed("Install this with pip?"):
        raise UsageError("nothing was installed (--yes where nobody can be asked)")
    made = environments.make(environment, python, click.echo)
    click.echo(f"{made} is ready: conformance run {backend}")


@cli.command("new-backend")
@click.argument("name")
def new_backend(name: str) -> None:
    """Write NAME.py: a working adapter file to start from."""
    from .backends import new_backend as write

    path = write(name, Path.cwd())
    click.echo(
        f"{path.name}: fill in the three places marked there, then\n  conformance run ./{path.name} --suite smoke"
    )


@cli.command()
@click.argument("folder", type=Folder)
@click.option("--key", type=click.Path(path_type=Path), required=True, help="An Ed25519 private key (PEM).")
def sign(folder: Path, key: Path) -> None:
    """Sign the evidence in a run folder."""
    from .evidence import sign as sign_folder

    click.echo(sign_folder(folder, key))


@cli.command(short_help="Check a run folder against its signature and its grade.")
@click.argument("folder", type=Folder)
@click.option("--key", type=click.Path(path_type=Path), help="The signer's public key (PEM).")
def verify(folder: Path, key: Path | None) -> None:
    """Check a run folder: the files against the signature, the grade against the evidence. Exit status 1 if not."""
    from .evidence import verify as verify_folder

    verification = verify_folder(folder, key)
    click.echo(verification)
    if not verification.ok:
        sys.exit(BELOW)


# --- What the commands share -----------------------------------------------------------------------------


def pairs(options: Sequence[str], flag: str = "--option") -> dict[str, str]:
    """KEY=VALUE texts, given with ``flag``, as a mapping. Raises ``UsageError`` for anything else."""
    pairs = {}
    for option in options:
        key, separator, value = option.partition("=")
        if not separator or not key:
            raise UsageError(f"{flag} {option}: KEY=VALUE is meant")
        pairs[key] = value
    return pairs


def _agreed(question: str) -> bool:
    try:
        return click.confirm(question)
    except click.exceptions.Abort:  # nobody is there to answer
        click.echo()
        return False


def _numbered(base: Path, resume: bool) -> Path:
    """The first of base, base-2, base-3, … that is free; with --resume the last that is not."""
    candidates = [base, *(base.with_name(f"{base.name}-{n}") for n in range(2, 10_000))]
    taken = [c for c in candidates if c.exists()]
    if resume and taken:
        return taken[-1]
    return next(c for c in candidates if not c.exists())


def _plan(selection: Selection) -> Plan:
    from .plan import build_plan

    return build_plan(selection)


def _not_run() -> Any:
    from .spec import Verdict

    return Verdict.NOT_RUN


def _check_waivers(path: Path) -> None:
    from .waivers import read_waivers

    read_waivers(path)


def _grade(folder: Path) -> tuple[RunFolder, Certificate]:
    from .files import write_whole
    from .grade import grade as grade_run
    from .runfolder import read_run

    evidence = read_run(folder)
    certificate = grade_run(evidence)
    text = json.dumps(certificate.as_json(), indent=1) + "\n"  # ASCII: a backend's name may not be valid Unicode
    write_whole(folder / "certificate.json", text)
    return evidence, certificate


def _certify(folder: Path, language: str) -> Certificate:
    from .reports.badge import write_badge
    from .reports.html import write_report
    from .reports.junit import write_junit

    evidence, certificate = _grade(folder)
    write_junit(folder, evidence)
    write_badge(folder, certificate)
    write_report(folder, language, (evidence, certificate))
    return certificate


def _print_certificate(certificate: Certificate, folder: Path) -> None:
    from .display import print_certificate

    print_certificate(certificate, folder)


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from .display import print_table

    print_table(header, rows)


@contextlib.contextmanager
def _progress() -> Iterator[Callable[[Tally], None]]:
    from .display import progress

    with progress() as show:
        yield show


def main(arguments: Sequence[str] | None = None) -> int:
    """The entry point: runs a command and turns what goes wrong into one line and an exit status."""
    try:
        cli.main(
            args=None if arguments is None else list(arguments), prog_name="conformance", standalone_mode=False
        )
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        return USAGE
    except (click.ClickException, UsageError) as error:
        text = error.format_message() if isinstance(error, click.ClickException) else str(error)
        click.echo(f"conformance: {' '.join(text.split())}", err=True)
        return USAGE
    except Incomplete as error:
        click.echo(f"conformance: incomplete: {error}", err=True)
        return INCOMPLETE
    except (KeyboardInterrupt, click.exceptions.Abort):
        click.echo("conformance: interrupted; --resume goes on from here", err=True)
        return INCOMPLETE
    except OSError as error:
        # A disk that is full, a folder that may not be written: the user's to mend, and not ours.
        where = f"{error.filename}: " if error.filename else ""
        click.echo(f"conformance: {where}{error.strerror or error}", err=True)
        return USAGE
    except Exception:  # noqa: BLE001  (a defect of ours must not look like the status for "below the required tier")
        traceback.print_exc()
        click.echo("conformance: this is a defect of the suite; a run goes on with --resume", err=True)
        return INCOMPLETE
    except SystemExit as leave:
        return leave.code if isinstance(leave.code, int) else USAGE
    return DONE
