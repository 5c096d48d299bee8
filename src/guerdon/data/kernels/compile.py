"""How kernels are compiled: cached, without Python inside, parallel where the work is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba


def kernel(parallel: bool = False) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Numba in nopython mode, cached on disk. Division by zero follows IEEE, as in NumPy."""
    return numba.njit(cache=True, parallel=parallel, nogil=True, error_model="numpy")


prange = numba.prange
