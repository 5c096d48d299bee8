"""How kernels are compiled and run: cached, without Python inside, on several threads where it pays."""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any, NamedTuple

import numba

_VALUES_PER_THREAD = 1 << 22

prange = numba.prange


class Parallel(NamedTuple):
    """One kernel compiled twice, each on first use: for one thread and for several."""

    serial: Callable[..., None]
    threaded: Callable[..., None]


def kernel(reorder: bool = False) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Numba in nopython mode, cached on disk. Division by zero follows IEEE, as in NumPy.

    A product and the sum it enters may be rounded once instead of twice, which shortens recursions.

    Args:
        reorder: sums inside a loop may be added in another order, so that they vectorise. NaN and
            infinities keep their meaning.
    """
    fastmath = {"contract", "reassoc"} if reorder else {"contract"}
    return numba.njit(cache=True, nogil=True, error_model="numpy", fastmath=fastmath)


def parallel_kernel(function: Callable[..., None]) -> Parallel:
    """A kernel whose `prange` loop may run on several threads; see `kernel` and `launch`."""
    assert isinstance(function, types.FunctionType)
    twin = types.FunctionType(function.__code__, function.__globals__, function.__name__)
    twin.__qualname__ = f"{function.__qualname__}_threaded"  # the cache tells functions apart by this name
    options: dict[str, Any] = {"cache": True, "nogil": True, "error_model": "numpy", "fastmath": {"contract"}}
    return Parallel(numba.njit(**options)(function), numba.njit(parallel=True, **options)(twin))


def launch(compiled: Parallel, n: int, *args: Any) -> None:
    """Run a parallel kernel over `n` values on as many threads as the work is worth.

    Four million values take one thread a few milliseconds. Below that a second thread costs more than it
    brings wherever other work shares the cores: all threads wait for the one without a core. And one
    thread needs no OpenMP, whose GNU build ends a forked process that touches it after its parent did.
    """
    worth = n // _VALUES_PER_THREAD
    if worth < 2:
        compiled.serial(*args)
        return
    allowed = numba.get_num_threads()
    numba.set_num_threads(min(allowed, worth))
    try:
        compiled.threaded(*args)
    finally:
        numba.set_num_threads(allowed)
