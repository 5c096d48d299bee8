"""How kernels are compiled and run: cached, without Python inside, on several threads where it pays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba

_VALUES_PER_THREAD = 1 << 22


def kernel(
    parallel: bool = False, reorder: bool = False
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Numba in nopython mode, cached on disk. Division by zero follows IEEE, as in NumPy.

    A product and the sum it enters may be rounded once instead of twice, which shortens recursions.

    Args:
        parallel: `prange` loops may run on several threads; call through `launch`.
        reorder: sums inside a loop may be added in another order, so that they vectorise. NaN and
            infinities keep their meaning.
    """
    fastmath = {"contract", "reassoc"} if reorder else {"contract"}
    return numba.njit(cache=True, parallel=parallel, nogil=True, error_model="numpy", fastmath=fastmath)


def launch(compiled: Callable[..., None], n: int, *args: Any) -> None:
    """Run a parallel kernel over `n` values on as many threads as the work is worth.

    Four million values take one thread a few milliseconds. Below that a second thread costs more than it
    brings wherever other work shares the cores: all threads wait for the one without a core.
    """
    allowed = numba.get_num_threads()
    numba.set_num_threads(max(1, min(allowed, n // _VALUES_PER_THREAD)))
    try:
        compiled(*args)
    finally:
        numba.set_num_threads(allowed)


prange = numba.prange
