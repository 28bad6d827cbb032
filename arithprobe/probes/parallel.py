"""Small matrix products by the thousand: one thread each, as many at a time as PyTorch may use threads."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from typing import TypeVar

import torch
from threadpoolctl import ThreadpoolController

Part = TypeVar("Part")
Result = TypeVar("Result")


@contextmanager
def one_thread_each() -> Iterator[None]:
    """Keep BLAS from sharing a product among threads inside the block: for small ones the sharing costs more."""
    with _controller().limit(limits=1, user_api="blas"):
        yield


def in_threads(work: Callable[[Part], Result], parts: Sequence[Part]) -> list[Result]:
    """Do the work for every part, several parts at a time; NumPy leaves the interpreter lock alone meanwhile."""
    workers = min(len(parts), torch.get_num_threads())
    with one_thread_each():
        if workers < 2:
            return [work(part) for part in parts]
        with ThreadPoolExecutor(workers) as pool:
            return list(pool.map(work, parts))


@cache
def _controller() -> ThreadpoolController:
    return ThreadpoolController()
