"""Write docs/catalogue.md: every operator with the versions, dtypes and cases that the suite has of it.

    python tools/catalogue.py

Run it after a change to the samples; a test compares the file with what this makes (tests/test_catalogue_page.py).
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Collection, Mapping
from pathlib import Path

import onnx

from conformance.dtypes import FLOATS, INTEGERS
from conformance.graphs import schema_of
from conformance.operators import FAMILIES, catalogue
from conformance.plan import Plan, Selection, build_plan
from conformance.spec import Case, Source

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "catalogue.md"
DEFAULT = Selection().opset
# What is written shorter where an operator has all of them.
GROUPS: Mapping[str, tuple[str, ...]] = {
    "floats": FLOATS,
    "integers": INTEGERS,
    "float8": ("float8e4m3fn", "float8e4m3fnuz", "float8e5m2", "float8e5m2fnuz"),
}


def brief(dtypes: Collection[str]) -> str:
    """``floats, int32, int64, bool``: groups that are whole by their names, then the rest."""
    whole = [name for name, members in GROUPS.items() if set(members) <= set(dtypes)]
    rest = sorted(set(dtypes) - {member for name in whole for member in GROUPS[name]})
    return ", ".join([*whole, *rest])


def by_operator(plan: Plan) -> dict[tuple[str, str], list[Case]]:
    """The operator cases of a plan."""
    found: dict[tuple[str, str], list[Case]] = {key: [] for key in catalogue()}
    for case in plan.cases:
        if case.source is Source.OPERATOR:
            found[case.domain, case.operator].append(case)
    return found


def covered(domain: str) -> str:
    """``203 of 203``: the operators of a domain in the catalogue, of those that the installed onnx has."""
    known = {s.name for s in onnx.defs.get_all_schemas_with_history() if s.domain == domain}
    return f"{len({name for d, name in catalogue() if d == domain} & known)} of {len(known)}"


def page() -> str:
    """The text of docs/catalogue.md."""
    newest = onnx.defs.onnx_opset_version()
    plans = {opset: build_plan(Selection(opset=opset)) for opset in (DEFAULT, newest)}
    cases = {opset: by_operator(plan) for opset, plan in plans.items()}
    rules = {(row["domain"], row["operator"]): row["rule"] for row in plans[newest].as_json()["operators"]}
    titles = json.loads((ROOT / "templates" / "en.json").read_text(encoding="utf-8"))
    standard = plans[DEFAULT].cases
    single = sum(len(found) for found in cases[DEFAULT].values())
    others = sorted({domain for domain, _ in catalogue()} - {"", "ai.onnx.ml"})
    asides = "".join(f"; {sum(d == other for d, _ in catalogue())} of {other}" for other in others)
    count = f"{len(standard)} cases: {single} of single operators and {len(standard) - single} from the"
    paragraphs = (
        "Written by `python tools/catalogue.py`, and not by hand.",
        f"onnx {onnx.__version__}: {covered('')} operators of the default domain and {covered('ai.onnx.ml')} of ai.onnx.ml,"
        f" withdrawn ones included{asides}. The standard suite as of opset {DEFAULT} has {count}"
        f" {len(plans[DEFAULT].models)} reference models. As of opset {newest} it has {len(plans[newest].cases)}.",
        "*Versions* are the schema versions that cases are written in; one that is missing differs from its neighbours in"
        " types alone, or in words (`tests/test_versions.py` holds this). *Floats* are "
        f"{', '.join(FLOATS)}; *integers* are the eight of 8 to 64 bits; *float8* are the four types. *Cases* are those as"
        f" of opset {DEFAULT} and {newest}. The *rule* is one of [numerics.md](numerics.md). The *oracle* is the"
        " catalogue's definition in float64, or ONNX's evaluator where an operator is no tensor arithmetic.",
    )
    lines = ["# Catalogue"]
    for paragraph in paragraphs:
        lines += ["", *textwrap.wrap(paragraph, 119, break_on_hyphens=False)]
    for family in FAMILIES:
        lines += ["", f"## {titles[f'family.{family}']}", ""]
        lines += [f"| operator | versions | dtypes | cases {DEFAULT} / {newest} | rule | oracle |"]
        lines += ["|---|---|---|---:|---|---|"]
        for key, operator in catalogue().items():
            if operator.family != family:
                continue
            domain, name = key
            both = [case for opset in cases for case in cases[opset][key]]
            asked = [case for case in both if "refuse" not in case.tags]
            schemas = (schema_of(name, case.opset, domain) for case in asked)
            versions = sorted({schema.since_version for schema in schemas if schema is not None})
            cells = (
                f"{domain}.{name}" if domain else name,
                ", ".join(map(str, versions)),
                brief({dtype for case in asked for dtype in (case.dtype, *case.also)}),
                " / ".join(str(len(cases[opset][key])) for opset in cases),
                rules[key],
                "definition" if operator.meaning is not None else "evaluator",
            )
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
