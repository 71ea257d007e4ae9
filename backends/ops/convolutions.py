"""Convolutions, pooling and resizing over 1 to 3 spatial axes; channels come last, with or without a leading batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

from etude.backends.ops.literals import literal_text
from etude.backends.ops.rowwise import Lifting, reshaped
from etude.backends.ops.shapes import spatial, static
from etude.backends.ops.table import Attributes, OperandError, Operation, Types
from etude.backends.program.dims import Dim, product
from etude.backends.program.ir import Operand
from etude.backends.program.types import TensorType

Pairs: TypeAlias = tuple[tuple[int, int], ...]
AXES = {1: "W", 2: "HW", 3: "DHW"}


def pairs_of_padding(padding: Any, dims: Sequence[int], size: Sequence[int], stride: Sequence[int]) -> Pairs:
    """Padding as (before, after) for each spatial axis; "same" makes the output ceil(n / stride), the odd one behind.

    >>> pairs_of_padding("same", [8], [3], [2]), pairs_of_padding(1, [8], [3], [1])
    (((0, 1),), ((1, 1),))
    """
    if padding == "valid":
        return ((0, 0),) * len(dims)
    if padding == "same":
        needed = [max((-(-n // s) - 1) * s + k - n, 0) for n, k, s in zip(dims, size, stride, strict=True)]
        return tuple((total // 2, total - total // 2) for total in needed)
    if isinstance(padding, str):
        raise OperandError(f'padding is "same", "valid" or numbers, got "{padding}"')
    return tuple((p, p) for p in spatial(padding, len(dims), "padding"))


class Windows:
    """A window that slides over the spatial axes of `x`: sizes, strides, padding, and the resulting dimensions."""

    def __init__(self, x: TensorType, size: Sequence[int], attributes: Attributes, what: str) -> None:
        self.count = count = len(size)
        if not 1 <= count <= 3 or x.rank not in (count + 1, count + 2):
            axes = f"[{', '.join(AXES.get(count, '?'))}, channels]"
            raise OperandError(
                f"{what} over {count} spatial axes takes {axes}, with or without a batch, got {x}", operand=0
            )
        self.single = x.rank == count + 1
        self.dims = tuple(static(dim, f"the spatial axes of {x}", 0) for dim in x.shape[-count - 1 : -1])
        dilation = spatial(attributes.get("dilation", 1), count, "dilation")
        stride = attributes["stride"]
        self.size = tuple(d * (k - 1) + 1 for k, d in zip(size, dilation, strict=True))
        self.stride = tuple(size) if stride is None else spatial(stride, count, "stride")
        self.padding = pairs_of_padding(attributes["padding"], self.dims, self.size, self.stride)
        fits = zip(self.dims, self.size, self.stride, self.padding, strict=True)
        self.out = tuple((n + low + high - k) // s + 1 for n, k, s, (low, high) in fits)
        if any(n < 1 for n in self.out):
            message = f"a window of {list(self.size)} does not fit into the spatial axes {list(self.dims)} of {x}"
            raise OperandError(message, operand=0, hint='use padding = "same" or a smaller window')

    @property
    def symmetric(self) -> bool:
        return all(low == high for low, high in self.padding)

    def result(self, x: TensorType, channels: Dim) -> TensorType:
        return x.with_shape((*x.shape[: x.rank - self.count - 1], *self.out, channels))

    def torch(self, text: str) -> str:
        """Put a template over channels-first `{x}` between the permutations."""
        return channels_first(text, self.count, self.single)


def channels_first(text: str, count: int, single: bool) -> str:
    """A template in which `{x}` has its channels first, and its result channels last again."""
    forward = ", ".join(map(str, (0, count + 1, *range(1, count + 1))))
    back = ", ".join(map(str, (0, *range(2, count + 2), 1)))
    x = f"{{x}}{'[None]' if single else ''}.permute({forward})"
    return f"{text.replace('{x}', x)}.permute({back}){'[0]' if single else ''}"


def _short(values: Sequence[int]) -> str:
    """One number where all are equal."""
    return str(values[0]) if len(set(values)) == 1 else literal_text(tuple(values))


def _padded(windows: Windows, value: str = "") -> str:
    """`{x}`, channels last, with the padding put around it."""
    widths = tuple(w for pair in ((0, 0), *reversed(windows.padding)) for w in pair)
    return f"F.pad({{x}}, {literal_text(widths)}{value})"


# --- conv ---


def _conv_windows(types: Types, attributes: Attributes) -> Windows:
    size = [static(dim, "the size of a kernel", 1) for dim in types[1].shape[:-2]]
    return Windows(types[0], size, attributes, "conv")


def _conv(types: Types, attributes: Attributes) -> tuple[TensorType, ...]:
    x, w = types[0], types[1]
    windows, groups = _conv_windows(types, attributes), attributes["groups"]
    if x.shape[-1] != w.shape[-2] * groups:
        of = f" for {groups} groups" if groups != 1 else ""
        message = f"{x} has {x.shape[-1]} channels, but the kernel {w} takes {w.shape[-2] * groups}{of}"
        raise OperandError(message, operand=1, hint="a kernel is [size..., channels in / groups, channels out]")
    if static(w.shape[-1], "the number of output channels", 1) % groups:
        raise OperandError(f"{groups} groups do not divide the {w.shape[-1]} channels that {w} makes", operand=1)
    _check_bias(types, w.shape[-1])
    return (windows.result(x, w.shape[-1]),)


def _check_bias(types: Types, channels: Dim) -> None:
    if len(types) == 3 and types[2].shape != (channels,):
        raise OperandError(f"expected a bias [{channels}], got {types[2]}", operand=2)


def _options(**given: str | None) -> str:
    return "".join(f", {name}={text}" for name, text in given.items() if text is not None)


def _unless(default: int, values: Sequence[int]) -> str | None:
    return None if set(values) == {default} else _short(values)


def _torch_conv(types: Types, attributes: Attributes) -> str:
    windows = _conv_windows(types, attributes)
    count = windows.count
    kernel = ", ".join(map(str, (count + 1, count, *range(count))))
    bias = ", {bias}" if len(types) == 3 else ""
    dilation = spatial(attributes["dilation"], count, "dilation")
    options = _options(
        stride=_unless(1, windows.stride),
        padding=_unless(0, [low for low, _ in windows.padding]) if windows.symmetric else None,
        dilation=_unless(1, dilation),
        groups=_unless(1, [attributes["groups"]]),
    )
    text = windows.torch(f"F.conv{count}d({{x}}, {{w}}.permute({kernel}){bias}{options})")
    return text if windows.symmetric else text.replace("{x}", _padded(windows))


def _jax_conv(types: Types, attributes: Attributes) -> str:
    windows = _conv_windows(types, attributes)
    axes = AXES[windows.count]
    options = _options(
        dimension_numbers=f"('N{axes}C', '{axes}IO', 'N{axes}C')",
        rhs_dilation=_only(spatial(attributes["dilation"], windows.count, "dilation")),
        feature_group_count=_unless(1, [attributes["groups"]]),
    )
    x = "{x}[None]" if windows.single else "{x}"
    padding = attributes["padding"].upper() if isinstance(attributes["padding"], str) else windows.padding
    text = f"lax.conv_general_dilated({x}, {{w}}, {windows.stride}, {padding!r}{options})"
    return f"{text}{'[0]' if windows.single else ''}{' + {bias}' if len(types) == 3 else ''}"


def _only(values: tuple[int, ...]) -> str | None:
    return None if set(values) == {1} else literal_text(values)


def _numpy_conv(types: Types, attributes: Attributes) -> str:
    windows = _conv_windows(types, attributes)
    dilation = spatial(attributes["dilation"], windows.count, "dilation")
    text = f"conv({{x}}, {{w}}, {windows.stride}, {windows.padding}, {dilation}, {{groups}})"
    return f"{text} + {{bias}}" if len(types) == 3 else text


def _conv_flops(types: Types, results: Types, attributes: Attributes) -> Dim:
    return results[0].size * product(types[1].shape[:-1]) * 2


# --- conv_transpose ---


def _stamped(types: Types, attributes: Attributes) -> tuple[int, tuple[int, ...], tuple[int, ...], Pairs]:
    """Spatial axes, kernel size, stride, and what is cut from (positive) or added to (negative) each end."""
    x, w = types[0], types[1]
    count = w.rank - 2
    if not 1 <= count <= 3 or x.rank not in (count + 1, count + 2):
        raise OperandError(f"a kernel {w} takes {max(count, 1)} spatial axes and channels, got {x}", operand=0)
    size = tuple(static(dim, "the size of a kernel", 1) for dim in w.shape[:-2])
    stride, padding = spatial(attributes["stride"], count, "stride"), attributes["padding"]
    if padding == "same":
        extra = [k - s for k, s in zip(size, stride, strict=True)]
        return count, size, stride, tuple((e // 2, e - e // 2) if e > 0 else (0, e) for e in extra)
    return count, size, stride, pairs_of_padding(padding, size, size, stride)


def _conv_transpose(types: Types, attributes: Attributes) -> tuple[TensorType, ...]:
    x, w = types[0], types[1]
    count, size, stride, cut = _stamped(types, attributes)
    if x.shape[-1] != w.shape[-2]:
        raise OperandError(f"{x} has {x.shape[-1]} channels, but the kernel {w} takes {w.shape[-2]}", operand=1)
    _check_bias(types, w.shape[-1])
    dims = [static(dim, f"the spatial axes of {x}", 0) for dim in x.shape[-count - 1 : -1]]
    ends = zip(dims, size, stride, cut, strict=True)
    out = tuple((n - 1) * s + k - low - high for n, k, s, (low, high) in ends)
    return (x.with_shape((*x.shape[: x.rank - count - 1], *out, w.shape[-1])),)


def _torch_conv_transpose(types: Types, attributes: Attributes) -> str:
    count, _, stride, cut = _stamped(types, attributes)
    # PyTorch cannot take the gradient of a kernel that is not contiguous here.
    kernel = f"{{w}}.permute({', '.join(map(str, (count, count + 1, *range(count))))}).contiguous()"
    bias = ", {bias}" if len(types) == 3 else ""
    even = all(low == high >= 0 for low, high in cut)
    options = _options(stride=_unless(1, stride), padding=_unless(0, [low for low, _ in cut]) if even else None)
    if even:
        text = f"F.conv_transpose{count}d({{x}}, {kernel}{bias}{options})"
        return channels_first(text, count, types[0].rank == count + 1)
    widths = tuple(-w for pair in ((0, 0), *reversed(cut)) for w in pair)
    text = f"F.conv_transpose{count}d({{x}}, {kernel}{options})"
    text = f"F.pad({channels_first(text, count, types[0].rank == count + 1)}, {widths})"
    return f"{text} + {{bias}}" if bias else text


def _jax_conv_transpose(types: Types, attributes: Attributes) -> str:
    count, size, stride, cut = _stamped(types, attributes)
    padding = tuple((k - 1 - low, k - 1 - high) for k, (low, high) in zip(size, cut, strict=True))
    axes, single = AXES[count], types[0].rank == count + 1
    numbers = f"('N{axes}C', '{axes}IO', 'N{axes}C')"
    flipped = f"jnp.flip({{w}}, {tuple(range(count))})"
    text = (
        f"lax.conv_general_dilated({{x}}{'[None]' if single else ''}, {flipped}, {(1,) * count}, {padding}, "
        f"lhs_dilation={stride}, dimension_numbers={numbers})"
    )
    return f"{text}{'[0]' if single else ''}{' + {bias}' if len(types) == 3 else ''}"


def _numpy_conv_transpose(types: Types, attributes: Attributes) -> str:
    _, _, stride, cut = _stamped(types, attributes)
    text = f"conv_transpose({{x}}, {{w}}, {stride}, {cut})"
    return f"{text} + {{bias}}" if len(types) == 3 else text


def _conv_transpose_flops(types: Types, results: Types, attributes: Attributes) -> Dim:
    return types[0].size * product(types[1].shape[:-2]) * types[1].shape[-1] * 2


# --- pooling ---


def _pool_windows(types: Types, attributes: Attributes) -> Windows:
    size, x = attributes["size"], types[0]
    return Windows(x, spatial(size, x.rank - 2 if isinstance(size, int) else len(size), "size"), attributes, "pooling")


def _pool(types: Types, attributes: Attributes) -> tuple[TensorType, ...]:
    return (_pool_windows(types, attributes).result(types[0], types[0].shape[-1]),)


def _torch_pool(name: str) -> Any:
    def spelling(types: Types, attributes: Attributes) -> str:
        windows = _pool_windows(types, attributes)
        low = [pair[0] for pair in windows.padding]
        fits = windows.symmetric and all(p <= k // 2 for p, k in zip(low, windows.size, strict=True))
        stride = None if windows.stride == windows.size else _short(windows.stride)
        if not fits:
            x = "{x}[None]" if windows.single else "{x}"
            text = f"{name}_pool({x}, {windows.size}, {windows.stride}, {windows.padding})"
            return f"{text}[0]" if windows.single else text
        padding = _unless(0, low)
        uncounted = "False" if name == "avg" and padding else None
        options = _options(stride=stride, padding=padding, count_include_pad=uncounted)
        return windows.torch(f"F.{name}_pool{windows.count}d({{x}}, {_short(windows.size)}{options})")

    return spelling


def _other_pool(name: str) -> Any:
    def spelling(types: Types, attributes: Attributes) -> str:
        windows = _pool_windows(types, attributes)
        return f"{name}_pool({{x}}, {windows.size}, {windows.stride}, {windows.padding})"

    return spelling


# --- resize ---


def _resize(types: Types, attributes: Attributes) -> tuple[TensorType, ...]:
    x, shape = types[0], attributes["shape"]
    if attributes["method"] not in ("bilinear", "nearest"):
        raise OperandError(f'method is "bilinear" or "nearest", got "{attributes["method"]}"')
    if any(isinstance(size, int) and size < 1 for size in attributes["shape"]):
        raise OperandError(f"sizes are at least 1, got {list(attributes['shape'])}")
    if not 1 <= len(shape) <= 3 or x.rank not in (len(shape) + 1, len(shape) + 2):
        raise OperandError(
            f"cannot resize {x} to {list(shape)}: expected {len(shape)} spatial axes and channels", operand=0
        )
    for dim in (*shape, *x.shape[-len(shape) - 1 : -1]):
        static(dim, "a size to resize from or to", 0)
    return (x.with_shape((*x.shape[: x.rank - len(shape) - 1], *shape, x.shape[-1])),)


def _torch_resize(types: Types, attributes: Attributes) -> str:
    count = len(attributes["shape"])
    linear = {1: "linear", 2: "bilinear", 3: "trilinear"}[count]
    mode = "nearest-exact" if attributes["method"] == "nearest" else linear
    text = f"F.interpolate({{x}}, size={{shape}}, mode={mode!r})"
    return channels_first(text, count, types[0].rank == count + 1)


def _jax_resize(types: Types, attributes: Attributes) -> str:
    shape = literal_text(_resize(types, attributes)[0].shape)
    method = "nearest" if attributes["method"] == "nearest" else "linear"
    return f"jax.image.resize({{x}}, {shape}, {method!r}, antialias=False)"


# --- rows ---


def _image_rows(lift: Lifting) -> tuple[Operand, ...]:
    """Rows that are single images become a batch of them; the images of rows that hold several are laid end to end."""
    if any(lift.batched[1:]):
        raise OperandError(f"{lift.name} takes one kernel for all rows", operand=1)
    x = lift.operands[0]
    if x.type.rank == lift.types[0].rank + 1 and _is_single(lift):
        return lift.apply(lift.name, [x, *lift.operands[1:]], **lift.attrs)
    flat = lift.apply("reshape", [x], shape=(product(x.type.shape[:2]), *x.type.shape[2:]))[0]
    result = lift.apply(lift.name, [flat, *lift.operands[1:]], **lift.attrs)[0]
    return (reshaped(lift, result, lift.results[0]),)


def _is_single(lift: Lifting) -> bool:
    if lift.name in ("conv", "conv_transpose"):
        return lift.types[0].rank == lift.types[1].rank - 1
    given = lift.attrs["shape"] if lift.name == "resize" else lift.attrs["size"]
    return isinstance(given, tuple) and lift.types[0].rank == len(given) + 1


ROWS = (
    Operation(
        name="conv",
        signature=(
            "x: float, w: float, bias: float = none, "
            'stride: integers = 1, padding: padding = "same", groups: integer = 1, dilation: integers = 1'
        ),
        infer=_conv,
        numpy=_numpy_conv,
        torch=_torch_conv,
        jax=_jax_conv,
        rows=_image_rows,
        flops=_conv_flops,
        doc="Cross-correlation of x [b, spatial..., in] with a kernel [size..., in / groups, out].",
    ),
    Operation(
        name="conv_transpose",
        signature='x: float, w: float, bias: float = none, stride: integers = 1, padding: padding = "same"',
        infer=_conv_transpose,
        numpy=_numpy_conv_transpose,
        torch=_torch_conv_transpose,
        jax=_jax_conv_transpose,
        rows=_image_rows,
        flops=_conv_transpose_flops,
        doc='Each element stamps the kernel [size..., in, out], `stride` apart; "same" gives n * stride elements.',
    ),
    Operation(
        name="max_pool",
        signature='x: float, size: integers, stride: integers = none, padding: padding = "valid"',
        infer=_pool,
        numpy=_other_pool("max"),
        torch=_torch_pool("max"),
        jax=_other_pool("max"),
        rows=_image_rows,
        doc="The largest in each window; the first of equal ones gets the gradient. Stride is the size unless given.",
    ),
    Operation(
        name="avg_pool",
        signature='x: float, size: integers, stride: integers = none, padding: padding = "valid"',
        infer=_pool,
        numpy=_other_pool("avg"),
        torch=_torch_pool("avg"),
        jax=_other_pool("avg"),
        rows=_image_rows,
        doc="The mean of each window, without what was padded. Stride is the size unless given.",
    ),
    Operation(
        name="resize",
        signature='x: float, shape: shape, method: text = "bilinear"',
        infer=_resize,
        numpy="resize({x}, {shape}, {method})",
        torch=_torch_resize,
        jax=_jax_resize,
        rows=_image_rows,
        doc='Another size of the spatial axes: "bilinear" (linear in each axis) or "nearest" between centres.',
    ),
)
