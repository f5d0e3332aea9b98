"""Recurrent layers, one time step after another in elementary steps."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Protocol

from conformance.draws import full, uniform, values
from conformance.lazy import torch
from conformance.rules import Composite
from conformance.spec import Operator, Sample, TensorSpec, tensor

from .geometry import wide
from .samples import DYNAMIC, FEW, LARGE, pairwise, refusals

__all__ = ["OPERATORS"]

ONE = ("float32",)
ALL = ("float32", "float16", "bfloat16", "float64")
Activation = Callable[["torch.Tensor"], "torch.Tensor"]

# The activations of ONNX's recurrent operators with their defaults for alpha and beta (RNN-22).
_ACTIVATIONS: dict[str, tuple[float, float, Callable[[torch.Tensor, float, float], torch.Tensor]]] = {
    "affine": (1.0, 0.0, lambda x, a, b: a * x + b),
    "elu": (1.0, 0.0, lambda x, a, b: torch.where(x < 0, a * (x.clamp(max=0).exp() - 1), x)),
    "hardsigmoid": (0.2, 0.5, lambda x, a, b: (a * x + b).clamp(0, 1)),
    "leakyrelu": (0.01, 0.0, lambda x, a, b: torch.where(x < 0, a * x, x)),
    "relu": (0.0, 0.0, lambda x, a, b: x.clamp(min=0)),
    "scaledtanh": (1.0, 1.0, lambda x, a, b: a * (b * x).tanh()),
    "sigmoid": (0.0, 0.0, lambda x, a, b: x.sigmoid()),
    "softplus": (0.0, 0.0, lambda x, a, b: (1 + x.exp()).log()),
    "softsign": (0.0, 0.0, lambda x, a, b: x / (1 + x.abs())),
    "tanh": (0.0, 0.0, lambda x, a, b: x.tanh()),
    "thresholdedrelu": (1.0, 0.0, lambda x, a, b: torch.where(x >= a, x, torch.zeros_like(x))),
}
_TAKES_ALPHA = ("affine", "elu", "hardsigmoid", "leakyrelu", "scaledtanh", "thresholdedrelu")
_TAKES_BETA = ("affine", "hardsigmoid", "scaledtanh")


def _activations(
    names: Sequence[str], alpha: Sequence[float], beta: Sequence[float], clip: float | None
) -> list[Activation]:
    """The functions in order; each takes from alpha and beta if it has such a parameter and values are left."""
    alphas, betas = iter(alpha), iter(beta)
    chosen: list[Activation] = []
    for name in (n.lower() for n in names):
        a, b, function = _ACTIVATIONS[name]
        a = next(alphas, a) if name in _TAKES_ALPHA else a
        b = next(betas, b) if name in _TAKES_BETA else b
        chosen.append(partial(_clipped, function=function, a=a, b=b, clip=clip))
    return chosen


def _clipped(
    x: torch.Tensor, function: Callable[..., torch.Tensor], a: float, b: float, clip: float | None
) -> torch.Tensor:
    return function(x if clip is None else x.clamp(-clip, clip), a, b)


class Step(Protocol):
    """One time step: what comes of the projected input X·Wᵀ + Wb and the states, all (batch, …)."""

    def __call__(self, x: torch.Tensor, /, *states: torch.Tensor) -> tuple[torch.Tensor, ...]: ...


def _scan(
    x: torch.Tensor, states: tuple[torch.Tensor, ...], lengths: torch.Tensor | None, step: Step, backward: bool
) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
    """Run a step over (time, batch, input). Past a sequence's length its states stay and its outputs are 0;
    backward, each sequence starts at its own end."""
    outputs: list[torch.Tensor] = []
    order = list(enumerate(x.unbind(0)))
    for t, xt in reversed(order) if backward else order:
        new = step(xt, *states)
        if lengths is not None:
            alive = (t < lengths)[:, None]
            new = tuple(torch.where(alive, n, s) for n, s in zip(new, states, strict=True))
            outputs.append(torch.where(alive, new[0], torch.zeros_like(new[0])))
        else:
            outputs.append(new[0])
        states = new
    return torch.stack(outputs[::-1] if backward else outputs), states


def _layer(
    x: torch.Tensor,
    w: torch.Tensor,
    r: torch.Tensor,
    b: torch.Tensor | None,
    initial: Sequence[torch.Tensor | None],
    sequence_lens: torch.Tensor | None,
    direction: str,
    layout: int,
    step: Callable[[int, torch.Tensor, torch.Tensor], Step],
) -> tuple[torch.Tensor, ...]:
    """All directions of a layer: Y (time, directions, batch, hidden) and each final state (directions, batch,
    hidden); with layout 1 the batch comes first in all of them and in the inputs.

    ``step`` makes a direction's step from its number, Rᵀ and Rb.
    """
    a = wide(x)
    a = a.transpose(0, 1) if layout else a
    hidden, gates = r.shape[-1], w.shape[1]
    backward = {"forward": (False,), "reverse": (True,), "bidirectional": (False, True)}[direction]
    ys, finals = [], []
    for d, reverse in enumerate(backward):
        zero = a.new_zeros(a.shape[1], hidden)
        states = tuple(zero if s is None else wide(s)[:, d] if layout else wide(s)[d] for s in initial)
        bias = a.new_zeros(2 * gates) if b is None else wide(b)[d]
        projected = torch.matmul(a, wide(w)[d].mT) + bias[:gates]
        run = step(d, wide(r)[d].mT, bias[gates:])
        y, final = _scan(projected, states, sequence_lens, run, reverse)
        ys.append(y)
        finals.append(final)
    y = torch.stack(ys, 1)
    ends = [torch.stack(parts, 1 if layout else 0) for parts in zip(*finals, strict=True)]
    y = y.permute(2, 0, 1, 3) if layout else y
    return tuple(t.to(x.dtype) for t in (y, *ends))


def rnn(
    x: torch.Tensor,
    w: torch.Tensor,
    r: torch.Tensor,
    b: torch.Tensor | None = None,
    sequence_lens: torch.Tensor | None = None,
    initial_h: torch.Tensor | None = None,
    *,
    activations: Sequence[str] = ("Tanh", "Tanh"),
    activation_alpha: Sequence[float] = (),
    activation_beta: Sequence[float] = (),
    clip: float | None = None,
    direction: str = "forward",
    hidden_size: int | None = None,
    layout: int = 0,
) -> tuple[torch.Tensor, ...]:
    """H = f(X·Wᵀ + H·Rᵀ + Wb + Rb) (RNN-22)."""
    functions = _activations(activations, activation_alpha, activation_beta, clip)

    def step(d: int, rt: torch.Tensor, rb: torch.Tensor) -> Step:
        def run(xt: torch.Tensor, *states: torch.Tensor) -> tuple[torch.Tensor, ...]:
            return (functions[d](xt + torch.matmul(states[0], rt) + rb),)

        return run

    return _layer(x, w, r, b, [initial_h], sequence_lens, direction, layout, step)


def gru(
    x: torch.Tensor,
    w: torch.Tensor,
    r: torch.Tensor,
    b: torch.Tensor | None = None,
    sequence_lens: torch.Tensor | None = None,
    initial_h: torch.Tensor | None = None,
    *,
    activations: Sequence[str] = ("Sigmoid", "Tanh") * 2,
    activation_alpha: Sequence[float] = (),
    activation_beta: Sequence[float] = (),
    clip: float | None = None,
    direction: str = "forward",
    hidden_size: int | None = None,
    layout: int = 0,
    linear_before_reset: int = 0,
) -> tuple[torch.Tensor, ...]:
    """Gates z, r, h in this order; H = (1 − z)·h + z·H; the reset acts on H, or on H·Rᵀ + Rb (GRU-22)."""
    functions = _activations(activations, activation_alpha, activation_beta, clip)

    def step(d: int, rt: torch.Tensor, rb: torch.Tensor) -> Step:
        f, g = functions[2 * d : 2 * d + 2]
        hidden = r.shape[-1]
        two = 2 * hidden

        def run(xt: torch.Tensor, *states: torch.Tensor) -> tuple[torch.Tensor, ...]:
            (h,) = states
            z, reset = torch.split(f(xt[:, :two] + torch.matmul(h, rt[:, :two]) + rb[:two]), hidden, -1)
            if linear_before_reset:
                recurrent = reset * (torch.matmul(h, rt[:, two:]) + rb[two:])
            else:
                recurrent = torch.matmul(reset * h, rt[:, two:]) + rb[two:]
            return ((1 - z) * g(xt[:, two:] + recurrent) + z * h,)

        return run

    return _layer(x, w, r, b, [initial_h], sequence_lens, direction, layout, step)


def lstm(
    x: torch.Tensor,
    w: torch.Tensor,
    r: torch.Tensor,
    b: torch.Tensor | None = None,
    sequence_lens: torch.Tensor | None = None,
    initial_h: torch.Tensor | None = None,
    initial_c: torch.Tensor | None = None,
    p: torch.Tensor | None = None,
    *,
    activations: Sequence[str] = ("Sigmoid", "Tanh", "Tanh") * 2,
    activation_alpha: Sequence[float] = (),
    activation_beta: Sequence[float] = (),
    clip: float | None = None,
    direction: str = "forward",
    hidden_size: int | None = None,
    input_forget: int = 0,
    layout: int = 0,
) -> tuple[torch.Tensor, ...]:
    """Gates i, o, f, c in this order, peepholes i, o, f; the input gate may stand for 1 − forget (LSTM-22)."""
    functions = _activations(activations, activation_alpha, activation_beta, clip)

    def step(d: int, rt: torch.Tensor, rb: torch.Tensor) -> Step:
        f, g, h = functions[3 * d : 3 * d + 3]
        hidden = r.shape[-1]
        peep = None if p is None else torch.split(wide(p)[d], hidden)

        def run(xt: torch.Tensor, *states: torch.Tensor) -> tuple[torch.Tensor, ...]:
            last, cell = states
            i, o, forget, c = torch.split(xt + torch.matmul(last, rt) + rb, hidden, -1)
            i = f(i if peep is None else i + peep[0] * cell)
            gated = f(forget if peep is None else forget + peep[2] * cell)
            forget = 1 - i if input_forget else gated
            cell = forget * cell + i * g(c)
            o = f(o if peep is None else o + peep[1] * cell)
            return o * h(cell), cell

        return run

    return _layer(x, w, r, b, [initial_h, initial_c], sequence_lens, direction, layout, step)


def _samples(
    gates: int, default: Sequence[str], states: int, extra: Iterator[tuple[str, dict[str, Any], dict[str, Any]]]
) -> Iterator[Sample]:
    """What the three layers have in common; ``gates`` rows of weights a unit, ``states`` initial states.

    ``extra``: (name, attributes, arguments of ``inputs``) of the layer's own samples.
    """

    def inputs(
        time: int = 5,
        batch: int = 2,
        size: int = 3,
        hidden: int = 4,
        *,
        ways: int = 1,
        bias: bool = True,
        lens: Sequence[int] | None = None,
        initial: bool = False,
        peepholes: bool = False,
        layout: int = 0,
        constant: bool = True,
    ) -> tuple[TensorSpec | None, ...]:
        near = uniform(-1.0, 1.0) if hidden < 10 else uniform(-0.3, 0.3)
        state = (batch, ways, hidden) if layout else (ways, batch, hidden)
        given: list[TensorSpec | None] = [
            tensor(batch, time, size) if layout else tensor(time, batch, size),
            tensor(ways, gates * hidden, size, draw=near, constant=constant),
            tensor(ways, gates * hidden, hidden, draw=near, constant=constant),
            tensor(ways, 2 * gates * hidden, draw=near, constant=constant) if bias else None,
            None if lens is None else tensor(batch, dtype="int32", draw=values(*lens)),
            *[tensor(*state, draw=near) if initial else None] * states,
        ]
        if peepholes:
            given.append(tensor(ways, 3 * hidden, draw=near, constant=constant))
        while given[-1] is None:
            given.pop()
        return tuple(given)

    def sample(
        name: str, given: tuple[TensorSpec | None, ...], dtypes: tuple[str, ...] = ONE, **fields: Any
    ) -> Sample:
        kept = {k: fields.pop(k) for k in ("tags", "again", "opset", "refuse") if k in fields}
        hidden = given[2].shape[-1] if given[2] is not None else 0
        outputs = fields.pop("outputs", 1 + states)
        return Sample(name, given, {"hidden_size": hidden, **fields}, outputs=outputs, dtypes=dtypes, **kept)

    wide_floats = ("float32", "float16", "float64")
    yield sample("forward", inputs(), wide_floats)
    yield sample("reverse", inputs(), wide_floats, direction="reverse")
    yield sample("bidirectional", inputs(ways=2), wide_floats, direction="bidirectional")
    yield sample("initial-states", inputs(initial=True), FEW)
    for direction, ways in (("forward", 1), ("reverse", 1), ("bidirectional", 2)):
        given = inputs(ways=ways, batch=3, lens=(5, 1, 3), initial=True)
        yield sample(f"sequence-lengths-{direction}", given, FEW, direction=direction)
    yield sample("sequence-lengths-without-states", inputs(batch=3, lens=(2, 5, 4)))
    yield sample("layout-1", inputs(layout=1), FEW, layout=1)
    # An LSTM's cell after two steps is below any clip: |C2| < tanh(clip) · s · (1 + s), s = sigmoid(clip). Whether
    # a larger one is clipped before h, ONNX leaves open ("cell clip threshold", "the input of activations").
    yield sample("clip", inputs(2 if gates == 4 else 5), FEW, clip=0.4)
    yield from _pairs(gates, default, inputs, sample)
    # "Default values are the same as of corresponding ONNX operators": of these there are such operators.
    for name in ("LeakyRelu", "HardSigmoid"):
        usual: dict[str, Any] = {"activations": [*default[:-1], name]}
        yield sample(f"default-parameters-{name.lower()}", inputs(), **usual)
    mixed: dict[str, Any] = {"activations": [*default, *default[:-1], "Relu"]}
    yield sample("directions-differ", inputs(ways=2), direction="bidirectional", **mixed)
    yield sample("first-output-only", inputs(), outputs=1)
    yield sample("last-state-only", inputs(), outputs=(False,) + (True,) * states)
    yield sample("one-step", inputs(time=1, batch=1))
    yield sample("ones", inputs(1, 1, 1, 1))
    yield sample("tails", inputs(5, 3, 13, 17))
    yield sample("weights-at-run-time", inputs(constant=False))
    yield sample("zero-input", (tensor(5, 2, 3, draw=full(0.0)), *inputs(initial=True)[1:]))
    yield sample("long", inputs(25, 1, 4, 8))
    yield sample("large", inputs(12, 4, 32, 64), FEW, tags=LARGE)
    yield sample("dynamic", inputs(), FEW, again=(inputs(time=1, batch=1), inputs(time=9, batch=3)), tags=DYNAMIC)
    yield sample("opset-11", inputs(), opset=11)
    yield sample("opset-22", inputs(), ALL, opset=22)
    for name, attributes, changes in extra:
        yield sample(name, inputs(**changes), FEW, **attributes)
    x, _, r, *_ = inputs()
    bad = x, tensor(1, gates * 4, 7, constant=True), r
    yield sample("input-size-mismatch", bad, refuse="weights for 7 inputs, not 3")
    yield sample("bad-direction", inputs(), direction="sideways", refuse="no such direction")
    unknown: dict[str, Any] = {"activations": [*default[:-1], "Cubic"]}
    yield sample("unknown-activation", inputs(), **unknown, refuse="no such activation")
    one_way: dict[str, Any] = {"direction": "bidirectional", "refuse": "weights for one direction of two"}
    yield sample("one-direction-of-weights", inputs(), **one_way)
    yield from refusals(3, most=5 + states + (gates == 4))


# Each activation with the alpha and the beta that it takes, none at its default.
_FUNCTIONS: dict[str, tuple[float | None, float | None]] = {
    "Tanh": (None, None),
    "Relu": (None, None),
    "Sigmoid": (None, None),
    "Affine": (0.5, 0.1),
    "LeakyRelu": (0.1, None),
    "ThresholdedRelu": (0.2, None),
    "ScaledTanh": (0.8, 0.7),
    "HardSigmoid": (0.3, 0.4),
    "Elu": (0.7, None),
    "Softsign": (None, None),
    "Softplus": (None, None),
}


def _pairs(
    gates: int,
    default: Sequence[str],
    inputs: Callable[..., tuple[TensorSpec | None, ...]],
    sample: Callable[..., Sample],
) -> Iterator[Sample]:
    """Every two attributes and optional inputs of a layer. The last function is the one that varies: the gates stay
    Sigmoid where there are any."""
    own: Mapping[str, Sequence[Any]] = {3: {"linear_before_reset": (None, 1)}, 4: {"input_forget": (None, 1)}}.get(
        gates, {}
    )

    def given(row: Mapping[str, Any]) -> tuple[TensorSpec | None, ...]:
        return inputs(
            2 if row["clip"] and gates == 4 else 5,
            3,
            ways=2 if row["direction"] == "bidirectional" else 1,
            layout=row["layout"] or 0,
            bias=not row["no_bias"],
            lens=(2, 1, 2)
            if row["lengths"] and row["clip"] and gates == 4
            else (5, 1, 3)
            if row["lengths"]
            else None,
            initial=row["states"],
            peepholes=row.get("peepholes", False),
        )

    def functions(row: Mapping[str, Any]) -> dict[str, Any]:
        name = row["activation"]
        if name is None:
            return {}
        ways = 2 if row["direction"] == "bidirectional" else 1
        alpha, beta = _FUNCTIONS[name]
        found: dict[str, Any] = {"activations": [*default[:-1], name] * ways}
        found |= {} if alpha is None else {"activation_alpha": [alpha] * ways}
        return found | ({} if beta is None else {"activation_beta": [beta] * ways})

    def valid(row: Mapping[str, Any]) -> bool:
        # The layout moves axes outside of all that gates and functions do, and not every engine has it: apart from
        # them it hides nothing that they get wrong.
        if row["layout"] and (row["clip"] or row["activation"]):
            return False
        # Where an LSTM's cell could pass the threshold, what is clipped is open (see above).
        return not (gates == 4 and row["clip"] and (row["activation"] or row["states"] or row["peepholes"]))

    yield from pairwise(
        sample("pairs", inputs()),
        {"direction": (None, "reverse", "bidirectional"), "layout": (None, 1), "clip": (None, 0.4), **own},
        variations={
            "activation": (None, *_FUNCTIONS),
            "no_bias": (False, True),
            "states": (False, True),
            "lengths": (False, True),
            **({"peepholes": (False, True)} if gates == 4 else {}),
        },
        inputs=given,
        more=functions,
        valid=valid,
    )


def _gru_extra() -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    linear = {"linear_before_reset": 1}
    yield "linear-before-reset", linear, {}
    yield "linear-before-reset-no-bias", linear, {"bias": False}
    yield (
        "linear-before-reset-bidirectional",
        {**linear, "direction": "bidirectional"},
        {"ways": 2, "initial": True},
    )


def _lstm_extra() -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    yield "peepholes", {}, {"peepholes": True}
    yield "peepholes-initial-states", {}, {"peepholes": True, "initial": True}
    both = {"peepholes": True, "initial": True, "ways": 2}
    yield "peepholes-bidirectional", {"direction": "bidirectional"}, both
    yield "input-forget", {"input_forget": 1}, {"initial": True}
    yield "input-forget-peepholes", {"input_forget": 1}, {"peepholes": True, "initial": True}


OPERATORS = (
    Operator("RNN", rnn, Composite(), lambda: _samples(1, ("Tanh",), 1, iter(()))),
    Operator("GRU", gru, Composite(), lambda: _samples(3, ("Sigmoid", "Tanh"), 1, _gru_extra())),
    Operator("LSTM", lstm, Composite(), lambda: _samples(4, ("Sigmoid", "Tanh", "Tanh"), 2, _lstm_extra())),
)
