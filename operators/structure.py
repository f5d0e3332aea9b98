"""Sequences, optionals, control flow and strings: no tensor arithmetic, so ONNX's reference evaluator is the oracle.

Most cannot stand alone with tensors going in and out. Their samples write a small graph in ONNX's text form
(https://github.com/onnx/onnx/blob/main/docs/Syntax.md), in which ``$T`` is the type under test; all that happens
around the operator under test is exact in every type.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from string import Template
from typing import Any

from conformance.draws import anything, integers
from conformance.dtypes import BOOL, INTEGERS, lookup
from conformance.rules import EXACT
from conformance.spec import Operator, Sample, TensorSpec, tensor

from .movement import NARROW
from .samples import DYNAMIC, EMPTY, SCALAR, UNUSUAL, literal, pairwise, tagged

__all__ = ["OPERATORS", "Graph"]

# What the elements of sequences can be, then what a tensor can be that is handed on.
TYPES = ("float32", "float16", "float64", *INTEGERS, *BOOL, *UNUSUAL)
EVERY = (*TYPES, "bfloat16", *NARROW, "float6e2m3", "float6e3m2")
PAIR = ("float32", "int64")
ONE = ("float32",)
STRINGS = ("string",)
SMALL = integers(-3, 3)


@dataclass(frozen=True, slots=True)
class Graph:
    """A model from ONNX's text form, ``$T`` being the dtype. Called with a dtype and an opset it gives the
    ``onnx.ModelProto``, or ``onnx.parser.ParseError`` for a text that is wrong."""

    text: str

    def __call__(self, dtype: str, opset: int) -> Any:
        import onnx

        name = {"float32": "float", "float64": "double"}.get(dtype, dtype)
        version = onnx.helper.find_min_ir_version_for([onnx.helper.make_opsetid("", opset)])
        header = f'<ir_version: {version}, opset_import: ["": {opset}]>'
        return onnx.parser.parse_model(f"{header} case {Template(self.text).substitute(T=name)}")


def written(name: str, text: str, *inputs: TensorSpec, same: str = "", **fields: Any) -> Sample:
    """A sample whose model is the given text, with the inputs in the text's order.

    ``same`` is a graph that means the same, for what ONNX's evaluator does not do or does wrong.
    """
    reference = Graph(same) if same else None
    return tagged(name, *inputs, model=Graph(text), reference=reference, **{"dtypes": PAIR, **fields})


TWO = "($T[2,3] a, $T[4,3] b) => "
AB = (tensor(2, 3), tensor(4, 3))
ANY = anything()  # where every type is tried, every kind of value is
ALL_OF_AB = (tensor(2, 3, draw=ANY), tensor(4, 3, draw=ANY))


def constructions() -> Iterator[Sample]:
    at = "<int64 i = {%d}> { s = SequenceConstruct (a, b) y = SequenceAt (s, i) }"
    yield written("second", f"{TWO} ($T[m,n] y) {at % 1}", *ALL_OF_AB, dtypes=TYPES)
    one = "($T[2,3] a) => ($T[m,n] y) <int64 i = {0}> { s = SequenceConstruct (a) y = SequenceAt (s, i) }"
    yield written("one", one, tensor(2, 3))
    yield written("empty-tensor", one.replace("[2,3]", "[0,3]"), tensor(0, 3), tags=EMPTY)
    scalars = "($T a, $T b) => ($T y) <int64 i = {1}> { s = SequenceConstruct (a, b) y = SequenceAt (s, i) }"
    yield written("scalars", scalars, tensor(), tensor(), tags=SCALAR)


def positions() -> Iterator[Sample]:
    def at(position: int, **fields: Any) -> str:
        body = "{ s = SequenceConstruct (a, b) y = SequenceAt (s, i) }"
        return f"{TWO} ($T[m,n] y) <int64 i = {{{position}}}> {body}"

    yield written("first", at(0), *ALL_OF_AB, dtypes=TYPES)
    yield written("last", at(-1), *AB)
    yield written("most-negative", at(-2), *AB)
    yield written("int32", at(1).replace("int64 i", "int32 i"), *AB)
    run_time = (
        "($T[2,3] a, $T[4,3] b, int64 i) => ($T[m,n] y) { s = SequenceConstruct (a, b) y = SequenceAt (s, i) }"
    )
    place = literal(1, shape=(), dtype="int64")
    again = ((*AB, literal(-2, shape=(), dtype="int64")), (*AB, literal(0, shape=(), dtype="int64")))
    yield written("at-run-time", run_time, *AB, place, again=again)
    yield written("out-of-range", at(2), *AB, dtypes=ONE, refuse="position 2 of 2")


def insertions() -> Iterator[Sample]:
    join = "y = ConcatFromSequence <axis = 0> (t) }"

    def insert(position: int | None) -> str:
        if position is None:
            return f"{TWO} ($T[m,3] y) {{ s = SequenceConstruct (a, a) t = SequenceInsert (s, b) {join}"
        body = f"{{ s = SequenceConstruct (a, a) t = SequenceInsert (s, b, i) {join}"
        return f"{TWO} ($T[m,3] y) <int64 i = {{{position}}}> {body}"

    yield written("at-the-end", insert(None), *ALL_OF_AB, dtypes=TYPES)
    for name, position in (("front", 0), ("middle", 1), ("before-last", -1), ("far-negative", -2)):
        yield written(name, insert(position), *AB)
    yield written("int32", insert(1).replace("int64 i", "int32 i"), *AB)
    joined = f"{TWO} ($T[m,3] y) {{ y = Concat <axis = 0> (a, a, b) }}"
    yield written("behind-last", insert(2), *AB, same=joined)
    yield written("out-of-range", insert(3), *AB, dtypes=ONE, refuse="position 3 of 2")


def erasures() -> Iterator[Sample]:
    join = "y = ConcatFromSequence <axis = 0> (t) }"

    def erase(position: int | None) -> str:
        if position is None:
            return f"{TWO} ($T[m,3] y) {{ s = SequenceConstruct (a, a, b) t = SequenceErase (s) {join}"
        body = f"{{ s = SequenceConstruct (a, b, a) t = SequenceErase (s, i) {join}"
        return f"{TWO} ($T[m,3] y) <int64 i = {{{position}}}> {body}"

    yield written("last", erase(None), *ALL_OF_AB, dtypes=TYPES)
    for name, position in (("front", 0), ("middle", 1), ("from-the-back", -2), ("most-negative", -3)):
        yield written(name, erase(position), *AB)
    yield written("int32", erase(1).replace("int64 i", "int32 i"), *AB)
    yield written("out-of-range", erase(3), *AB, dtypes=ONE, refuse="position 3 of 3")


def lengths() -> Iterator[Sample]:
    yield written(
        "two",
        f"{TWO} (int64 n) {{ s = SequenceConstruct (a, b) n = SequenceLength (s) }}",
        *ALL_OF_AB,
        dtypes=TYPES,
    )
    split = "($T[m,3] x) => (int64 n) { s = SplitToSequence (x) n = SequenceLength (s) }"
    again = ((tensor(1, 3),), (tensor(5, 3),))
    yield written("dynamic", split, tensor(2, 3), again=again, tags=DYNAMIC)


def empties() -> Iterator[Sample]:
    insert = (
        "{ s = SequenceEmpty <dtype = %d> () t = SequenceInsert (s, a) y = ConcatFromSequence <axis = 0> (t) }"
    )
    for dtype in TYPES:
        text = f"($T[2,3] a) => ($T[m,3] y) {insert % lookup(dtype).onnx}"
        yield written(f"then-insert-{dtype}", text, tensor(2, 3, draw=ANY), dtypes=(dtype,))
    text = f"($T[2,3] a) => ($T[m,3] y) {insert.replace(' <dtype = %d>', '')}"
    yield written("default-type", text, tensor(2, 3), dtypes=ONE)


def separations() -> Iterator[Sample]:
    def split(use: str, outputs: str, position: int, extra: str = "") -> str:
        return (
            f"($T[5,6] x) => ({outputs}) <int64 i = {{{position}}}{extra}> {{ s = {use} y = SequenceAt (s, i) }}"
        )

    x = tensor(5, 6)
    yield written("each-row", split("SplitToSequence (x)", "$T[m,n] y", 3), tensor(5, 6, draw=ANY), dtypes=TYPES)
    yield written("each-column", split("SplitToSequence <axis = 1> (x)", "$T[m,n] y", 5), x)
    explicit = split("SplitToSequence <axis = 0, keepdims = 1> (x)", "$T[m,n] y", 3)
    yield written("defaults-written-out", explicit, x, dtypes=ONE)
    yield written("keepdims-0-rows", split("SplitToSequence <keepdims = 0> (x)", "$T[m] y", 2), x, dtypes=ONE)
    yield written("keepdims-0", split("SplitToSequence <axis = -1, keepdims = 0> (x)", "$T[m] y", 2), x)
    scalar = split("SplitToSequence (x, k)", "$T[m,n] y", -1, ", int64 k = {2}")
    yield written("chunks-of-2", scalar, x)
    sizes = split("SplitToSequence <axis = 1> (x, k)", "$T[m,n] y", 1, ", int64[3] k = {1, 2, 3}")
    yield written("sizes", sizes, x)
    yield written("sizes-int32", sizes.replace("int64[3] k", "int32[3] k"), x)
    wrong = split("SplitToSequence <axis = 1> (x, k)", "$T[m,n] y", 1, ", int64[2] k = {1, 2}")
    yield written("wrong-sum", wrong, x, dtypes=ONE, refuse="1 + 2 is not 6")


def joins() -> Iterator[Sample]:
    def join(use: str, outputs: str = "$T[m,n] y") -> str:
        return f"($T[2,3] a, $T[2,3] b) => ({outputs}) {{ s = SequenceConstruct (a, b) y = ConcatFromSequence {use} (s) }}"

    same = (tensor(2, 3), tensor(2, 3))
    unusual = (tensor(2, 3, draw=ANY), tensor(2, 3, draw=ANY))
    yield written("axis-0", join("<axis = 0>"), *unusual, dtypes=TYPES)
    yield written("axis-negative", join("<axis = -1>"), *same)
    yield written("new-axis-0", join("<axis = 0, new_axis = 0>"), *same, dtypes=ONE)
    cube = "$T[m,n,k] y"
    yield written("new-axis", join("<axis = 0, new_axis = 1>", cube), *same)
    yield written("new-axis-last", join("<axis = -1, new_axis = 1>", cube), *same)
    yield written("new-axis-middle", join("<axis = 1, new_axis = 1>", cube), *same)
    text = f"{TWO} ($T[m,3] y) {{ s = SequenceConstruct (a, b) y = ConcatFromSequence <axis = 0> (s) }}"
    yield written("different-sizes", text, *AB)
    wrong = f"{TWO} ($T[m,n] y) {{ s = SequenceConstruct (a, b) y = ConcatFromSequence <axis = 1> (s) }}"
    yield written("mismatch", wrong, *AB, dtypes=ONE, refuse="2 and 4 rows beside each other")


def mappings() -> Iterator[Sample]:
    body = "<body = each ($T[m,3] p) => ($T[m,3] q) { q = Neg (p) }>"
    text = f"{TWO} ($T[m,3] y) {{ s = SequenceConstruct (a, b) t = SequenceMap {body} (s) y = ConcatFromSequence <axis = 0> (t) }}"
    yield written("one-sequence", text, *AB, opset=17)
    below = text.replace("$T[4,3] b", "$T[4,3] b, $T[1,3] c").replace("(s) y", "(s, c) y")
    below = below.replace("$T[m,3] p)", "$T[m,3] p, $T[1,3] k)").replace(
        "q = Neg (p)", "q = Concat <axis = 0> (p, k)"
    )
    yield written("every-type", below, *ALL_OF_AB, tensor(1, 3), dtypes=TYPES, opset=17)
    body = "<body = each ($T[m,3] p, $T[3] k) => ($T[m,3] q) { q = Mul (p, k) }>"
    text = text.replace("$T[4,3] b", "$T[4,3] b, $T[3] c").replace("(s) y", "(s, c) y")
    text = text.replace(text[text.index("<body") : text.index("}>") + 2], body)
    whole = (tensor(2, 3, draw=SMALL), tensor(4, 3, draw=SMALL), tensor(3, draw=SMALL))
    yield written("with-a-tensor", text, *whole, opset=17)


def optionals() -> Iterator[Sample]:
    text = "($T[2,3] x) => ($T[2,3] y) { o = Optional (x) y = OptionalGetElement (o) }"
    same = "($T[2,3] x) => ($T[2,3] y) { y = Identity (x) }"
    yield written("tensor", text, tensor(2, 3, draw=ANY), dtypes=EVERY, same=same)
    text = """($T[2,3] x) => ($T[m,3] y) {
        s = SequenceConstruct (x, x)
        o = Optional (s)
        t = OptionalGetElement (o)
        y = ConcatFromSequence <axis = 0> (t)
    }"""
    yield written(
        "sequence", text, tensor(2, 3), same="($T[2,3] x) => ($T[m,3] y) { y = Concat <axis = 0> (x, x) }"
    )


@dataclass(frozen=True, slots=True)
class Nothing:
    """A model of an optional tensor without an element, which ONNX's text form has no type for: is there one?"""

    def __call__(self, dtype: str, opset: int) -> Any:
        import onnx
        from onnx import helper

        kind = helper.make_tensor_type_proto(lookup(dtype).onnx, [2, 3])
        nodes = [
            helper.make_node("Optional", [], ["o"], type=kind),
            helper.make_node("OptionalHasElement", ["o"], ["y"]),
        ]
        output = helper.make_tensor_value_info("y", onnx.TensorProto.BOOL, [])
        imports = [helper.make_opsetid("", opset)]
        version = helper.find_min_ir_version_for(imports)
        return helper.make_model(
            helper.make_graph(nodes, "case", [], [output]), opset_imports=imports, ir_version=version
        )


def empty_optionals() -> Iterator[Sample]:
    same = Graph("() => (bool y) <bool b = {0}> { y = Identity (b) }")
    yield tagged("nothing-of-a-type", model=Nothing(), reference=same, dtypes=PAIR)


def elements() -> Iterator[Sample]:
    yield from optionals()
    yield written(
        "of-a-tensor",
        "($T[2,3] x) => ($T[2,3] y) { y = OptionalGetElement (x) }",
        tensor(2, 3, draw=ANY),
        opset=18,
    )
    text = "($T[2,3] x) => ($T[2,3] y) { o = Optional (x) y = OptionalGetElement (o) }"
    same = "($T[2,3] x) => ($T[2,3] y) { y = Identity (x) }"
    yield written("opset-15", text, tensor(2, 3), same=same, opset=15)


def presences() -> Iterator[Sample]:
    text = "($T[2,3] x) => (bool y) { o = Optional (x) y = OptionalHasElement (o) }"
    yield written("full", text, tensor(2, 3), dtypes=EVERY)
    yield written("full-opset-15", text, tensor(2, 3), opset=15)
    present = "($T[2,3] x) => (bool y) { y = OptionalHasElement (x) }"
    yield written("of-a-tensor", present, tensor(2, 3), since=18)
    absent = "($T[9] x) => (bool y, $T[9] z) { y = OptionalHasElement () z = Identity (x) }"
    yield written("nothing", absent, tensor(9, draw=ANY), again=((tensor(9),),), since=18)


def branches() -> Iterator[Sample]:
    def choose(yes: str, no: str, outputs: str = "$T[m,n] y", names: str = "y") -> str:
        parts = f"<then_branch = yes () => {yes}, else_branch = no () => {no}>"
        return f"(bool c, $T[2,3] x) => ({outputs}) {{ {names} = If (c) {parts} }}"

    text = choose("($T[2,3] p) { p = Neg (x) }", "($T[2,3] q) { q = Identity (x) }")
    for name, condition in (("then", 1), ("else", 0)):
        flag = literal(bool(condition), shape=(), dtype="bool")
        yield written(name, text, flag, tensor(2, 3), dtypes=("float32", "float16", "float64", "int64", "int32"))
    true, false = (literal(b, shape=(), dtype="bool") for b in (True, False))
    either = """(bool c, $T[2,3] x, $T[2,3] z) => ($T[2,3] y) {
        y = If (c) <then_branch = yes () => ($T[2,3] p) { p = Identity (x) },
                    else_branch = no () => ($T[2,3] q) { q = Identity (z) }>
    }"""
    operands = tensor(2, 3, draw=ANY), tensor(2, 3, draw=ANY)
    yield written("every-type", either, true, *operands, again=((false, *operands),), dtypes=EVERY)
    again = ((false, tensor(2, 3)), (true, tensor(2, 3)))
    yield written("both-in-turn", text, true, tensor(2, 3), again=again)
    shapes = choose(
        "($T[6] p) <int64[1] k = {6}> { p = Reshape (x, k) }",
        "($T[3] q) <int64 r = {1}> { q = Gather (x, r) }",
        "$T[m] y",
    )
    yield written("other-shape", shapes, true, tensor(2, 3), again=((false, tensor(2, 3)),))
    two = choose(
        "($T[2,3] p, $T[2,3] q) { p = Neg (x) q = Identity (x) }",
        "($T[2,3] r, $T[2,3] s) { r = Identity (x) s = Neg (x) }",
        "$T[2,3] y, $T[2,3] z",
        "y, z",
    )
    yield written("two-outputs", two, false, tensor(2, 3))
    nested = choose(
        "($T[2,3] p) { p = If (c) <then_branch = a () => ($T[2,3] k) { k = Neg (x) }, else_branch = b () => ($T[2,3] l) { l = Identity (x) }> }",
        "($T[2,3] q) { q = Identity (x) }",
        "$T[2,3] y",
    )
    yield written("nested", nested, true, tensor(2, 3))
    yield written("opset-11", text, true, tensor(2, 3), opset=11)
    yield written("opset-13", text, false, tensor(2, 3), opset=13)


def loops() -> Iterator[Sample]:
    whole = tensor(3, draw=SMALL)
    many = ("float32", "float16", "float64", "int64", "int32")

    def loop(operands: str, initial: str, parameters: str = "$T[3] x", scanned: str = "$T[n,3] all") -> str:
        """v grows by x in each iteration; what it was before is scanned out."""
        return f"""({parameters}) => ($T[3] y, {scanned}) <{initial}> {{
            y, all = Loop ({operands}, x) <body = run (int64 i, bool c, $T[3] v) => (bool d, $T[3] w, $T[3] s) {{
                d = Identity (c)
                w = Add (v, x)
                s = Identity (v)
            }}>
        }}"""

    both = "int64 k = {4}, bool g = {1}"
    counted = loop("k, g", both)
    yield written("counted", counted, whole, dtypes=many)
    yield written("no-condition", loop("k, ", "int64 k = {4}"), whole, same=counted)
    nothing = """($T[3] x) => ($T[3] y, $T[n,3] all) <int64[1] z = {0}> {
        y = Identity (x)
        row = Unsqueeze (x, z)
        all = Slice (row, z, z, z)
    }"""
    for name, initial in (
        ("no-trips", "int64 k = {0}, bool g = {1}"),
        ("condition-false", "int64 k = {4}, bool g = {0}"),
    ):
        yield written(name, loop("k, g", initial), whole, tags=EMPTY, same=nothing)
    for name, trips in (("stops-itself", "k"), ("while", "")):
        # The third iteration is the last: its condition is computed inside, from the iteration number.
        text = f"""($T[3] x) => ($T[3] y, int64[n] all) <int64 k = {{9}}, bool g = {{1}}> {{
            y, all = Loop ({trips}, g, x) <body = run (int64 i, bool c, $T[3] v) => (bool d, $T[3] w, int64 s)
                <int64 e = {{2}}> {{
                d = Less (i, e)
                w = Add (v, v)
                s = Identity (i)
            }}>
        }}"""
        same = """($T[3] x) => ($T[3] y, int64[n] all) <int64[3] k = {0, 1, 2}> {
            p = Add (x, x)
            q = Add (p, p)
            y = Add (q, q)
            all = Identity (k)
        }"""
        yield written(name, text, whole, same=same)
    handed_on = """($T[9] v0, $T[9] x) => ($T[9] y, $T[n,9] all) <int64 k = {3}, bool g = {1}> {
        y, all = Loop (k, g, v0) <body = run (int64 i, bool c, $T[9] v) => (bool d, $T[9] w, $T[9] s) {
            d = Identity (c)
            w = Identity (x)
            s = Identity (v)
        }>
    }"""
    yield written("every-type", handed_on, tensor(9, draw=ANY), tensor(9, draw=ANY), dtypes=EVERY)
    run_time = loop("k, g", "bool g = {1}", "$T[3] x, int64 k")
    first, *rest = (literal(n, shape=(), dtype="int64") for n in (2, 5, 1))
    yield written("dynamic", run_time, whole, first, again=tuple((whole, n) for n in rest), tags=DYNAMIC)
    yield written("opset-11", counted, whole, opset=11)
    yield written("opset-13", counted, whole, opset=13)


def scans() -> Iterator[Sample]:
    whole = (tensor(3, draw=SMALL), tensor(5, 3, draw=SMALL))
    many = ("float32", "float16", "float64", "int64", "int32")

    def scan(
        extra: str = "", before: str = "", after: str = "", xs: str = "$T[n,3] xs", all: str = "$T[n,3] all"
    ) -> str:
        """A running sum, and its difference from each element; ``before`` makes p of xs, ``after`` all of q."""
        p, q = ("p" if before else "xs"), ("q" if after else "all")
        return f"""($T[3] v0, {xs}) => ($T[3] v, {all}) <int64[1] e = {{-1}}, int64[1] z = {{0}}, int64[1] b = {{-99}}> {{
            {before}
            v, {q} = Scan <body = run ($T[3] u, $T[3] x) => ($T[3] w, $T[3] s) {{
                w = Add (u, x)
                s = Sub (u, x)
            }}, num_scan_inputs = 1{extra}> (v0, {p})
            {after}
        }}"""

    yield written("running-sum", scan(), *whole, dtypes=many)
    delayed = """($T[3] v0, $T[4,3] xs) => ($T[3] v, $T[4,3] all) {
        v, all = Scan <body = run ($T[3] u, $T[3] x) => ($T[3] w, $T[3] s) {
            w = Identity (x)
            s = Identity (u)
        }, num_scan_inputs = 1> (v0, xs)
    }"""
    yield written("every-type", delayed, tensor(3, draw=ANY), tensor(4, 3, draw=ANY), dtypes=EVERY)
    # What the evaluator has no other directions and axes for, a reversal or a transpose outside does as well.
    same = scan(before="p = Slice (xs, e, b, z, e)")
    yield written("backwards", scan(", scan_input_directions = [1]"), *whole, same=same)
    same = scan(after="all = Slice (q, e, b, z, e)")
    yield written("output-backwards", scan(", scan_output_directions = [1]"), *whole, same=same)
    columns = (tensor(3, draw=SMALL), tensor(3, 5, draw=SMALL))
    same = scan(before="p = Transpose (xs)", xs="$T[3,n] xs")
    yield written("input-axis", scan(", scan_input_axes = [1]", xs="$T[3,n] xs"), *columns, same=same)
    across = "$T[3,n] all"
    same = scan(after="all = Transpose (q)", all=across)
    for name, axis in (("output-axis", 1), ("output-axis-negative", -1)):
        yield written(name, scan(f", scan_output_axes = [{axis}]", all=across), *whole, same=same)
    yield from _scan_pairs(scan, whole)
    stateless = """($T[n,3] xs, $T[n,3] ys) => ($T[n,3] all) {
        all = Scan <body = run ($T[3] a, $T[3] b) => ($T[3] s) { s = Add (a, b) }, num_scan_inputs = 2> (xs, ys)
    }"""
    yield written("stateless-two-inputs", stateless, tensor(4, 3, draw=SMALL), tensor(4, 3, draw=SMALL))
    again = tuple((tensor(3, draw=SMALL), tensor(n, 3, draw=SMALL)) for n in (1, 9))
    yield written("dynamic", scan(), *whole, again=again, tags=DYNAMIC)
    yield written("opset-11", scan(), *whole, opset=11)


def _scan_pairs(scan: Callable[..., str], whole: tuple[TensorSpec, ...]) -> Iterator[Sample]:
    """Every two of where a scan goes along and which way, on its way in and out."""
    reverse, turn = "{to} = Slice ({of}, e, b, z, e)", "{to} = Transpose ({of})"
    values = {"axes": (None, [1]), "directions": (None, [0], [1])}
    for pair in pairwise(
        Sample("pairs", whole), {f"scan_{side}_{k}": v for side in ("input", "output") for k, v in values.items()}
    ):
        own = pair.attributes
        extra = "".join(f", {k} = {v}" for k, v in own.items())
        into = [turn] * ("scan_input_axes" in own) + [reverse] * (own.get("scan_input_directions") == [1])
        out = [reverse] * (own.get("scan_output_directions") == [1]) + [turn] * ("scan_output_axes" in own)

        def steps(parts: list[str], first: str, last: str) -> str:
            names = [first, *(f"{first}{i}" for i in range(1, len(parts))), last]
            return " ".join(p.format(of=names[i], to=names[i + 1]) for i, p in enumerate(parts))

        xs = "$T[3,n] xs" if "scan_input_axes" in own else "$T[n,3] xs"
        all = "$T[3,n] all" if "scan_output_axes" in own else "$T[n,3] all"
        same = scan(before=steps(into, "xs", "p"), after=steps(out, "q", "all"), xs=xs, all=all)
        inputs = (whole[0], tensor(3, 5, draw=SMALL)) if "scan_input_axes" in own else whole
        yield written(pair.name, scan(extra, xs=xs, all=all), *inputs, same=same, dtypes=ONE)


def words(*items: str, shape: tuple[int, ...] | None = None) -> TensorSpec:
    return literal(*items, shape=shape, dtype="string")


def concatenations() -> Iterator[Sample]:
    a, b = words("a", "", "Γ", "x y"), words("1", "2", "", "z")
    yield tagged("same-shape", a, b, dtypes=STRINGS, again=((b, a),))
    yield tagged("broadcast", words("a", "b", "c", shape=(3, 1)), words("1", "2"), dtypes=STRINGS)
    yield tagged("scalar", words("a", shape=()), words("1", "2"), dtypes=STRINGS, tags=SCALAR)
    yield tagged("empty", words(shape=(0,)), words("1"), dtypes=STRINGS, tags=EMPTY)
    yield tagged("mismatch", words("a", "b", "c"), words("1", "2"), dtypes=STRINGS, refuse="3 and 2")


def normalisations() -> Iterator[Sample]:
    c = {"locale": "C"}  # the one locale that every platform has
    x = words("Monday", "tuesday", "WEDNESDAY", "monday", "x1")
    for name, attributes in (
        ("none", {}),
        ("stopwords", {"stopwords": ["monday", "x1"], "is_case_sensitive": 1}),
        (
            "stopwords-then-upper",
            {"stopwords": ["Monday"], "is_case_sensitive": 1, "case_change_action": "UPPER", **c},
        ),
    ):
        yield tagged(name, x, attributes=attributes, dtypes=STRINGS)
    yield from pairwise(
        Sample("pairs", (x,), c, dtypes=STRINGS),
        {
            "case_change_action": (None, "LOWER", "UPPER"),
            "is_case_sensitive": (None, 1),
            "stopwords": (None, ["monday", "X1"]),
        },
    )
    everything = {"stopwords": ["a", "b"], "is_case_sensitive": 1}
    yield tagged("nothing-left", words("a", "b"), attributes=everything, dtypes=STRINGS, tags=EMPTY)
    again = ((words("a", "b", "D", shape=(1, 3)),),)
    yield tagged("row", words("a", "C", "b", shape=(1, 3)), attributes=everything, dtypes=STRINGS, again=again)
    yield tagged("rank-3", words("a", shape=(1, 1, 1)), dtypes=STRINGS, refuse="rank 3")


def string_splits() -> Iterator[Sample]:
    spaced = words("a b  c", "", "one", "  x y ")
    other = words("d e  f", "", "two", " x  y")
    yield tagged("whitespace", spaced, outputs=2, dtypes=STRINGS, again=((other,),))
    yield tagged("empty-delimiter", spaced, attributes={"delimiter": ""}, outputs=2, dtypes=STRINGS)
    # Left out, because the standard can be read either way: how many parts an empty string has between delimiters,
    # and whether the rest after the last split keeps its trailing whitespace.
    x = words("a b  c", "two words", "one", "  x y ")
    for name, attributes in (
        ("space", {"delimiter": " "}),
        ("maxsplit", {"delimiter": " ", "maxsplit": 1}),
        ("delimiter-of-two", {"delimiter": "  "}),
    ):
        yield tagged(name, x, attributes=attributes, outputs=2, dtypes=STRINGS)
    few = words("a b  c", "two words", "one")
    yield tagged("whitespace-maxsplit", few, attributes={"maxsplit": 1}, outputs=2, dtypes=STRINGS)
    yield tagged(
        "matrix",
        words("a,b", "c", "d,e,f", ",", shape=(2, 2)),
        attributes={"delimiter": ","},
        outputs=2,
        dtypes=STRINGS,
    )
    yield tagged("empty", words(shape=(0,)), outputs=2, dtypes=STRINGS, tags=EMPTY)


def matches() -> Iterator[Sample]:
    x = words("www.google.com", "www.facebook.com", "www.bbc.co.uk", "", "xwww.a.com", shape=(5,))
    for name, pattern in (
        ("dots", r"www\.[\w.-]+\bcom\b"),
        ("anything", ".*"),
        ("nothing", ""),
        ("classes", r"[a-z.]+\.(com|uk)"),
    ):
        yield tagged(name, x, attributes={"pattern": pattern}, dtypes=STRINGS)
    mail = words("a@b.c", "a@b", "x.y@z.org", "@", shape=(2, 2))
    again = ((words("", "x@y.zz", "a@b", "@", shape=(2, 2)),),)
    yield tagged("matrix", mail, attributes={"pattern": r"[^@\s]+@[^@\s]+\.[a-z]+"}, dtypes=STRINGS, again=again)
    yield tagged("empty", words(shape=(0,)), attributes={"pattern": "a"}, dtypes=STRINGS, tags=EMPTY)


def _evaluated(
    name: str, samples: Callable[[], Iterator[Sample]], *dtypes: str, variable: str | None = None
) -> Operator:
    return Operator(name, None, EXACT, samples, dtypes or TYPES, variable)


OPERATORS = (
    _evaluated("SequenceConstruct", constructions),
    _evaluated("SequenceAt", positions),
    _evaluated("SequenceInsert", insertions),
    _evaluated("SequenceErase", erasures),
    _evaluated("SequenceLength", lengths),
    _evaluated("SequenceEmpty", empties),
    _evaluated("SplitToSequence", separations),
    _evaluated("ConcatFromSequence", joins),
    _evaluated("SequenceMap", mappings),
    _evaluated("Optional", lambda: itertools.chain(optionals(), empty_optionals())),
    _evaluated("OptionalGetElement", elements),
    _evaluated("OptionalHasElement", presences),
    _evaluated("If", branches, variable="V"),
    _evaluated("Loop", loops, variable="V"),
    _evaluated("Scan", scans, variable="V"),
    _evaluated("StringConcat", concatenations, *STRINGS),
    _evaluated("StringNormalizer", normalisations, *STRINGS),
    _evaluated("StringSplit", string_splits, *STRINGS),
    _evaluated("RegexFullMatch", matches, *STRINGS),
)
