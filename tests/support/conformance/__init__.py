"""A stand-in for CuPy where there is no GPU: NumPy computes, but only what CuPy admits is admitted.

`xp` is the namespace; `reflfap.backend.asarray(host, xp)` brings arrays in, `to_host` out again.
What to admit is read from the installed CuPy, which imports without a GPU but cannot compute.
"""

from .functions import xp
from .record import Sync, Transfer, counting

__all__ = ["Sync", "Transfer", "counting", "xp"]
