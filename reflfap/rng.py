"""Named host random streams from one seed.

Random numbers are always drawn on the host with NumPy, since CuPy's streams differ from NumPy's and
between its own versions. Every use has a name, so that adding a draw in one place changes no other.
"""

import hashlib

import numpy as np


def stream(seed: int, name: str) -> np.random.Generator:
    """The generator called `name` under `seed`: PCG64 keyed by the seed and the name's SHA-256.

    Same seed and name, same numbers, on every machine; different names are independent.
    """
    digest = hashlib.sha256(name.encode()).digest()
    key = np.frombuffer(digest[:16], dtype="<u4")
    sequence = np.random.SeedSequence(entropy=seed, spawn_key=tuple(int(word) for word in key))
    return np.random.Generator(np.random.PCG64(sequence))
