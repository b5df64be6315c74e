"""Vectors of sixteen floats inside numba's kernels.

Numba vectorises loops as it sees fit; what decides the speed of this package is written with vectors
instead. LLVM turns them into whatever registers the processor has: one of AVX-512, two of AVX, four of
Neon. Memory is given by address, since a tile of a matrix is no array of its own.
"""

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import extending, njit, types
from numba.extending import models, register_model

intrinsic: Callable[[Any], Any] = extending.intrinsic
"""Makes a function of kernels from the code that LLVM is given for it."""

several: Any = types.UniTuple

LANES = 16
"""Values of a vector; columns of a matrix are padded to a multiple."""

FLOAT, INT32, INT64 = ir.FloatType(), ir.IntType(32), ir.IntType(64)
FLOATS, INTS = ir.VectorType(FLOAT, LANES), ir.VectorType(INT32, LANES)

Codegen = Callable[[Any, Any, Any, Any], Any]


class Vector(types.Type):
    """Numba's type of sixteen floats."""

    def __init__(self) -> None:
        super().__init__(name=f"f32x{LANES}")


vector = Vector()


@register_model(Vector)
class VectorModel(models.PrimitiveModel):
    """In LLVM it is a vector."""

    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, FLOATS)  # type: ignore[no-untyped-call]


def call_intrinsic(builder: Any, name: str, result: Any, arguments: list[Any]) -> Any:
    """Call an intrinsic of LLVM by its name."""
    module = builder.module
    function = module.globals.get(name)
    if function is None:
        function = ir.Function(module, ir.FunctionType(result, [a.type for a in arguments]), name)
    return builder.call(function, arguments)


def fused(builder: Any, x: Any, y: Any, z: Any) -> Any:
    """``x * y + z``, rounded once."""
    return call_intrinsic(builder, f"llvm.fma.v{LANES}f32", FLOATS, [x, y, z])


def repeat(builder: Any, value: Any) -> Any:
    """The same number in every lane."""
    kind = ir.VectorType(value.type, LANES)
    undefined = ir.Constant(kind, ir.Undefined)
    one = builder.insert_element(undefined, value, INT32(0))
    return builder.shuffle_vector(one, undefined, ir.Constant(INTS, [0] * LANES))


def constant(value: float) -> Any:
    """A constant in every lane."""
    return ir.Constant(FLOATS, [value] * LANES)


def read(builder: Any, address: Any, kind: Any = FLOATS) -> Any:
    """Load from an address or a pointer, aligned or not."""
    if isinstance(address.type, ir.IntType):
        pointer = builder.inttoptr(address, kind.as_pointer())
    else:
        pointer = builder.bitcast(address, kind.as_pointer())
    loaded = builder.load(pointer)
    loaded.align = 4
    return loaded


def write(builder: Any, value: Any, address: Any) -> None:
    """Store at an address or a pointer, aligned or not."""
    if isinstance(address.type, ir.IntType):
        pointer = builder.inttoptr(address, value.type.as_pointer())
    else:
        pointer = builder.bitcast(address, value.type.as_pointer())
    builder.store(value, pointer).align = 4


@intrinsic
def load(_: Any, address: Any) -> Any:
    """Sixteen floats from an address."""
    return vector(types.int64), lambda context, b, signature, args: read(b, args[0])


@intrinsic
def store(_: Any, address: Any, value: Any) -> Any:
    """Sixteen floats to an address."""

    def codegen(context: Any, b: Any, signature: Any, args: Any) -> Any:
        write(b, args[1], args[0])
        return context.get_dummy_value()

    return types.void(types.int64, vector), codegen


@intrinsic
def splat(_: Any, value: Any) -> Any:
    """One float in every lane."""
    return vector(types.float32), lambda context, b, signature, args: repeat(b, args[0])


@intrinsic
def scalar(_: Any, address: Any) -> Any:
    """The float at an address, in every lane."""
    codegen: Codegen = lambda context, b, signature, args: repeat(b, read(b, args[0], FLOAT))  # noqa: E731
    return vector(types.int64), codegen


@intrinsic
def get(_: Any, address: Any) -> Any:
    """The float at an address."""
    return types.float32(types.int64), lambda context, b, signature, args: read(b, args[0], FLOAT)


@intrinsic
def put(_: Any, address: Any, value: Any) -> Any:
    """Write a float to an address."""

    def codegen(context: Any, b: Any, signature: Any, args: Any) -> Any:
        write(b, args[1], args[0])
        return context.get_dummy_value()

    return types.void(types.int64, types.float32), codegen


@intrinsic
def whole(_: Any, address: Any, index: Any) -> Any:
    """The integer of 64 bits at place ``index`` behind an address."""

    def codegen(context: Any, b: Any, signature: Any, args: Any) -> Any:
        return read(b, b.add(args[0], b.mul(args[1], INT64(8))), INT64)

    return types.int64(types.int64, types.int64), codegen


@intrinsic
def fma(_: Any, x: Any, y: Any, z: Any) -> Any:
    """``x * y + z``."""
    return vector(vector, vector, vector), lambda context, b, signature, args: fused(b, *args)


@intrinsic
def add(_: Any, x: Any, y: Any) -> Any:
    """``x + y``."""
    return vector(vector, vector), lambda context, b, signature, args: b.fadd(*args)


@intrinsic
def sub(_: Any, x: Any, y: Any) -> Any:
    """``x - y``."""
    return vector(vector, vector), lambda context, b, signature, args: b.fsub(*args)


@intrinsic
def mul(_: Any, x: Any, y: Any) -> Any:
    """``x * y``."""
    return vector(vector, vector), lambda context, b, signature, args: b.fmul(*args)


def larger(b: Any, x: Any, y: Any) -> Any:
    """The larger of each two numbers, neither of them NaN."""
    return b.select(b.fcmp_ordered(">", x, y), x, y)


@intrinsic
def largest(_: Any, x: Any, y: Any) -> Any:
    """The larger of each two."""
    return vector(vector, vector), lambda context, b, signature, args: larger(b, *args)


@intrinsic
def masked(_: Any, x: Any, count: Any) -> Any:
    """``x`` with zeros from lane ``count`` on."""

    def codegen(context: Any, b: Any, signature: Any, args: Any) -> Any:
        lanes = ir.Constant(INTS, list(range(LANES)))
        inside = b.icmp_signed("<", lanes, repeat(b, b.trunc(args[1], INT32)))
        return b.select(inside, args[0], constant(0.0))

    return vector(vector, types.int64), codegen


def _halves(b: Any, x: Any, combine: Callable[[Any, Any], Any]) -> Any:
    """Fold the lanes into one number, half and half, in an order that never changes."""
    width = LANES
    while width > 1:
        width //= 2
        undefined = ir.Constant(x.type, ir.Undefined)
        low, high = (
            b.shuffle_vector(x, undefined, ir.Constant(ir.VectorType(INT32, width), list(lanes)))
            for lanes in (range(width), range(width, 2 * width))
        )
        x = combine(low, high)
    return b.extract_element(x, INT32(0))


@intrinsic
def total(_: Any, x: Any) -> Any:
    """Sum of the lanes."""
    return types.float32(vector), lambda context, b, signature, args: _halves(b, args[0], b.fadd)


@intrinsic
def peak(_: Any, x: Any) -> Any:
    """Largest of the lanes."""
    codegen: Codegen = lambda context, b, signature, args: _halves(  # noqa: E731
        b, args[0], lambda x, y: larger(b, x, y)
    )
    return types.float32(vector), codegen


_EXP = (1 / 5040, 1 / 720, 1 / 120, 1 / 24, 1 / 6, 0.5, 1.0, 1.0)
"""Series of the exponential: on [-ln 2 / 2, ln 2 / 2] the rest is below 6e-9."""


@intrinsic
def exp(_: Any, x: Any) -> Any:
    """Exponential of numbers up to 0; those below -87 give (almost) 0. To about 2 units in the last place."""

    def codegen(context: Any, b: Any, signature: Any, args: Any) -> Any:
        x = larger(b, args[0], constant(-87.0))
        whole = call_intrinsic(b, f"llvm.rint.v{LANES}f32", FLOATS, [b.fmul(x, constant(1.4426950408889634))])
        # ln 2 in two parts, the first of them with zeros at the end, so that its multiples are exact.
        rest = fused(b, whole, constant(-0.693359375), x)
        rest = fused(b, whole, constant(2.12194440e-4), rest)
        result = constant(_EXP[0])
        for factor in _EXP[1:]:
            result = fused(b, result, rest, constant(factor))
        power = b.shl(
            b.add(b.fptosi(whole, INTS), ir.Constant(INTS, [127] * LANES)), ir.Constant(INTS, [23] * LANES)
        )
        return b.fmul(result, b.bitcast(power, FLOATS))

    return vector(vector), codegen


@njit(inline="always")
def address(array: Any, index: int) -> Any:
    """Address of element ``index`` of a flat float32 array."""
    return array.ctypes.data + 4 * index
