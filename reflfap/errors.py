"""Every error that reflfap raises on purpose, and the one form of their messages."""

from typing import NoReturn


class ReflfapError(Exception):
    """Anything that reflfap refuses or cannot do; the message says what to do next."""


class InputError(ReflfapError, ValueError):
    """A value given by the caller is not usable."""


class BackendError(InputError):
    """Arrays of different libraries were mixed, or the device asked for is not there."""


class DeviceMemoryError(ReflfapError, MemoryError):
    """The device's memory does not suffice; says for what, how much, and what would help."""


class NonFiniteError(ReflfapError, ArithmeticError):
    """A computation left the finite numbers; names the step, and the sample where there is one."""


class ConvergenceError(ReflfapError, ArithmeticError):
    """An iteration or an adaptive step did not reach its tolerance; says how far it got."""


class NoKKTPointError(ReflfapError):
    """The KKT point that was looked for does not exist; says which condition fails."""


class StoreError(ReflfapError):
    """A result or a checkpoint cannot be written or read."""


class DamagedFileError(StoreError):
    """A file is truncated, altered, foreign, or of another schema."""


def refuse(
    name: str, expected: str, got: object, remedy: str, error: type[ReflfapError] = InputError
) -> NoReturn:
    """Raise `error` in the one form: name, expected, got, what to do."""
    raise error(f"{name}: expected {expected}, got {got}; {remedy}")
