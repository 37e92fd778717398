"""Learning from adversarial perturbations, in plain array code: `import reflfap as rf`.

The reference is S. Kumano, H. Kera, T. Yamasaki, *Theoretical Understanding of Learning from
Adversarial Perturbations*, ICLR 2024. Tags such as (N3) name equations; the README lists them.
docs/library.md explains the names below, which are read from their modules when they are used.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_MODULES = {
    **dict.fromkeys(("network", "initial_weights", "Network"), "onehidden"),
    **dict.fromkeys(("train", "attack", "learn_from_perturbations"), "library"),
    **dict.fromkeys(("load", "load_table"), "library"),
    "open_result": "runs.store",
    "OneHiddenClassifier": "estimator",
    **dict.fromkeys(("ReflfapError", "InputError"), "errors"),
}
_PACKAGES = ("theory", "plot")

__all__ = ["__version__", *_MODULES, *_PACKAGES]


def __getattr__(name: str) -> Any:
    if name in _PACKAGES:
        return import_module(f"reflfap.{name}")
    if name in _MODULES:
        return getattr(import_module(f"reflfap.{_MODULES[name]}"), name)
    raise AttributeError(f"module 'reflfap' has no attribute {name!r}; it has {', '.join(__all__)}")


def __dir__() -> list[str]:
    return __all__
