"""One thread for BLAS, said before NumPy is imported, so that a fork copies no other's locks."""

import os

for _library in ("OPENBLAS", "OMP", "MKL"):
    os.environ[f"{_library}_NUM_THREADS"] = "1"
os.environ["MPLBACKEND"] = "agg"
