"""The certification report: what it shows is true, what a backend says stays text, and it stands on its own."""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import itertools
import json
import math
import re
import shlex
from dataclasses import replace
from fractions import Fraction
from html.parser import HTMLParser
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jinja2 import nodes

from conformance import further
from conformance.certificate import Certificate, Criterion
from conformance.errors import UsageError
from conformance.grade import grade
from conformance.models import manifest
from conformance.operators import FAMILIES
from conformance.reports.badge import badge
from conformance.reports.cases import Reproduce
from conformance.reports.criteria import tier_views
from conformance.reports.distribution import HEIGHT, distribution
from conformance.reports.html import SECTIONS, environment, exact_percent, render_report, write_report
from conformance.reports.language import LANGUAGES, load_language
from conformance.reports.payload import MESSAGE_BUDGET, as_script
from conformance.reports.tally import SEVERITY, SYMBOLS, Tally, figure, percent, weighted
from conformance.reports.viewmodel import Page, page
from conformance.reports.visible import clip, visible, visible_all
from conformance.runfolder import RunFolder, read_run
from conformance.spec import Source, Verdict
from conformance.vectors import REASONS

_spec = importlib.util.spec_from_file_location("report_fixture", Path(__file__).with_name("report_fixture.py"))
assert _spec is not None
assert _spec.loader is not None
report_fixture = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(report_fixture)
build = report_fixture.build

TEXT = st.text(max_size=20)
VOID = {"meta", "link", "br", "hr", "img", "input", "wbr", "col"}
SVG_LEAVES = {"rect", "circle", "ellipse", "path", "line"}
PLANTED = (
    '"><script>alert(1)</script></title></style><img src=x onerror=alert(2)><b onclick="x">{{ 7*7 }}{% raw %}'
    "<!-- ]]> ' & javascript:alert(3) \x00\x1b[31m\u202egnp.exe\u2028\ud800</script "
)


class Parsed(HTMLParser):
    """Elements, attributes, text and ids of a page; complains about elements that are not balanced."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.ids: list[str] = []
        self.text: list[tuple[str, str]] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == [], f"left open: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), f"an attribute twice in <{tag}>: {names}"
        self.elements.append((tag, dict(attrs)))
        self.ids += [value or "" for name, value in attrs if name == "id"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in SVG_LEAVES, f"<{tag}/> closes itself only in SVG"
        self.ids += [value or "" for name, value in attrs if name == "id"]
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag, f"</{tag}> closes another element"

    def handle_data(self, data: str) -> None:
        self.text.append((self.open[-1] if self.open else "", data))

    def inside(self, tag: str) -> str:
        return "".join(text for where, text in self.text if where == tag)

    def attributes(self, name: str) -> list[str]:
        return [value or "" for _, attributes in self.elements for key, value in attributes.items() if key == name]

    def words(self) -> str:
        """Everything that a reader sees, in one line."""
        text = " ".join(text for tag, text in self.text if tag not in ("script", "style"))
        return " ".join(text.split())


def data_of(text: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    assert found is not None
    data: dict[str, Any] = json.loads(found.group(1))
    return data


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    where: Path = build(
        tmp_path_factory.mktemp("run") / "ort", operators_per_family=5, models=5, quality=0.6, vectors=90
    )
    return where


@pytest.fixture(scope="module")
def run(folder: Path) -> RunFolder:
    return read_run(folder)


@pytest.fixture(scope="module")
def content(run: RunFolder) -> Page:
    return page(run, grade(run))


@pytest.fixture(scope="module")
def pages(content: Page) -> dict[str, str]:
    return {code: render_report(content, load_language(code)) for code in LANGUAGES}


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunFolder, str]:
    """A run in which every name, message, option, value and log carries markup."""
    waiver = {
        "cases": ["Resize/*"], "backend": "*", "version": "*", "reason": "known" + PLANTED.replace("\ud800", ""),
        "link": "javascript:alert(4)", "expires": "2027-01-01",
    }  # fmt: skip
    where = build(
        tmp_path_factory.mktemp("run") / "planted",
        operators_per_family=3,
        models=3,
        vectors=40,
        quality=0.4,
        complete=False,
        mischief=lambda text: text + PLANTED,
        waivers=[waiver],
    )
    return read_run(where), write_report(where).read_text("utf-8")


# What a backend says stays text


def test_planted_markup_becomes_neither_element_nor_attribute(planted: tuple[RunFolder, str]) -> None:
    parsed = Parsed(planted[1])
    scripts = [attributes for tag, attributes in parsed.elements if tag == "script"]
    assert scripts == [{"type": "application/json", "id": "data"}, {}]
    assert not {tag for tag, _ in parsed.elements} & {"img", "iframe", "object", "embed", "base", "link"}
    names = {name for _, attributes in parsed.elements for name in attributes}
    assert not {name for name in names if name.startswith("on") or not re.fullmatch(r"[a-zA-Z][\w:-]*", name)}
    assert not [href for href in parsed.attributes("href") if not href.startswith("#")]


def test_every_planted_field_is_still_readable(planted: tuple[RunFolder, str]) -> None:
    text = Parsed(planted[1]).words()
    for field in (
        "onnxruntime",
        "CPU",
        "intra_op_num_threads",
        "AMD EPYC 9R14",
        "strict",
        "known",
        "Conv",
        "resnet50",
        "ONNX 1.23.2",
        "another",
        "test_drawn",
    ):
        assert f'{field}"><script>alert(1)</script>' in text, field
    assert "{{ 7*7 }}{% raw %}" in text
    assert "49" not in text.split("{{ 7*7 }}")[0][-5:]


def test_control_and_reordering_characters_are_spelled_out(planted: tuple[RunFolder, str]) -> None:
    text = planted[1]
    assert not [c for c in text if (ord(c) < 32 and c not in "\n\t") or c in "\u202e\u2028\u2029\x7f"]
    assert "\\x00\\x1b[31m\\u202egnp.exe\\u2028\\ud800" in Parsed(text).words()
    text.encode("utf-8")


def test_embedded_json_round_trips(planted: tuple[RunFolder, str]) -> None:
    run, text = planted
    data = data_of(text)
    assert data["id"] == [visible(case) for case in run.plan.cases]
    verdicts = [data["verdicts"][v]["name"] for v in data["verdict"]]
    assert verdicts == [str(result.verdict) for result in run.results.values()]
    said = {visible(result.message) for result in run.results.values()}
    assert set(data["texts"]) >= said
    assert [list(names) for names in data["names"]] == [
        [visible(node.name) for node in model.nodes] for model in run.plan.models
    ]


@settings(max_examples=50)
@given(st.recursive(TEXT, lambda x: st.lists(x) | st.dictionaries(TEXT, x), max_leaves=6))
def test_script_data_is_inert_and_round_trips(data: Any) -> None:
    text = as_script(data)
    assert not set(text) & set("<>&\u2028\u2029")
    assert json.loads(text) == visible_all(data)
    text.encode("utf-8")


def test_a_javascript_link_of_a_waiver_is_shown_but_leads_nowhere(planted: tuple[RunFolder, str]) -> None:
    parsed = Parsed(planted[1])
    assert "javascript:alert(4)" in parsed.words()
    assert not [href for href in parsed.attributes("href") if "javascript" in href.lower()]


def test_only_our_own_script_may_run(pages: dict[str, str]) -> None:
    script = re.search(r"<script>(.*)</script>", pages["en"], re.DOTALL)
    assert script is not None
    digest = base64.b64encode(hashlib.sha256(script.group(1).encode()).digest()).decode()
    policy = next(a["content"] for t, a in Parsed(pages["en"]).elements if a.get("http-equiv"))
    assert f"script-src 'sha256-{digest}'" in str(policy)
    assert "default-src 'none'" in str(policy)


def test_escaping_is_on_for_every_template() -> None:
    env = environment()
    assert env.autoescape is True
    assert env.from_string("{{ x }}").render(x="<b>\x07</b>") == "&lt;b&gt;\\x07&lt;/b&gt;"
    for name in ("report.html", "matrix.html", "macros.html"):
        source = files("conformance.templates").joinpath(name).read_text("utf-8")
        assert "|safe" not in source.replace(" ", "")
        assert "autoescape" not in source


# It stands on its own


@pytest.mark.parametrize("language", LANGUAGES)
def test_page_is_balanced_and_loads_nothing(pages: dict[str, str], language: str) -> None:
    parsed = Parsed(pages[language])
    assert not parsed.attributes("src")
    assert not [tag for tag, _ in parsed.elements if tag in ("link", "iframe", "img", "object")]
    styles = parsed.inside("style")
    assert not re.search(r"url\(|@import|https?:", styles)
    assert "https://" not in parsed.inside("script")
    assert len(parsed.ids) == len(set(parsed.ids))


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_internal_link_has_its_anchor(pages: dict[str, str], language: str) -> None:
    parsed = Parsed(pages[language])
    targets = [href[1:] for href in parsed.attributes("href")]
    assert targets
    assert set(targets) <= set(parsed.ids)
    labelled = [name for value in parsed.attributes("aria-labelledby") for name in value.split()]
    assert set(labelled) <= set(parsed.ids)


@pytest.mark.parametrize("language", LANGUAGES)
def test_headings_do_not_skip_a_level(pages: dict[str, str], language: str) -> None:
    levels = [int(tag[1]) for tag, _ in Parsed(pages[language]).elements if re.fullmatch("h[1-6]", tag)]
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))


def test_a_run_in_which_everything_fails_loudly_stays_under_four_megabytes(tmp_path: Path) -> None:
    where = build(tmp_path / "loud", operators_per_family=6, models=1)
    lines = [json.loads(line) for line in (where / "results.jsonl").read_text("utf-8").splitlines()]
    for number, line in enumerate(lines):
        line |= {
            "verdict": "error",
            "message": f"{number} {'failure ' * 300}",
            "log": f"{number} {'noise ' * 600}",
        }
    (where / "results.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
    text = write_report(where).read_text("utf-8")
    data = data_of(text)
    assert len(data["id"]) == len(lines) > 2000
    assert data["shortened"]
    assert sum(len(message) for message in data["texts"]) < MESSAGE_BUDGET * 1.2
    assert len(text.encode()) < 4_000_000


# Every string in every language


def keys_in_templates() -> set[str]:
    """Keys that a template names: t("…"), with %d and %s standing for what they can become."""
    env, keys = environment(), set()
    for name in ("report.html", "matrix.html", "macros.html"):
        tree = env.parse(files("conformance.templates").joinpath(name).read_text("utf-8"))
        for call in tree.find_all(nodes.Call):
            if isinstance(call.node, nodes.Name) and call.node.name == "t":
                keys |= spelled(call.args[0])
    return keys


def spelled(key: nodes.Node) -> set[str]:
    if isinstance(key, nodes.CondExpr):
        assert key.expr2 is not None
        return spelled(key.expr1) | spelled(key.expr2)
    if isinstance(key, nodes.Const):
        return {str(key.value)}
    if isinstance(key, nodes.Mod):
        assert isinstance(key.left, nodes.Const)
        prefix = str(key.left.value)
        if prefix == "meaning.%s":
            return {f"meaning.{verdict}" for verdict in Verdict}
        numbers = (0, 1, 2, 3) if prefix == "tier.%d.means" else (1, 2, 3)
        return {prefix % n for n in numbers}
    assert isinstance(key, nodes.Add), key
    assert isinstance(key.left, nodes.Const)
    tracks = ("inference", "training")
    declared = ("mode", "accumulator", "flush_to_zero")
    ends = {
        "section.": SECTIONS,
        "masthead.overline.": tracks,
        "seal.legend.": tracks,
        "precision.contradicted.": declared,
        "precision.where.": declared,
    }[str(key.left.value)]
    return {f"{key.left.value}{end}" for end in ends}


@pytest.fixture(scope="module")
def used(run: RunFolder) -> set[str]:
    """Every key that is ever looked up."""
    return keys_in_templates() | keys_from_names(run) | keys_in_scripts()


def keys_from_names(run: RunFolder) -> set[str]:
    """Keys that are looked up by the name of something in the evidence."""
    names = {f"{kind}.{c.name}" for c in grade(run).criteria for kind in ("criterion", "about")}
    names |= {f"verdict.{verdict}" for verdict in Verdict} | {f"source.{source}" for source in Source}
    names |= {f"family.{family}" for family in (*FAMILIES, "block", "end-to-end", "uncatalogued", "vectors")}
    names |= {f"unjudged.{reason}" for reason in REASONS} | {f"left.{reason}" for reason in further.REASONS}
    names.add("source.further")
    names |= {f"domain.{entry.domain}" for entry in manifest().values()}
    return names


def keys_in_scripts() -> set[str]:
    source = files("conformance.templates").joinpath("script.js").read_text("utf-8")
    named = set(re.findall(r'\b(?:word|row)\("([^"]+)"', source))
    return {
        key if key.endswith(".") else f"js.{key}" for key in named if not key.startswith(("verdict.", "source."))
    }


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_text_that_is_used_is_there(used: set[str], language: str) -> None:
    assert not used - set(load_language(language).texts)


def test_languages_have_the_same_texts_with_the_same_places_to_fill() -> None:
    english, chinese = (load_language(code).texts for code in ("en", "zh"))
    assert list(english) == list(chinese)
    for key, text in english.items():
        assert set(re.findall(r"\{(\w+)\}", text)) == set(re.findall(r"\{(\w+)\}", chinese[key])), key


def test_no_text_is_left_over(used: set[str]) -> None:
    # Families and domains may be known before there is a first operator or model of them.
    left = {key for key in load_language("en").texts if key not in used}
    assert not {key for key in left if not key.startswith(("family.", "domain."))}


def test_every_chinese_text_is_chinese() -> None:
    for key, text in load_language("zh").texts.items():
        assert re.search("[\u4e00-\u9fff]", text) or key in ("evidence.opset", "fixes.what"), key


def test_the_chinese_page_has_no_english_text_of_ours(pages: dict[str, str]) -> None:
    words = Parsed(pages["zh"]).words()
    english = load_language("en").texts
    for key, text in english.items():
        if "{" not in text and len(text) > 12 and key.split(".")[0] not in ("js", "matrix", "seal"):
            assert text not in words, key


def test_an_unknown_language_is_wrong_usage(folder: Path) -> None:
    with pytest.raises(UsageError, match="unknown language 'fr'"):
        write_report(folder, "fr")


def test_a_folder_without_a_run_is_wrong_usage(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        write_report(tmp_path)


# The numbers are true


def test_tallies_add_up(content: Page, run: RunFolder) -> None:
    assert content.planned.total == len(run.plan.cases)
    assert content.planned == sum((tally for _, tally in content.sources), Tally())
    suite = [tally for source, tally in content.sources if source is not Source.VECTOR]
    assert content.tally == sum(suite, Tally())
    cells = sum((family.tally for family in content.families), Tally())
    by_source = dict(content.sources)
    assert cells == by_source[Source.OPERATOR] + by_source[Source.MODEL]


def test_headline_figures_are_the_evidence(content: Page, run: RunFolder, pages: dict[str, str]) -> None:
    words = Parsed(pages["en"]).words()
    suite = run.suite_alone().results
    passed = sum(result.passed for result in suite.values())
    assert f"{passed:,} of {len(suite):,}" in words
    summary = grade(run).summary
    assert f"Operators trusted {summary.operators_trusted} / {summary.operators}" in words
    assert f"Models whole {summary.models_whole} / {summary.models}" in words
    assert {model.name for model in content.models if model.whole} == {
        model.name for model in run.plan.models if all(run.results[case].passed for case in model.cases)
    }


@given(st.integers(0, 10**6), st.integers(1, 10**6))
def test_shares_are_rounded_down_and_never_flatter(part: int, whole: int) -> None:
    part = min(part, whole)
    text = percent(part, whole)
    assert (text == "100 %") == (part == whole)
    assert (text == "0 %") == (part == 0)
    if text.startswith("<"):
        assert 0 < Fraction(part, whole) < Fraction(1, 1000)
    else:
        shown = Fraction(text.removesuffix(" %"))
        assert 0 <= Fraction(part, whole) * 100 - shown < Fraction(1, 10)


def test_nothing_asked_is_no_share() -> None:
    assert percent(0, 0) == "—"
    assert not Tally().clean


def test_a_figure_near_the_bound_shows_its_side() -> None:
    assert figure(1.0004) == "1.0004"
    assert figure(0.99996) == "0.99996"
    assert figure(1.0) == "1"
    assert [figure(x) for x in (None, math.nan, math.inf, 0.0, 12.345, 1.5e-7, 3e9)] == [
        "—", "NaN", "∞", "0", "12.3", "1.5e-7", "3e9",
    ]  # fmt: skip


def criterion(tier: int, name: str, met: bool | None, **more: Any) -> Criterion:
    return Criterion(tier, name, more.pop("required", 5), more.pop("reached", 3), met, **more)


def test_the_first_failing_criterion_is_on_top(content: Page) -> None:
    criteria = (
        criterion(1, "operator-kinds", True),
        criterion(2, "operator-kinds", True),
        criterion(2, "weighted-coverage", None),
        criterion(2, "models-whole", False),
        criterion(3, "operator-kinds", False),
    )
    views, first = tier_views(replace(content.certificate, criteria=criteria))
    assert [view.tier for view in views] == [2, 3, 1]
    assert views[0].criteria[0] == first
    assert first is not None
    assert (first.name, first.tier, first.first) == ("models-whole", 2, True)
    assert [row.name for row in views[0].criteria] == ["models-whole", "operator-kinds", "weighted-coverage"]
    assert (views[0].met, views[0].asked) == (1, 2)


def test_a_share_reads_against_the_backend(content: Page) -> None:
    low, high = Fraction(99_999, 100_000), Fraction(10_001, 1_000_000)
    criteria = (
        criterion(1, "weighted-coverage", True, required=Fraction(4, 5), reached=low),
        criterion(1, "waived", False, required=Fraction(1, 100), reached=high, at_most=True),
    )
    (view,), _ = tier_views(replace(content.certificate, criteria=criteria))
    shown = {row.name: (row.required, row.reached) for row in view.criteria}
    assert shown == {"weighted-coverage": ("≥ 80 %", "99.99 %"), "waived": ("≤ 1 %", "1.01 %")}


def test_large_counts_are_grouped(content: Page) -> None:
    criteria = (criterion(1, "repeat-verdicts", False, required=10_387, reached=9_649),)
    (view,), _ = tier_views(replace(content.certificate, criteria=criteria))
    assert [(row.required, row.reached) for row in view.criteria] == [("≥ 10,387", "9,649")]


def test_a_plan_that_is_too_small_is_said_of_the_suite_only_where_it_is_the_suite(content: Page) -> None:
    short = criterion(2, "models-whole", False, required=50, reached=25, available=25)
    tiers, first = tier_views(replace(content.certificate, criteria=(short,)))
    whole = replace(content, tiers=tiers, first_failing=first)
    part = replace(whole, suite={**content.suite, "complete": False})
    words = Parsed(render_report(whole, load_language("en"))).words()
    assert words.count("suite has 25") == 2  # in the lead, too: it is not the backend's fault
    words = Parsed(render_report(part, load_language("en"))).words()
    assert "suite has 25" not in words
    assert "this part has 25" in words


def test_without_models_there_is_no_weighted_coverage(content: Page) -> None:
    assert weighted(content.summary) == exact_percent(content.summary.weighted_coverage)
    assert weighted(replace(content.summary, models=0)) == "—"


def test_a_long_name_does_not_fill_the_certificate(content: Page) -> None:
    assert 'h1 class="long"' not in render_report(content, load_language("en"))
    assert '<h1 class="long">' in render_report(replace(content, backend="a" * 60), load_language("en"))


def sealed(content: Page, **changes: Any) -> str:
    certificate: Certificate = replace(content.certificate, **changes)
    text = render_report(replace(content, certificate=certificate), load_language("en"))
    found = re.search(r"<header class=\"masthead\">.*?</header>", text, re.DOTALL)
    assert found is not None
    return Parsed(found.group()).words()


def test_the_seal_says_what_was_reached_and_no_more(content: Page) -> None:
    given = sealed(content, tier=2, complete=True, provisional_tier=None)
    assert "Seal: Tier 2" in given
    assert "reaches Tier 2 — usable" in given
    none = sealed(content, tier=0, complete=True, provisional_tier=None)
    assert "reaches no tier" in none
    assert "Unfilled seal" in none
    provisional = sealed(content, tier=1, complete=True, provisional_tier=2)
    assert "reaches Tier 1 — runs" in provisional
    assert "Tier 2 is provisional, and not given" in provisional
    incomplete = sealed(content, tier=0, complete=False, provisional_tier=None)
    assert "Incomplete: no tier is given" in incomplete
    assert "Seal: Tier" not in incomplete


def test_a_part_of_the_suite_is_no_certificate(content: Page) -> None:
    suite = {**content.suite, "complete": False}
    changed = replace(content, suite=suite, certificate=replace(content.certificate, tier=0, complete=False))
    words = Parsed(render_report(changed, load_language("en"))).words()
    assert "Part of the suite: no tier is given" in words


def contrast(one: str, other: str) -> float:
    """The contrast ratio of two colours: WCAG 2.2, relative luminance."""

    def luminance(colour: str) -> float:
        parts = [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]
        red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("complete", [True, False])
@pytest.mark.parametrize("tier", [0, 1, 2, 3])
def test_a_badge_has_that_contrast_too(content: Page, tier: int, complete: bool) -> None:
    colour = badge(replace(content.certificate, tier=tier, complete=complete)).colour
    assert contrast(colour, "#ffffff") >= 4.5


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_has_the_contrast_that_wcag_asks_for(theme: str) -> None:
    source = files("conformance.templates").joinpath(f"{theme}.css").read_text("utf-8")
    colours = dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6})", source))
    pairs = [(ink, ground) for ink in ("ink", "soft", "accent", "none-ink") for ground in ("paper", "card")]
    pairs += [
        (name, name.replace("-ink", "-bg")) for name in colours if name.endswith("-ink") and name != "none-ink"
    ]
    pairs += [(metal, "card") for metal in ("bronze", "steel", "gold", "blank")]
    pairs += [("ink", "notice"), ("pass-ink", "paper"), ("wrong-ink", "paper")]

    for ink, ground in pairs:
        assert contrast(colours[ink], colours[ground]) >= 4.5, (ink, ground)


def test_every_verdict_has_a_symbol_of_its_own_beside_its_colour(pages: dict[str, str]) -> None:
    assert set(SEVERITY) == set(SYMBOLS) == set(Verdict)
    assert len(set(SYMBOLS.values())) == len(Verdict)
    for _, attributes in Parsed(pages["en"]).elements:
        if "cell" in (attributes.get("class") or "").split():
            assert attributes["class"] in {f"cell v-{verdict}" for verdict in Verdict}
    for body in re.findall(r'<td class="cell v-(?!pass)[^>]*>(.*?)</td>', pages["en"]):
        assert 'class="symbol"' in body


def test_a_strip_has_a_mark_for_every_node_with_its_verdict(pages: dict[str, str], run: RunFolder) -> None:
    strips = re.findall(r'<div class="strip"[^>]*>(.*?)</div>', pages["en"], re.DOTALL)
    for strip, model in zip(strips, run.plan.models, strict=True):
        marks = re.findall(r'<i(?: class="v-([a-z-]+)")?></i>', strip)
        assert marks == ["" if v == "pass" else v for v in (str(run.results[n.case].verdict) for n in model.nodes)]


def test_a_failing_node_leads_to_its_case(content: Page, pages: dict[str, str]) -> None:
    named = {int(value) for value in Parsed(pages["en"]).attributes("data-case")}
    failing = {case.number for model in content.models for _, case in model.failing}
    assert failing
    assert failing <= named
    data = data_of(pages["en"])
    for model, numbers in zip(content.models, data["nodes"], strict=True):
        assert numbers == [node.number for node in model.nodes]


def test_a_filtered_run_shows_nodes_that_were_not_selected(run: RunFolder) -> None:
    kept = {case: planned for case, planned in run.plan.cases.items() if planned.operator == "Conv"}
    plan = replace(run.plan, cases=kept, suite={**run.plan.suite, "complete": False})
    part = replace(run, plan=plan, results={case: run.results[case] for case in kept})
    content = page(part, grade(part))
    assert not any(model.whole for model in content.models)
    assert 'class="v-none"' in render_report(content, load_language("en"))


def test_worst_cases_come_with_what_reproduces_them(content: Page, pages: dict[str, str]) -> None:
    units = [case.units for case in content.furthest]
    assert units == sorted(units, reverse=True)
    assert all(value > 1 for value in units if value is not None)
    worst = content.furthest[0]
    export, again = (shlex.split(command) for command in worst.commands)
    assert export == ["conformance", "export", "runs/ort", worst.id, "-o", "reproduction"]
    assert again[:5] == ["conformance", "run", "onnxruntime", "--option", "intra_op_num_threads=1"]
    assert Parsed(pages["en"]).words().count(worst.commands[0]) == 1
    assert data_of(pages["en"])["reproduce"]["run"] == " ".join(again[:5])


def test_what_reproduces_a_case_is_of_the_same_suite_in_the_same_interpreter(run: RunFolder) -> None:
    suite = {**run.suite, "name": "full", "opset": 17, "seed": 3}
    command = [
        "conformance",
        "run",
        "acme",
        "--output=runs/acme",
        "--python",
        "/opt/acme/python",
        "--timeout",
        "5",
    ]
    other = replace(run, run={**run.run, "suite": suite, "backend": {"spec": "acme"}, "command": command})
    found = Reproduce.of(replace(other, plan=replace(run.plan, suite=suite)))
    assert found.folder == "runs/acme"
    assert shlex.split(found.run) == [
        "conformance", "run", "acme", "--suite", "full", "--opset", "17", "--seed", "3",
        "--python", "/opt/acme/python", "--timeout", "5",
    ]  # fmt: skip


def test_the_cases_of_a_field_are_listed_with_its_symbol_first(pages: dict[str, str]) -> None:
    ranks = {v["name"]: v["rank"] for v in data_of(pages["en"])["verdicts"]}
    assert sorted(ranks, key=ranks.__getitem__) == [str(v) for v in SEVERITY]


def test_the_distribution_puts_every_error_on_its_side_of_the_bound() -> None:
    found = distribution("linear", [0.0, 0.0, 1.0, 1.0000001, 1e-30, 1e30, math.inf, math.nan, 0.999999])
    assert (found.count, found.zero, found.beyond) == (9, 2, 4)
    assert sum(bar.count for bar in found.bars) == 9
    assert sum(bar.count for bar in found.bars if bar.beyond) == 4
    assert found.largest == math.inf
    assert all(0 <= bar.y <= HEIGHT and bar.height > 0 for bar in found.bars)


@given(st.lists(st.floats(0) | st.just(math.nan), min_size=1))
def test_bars_count_what_lies_beyond_the_bound(errors: list[float]) -> None:
    found = distribution("x", errors)
    beyond = sum(1 for e in errors if math.isnan(e) or e > 1)
    assert found.beyond == beyond == sum(bar.count for bar in found.bars if bar.beyond)


def test_evidence_without_the_optional_parts_still_makes_a_page(run: RunFolder) -> None:
    bare = replace(run, run={"format": 1, "suite": dict(run.suite), "backend": {"spec": "acme"}}, path=None)
    text = render_report(page(bare, grade(bare)), load_language("zh"))
    assert "acme" in Parsed(text).words()


def test_text_is_clipped_in_the_middle() -> None:
    assert clip("abc", 3) == "abc"
    assert clip("head" + "x" * 100 + "tail", 30) == "head" + "x" * 16 + " […] " + "x" * 6 + "tail"


def test_the_page_says_what_a_lawyer_asks_for(pages: dict[str, str]) -> None:
    for language in LANGUAGES:
        words = Parsed(pages[language]).words()
        texts = load_language(language)
        for key in ("method.reference", "method.bounds", "method.grade", "method.limit.sample"):
            assert texts(key) in words
        for fact in (
            "sha256:" + "5f3a9c0e" * 8,
            "AMD EPYC 9R14",
            "2026-11-22 09:12 UTC",
            "conformance run onnxruntime",
        ):
            assert fact in words


# ONNX's vectors


def _section(text: str) -> str:
    return text.partition('<section id="vectors"')[2].partition("</section>")[0]


def test_vectors_stand_in_a_section_of_their_own_with_what_failed_and_what_reproduces_it(
    content: Page, run: RunFolder, pages: dict[str, str]
) -> None:
    assert content.vectors is not None
    words = Parsed(_section(pages["en"])).words()
    planned = [case for case in run.plan.cases.values() if case.source is Source.VECTOR]
    results = {case.case: run.results[case.case] for case in planned}
    passed = sum(result.passed for result in results.values())
    similar = sum(result.error.get("similar") is True for result in results.values())
    assert 0 < passed < len(planned)
    assert 0 < similar < len(planned)
    assert f"{passed} of {len(planned)} pass by the suite's rules" in words
    assert f"{similar} by ONNX's own tolerance" in words
    for case, result in results.items():
        command = (
            f"conformance run onnxruntime --option intra_op_num_threads=1 --suite vectors --vectors {case[8:]} -o"
        )
        assert (f"{command} again" in words) is not result.passed
        assert result.passed or result.message in words
    assert "1 · a function that draws at random" in words
    assert "20 · another" in words


def test_vectors_are_in_no_other_figure(content: Page, run: RunFolder, tmp_path: Path) -> None:
    bare = page(run.suite_alone(), grade(run.suite_alone()))
    figures = ("tally", "families", "models", "distributions", "unsupported", "blockers", "first_failing", "tiers")
    for figure_ in figures:
        assert getattr(bare, figure_) == getattr(content, figure_), figure_
    for listing in ("furthest", "failures", "closest"):
        assert [c.id for c in getattr(bare, listing)] == [c.id for c in getattr(content, listing)]


def test_a_run_without_vectors_shows_nothing_of_them(run: RunFolder) -> None:
    bare = run.suite_alone()
    bare = replace(bare, plan=replace(bare.plan, vectors=None))
    text = render_report(page(bare, grade(bare)), load_language("en"))
    assert not _section(text)
    assert 'href="#vectors"' not in text


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_run_of_vectors_alone_leads_with_them(run: RunFolder, language: str) -> None:
    cases = {k: c for k, c in run.plan.cases.items() if c.source is Source.VECTOR}
    plan = replace(run.plan, cases=cases, models=(), operators=())
    alone = replace(run, plan=plan, results={k: run.results[k] for k in cases})
    content = page(alone, grade(alone))
    assert content.without_suite
    text = render_report(content, load_language(language))
    assert re.findall(r'<li><a href="#(\w+)">', text) == ["vectors", "declined", "evidence", "method"]
    assert content.vectors is not None
    assert content.vectors.tally.share in Parsed(text).words()


def test_the_markup_in_a_vectors_message_and_name_is_text(planted: tuple[RunFolder, str]) -> None:
    section = _section(planted[1])
    assert section
    assert "<script" not in section
    assert "&lt;script&gt;alert(1)" in section
    assert {tag for tag, _ in Parsed(section).elements} <= {
        "h2", "h3", "p", "div", "table", "thead", "tbody", "tr", "th", "td", "span", "details", "summary", "ol", "ul",
        "li", "a", "bdi", "strong", "code",
    }  # fmt: skip


def test_a_run_in_which_every_vector_fails_loudly_stays_readable(tmp_path: Path) -> None:
    where = build(tmp_path / "run", models=1, operators_per_family=1, vectors=2000, quality=0.5)
    rows = [json.loads(line) for line in (where / "results.jsonl").read_text("utf-8").splitlines()]
    for row in rows:
        if row["source"] == "vector":
            row |= {"verdict": "error", "message": f"{row['case']} " + "x" * 3000}
    (where / "results.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    text = write_report(where).read_text("utf-8")
    assert len(text.encode()) < 4_000_000
    assert "and 1900 more" in Parsed(_section(text)).words()


def test_the_page_says_how_much_the_suite_sees_and_whether_that_was_measured_with_these_cases(
    run: RunFolder,
) -> None:
    figures = {"planted": 4000, "caught": 3999, "verdicts": 12345, "failed": 0}

    def html(found: object) -> str:
        told = replace(run, run={**run.run, "sensitivity": found})
        return render_report(page(told, grade(told)), load_language("en"))

    for digest, other in ((str(run.suite["digest"]), False), ("another", True)):
        text = html({**figures, "suite": {"version": "9.9", "digest": digest}})
        assert "4,000 defects" in text
        assert "caught 3,999 of them (99.9 %)" in text
        assert "12,345 verdicts" in text
        assert ("suite 9.9, digest another" in text) == other
    assert "How much the suite sees" not in html({"planted": "<b>", "suite": {}})
