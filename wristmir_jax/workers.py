"""Maps a function over a stream in worker processes, in order and with bounded memory."""

import collections
import concurrent.futures
import multiprocessing
import multiprocessing.connection
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

_CHUNKS_A_WORKER = 4


def available_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def ordered_map(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    num_workers: int,
    chunk_size: int = 8,
) -> Iterator[Result]:
    """`map(function, items)` on worker processes; results come in the order of the items.

    Workers are started afresh (spawn), never forked: the caller may hold threads of JAX, which do
    not survive a fork. So `function` must be importable, and a script that calls this needs an
    `if __name__ == "__main__":` guard.

    Args:
        function: of one item; exceptions pass to the caller.
        items: read as they are needed; at most a few chunks a worker are in memory.
        num_workers: below 2, this process does the work itself.
        chunk_size: items that a worker is given at a time.
    """
    if num_workers < 2:
        yield from map(function, items)
        return
    pool = concurrent.futures.ProcessPoolExecutor(
        num_workers, multiprocessing.get_context("spawn"), initializer=_end_with_parent
    )
    pending: collections.deque[concurrent.futures.Future[list[Result]]] = collections.deque()
    try:
        for chunk in _chunks(items, chunk_size):
            pending.append(pool.submit(_apply, function, chunk))
            if len(pending) >= num_workers * _CHUNKS_A_WORKER:
                yield from pending.popleft().result()
        while pending:
            yield from pending.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _apply(function: Callable[[Item], Result], items: list[Item]) -> list[Result]:
    return [function(item) for item in items]


def _chunks(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    chunk: list[Item] = []
    for item in items:
        chunk.append(item)
        if len(chunk) == size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _end_with_parent() -> None:
    """Pool workers would wait for work for ever after their parent was killed."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def watch() -> None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
