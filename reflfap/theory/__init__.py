"""The theory's statements (T1) to (C2) as functions; its modules are read when they are used."""

from importlib import import_module
from typing import Any

MODULES = (
    *("orthogonality", "uniqueness", "kkt", "boundary", "perturbations", "learning"),
    *("prediction", "asymptotic", "odd_part", "rate", "origins"),
)


def __getattr__(name: str) -> Any:
    if name in MODULES:
        return import_module(f"reflfap.theory.{name}")
    raise AttributeError(f"module 'reflfap.theory' has no attribute {name!r}")


def __dir__() -> list[str]:
    return list(MODULES)
