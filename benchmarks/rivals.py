"""One hop between two Python processes the ways people do it today: rivals.py paced|thru KIND BYTES SAMPLES PERIOD_US

`queue` is `multiprocessing.Queue`; `manager` the buffer of PyParallelPipe 1.0.2, which must be installed; `oob` is what
one writes by hand: 16 slots of shared memory, two semaphores, and pickle 5 with its buffers out of band.
"""

import multiprocessing
import pickle
import sys
import time
from multiprocessing import shared_memory
from typing import Any

import numpy as np

SLOTS = 16


class Slots:
    """Hand-made slots of shared memory: a pickle and one array in each."""

    def __init__(self, size: int) -> None:
        self.stride = size + 4096
        self.memory = shared_memory.SharedMemory(create=True, size=SLOTS * self.stride)
        self.filled, self.emptied = multiprocessing.Semaphore(0), multiprocessing.Semaphore(SLOTS)
        self.turn = 0

    def slot(self) -> memoryview:
        start = self.turn % SLOTS * self.stride
        self.turn += 1
        return self.memory.buf[start : start + self.stride]

    def put(self, x: Any) -> None:
        self.emptied.acquire()
        buffers: list[pickle.PickleBuffer] = []
        head = pickle.dumps(x, protocol=5, buffer_callback=buffers.append)
        [raw] = [buffer.raw() for buffer in buffers]
        slot = self.slot()
        slot[:16] = len(head).to_bytes(8, "little") + raw.nbytes.to_bytes(8, "little")
        slot[16 : 16 + len(head)] = head
        np.frombuffer(slot, np.uint8, raw.nbytes, 4096)[:] = np.frombuffer(raw, np.uint8)
        self.filled.release()

    def get(self) -> Any:
        self.filled.acquire()
        slot = self.slot()
        head, size = int.from_bytes(slot[:8], "little"), int.from_bytes(slot[8:16], "little")
        sent, number, array = pickle.loads(slot[16 : 16 + head], buffers=[slot[4096 : 4096 + size].toreadonly()])
        first = array[0]
        self.emptied.release()
        return sent, number, [first]


def channel(kind: str, size: int) -> Any:
    if kind == "queue":
        return multiprocessing.Queue(SLOTS)
    if kind == "oob":
        return Slots(size)
    if kind == "manager":
        from ParallelPipe.Buffer import Buffer

        return Buffer(SLOTS, True, multiprocessing.Manager())
    raise SystemExit(f"KIND is {kind!r}, but must be queue, manager or oob")


def produce(channel: Any, size: int, count: int, period: int) -> None:
    array = np.full(size, 7, np.uint8)
    time.sleep(0.3)  # until the consumer waits
    begin = time.monotonic_ns()
    for number in range(count):
        if period:
            time.sleep(max(0, begin + number * period * 1000 - time.monotonic_ns()) / 1e9)
        channel.put((time.monotonic_ns(), number, array))
    time.sleep(1)  # a queue's feeder thread goes on sending


def main(mode: str, kind: str, size: int, count: int, period: int) -> None:
    hop = channel(kind, size)
    # Forked, so that every kind of channel can be handed over.
    producer = multiprocessing.get_context("fork").Process(target=produce, args=(hop, size, count, period), daemon=True)
    producer.start()
    latencies: list[int] = []
    first, number = 0, -1
    while number < count - 1:
        sent, number, array = hop.get()
        array[0]
        now = time.monotonic_ns()
        first = first or now
        latencies.append(now - sent)
    elapsed = (time.monotonic_ns() - first) / 1e9
    warm = sorted(latencies[len(latencies) // 20 :])
    if mode == "paced":
        print(f"{kind} p50={warm[len(warm) // 2] / 1e3:.1f}us")
    else:
        print(f"{kind} {len(latencies) / elapsed:.0f} msg/s")
    producer.kill()
    producer.join()
    if isinstance(hop, Slots):
        hop.memory.unlink()


if __name__ == "__main__":
    if len(sys.argv) != 6:
        raise SystemExit(__doc__)
    main(sys.argv[1], sys.argv[2], *map(int, sys.argv[3:]))
