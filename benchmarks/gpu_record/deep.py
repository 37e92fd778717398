"""Steps and input gradients of the deep networks in images a second, beside PyTorch's.

PyTorch is tried in both of its memory formats, after its search for the fastest algorithms, and the
faster one is the peer: once in float32 as ours is, once with TF32 in its convolutions, as it comes.
"""

from functools import partial
from typing import Any

from benchmarks.deep import FORMATS, SHAPES, Case, Problem, convolved, ours, theirs
from benchmarks.gpu_record.device import tf32
from benchmarks.timing import Repeated, repeated
from reflfap.backend import asarray, synchronise
from reflfap.deep import layers
from reflfap.deep.network import Pass
from reflfap.errors import NonFiniteError
from reflfap.fast import winograd
from reflfap.fast.worker_pool import WorkerPool
from reflfap.terminal import say
from reflfap.training import batches, minibatch
from reflfap.training.batches import Draw

CASES = {
    "ConvNet, step": Case("", (), 128, 0, ""),
    "ConvNet, input gradient": Case("", (), 512, 0, "", step=False),
    "WideResNet-28-10, step": Case("", (28, 10), 128, 0, ""),
    "WideResNet-28-10, input gradient": Case("", (28, 10), 128, 0, "", step=False),
}
SAMPLES = 128  # of a single layer


def run(job: Any) -> dict[str, Any]:
    """Networks beside PyTorch, where their time goes, and single layers both ways."""
    found: dict[str, Any] = {"layers, ms": timed_layers(job)}
    for name, case in CASES.items():
        if job.tiny:
            case = case._replace(batch=3, size=case.size and (10, 1))
        say(f"  {name}, {job.left():.0f} s left")
        found[name] = compared(case, job)
    return found


def compared(case: Case, job: Any) -> dict[str, Any]:
    """Images a second of one case, ours and PyTorch's, and ratios of seconds."""
    xp, wait = job.xp, partial(synchronise, job.xp)
    with WorkerPool(1) as pool:
        call = ours(case, pool, xp)
        own = repeated(call, wait)
        with tf32(xp):
            rough = repeated(call, wait)
        parts = where(case, pool, xp) if case.step else {}
    found = {
        "batch": case.batch,
        "ours": _rates(case, own),
        "ours, products in TF32": _rates(case, rough),
        "milliseconds of parts": parts,
    }
    on_device = xp.__name__ == "cupy"
    if on_device:
        xp.get_default_memory_pool().free_all_blocks()
    for name, seconds in peers(case, on_device).items():
        found[f"PyTorch, {name}"] = {"images a second": case.batch / seconds}
        found[f"ratio to PyTorch, {name}"] = own.seconds / seconds
    return found


def _rates(case: Case, found: Repeated) -> dict[str, float]:
    return {
        "images a second": case.batch / found.seconds,
        "milliseconds": 1e3 * found.seconds,
        "milliseconds to hand out": 1e3 * found.queued,
    }


def where(case: Case, pool: WorkerPool, xp: Any) -> dict[str, float]:
    """A step in parts: forward, all gradients, both with the masks of dropout, and the update."""
    problem = Problem(case, case.batch, xp=xp)
    network, weights, images = problem.network, problem.weights, problem.images
    x, draw, wait = asarray(images.x, xp), Draw(0, "training", 0, 0), partial(synchronise, xp)
    found = minibatch.gradient(network, weights, images, pool).gradients
    velocity = {name: xp.zeros_like(g) for name, g in found[0].items()}
    calls = {
        "forward": lambda: network.forward(weights, x, Pass(training=True, count=len(x))),
        "gradients": lambda: minibatch.gradient(network, weights, images, pool),
        "gradients with dropout": lambda: minibatch.gradient(network, weights, images, pool, draw),
        "update": lambda: minibatch.step(
            weights, velocity, found, minibatch.Sgd(rate=0.0), 0.0, pool
        ),
        "one mask": lambda: batches.dropout_mask(draw, slice(0, len(x)), "a", 0.3, wide),
    }
    wide = xp.empty((32, 32, case.batch, 160 if case.batch > 8 else 4), dtype=xp.float32)
    seconds = {name: repeated(call, wait, 3) for name, call in calls.items()}
    parts = {name: 1e3 * one.seconds for name, one in seconds.items()}
    return parts | {f"{name}, to hand out": 1e3 * one.queued for name, one in seconds.items()}


def peers(case: Case, on_device: bool) -> dict[str, float]:
    """Seconds of PyTorch in each precision; empty where it is not installed."""
    try:
        import torch
    except ImportError:
        return {}
    device = "cuda" if on_device else "cpu"
    wait = torch.cuda.synchronize if on_device else lambda: None
    torch.backends.cudnn.benchmark = True
    torch.backends.cuda.matmul.allow_tf32 = False
    found = {}
    for name, allowed in (("float32", False), ("TF32", True)):
        torch.backends.cudnn.allow_tf32 = allowed
        tried = [repeated(theirs(case, one, device), wait).seconds for one in FORMATS]
        found[name] = min(tried)
    if on_device:
        torch.cuda.empty_cache()
    return found


def timed_layers(job: Any) -> dict[str, dict[str, float]]:
    """Forward and backward of single convolutions, as columns and by tiles of each size, and how
    far apart they are in float32."""
    xp, found = job.xp, {}
    for shape in SHAPES[:1] if job.tiny else SHAPES:
        shape = shape._replace(samples=2 if job.tiny else SAMPLES)
        arrays = [asarray(one, xp) for one in shape.arrays()]
        title = f"{shape.title}, {shape.side} x {shape.side}, {shape.inputs} to {shape.outputs}"
        row, outputs = {}, {}
        for m in (None, *winograd.TILES):
            call = partial(convolved, *arrays, shape.padding, m)
            name = "columns" if m is None else f"m = {m}"
            row[name] = 1e3 * repeated(call, partial(synchronise, xp)).seconds
            outputs[name] = call()[0]
        row["chosen"] = layers.tile_size(arrays[0], arrays[1], 1, shape.padding) or 0
        columns, *tiled = outputs.values()
        for one in tiled:
            apart = float(xp.max(xp.abs(one - columns)) / xp.max(xp.abs(columns)))
            if not apart < 1e-4:
                raise NonFiniteError(f"{title}: both ways are {apart:.1e} apart")
        found[title] = row
    return found
