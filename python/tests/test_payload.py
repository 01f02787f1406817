"""What a sample is on its way through a slot of shared memory."""

from __future__ import annotations

import array
import collections
import copyreg
import ctypes
import functools
import gc
import io
import pickle
import subprocess
import sys
import threading
import warnings
import weakref
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from DeepPipeline import _payload


class Slot(bytearray):
    """Memory that can be watched being freed."""


def lay(parts: list[Any], *, readonly: bool = False) -> tuple[list[Any], Slot]:
    """Lays parts into a slot, as the engine does."""
    ends = [0]
    for part in parts:
        ends.append(-(-ends[-1] // 64) * 64 + part.nbytes)
    slot = Slot(ends[-1])
    with memoryview(slot) as memory:
        rooms = [memory[end - part.nbytes : end] for part, end in zip(parts, ends[1:], strict=True)]
    for part, room in zip(parts, rooms, strict=True):
        if isinstance(part, memoryview):
            assert (part.format, part.ndim, part.contiguous) == ("B", 1, True)
            room[:] = part
        else:
            _payload.copy_into(room, part)
    return [room.toreadonly() if readonly else room for room in rooms], slot


def send(value: object, *, readonly: bool = False) -> Any:
    kind, head, parts = _payload.pack(value)
    return _payload.unpack(kind, head, lay(parts, readonly=readonly)[0])


def looks_into(slot: Slot, value: Any) -> bool:
    return np.shares_memory(np.frombuffer(slot, np.uint8), np.asarray(value).view())


FRAME: Any = np.arange(20 * 30 * 3, dtype=np.uint8).reshape(20, 30, 3)
RECORDS: Any = np.zeros(
    (4, 6), np.dtype({"names": ["a", "b"], "formats": ["<i2", ">f8"], "offsets": [1, 8], "itemsize": 24})
)
RECORDS["a"], RECORDS["b"] = np.arange(24).reshape(4, 6), 0.5
DATES = np.arange("2024-01-01", "2024-01-25", dtype="datetime64[D]").reshape(4, 6)

ARRAYS: dict[str, Any] = {
    "contiguous": FRAME,
    "in the order of Fortran": np.asfortranarray(FRAME),
    "crop": FRAME[3:17, 5:20],
    "crop in the order of Fortran": np.asfortranarray(FRAME)[3:17, 5:20],
    "colours turned round": FRAME[..., ::-1],
    "upside down crop": FRAME[17:3:-1, 5:20],
    "all turned round": FRAME[::-1, ::-1, ::-1],
    "transposed": FRAME.transpose(2, 0, 1),
    "transposed crop": FRAME.transpose(2, 0, 1)[:, ::-2, 4:9],
    "each second pixel": FRAME[::2, ::2],
    "one colour": FRAME[..., 1],
    "two colours": FRAME[..., :2],
    "new axes": FRAME[None, 2:9, :, None, ::-1],
    "repeated": np.broadcast_to(FRAME[0, ::3], (5, 10, 3)),
    "one repeated number": np.broadcast_to(np.float64(3), (4, 5)),
    "sliding windows": np.lib.stride_tricks.sliding_window_view(np.arange(9.0), 4),
    "no dimensions": np.array(7, np.int32),
    "nothing": np.zeros((0, 3), np.float32),
    "nothing of a crop": FRAME[::2, 5:5],
    "big-endian": np.arange(24, dtype=">f4").reshape(4, 6),
    "big-endian crop": np.arange(24, dtype=">f4").reshape(4, 6)[:, ::2],
    "truth": FRAME[..., 0] > 7,
    "halves": np.arange(24, dtype=np.float16)[::-2],
    "complex": np.arange(24, dtype=np.complex128).reshape(4, 6)[:, 1:3],
    "long double": np.arange(24, dtype=np.longdouble)[::3],
    "text": np.array(["one", "four", ""]),
    "records": RECORDS,
    "crop of records": RECORDS[1:3, ::-2],
    "one field of records": RECORDS["b"],
    "dates": DATES,
    "one date": np.array("2024-01-01", "M8[D]"),
    "crop of dates": DATES[::2, 1:4],
    "no dates": DATES[:0],
    "records with dates": np.zeros(3, "M8[s],i4"),
    "objects": np.array([1, "two", None], dtype=object),
    "of its own kind": np.rec.array([(1, 2.5), (3, 4.5)], dtype="i4,f8")[::-1],
}
LEFT_TO_NUMPY = {"objects", "of its own kind", "nothing", "nothing of a crop", "no dates"}


@pytest.mark.parametrize("name", ARRAYS)
def test_an_array_comes_back_as_it_was(name: str) -> None:
    sent = ARRAYS[name]
    for got in (send(sent), send([sent], readonly=True)[0]):
        assert type(got) is type(sent)
        assert (got.dtype, got.shape) == (sent.dtype, sent.shape)
        assert np.array_equal(got, sent)


@pytest.mark.parametrize("name", sorted(ARRAYS.keys() - LEFT_TO_NUMPY))
def test_an_array_is_a_view_into_the_slot(name: str) -> None:
    sent = ARRAYS[name]
    kind, head, parts = _payload.pack(sent)
    assert (kind, len(parts)) == (_payload.PICKLE, 1)
    assert len(head) < 500
    for readonly in (False, True):
        rooms, slot = lay(parts, readonly=readonly)
        got: Any = _payload.unpack(kind, head, rooms)
        assert looks_into(slot, got)
        assert got.flags.writeable == (sent.flags.writeable and not readonly)
        # As it would be in the same process: what the next stage calls may want it so.
        assert [stride > 0 for stride in got.strides] == [stride > 0 for stride in sent.strides]


@pytest.mark.parametrize("name", ["in the order of Fortran", "colours turned round", "all turned round", "transposed"])
def test_an_array_without_gaps_is_not_copied_on_the_way_to_the_slot(name: str) -> None:
    _, _, [part] = _payload.pack(ARRAYS[name])
    assert isinstance(part, memoryview)
    assert np.shares_memory(np.asarray(part), FRAME if name != "in the order of Fortran" else ARRAYS[name])


@pytest.mark.parametrize("name", ["crop", "upside down crop", "transposed crop", "crop of records", "crop of dates"])
def test_an_array_with_gaps_is_copied_once_into_the_slot(name: str) -> None:
    _, _, [part] = _payload.pack(ARRAYS[name])
    assert isinstance(part, np.ndarray)
    assert np.shares_memory(part, ARRAYS[name])


def test_what_is_repeated_is_laid_once() -> None:
    _, _, [part] = _payload.pack(np.broadcast_to(FRAME, (100, *FRAME.shape)))
    assert part.nbytes == FRAME.nbytes


def test_a_read_only_array_comes_back_read_only() -> None:
    for sent in (FRAME.copy(), FRAME.copy()[2:9, ::-3]):
        sent.flags.writeable = False
        got = send(sent)
        assert not got.flags.writeable
        assert np.array_equal(got, sent)


def test_what_is_written_is_written_into_the_slot() -> None:
    kind, head, parts = _payload.pack({"frame": FRAME, "crop": FRAME[2:4, 3:5]})
    rooms, slot = lay(parts)
    got: Any = _payload.unpack(kind, head, rooms)
    got["frame"][:], got["crop"][:] = 1, 2
    assert (bytes(rooms[0]), bytes(rooms[1])) == (b"\1" * FRAME.nbytes, b"\2" * 12)
    assert slot.count(2) == 12
    assert FRAME[0, 0, 1] == 1 and FRAME[3, 3, 0] != 2


def test_views_keep_the_slot_alive() -> None:
    kind, head, parts = _payload.pack([FRAME, FRAME[::2, ::2], memoryview(b"xyz"), pickle.PickleBuffer(b"xyz")])
    for view in range(4):
        slots = [Slot(part.nbytes) for part in parts]
        alive = weakref.ref(slots[view])
        got: Any = _payload.unpack(kind, head, list(slots))
        del slots
        kept = got[view]
        del got
        assert alive() is not None
        del kept
        assert alive() is None


def test_many_small_arrays() -> None:
    sent = [np.full((i % 3 + 1, 2), i, np.float32)[:, : i % 2 + 1] for i in range(500)]
    assert len(_payload.pack(sent)[2]) == 500
    for got, array_sent in zip(send(sent), sent, strict=True):
        assert np.array_equal(got, array_sent)


def test_one_object_stays_one_object() -> None:
    crop = FRAME[2:9, 3:5]
    view = memoryview(FRAME)
    box = [1]
    got = send({"a": [FRAME, crop, view, box], "b": (FRAME, crop, view, box)})
    assert all(a is b for a, b in zip(got["a"], got["b"], strict=True))


def test_two_views_of_one_array_become_two_arrays() -> None:
    a, b = send((FRAME[:4], FRAME[2:]))
    a[:] = 0
    assert np.array_equal(b, FRAME[2:])


def test_a_sample_that_contains_itself() -> None:
    sent: list[Any] = [FRAME[::2]]
    sent.append(sent)
    got = send(sent)
    assert got[1] is got


@pytest.mark.parametrize("value", [b"", b"abc", bytearray(), bytearray(b"abc")], ids=repr)
@pytest.mark.parametrize("readonly", [False, True])
def test_bytes_and_bytearray_travel_without_a_pickle(value: bytes | bytearray, readonly: bool) -> None:
    kind, head, parts = _payload.pack(value)
    assert kind == (_payload.BYTES if type(value) is bytes else _payload.BYTEARRAY)
    assert (head, [bytes(part) for part in parts]) == (b"", [value])
    rooms, slot = lay(parts, readonly=readonly)
    got: Any = _payload.unpack(kind, memoryview(head), rooms)
    del rooms
    slot.append(0)  # nobody looks into the slot any more
    assert type(got) is type(value)
    assert got == value


def test_bytes_inside_a_sample_travel_in_the_head() -> None:
    sent = {"jpeg": b"x" * 1000, "log": bytearray(b"y" * 1000)}
    kind, head, parts = _payload.pack(sent)
    assert (kind, parts) == (_payload.PICKLE, [])
    assert len(head) > 2000
    got = send(sent)
    assert got == sent and type(got["log"]) is bytearray


class Text(bytes):
    pass


def test_subclasses_keep_their_type() -> None:
    got = send(Text(b"abc"))
    assert type(got) is Text and got == b"abc"


def view_of(array: Any) -> memoryview:
    return memoryview(array)


VIEWS: dict[str, Callable[[], Any]] = {
    "bytes": lambda: memoryview(b"abcdef"),
    "bytearray": lambda: memoryview(bytearray(b"abcdef")),
    "nothing": lambda: memoryview(b""),
    "no numbers": lambda: memoryview(array.array("d")),
    "numbers": lambda: memoryview(array.array("q", range(10))),
    "signed bytes": lambda: memoryview(array.array("b", range(10))),
    "shaped": lambda: memoryview(bytearray(range(24))).cast("h", (3, 4)),
    "one number": lambda: memoryview(bytearray(8)).cast("d", ()),
    "part": lambda: memoryview(bytearray(range(24)))[3:9],
    "each second": lambda: memoryview(array.array("i", range(10)))[::2],
    "backwards": lambda: memoryview(b"abcdef")[::-1],
    "frame": lambda: memoryview(FRAME),
    "crop": lambda: memoryview(FRAME[2:9, 3:5]),
    "in the order of Fortran": lambda: view_of(np.asfortranarray(FRAME)),
    "records": lambda: view_of(np.ones(4, "i2,f8")[::-2]),
    "halves": lambda: view_of(np.arange(6, dtype=np.float16)[::2]),
    "nothing, shaped": lambda: view_of(np.zeros((0, 3))),
}


@pytest.mark.parametrize("name", VIEWS)
def test_a_memoryview_comes_back_as_a_memoryview(name: str) -> None:
    sent = VIEWS[name]()
    for readonly in (False, True):
        kind, head, parts = _payload.pack(sent)
        rooms, slot = lay(parts, readonly=readonly)
        got: Any = _payload.unpack(kind, head, rooms)
        assert type(got) is memoryview
        assert (got.format, got.shape, got.itemsize) == (sent.format, sent.shape, sent.itemsize)
        assert got.tobytes() == sent.tobytes()
        assert got.nbytes == 0 or looks_into(slot, got)
        assert got.nbytes == 0 or got.readonly == (sent.readonly or readonly)


def test_a_contiguous_memoryview_is_not_copied_on_the_way_to_the_slot() -> None:
    _, _, [part] = _payload.pack(memoryview(FRAME))
    assert np.shares_memory(np.asarray(part), FRAME)


def test_a_memoryview_in_the_formats_of_ctypes_comes_back_in_those_of_numpy() -> None:
    sent = memoryview((ctypes.c_int32 * 3)(1, 2, 3))
    assert sent.format == "<i"
    got = send(sent)
    assert (got.format, got.tolist()) == ("i", [1, 2, 3])


def test_a_memoryview_that_only_numpy_knows_is_refused_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    sent = VIEWS["records"]()
    monkeypatch.setitem(sys.modules, "numpy", None)
    with pytest.raises(pickle.PicklingError, match=r"cannot pickle item 0 \(a memoryview\): only numpy can send"):
        _payload.pack([sent])
    assert send(memoryview(b"abc")) == b"abc"


def test_a_pickle_buffer_comes_back_as_a_memoryview() -> None:
    sent: Any
    for sent in (b"abc", bytearray(b"abc")):
        got: Any = send([pickle.PickleBuffer(sent)])[0]
        assert type(got) is memoryview
        assert got == sent and got.readonly == (type(sent) is bytes)


class Half:
    def __init__(self) -> None:
        self.lock = threading.Lock()


def half(value: Half) -> Any:
    return Fraction, (1, 2)


def test_reducers_of_others_are_used() -> None:
    copyreg.pickle(Half, half)
    try:
        assert send([Half(), {1j, Fraction(1, 3)}, functools.partial(int, base=2), FRAME.sum, np.sum])[0] == Fraction(
            1, 2
        )
    finally:
        copyreg.dispatch_table.pop(Half)


def test_a_reducer_counts_from_the_next_sample_on() -> None:
    send([Fraction(1, 3)])

    def reducer(wanted: int) -> Callable[[Half], Any]:
        return lambda _: (Fraction, (wanted,))

    for wanted in (1, 2):
        copyreg.pickle(Half, reducer(wanted))
        try:
            assert send([Half()]) == [wanted]
        finally:
            copyreg.dispatch_table.pop(Half)

    with pytest.raises(pickle.PicklingError, match="lock"):
        _payload.pack([Half()])


def test_a_sample_that_cannot_be_sent_leaves_the_next_as_it_is() -> None:
    sent = [FRAME, "text", Fraction(1, 3)]
    for _ in range(2):
        with pytest.raises(pickle.PicklingError):
            _payload.pack([FRAME, "text", threading.Lock()])
        frame, *others = send(sent)
        assert np.array_equal(frame, FRAME) and others == sent[1:]


class Packs:
    """An object that packs another sample while it is pickled."""

    def __reduce__(self) -> Any:
        return Fraction, (send([Fraction(7), FRAME])[0],)


def test_a_sample_may_be_packed_while_another_is() -> None:
    first, frame, same = send([Packs(), FRAME, FRAME])
    assert first == 7 and np.array_equal(frame, FRAME) and frame is same


def test_a_large_sample_comes_back_whole() -> None:
    sent = ["a" * 200_000, b"b" * 200_000, [Fraction(number) for number in range(20_000)]]
    assert send(sent) == sent


def test_a_sample_is_freed_without_the_garbage_collector() -> None:
    class Marked(np.ndarray[Any, Any]):
        pass

    marked = np.zeros(4).view(Marked)
    sent = {"a": np.asarray(marked)[::2], "b": view_of(marked), "c": np.asarray(marked)}
    alive = weakref.ref(marked)
    gc.disable()
    try:
        packed = _payload.pack(sent)
        del sent, marked, packed
        assert alive() is None
    finally:
        gc.enable()


def test_samples_are_unpacked_where_numpy_is_not_imported_yet() -> None:
    kind, head, parts = _payload.pack([FRAME[:2], FRAME[::2, ::2]])
    sent = pickle.dumps((kind, head, [bytearray(part.tobytes()) for part in parts]))
    code = """
import pickle, sys
from DeepPipeline import _payload
assert "numpy" not in sys.modules
first, second = _payload.unpack(*pickle.load(sys.stdin.buffer))
sys.stdout.buffer.write(first.tobytes() + second.tobytes())
"""
    process = subprocess.run([sys.executable, "-P", "-c", code], input=sent, capture_output=True)
    assert process.stdout == FRAME[:2].tobytes() + FRAME[::2, ::2].tobytes(), process.stderr


# What torch has its own type for, numpy does not always know.
TENSORS: dict[str, Callable[[Any], Any]] = {
    "contiguous": lambda torch: torch.arange(24).reshape(4, 6),
    "one number": lambda torch: torch.tensor(3.5),
    "truth": lambda torch: torch.arange(24) > 7,
    "brain floats": lambda torch: torch.arange(24).reshape(4, 6).to(torch.bfloat16),
    "crop of brain floats": lambda torch: torch.arange(24).reshape(4, 6).to(torch.bfloat16)[::2, 1:4],
    "complex": lambda torch: torch.arange(24).to(torch.complex64),
    "crop of complex": lambda torch: torch.arange(24).reshape(4, 6).to(torch.complex128)[1:3, ::2],
    "conjugated": lambda torch: torch.tensor([1 + 2j, 3 - 4j]).conj(),
    "negated": lambda torch: torch.tensor([1 + 2j, 3 - 4j]).conj().imag,
    "transposed": lambda torch: torch.from_numpy(FRAME.copy()).permute(2, 0, 1),
    "channels last": lambda torch: torch.rand(2, 3, 4, 5).contiguous(memory_format=torch.channels_last),
    "crop": lambda torch: torch.from_numpy(FRAME.copy())[2:9, 3:5],
    "repeated": lambda torch: torch.arange(3).expand(4, 3),
}


@pytest.mark.parametrize("name", TENSORS)
def test_a_tensor_is_a_view_into_the_slot(name: str) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed, and these tests send its tensors")
    sent = TENSORS[name](torch)
    kind, head, parts = _payload.pack([sent, sent])
    assert len(parts) == 1 and len(head) < 500
    rooms, slot = lay(parts)
    both: Any = _payload.unpack(kind, head, rooms)
    got, again = both
    assert got is again
    assert type(got) is torch.Tensor
    assert (got.dtype, got.shape) == (sent.dtype, sent.shape)
    assert torch.equal(got, sent)
    start = np.frombuffer(slot, np.uint8).ctypes.data
    assert start <= got.data_ptr() < start + len(slot)
    if name in ("transposed", "channels last", "repeated"):
        assert got.stride() == sent.stride()
    alive = weakref.ref(slot)
    del rooms, slot
    assert alive() is not None
    del both, got, again
    assert alive() is None


def test_a_tensor_from_a_read_only_slot_is_a_copy() -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed, and these tests send its tensors")
    sent = torch.arange(24).reshape(4, 6)[:, ::2]
    kind, head, parts = _payload.pack(sent)
    rooms, slot = lay(parts, readonly=True)
    before = bytes(slot)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        got: Any = _payload.unpack(kind, head, rooms)
    assert torch.equal(got, sent)
    got += 1
    assert bytes(slot) == before


def test_a_tensor_that_is_more_than_its_memory_is_left_to_torch() -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed, and these tests send its tensors")
    marked = torch.arange(3)
    marked.label = "dog"
    kinds = [
        torch.arange(3.0, requires_grad=True),
        torch.nn.Parameter(torch.arange(3.0)),
        torch.zeros(0, 3),
        torch.eye(3).to_sparse(),
        torch.quantize_per_tensor(torch.arange(3.0), 0.1, 0, torch.quint8),
        marked,
    ]
    for sent, got in zip(kinds, send(kinds), strict=True):
        assert type(got) is type(sent)
        assert (got.dtype, got.shape, got.layout) == (sent.dtype, sent.shape, sent.layout)
        assert got.requires_grad == sent.requires_grad
        assert str(got) == str(sent)
    assert vars(send(marked)) == vars(pickle.loads(pickle.dumps(marked)))


def test_arrow_data_is_a_view_into_the_slot() -> None:
    arrow = pytest.importorskip("pyarrow", reason="pyarrow is not installed, and this test sends its data")
    table = arrow.table({"number": list(range(1000)), "name": [str(i) if i % 3 else None for i in range(1000)]})
    kind, head, parts = _payload.pack(table)
    assert len(parts) >= 4
    rooms, slot = lay(parts)
    got: Any = _payload.unpack(kind, head, rooms)
    assert got.equals(table)
    column = got["number"].chunk(0)
    assert looks_into(slot, column.buffers()[1])
    alive = weakref.ref(slot)
    del got, rooms, slot
    assert alive() is not None
    assert column.to_pylist() == list(range(1000))


class Camera:
    def __init__(self, **attributes: Any) -> None:
        self.__dict__.update(attributes)


class Slotted:
    __slots__ = ("frame", "lock")

    def __init__(self) -> None:
        self.frame, self.lock = FRAME, threading.Lock()


class Hides:
    """Has a lock, and sends all but that."""

    def __init__(self, other: object) -> None:
        self.lock, self.other = threading.Lock(), other

    def __getstate__(self) -> dict[str, object]:
        return {"other": self.other}


class Refuses:
    def __reduce__(self) -> str:
        raise ValueError("not today")


class Endless:
    def __reduce_ex__(self, protocol: Any) -> Any:
        return list, (), None, iter(Camera, None) if sys._getframe(1).f_code.co_name == "_look_into" else Refuses()


def circle() -> Camera:
    camera, friend = Camera(), Camera()
    camera.__dict__.update(friends=[friend], itself=camera, lock=threading.Lock())
    friend.__dict__.update(friends=[camera, camera])
    return camera


def local_object() -> object:
    class Local:
        pass

    return Local()


class Numbers(list[Any]):
    pass


class Names(dict[str, Any]):
    pass


HERE = __name__
UNSENDABLE: dict[str, tuple[Callable[[], object], str]] = {
    "itself": (threading.Lock, "a _thread.lock"),
    "attribute": (lambda: Camera(name="a", lock=threading.Lock()), "attribute 'lock' (a _thread.lock)"),
    "slot": (Slotted, "attribute 'lock' (a _thread.lock)"),
    "deep": (
        lambda: [1, {"cameras": (Camera(), Camera(model=Camera(file=io.TextIOWrapper(io.BytesIO()))))}],
        "attribute 'file' of attribute 'model' of item 1 of item 'cameras' of item 1 (a _io.TextIOWrapper)",
    ),
    "beside big arrays": (lambda: (FRAME, FRAME[::2], threading.Lock()), "item 2 (a _thread.lock)"),
    "set": (lambda: {1, int, threading.Lock()}, "(a _thread.lock)"),
    "key": (lambda: {1: 2, threading.Lock(): 3}, "(a _thread.lock)"),
    "list of its own kind": (lambda: Numbers([1, threading.Lock()]), "item 1 (a _thread.lock)"),
    "dict of its own kind": (lambda: Names(a=1, b=threading.Lock()), "item 'b' (a _thread.lock)"),
    "deque": (lambda: collections.deque([1, threading.Lock()]), "item 1 (a _thread.lock)"),
    "array of objects": (lambda: np.array([1, threading.Lock()], dtype=object), "(a _thread.lock)"),
    "function without a name": (
        lambda: Camera(callback=lambda x: x),
        f"attribute 'callback' ({HERE}.<lambda>.<locals>.<lambda>)",
    ),
    "local class": (local_object, f"its class ({HERE}.local_object.<locals>.Local)"),
    "generator": (lambda: [(x for x in "ab")], "item 0 (a generator)"),
    "what is not sent is not to blame": (
        lambda: Hides([threading.Lock()]),
        "item 0 of attribute 'other' (a _thread.lock)",
    ),
    "reducer that raises": (lambda: Camera(model=Refuses()), f"attribute 'model' (a {HERE}.Refuses)"),
    "released memoryview": (lambda: [released()], "item 0 (a memoryview)"),
    "circle": (circle, "attribute 'lock' (a _thread.lock)"),
}


def released() -> memoryview:
    view = memoryview(b"abc")
    view.release()
    return view


@pytest.mark.parametrize("name", UNSENDABLE)
def test_what_cannot_be_sent_is_named(name: str) -> None:
    make, why = UNSENDABLE[name]
    value = make()
    assert _payload.why_not(value).endswith(why)
    with pytest.raises(pickle.PicklingError) as caught:
        _payload.pack(value)
    assert str(caught.value) == f"cannot pickle {_payload.why_not(value)}: {caught.value.__cause__}"


def test_naming_it_comes_to_an_end() -> None:
    deep: Any = threading.Lock()
    for _ in range(100_000):
        deep = [deep]
    assert _payload.why_not(deep).startswith("item 0 of item 0")
    assert _payload.why_not(Endless()) == f"a {HERE}.Endless"
    assert _payload.why_not(1) == "a int"
    while deep := deep[0] if type(deep) is list else None:
        pass  # freed one by one: at once it would overflow the stack of some interpreters


def test_naming_it_for_another_way_to_send() -> None:
    def dump(value: object) -> None:
        if isinstance(value, (list, Fraction)):
            raise ValueError

    assert _payload.why_not([1, Fraction(1, 2)], dump) == "item 1 (a fractions.Fraction)"


def test_memory_that_runs_out_is_not_called_unsendable() -> None:
    class Huge:
        def __reduce__(self) -> str:
            raise MemoryError

    with pytest.raises(MemoryError):
        _payload.pack(Huge())
