"""numba, as the decoders use it: compiled at the first call, kept in a cache, and without holding Python's lock.

A file of its own because importing numba takes a second: only modules that are imported when something is decoded may
import this one.
"""

import warnings
from collections.abc import Callable
from itertools import chain
from typing import Any, TypeVar

import numba
from numba.extending import is_jitted

Function = TypeVar("Function", bound=Callable[..., Any])


def compiled(function: Function) -> Function:
    """The function, compiled by numba at its first call for the types that it is given; threads may run it at once.

    What is compiled is kept in the folder __pycache__ beside the function's file, where that is not writable in the
    user's cache, or in NUMBA_CACHE_DIR. Where none is writable, each process compiles again, and a warning says so. A
    cache that cannot be read is emptied: a former version of this project may have written it. It holds until the
    function's file changes, or one that this file imports compiled functions from, which numba does not look at: what
    is compiled holds their code and constants, too.
    """
    return _compiled(function)


def compiled_borrowing(function: Function) -> Function:
    """As `compiled`, for a function that makes no arrays: it counts no references to those that it is given, which is
    most of the time of a small one. numba refuses to compile one that makes an array.
    """
    return _compiled(function, _nrt=False)


def _compiled(function: Function, **options: bool) -> Function:
    try:
        cached: Any = numba.njit(cache=True, nogil=True, **options)(function)
    except RuntimeError:  # numba finds no folder for its cache that it can write to
        warnings.warn(
            "numba has no writable folder for its cache, so decoders are compiled again in each process; set "
            "NUMBA_CACHE_DIR to one",
            stacklevel=3,
        )
        uncached: Function = numba.njit(nogil=True, **options)(function)
        return uncached
    _depend_on_imported(cached)
    _empty_if_unreadable(cached._cache)
    return cached  # type: ignore[no-any-return]


def _depend_on_imported(cached: Any) -> None:
    """Adds the stamps (time and size of a file) of the compiled functions in this one's module to its own."""
    caches = [getattr(one._cache, "_cache_file", None) for one in cached.py_func.__globals__.values() if is_jitted(one)]
    file = cached._cache._cache_file
    file._source_stamp = tuple(sorted({file._source_stamp, *chain(*(one._source_stamp for one in caches if one))}))


def _empty_if_unreadable(cache: Any) -> None:
    """numba unpickles the types that a function was compiled for before it looks whether they are of the present file:
    where one has moved to another module since, it raises ModuleNotFoundError.
    """
    try:
        cache._cache_file._load_index()
    except OSError:
        return  # numba passes over it
    except Exception:
        cache.flush()
