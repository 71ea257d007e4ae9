"""What networks are built from and trained with: normalisation, attention, losses of logits."""

from __future__ import annotations

from etude.backends.ops.literals import literal_text
from etude.backends.ops.rowwise import Lifting, along_axis, behind_batch, reshaped
from etude.backends.ops.shapes import expand_to, named, normal_axes, normal_axis, shape_text
from etude.backends.ops.table import Attributes, OperandError, Operation, Types
from etude.backends.program.dims import Dim, product
from etude.backends.program.ir import Operand
from etude.backends.program.types import TensorType

# --- along one axis ---


def _along(types: Types, attributes: Attributes) -> tuple[TensorType, ...]:
    normal_axis(attributes["axis"], types[0])
    return (types[0],)


def _five_each(types: Types, results: Types, attributes: Attributes) -> Dim:
    return types[0].size * 5


# --- standardize ---


def _standardize(types: Types, attributes: Attributes) -> tuple[TensorType, ...]:
    given = named(types, attributes, ("x", "scale", "shift"))
    axes = normal_axes(attributes["axis"], types[0])
    wanted = tuple(types[0].shape[axis] for axis in sorted(axes))
    for index, name in enumerate(given):
        if name != "x" and (given[name].shape != wanted or not _trailing(types[0], attributes)):
            hint = "scale and shift have the shape of the axes, which must be the last"
            raise OperandError(f"expected {name} {shape_text(wanted)}, got {given[name]}", operand=index, hint=hint)
    return (types[0],)


def _trailing(kind: TensorType, attributes: Attributes) -> bool:
    axes = sorted(normal_axes(attributes["axis"], kind))
    return axes == list(range(kind.rank - len(axes), kind.rank))


def _torch_standardize(types: Types, attributes: Attributes) -> str:
    kind, axes = types[0], normal_axes(attributes["axis"], types[0])
    dims = tuple(kind.shape[axis] for axis in sorted(axes))
    if not _trailing(kind, attributes):
        return f"standardize({{x}}, {axes}, {{eps}})"
    names = named(types, attributes, ("x", "scale", "shift"))
    weight = ", weight={scale}" if "scale" in names else ""
    if "shift" in names and not weight:  # PyTorch's second gradient of a bias alone is wrong
        return f"F.layer_norm({{x}}, {literal_text(dims)}, eps={{eps}}) + {{shift}}"
    bias = ", bias={shift}" if "shift" in names else ""
    return f"F.layer_norm({{x}}, {literal_text(dims)}{weight}{bias}, eps={{eps}})"


def _other_standardize(types: Types, attributes: Attributes) -> str:
    axes = normal_axes(attributes["axis"], types[0])
    names = named(types, attributes, ("x", "scale", "shift"))
    text = f"standardize({{x}}, {axes}, {{eps}})"
    text += " * {scale}" if "scale" in names else ""
    return text + (" + {shift}" if "shift" in names else "")


def _standardize_rows(lift: Lifting) -> tuple[Operand, ...]:
    """Scale and shift that differ by row are applied after."""
    names = list(named(lift.types, lift.attrs, ("x", "scale", "shift")))
    axes = behind_batch(lift.attrs["axis"], lift.types[0].rank)
    if not any(lift.batched[1:]):
        operands = [lift.spread(0), *lift.operands[1:]]
        return lift.apply("standardize", operands, **(lift.attrs | {"axis": axes}))
    result = lift.apply("standardize", [lift.spread(0)], axis=axes, eps=lift.attrs["eps"], has=("x",))[0]
    for index, name in enumerate(names[1:], start=1):
        weight = lift.ranked(index, lift.types[0].rank)
        result = lift.apply("mul" if name == "scale" else "add", [result, weight])[0]
    return (result,)


# --- attention ---


def _attention(types: Types, attributes: Attributes) -> tuple[TensorType, ...]:
    q, k, v = types[:3]
    for index, kind in enumerate((q, k, v)):
        if kind.rank < 2 or kind.rank != q.rank or kind.shape[:-2] != q.shape[:-2]:
            raise OperandError(
                f"expected [..., positions, width] with the leading axes of {q}, got {kind}", operand=index
            )
    if q.shape[-1] != k.shape[-1]:
        raise OperandError(f"queries {q} and keys {k} have different widths", operand=1)
    if k.shape[-2] != v.shape[-2]:
        raise OperandError(f"keys {k} and values {v} have different numbers of positions", operand=2)
    if len(types) == 4:
        expand_to(types[3], (*q.shape[:-1], k.shape[-2]), 3)
    return (q.with_shape((*q.shape[:-1], v.shape[-1])),)


def _torch_attention(types: Types, attributes: Attributes) -> str:
    has_mask, causal = len(types) == 4, attributes["causal"]
    text = "F.scaled_dot_product_attention({q}, {k}, {v}"
    if has_mask and causal:
        triangle = f"torch.ones({types[0].shape[-2]}, {types[1].shape[-2]}, dtype=torch.bool).tril()"
        text += f", attn_mask={{mask}} & {triangle}"
    elif has_mask:
        text += ", attn_mask={mask}"
    elif causal:
        text += ", is_causal=True"
    return text + (")" if attributes["scale"] is None else ", scale={scale})")


def _other_attention(types: Types, attributes: Attributes) -> str:
    mask = ", mask={mask}" if len(types) == 4 else ""
    causal = ", causal=True" if attributes["causal"] else ""
    scale = "" if attributes["scale"] is None else ", scale={scale}"
    return f"attention({{q}}, {{k}}, {{v}}{mask}{causal}{scale})"


def _attention_rows(lift: Lifting) -> tuple[Operand, ...]:
    operands = [lift.spread(i) for i in range(3)]
    if len(lift.types) == 4:
        operands.append(lift.ranked(3, lift.types[0].rank))
    return lift.apply("attention", operands, **lift.attrs)


def _attention_flops(types: Types, results: Types, attributes: Attributes) -> Dim:
    scores = product(types[0].shape[:-1]) * types[1].shape[-2]
    return scores * (types[0].shape[-1] * 2) + scores * (types[2].shape[-1] * 2) + scores * 5


# --- losses of logits ---


def _check_reduce(attributes: Attributes) -> None:
    if attributes["reduce"] not in ("mean", "row", "none"):
        raise OperandError(f'reduce is "mean", "row" or "none", got "{attributes["reduce"]}"')


def _loss_shape(shape: tuple[Dim, ...], attributes: Attributes) -> tuple[Dim, ...]:
    return {"mean": (), "row": shape[:1], "none": shape}[attributes["reduce"]]


def _check_where(types: Types, shape: tuple[Dim, ...]) -> None:
    if len(types) == 3 and types[2].shape != shape:
        raise OperandError(f"`where` must have the shape {shape_text(shape)}, got {types[2]}", operand=2)


def _cross_entropy(types: Types, attributes: Attributes) -> tuple[TensorType, ...]:
    logits, labels = types[:2]
    _check_reduce(attributes)
    if logits.rank == 0 or labels.shape != logits.shape[:-1]:
        raise OperandError(
            f"expected one label for each distribution: logits {logits} need labels of shape "
            f"{shape_text(logits.shape[:-1])}, got {labels}",
            operand=1,
            hint="the last axis of the logits runs over the classes",
        )
    _check_where(types, labels.shape)
    return (TensorType("float32", _loss_shape(labels.shape, attributes)),)


def _options(types: Types, attributes: Attributes) -> str:
    where = ", where={where}" if len(types) == 3 else ""
    reduce = "" if attributes["reduce"] == "mean" else ", reduce={reduce}"
    return where + reduce + (", label_smoothing={label_smoothing}" if attributes.get("label_smoothing") else "")


def _torch_cross_entropy(types: Types, attributes: Attributes) -> str:
    reduce = attributes["reduce"]
    plain = reduce == "mean" or types[1].rank == 1 or (reduce == "none" and types[1].rank == 0)
    if len(types) == 3 or not plain or (types[1].rank == 0 and reduce == "row"):
        return f"cross_entropy({{logits}}, {{labels}}{_options(types, attributes)})"
    flat = types[1].rank > 1
    logits = "{logits}.flatten(0, -2)" if flat else "{logits}"
    labels = "{labels}.flatten().long()" if flat else "{labels}.long()"
    reduction = "" if reduce == "mean" else ", reduction='none'"
    smoothing = ", label_smoothing={label_smoothing}" if attributes["label_smoothing"] else ""
    return f"F.cross_entropy({logits}, {labels}{reduction}{smoothing})"


def _other_cross_entropy(types: Types, attributes: Attributes) -> str:
    return f"cross_entropy({{logits}}, {{labels}}{_options(types, attributes)})"


def _without_last(logits: TensorType, targets: TensorType) -> bool:
    """Whether the logits have one more axis than the targets, of length 1."""
    return logits.rank == targets.rank + 1 and logits.shape[-1] == 1


def _binary_cross_entropy(types: Types, attributes: Attributes) -> tuple[TensorType, ...]:
    logits, targets = types[:2]
    _check_reduce(attributes)
    if logits.shape != targets.shape and not _without_last(logits, targets):
        raise OperandError(f"expected one target for each logit: logits {logits}, targets {targets}", operand=1)
    _check_where(types, targets.shape)
    return (TensorType("float32", _loss_shape(targets.shape, attributes)),)


def _logits_text(types: Types) -> str:
    return "{logits}[..., 0]" if _without_last(types[0], types[1]) else "{logits}"


def _torch_binary(types: Types, attributes: Attributes) -> str:
    logits, reduce = _logits_text(types), attributes["reduce"]
    if len(types) == 3 or (reduce == "row" and types[1].rank != 1):
        return f"binary_cross_entropy({logits}, {{targets}}{_options(types, attributes)})"
    reduction = "" if reduce == "mean" else ", reduction='none'"
    return f"F.binary_cross_entropy_with_logits({logits}, {{targets}}{reduction})"


def _other_binary(types: Types, attributes: Attributes) -> str:
    return f"binary_cross_entropy({_logits_text(types)}, {{targets}}{_options(types, attributes)})"


def _loss_rows(lift: Lifting) -> tuple[Operand, ...]:
    """The mean of a row is the row-wise mean of the batch; the row-wise mean of rows is that of all their parts."""
    operands = [lift.spread(i) for i in range(len(lift.types))]
    reduce, rank = lift.attrs["reduce"], lift.types[1].rank
    if reduce != "row" or rank <= 1:
        attrs = lift.attrs | {"reduce": "row" if reduce == "mean" and rank else "none"}
        return lift.apply(lift.name, operands, **attrs)
    merged = [lift.apply("reshape", [o], shape=(product(o.type.shape[:2]), *o.type.shape[2:]))[0] for o in operands]
    return (reshaped(lift, lift.apply(lift.name, merged, **lift.attrs)[0], lift.results[0]),)


ROWS = (
    Operation(
        name="softmax",
        signature="x: float, axis: axis = -1",
        infer=_along,
        numpy="softmax({x}, {axis})",
        torch="torch.softmax({x}, dim={axis})",
        jax="jax.nn.softmax({x}, axis={axis})",
        rows=along_axis,
        flops=_five_each,
        doc="exp(x) / sum(exp(x)) along an axis.",
    ),
    Operation(
        name="log_softmax",
        signature="x: float, axis: axis = -1",
        infer=_along,
        numpy="log_softmax({x}, {axis})",
        torch="torch.log_softmax({x}, dim={axis})",
        jax="jax.nn.log_softmax({x}, axis={axis})",
        rows=along_axis,
        flops=_five_each,
        doc="The logarithm of `softmax`, without underflow.",
    ),
    Operation(
        name="normalize",
        signature="x: float, axis: axis = -1, eps: real = 1e-12",
        infer=_along,
        numpy="normalize({x}, {axis}, {eps})",
        torch="F.normalize({x}, dim={axis}, eps={eps})",
        jax="normalize({x}, {axis}, {eps})",
        rows=along_axis,
        flops=lambda types, results, attributes: types[0].size * 3,
        doc="x divided by its Euclidean length along an axis (at least eps).",
    ),
    Operation(
        name="standardize",
        signature="x: float, scale: float = none, shift: float = none, axis: axes = -1, eps: real = 1e-5",
        infer=_standardize,
        numpy=_other_standardize,
        torch=_torch_standardize,
        jax=_other_standardize,
        rows=_standardize_rows,
        flops=lambda types, results, attributes: types[0].size * 8,
        doc="(x - mean) / sqrt(var + eps) over axes, then times scale, plus shift: the heart of layer normalisation.",
    ),
    Operation(
        name="attention",
        signature="q: float, k: float, v: float, mask: bool = none, causal: flag = false, scale: real = none",
        infer=_attention,
        numpy=_other_attention,
        torch=_torch_attention,
        jax=_other_attention,
        rows=_attention_rows,
        twice_differentiable=False,  # the fused kernel of PyTorch on the CPU is not
        flops=_attention_flops,
        doc=(
            "softmax(q @ k.T * scale) @ v for q, k, v [..., positions, width]; scale is 1 / sqrt(width) unless given. "
            "`mask` (true: may look) stretches to [..., queries, keys]; a query that may look at nothing gives zeros."
        ),
    ),
    Operation(
        name="cross_entropy",
        signature='logits: float, labels: int, where: bool = none, reduce: text = "mean", label_smoothing: real = 0.0',
        infer=_cross_entropy,
        numpy=_other_cross_entropy,
        torch=_torch_cross_entropy,
        jax=_other_cross_entropy,
        rows=_loss_rows,
        flops=_five_each,
        doc=(
            "-log softmax(logits)[label] over the last axis: the mean, the mean of each row of the batch, or each. "
            "Means are over the places where `where` is true, 0 if there is none; with smoothing s, a share s of the "
            "target is spread over all classes."
        ),
    ),
    Operation(
        name="binary_cross_entropy",
        signature='logits: float, targets: float, where: bool = none, reduce: text = "mean"',
        infer=_binary_cross_entropy,
        numpy=_other_binary,
        torch=_torch_binary,
        jax=_other_binary,
        rows=_loss_rows,
        flops=_five_each,
        doc="softplus(x) - x * target of each logit x: the mean, the mean of each row, or each; `where` as above.",
    ),
)
