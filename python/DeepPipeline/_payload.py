"""The way of a sample into a slot of shared memory, and back.

A sample travels as `(kind, head, parts)`. The head is a pickle, and the parts are the memory that pickle 5 leaves out
of it: of numpy arrays, Arrow data, torch tensors on the CPU, memoryviews and `PickleBuffer`. What comes back looks
straight into the slot. A sample that is itself a `bytes` or a `bytearray` is one part and no pickle; inside a larger
sample these are copied into the head, as are subclasses of `numpy.ndarray` and arrays of objects.

A part is a one-dimensional memoryview of bytes, or a numpy array with gaps, for `copy_into`. Both have `nbytes`.

An object that a sample holds twice comes back as one object. Two views of one array come back as two arrays.
"""

from __future__ import annotations

import contextlib
import copyreg
import pickle
import reprlib
import sys
import time
import types
from collections.abc import Callable, Iterator
from pickle import PickleBuffer, PicklingError
from typing import Any, Final

PICKLE: Final = 0
BYTES: Final = 1
BYTEARRAY: Final = 2


def pack(value: object) -> tuple[int, bytes, list[Any]]:
    """Returns what of the value is to be laid into a slot: its kind, its head and its parts.

    Raises `PicklingError` for what cannot be sent, naming the part that is to blame.
    """
    if type(value) is bytes:
        return BYTES, b"", [memoryview(value)]
    if type(value) is bytearray:
        return BYTEARRAY, b"", [memoryview(value)]
    try:
        head, buffers = _dump(value)
    except MemoryError:
        raise
    except Exception as error:
        raise PicklingError(f"cannot pickle {why_not(value)}: {error}") from error
    return PICKLE, head, [_part(buffer) for buffer in buffers] if buffers else buffers


def unpack(kind: int, head: bytes | memoryview, parts: list[Any]) -> object:
    """The value that was packed. Its arrays and views look into the parts, and keep them alive.

    They can be written to if the part can and the one that was sent could. A tensor always can, as torch knows no
    read-only memory: from a read-only part it is copied.
    """
    if kind == PICKLE:
        return pickle.loads(head, buffers=map(memoryview, parts))
    return {BYTES: bytes, BYTEARRAY: bytearray}[kind](parts[0])


def copy_into(room: Any, array: Any) -> None:
    """Copies an array with gaps into a buffer of its `nbytes` bytes, without the GIL."""
    numpy = sys.modules["numpy"]
    # A row at once, where rows have no gaps: item by item it takes 2 to 15 times as long.
    row = array.shape[-1] if array.strides[-1] == array.itemsize else 1
    rows = array.view(f"V{row * array.itemsize}")
    numpy.copyto(numpy.ndarray(rows.shape, rows.dtype, room), rows)


class _Pickler:
    """A pickler that is used for one sample after the other: to make one costs more than a small sample."""

    __slots__ = ("_buffers", "_chunks", "_known", "_numpy", "_pickler", "_torch")

    def __init__(self) -> None:
        self._chunks: list[bytes] = []
        self._buffers: list[PickleBuffer] = []
        file: Any = types.SimpleNamespace(write=self._chunks.append)
        self._pickler = pickle.Pickler(file, 5, buffer_callback=self._buffers.append)
        self._numpy: Any = None
        self._torch: Any = None
        self._known: dict[Any, Any] | None = None

    def dump(self, value: object) -> tuple[bytes, list[PickleBuffer]]:
        """Returns the pickle, and the buffers left out of it. Once it has raised, it is of no use any more."""
        numpy, torch = sys.modules.get("numpy"), sys.modules.get("torch")
        if numpy is not self._numpy or torch is not self._torch or self._known != copyreg.dispatch_table:
            self._learn(numpy, torch)
        chunks, buffers = self._chunks, self._buffers
        self._pickler.dump(value)
        # Nothing of a sample is kept until the next.
        self._pickler.clear_memo()
        # A large pickle is written piece by piece.
        head = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        chunks.clear()
        if not buffers:
            return head, []
        left_out = buffers.copy()
        buffers.clear()
        return head, left_out

    def _learn(self, numpy: Any, torch: Any) -> None:
        """Learns how objects are reduced: modules may have been imported, or have said it, since the last sample."""
        self._known = copyreg.dispatch_table.copy()
        # A table costs nothing for objects that are not in it; `reducer_override` would be called for each of them.
        table: dict[Any, Callable[[Any], Any]] = self._known | {memoryview: _reduce_view}
        # Without these modules there are no such objects. One that is just being imported may not have its class yet.
        self._numpy = self._torch = None
        if array := getattr(numpy, "ndarray", None):
            self._numpy, table[array] = numpy, _reduce_array
        if tensor := getattr(torch, "Tensor", None):
            self._torch, table[tensor] = torch, _reduce_tensor
        self._pickler.dispatch_table = table


_picklers: list[_Pickler] = []
"""Picklers that nobody uses now: at most as many as have been at work at the same time."""


def _dump(value: object) -> tuple[bytes, list[PickleBuffer]]:
    try:
        pickler = _picklers.pop()
    except IndexError:
        pickler = _Pickler()
    dumped = pickler.dump(value)
    _picklers.append(pickler)
    return dumped


class _StandIn(bytearray):
    """A stand-in that pickle sees instead of a part that it would refuse."""

    __slots__ = ("part",)
    part: Any


def _instead_of(part: Any, readonly: bool) -> PickleBuffer:
    stand_in = _StandIn()
    stand_in.part = part
    view = memoryview(stand_in)
    return PickleBuffer(view.toreadonly() if readonly else view)


def _part(buffer: PickleBuffer) -> Any:
    raw = buffer.raw()
    owner = raw.obj
    if type(owner) is memoryview and type(owner.obj) is _StandIn:
        return owner.obj.part
    return raw


def _lay(array: Any) -> tuple[PickleBuffer, int, tuple[int, ...]]:
    """The array's memory without gaps, and the offset and strides that make it the same array there."""
    walk = array.strides
    axes = sorted(range(len(walk)), key=lambda axis: -abs(walk[axis]))
    ways = [slice(None, None, -1) if stride < 0 else slice(None) if stride else slice(1) for stride in walk]
    # In the order of its memory a flipped or transposed array has no gaps, and what is repeated lies there once.
    block = array[(*ways, ...)].transpose(axes)
    offset, strides, step = 0, [0] * len(walk), array.itemsize
    for axis, size in zip(reversed(axes), reversed(block.shape), strict=True):
        if walk[axis] < 0:
            offset += (size - 1) * step
        if walk[axis]:
            strides[axis] = step if walk[axis] > 0 else -step
            step *= size
    if block.flags.c_contiguous:
        buffer = PickleBuffer(block.reshape(-1).view("u1"))
    else:
        buffer = _instead_of(block, not array.flags.writeable)
    return buffer, offset, tuple(strides)


def _reduce_array(array: Any) -> Any:
    dtype, flags = array.dtype, array.flags
    if dtype.hasobject or not array.nbytes:
        return array.__reduce_ex__(5)
    if flags.forc:
        # What numpy does as well, in half the time.
        order = "C" if flags.c_contiguous else "F"
        try:
            return type(array), (array.shape, dtype, PickleBuffer(array), 0, None, order)
        except ValueError:
            pass  # dates, for example, give no buffer
    buffer, offset, strides = _lay(array)
    return type(array), (array.shape, dtype, buffer, offset, strides)


def _reduce_tensor(tensor: Any) -> Any:
    torch: Any = sys.modules["torch"]
    plain = tensor.layout is torch.strided and tensor.device.type == "cpu" and tensor.numel() > 0
    if plain and not (tensor.requires_grad or tensor.is_quantized or tensor.__dict__):
        size = tensor.element_size()
        # As integers, since numpy does not know all of torch's types.
        integer = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}.get(size, tensor.dtype)
        with contextlib.suppress(RuntimeError):  # a torch without numpy, or a tensor with names
            # What waits to be conjugated or negated: torch 1.13 forgets it when it pickles.
            buffer, _, strides = _lay(tensor.resolve_conj().resolve_neg().view(integer).numpy())
            return _tensor, (tensor.dtype, buffer, tuple(tensor.shape), tuple(stride // size for stride in strides))
    return tensor.__reduce_ex__(5)


def _tensor(dtype: Any, buffer: memoryview, shape: tuple[int, ...], strides: tuple[int, ...]) -> Any:
    torch: Any = sys.modules["torch"]  # imported with the dtype
    memory = bytearray(buffer) if buffer.readonly else buffer
    return torch.frombuffer(memory, dtype=dtype).as_strided(shape, strides)


def _reduce_view(view: memoryview) -> Any:
    try:
        memoryview(b"").cast(view.format)  # type: ignore[call-overload]
        simple = view.ndim == 1 or view.nbytes > 0
    except ValueError:
        simple = False
    if simple:
        buffer = PickleBuffer(view) if view.c_contiguous else _instead_of(memoryview(view.tobytes()), view.readonly)
        return _view, (buffer, view.format, view.shape)
    numpy = sys.modules.get("numpy")
    if numpy is None:
        raise TypeError(f"only numpy can send a memoryview of format {view.format!r} and shape {view.shape}: import it")
    return memoryview, (numpy.asarray(view),)


def _view(buffer: memoryview, format: Any, shape: tuple[int, ...]) -> memoryview:
    return buffer.cast(format, shape) if buffer.nbytes else buffer.cast(format)


def why_not(value: object, dump: Callable[[object], object] = _dump) -> str:
    """Names the part of the value that makes `dump` fail, such as "attribute 'lock' (a _thread.lock)". Never raises.

    It looks for a second at most, and then names what it has found so far.
    """
    labels: list[str] = []
    culprit = value
    with contextlib.suppress(Exception):
        labels, culprit = _blame(value, dump, {}, time.monotonic() + 1) or (labels, value)
    named = isinstance(culprit, (type, types.FunctionType))
    kind: Any = culprit if named else type(culprit)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    what = name if named else f"a {name}"
    return f"{' of '.join(labels)} ({what})" if labels else what


def _blame(
    value: object, dump: Callable[[object], object], seen: dict[int, object], deadline: float
) -> tuple[list[str], object] | None:
    """The innermost part that fails, and the way to it from inside out; None if all that fails here was seen before."""
    seen[id(value)] = value
    loops = False
    for label, part in _look_into(value):
        if time.monotonic() > deadline or len(seen) > 20:
            return [], value
        if id(part) not in seen:
            try:
                dump(part)
                continue
            except Exception:
                if found := _blame(part, dump, seen, deadline):
                    return [*found[0], label], found[1]
        loops = True
    return None if loops else ([], value)


def _look_into(value: Any) -> Iterator[tuple[str, object]]:
    """Yields the parts that pickle finds in a value, each with a label."""
    if type(value) is dict:
        for key, item in value.items():
            yield f"key {reprlib.repr(key)}", key
            yield f"item {reprlib.repr(key)}", item
    elif type(value) in (list, tuple, set, frozenset):
        yield from ((f"item {number}", item) for number, item in enumerate(value))
    elif not isinstance(value, (type, types.FunctionType)):
        with contextlib.suppress(Exception):  # what raises here is to blame itself
            _, arguments, state, items, pairs = (*value.__reduce_ex__(5), None, None, None)[:5]
            for number, argument in enumerate(arguments or ()):
                yield "its class" if isinstance(argument, type) else f"argument {number}", argument
            for attributes in state if type(state) is tuple and len(state) == 2 else (state,):
                if isinstance(attributes, dict):
                    yield from ((f"attribute {name!r}", attribute) for name, attribute in attributes.items())
                else:
                    yield "its state", attributes
            yield from ((f"item {number}", item) for number, item in enumerate(items or ()))
            yield from ((f"item {reprlib.repr(key)}", item) for key, item in pairs or ())
