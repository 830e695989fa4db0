"""Loads from scattered places into vector registers, which LLVM's loop vectoriser does not make by itself."""

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

WIDTH = 8
"""Values of one load; LLVM splits or widens vectors to what the machine has."""

_F32, _I32, _I64 = ir.FloatType(), ir.IntType(32), ir.IntType(64)
_VECTOR = ir.VectorType(_F32, WIDTH)


@intrinsic
def load_corners(typingctx, flat, base, offsets, first, stride_a, stride_b, out, place):
    """Load the four corners of WIDTH cells of a flat float32 array.

    out[place + n * len(offsets) + i] = flat[base + offsets[first + i] + corner n], for corners 0, stride_b, stride_a
    and stride_a + stride_b, and i from 0 to WIDTH - 1. Nothing is checked.
    """
    signature = types.void(flat, base, offsets, first, stride_a, stride_b, out, place)

    def generate(context, builder, signature, args):
        flat, offsets, out = (
            context.make_array(signature.args[i])(context, builder, args[i]) for i in (0, 2, 6)
        )
        base, first, stride_a, stride_b, place = (args[i] for i in (1, 3, 4, 5, 7))
        lanes = builder.extract_value(offsets.shape, 0)
        start = builder.gep(flat.data, [base])
        corners = [start, builder.gep(start, [stride_b]), builder.gep(start, [stride_a])]
        corners.append(builder.gep(corners[2], [stride_b]))
        loaded = [ir.Constant(_VECTOR, ir.Undefined)] * 4
        for lane in range(WIDTH):
            at = builder.load(
                builder.gep(offsets.data, [builder.add(first, ir.Constant(_I64, lane))])
            )
            at = builder.sext(at, _I64)
            for n, corner in enumerate(corners):
                value = builder.load(builder.gep(corner, [at]))
                loaded[n] = builder.insert_element(loaded[n], value, ir.Constant(_I32, lane))
        for vector in loaded:
            target = builder.bitcast(builder.gep(out.data, [place]), _VECTOR.as_pointer())
            builder.store(vector, target, align=4)
            place = builder.add(place, lanes)
        return context.get_dummy_value()

    return signature, generate
