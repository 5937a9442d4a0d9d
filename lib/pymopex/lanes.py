"""Eight numbers at a time in compiled code: what processors do in one or two instructions, and compilers seldom see.

Short rows, such as those of a fitting box, are too short for the loops that a compiler makes of them on its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, models, register_model

LANES = 8
"""Numbers in one."""


class _Lanes(types.Type):
    """Type of eight numbers of one kind."""

    def __init__(self, kind: types.Float) -> None:
        self.kind = kind
        super().__init__(name=f"Lanes({kind})")


@register_model(_Lanes)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, dmm: Any, fe_type: _Lanes) -> None:
        super().__init__(dmm, fe_type, _vector(fe_type))


def _vector(lanes: _Lanes) -> ir.VectorType:
    return ir.VectorType(ir.DoubleType() if lanes.kind == types.float64 else ir.FloatType(), LANES)


def _operation(function: Callable[..., Any]) -> Any:
    """Make a function of compiled code from one that writes its instructions."""
    return intrinsic(function)


def _place(context: Any, builder: Any, array_type: Any, array: Any, index: Any) -> Any:
    """Give where the eight elements begin; they need not be aligned more than each of them is."""
    held = context.make_array(array_type)(context, builder, array)
    return builder.bitcast(builder.gep(held.data, [index]), _vector(_Lanes(array_type.dtype)).as_pointer())


@_operation
def load(typingctx: Any, array: Any, index: Any) -> Any:
    """Read eight elements of a one-dimensional contiguous array from an index, which is not checked."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        where = _place(context, builder, signature.args[0], *args)
        return builder.load(where, align=array.dtype.bitwidth // 8)

    return _Lanes(array.dtype)(array, index), codegen


@_operation
def store(typingctx: Any, array: Any, index: Any, lanes: Any) -> Any:
    """Write eight elements of a one-dimensional contiguous array from an index, which is not checked."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        where = _place(context, builder, signature.args[0], *args[:2])
        builder.store(args[2], where, align=array.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.void(array, index, lanes), codegen


@_operation
def same(typingctx: Any, number: Any) -> Any:
    """Give eight times the same number."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        vector = _vector(signature.return_type)
        one = builder.insert_element(
            ir.Constant(vector, ir.Undefined), args[0], ir.Constant(ir.IntType(32), 0)
        )
        mask = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
        return builder.shuffle_vector(one, ir.Constant(vector, ir.Undefined), mask)

    return _Lanes(number)(number), codegen


@_operation
def times(typingctx: Any, a: Any, b: Any) -> Any:
    """Give a * b."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.fmul(*args)

    return a(a, b), codegen


@_operation
def plus(typingctx: Any, a: Any, b: Any) -> Any:
    """Give a + b."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.fadd(*args)

    return a(a, b), codegen


@_operation
def times_plus(typingctx: Any, a: Any, b: Any, c: Any) -> Any:
    """Give a * b + c, rounded once where the processor can."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        vector = _vector(signature.return_type)
        name = f"llvm.fmuladd.v{LANES}f{signature.return_type.kind.bitwidth}"
        function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(vector, [vector] * 3), name)
        return builder.call(function, args)

    return a(a, b, c), codegen


@_operation
def total(typingctx: Any, lanes: Any) -> Any:
    """Give the sum of the eight numbers, pairs first."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        found = args[0]
        for half in (4, 2, 1):
            parts = []
            for start in (0, half):
                mask = ir.Constant(ir.VectorType(ir.IntType(32), half), list(range(start, start + half)))
                parts.append(builder.shuffle_vector(found, ir.Constant(found.type, ir.Undefined), mask))
            found = builder.fadd(*parts)
        return builder.extract_element(found, ir.Constant(ir.IntType(32), 0))

    return lanes.kind(lanes), codegen
