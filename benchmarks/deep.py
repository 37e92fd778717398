"""Training steps and input gradients of the deep networks against PyTorch; convolutions by tiles.

    python -m benchmarks.deep [steps] [layers] [rounding]

`steps`: seconds beside PyTorch, if installed, on as many threads and from the same weights, and the
peak memory of each in a process of its own. PyTorch is tried in both of its memory formats, and the
faster one is the peer. It shares the timed process, so it too keeps freed memory. Wanted, as ratios
of ours to PyTorch's: at most 1.0 and possibly 0.8 for the ConvNet, 1.3 for the WideResNets.
`layers`: forward and backward of single convolutions on one thread, as columns and by Winograd's
tiles; `*` is what `layers.tile_size` chooses. `rounding`: errors of both in float32. The machine
has to be quiet: PyTorch's threads wait for each other at every layer, and other jobs slow it more.
"""

import itertools
import statistics
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits

from benchmarks.timing import paired, print_machine
from reflfap.backend import asarray
from reflfap.deep import classifier, layers
from reflfap.deep.convnet import convnet
from reflfap.deep.network import initial_arrays, running
from reflfap.deep.wideresnet import wideresnet
from reflfap.fast import winograd
from reflfap.fast.worker_pool import WorkerPool, share
from reflfap.machine import keep_freed_memory
from reflfap.rng import stream
from reflfap.training import minibatch
from reflfap.training.batches import Draw

WORKERS = 2
HOW = minibatch.Sgd(rate=0.01)
FORMATS = ("contiguous_format", "channels_last")
MEMORY = "import sys; from benchmarks.deep import memory; memory(*sys.argv[1:])"


class Case(NamedTuple):
    """What is timed: a step of a network on a batch, or its input gradient."""

    title: str
    size: tuple[int, ...]  # depth and width of a WideResNet, () for the ConvNet
    batch: int
    runs: int
    wanted: str
    step: bool = True


CASES = {
    "convnet": Case("ConvNet, step", (), 128, 7, "1.0, aim 0.8"),
    "input": Case("ConvNet, input gradient", (), 128, 9, "1.0, aim 0.8", step=False),
    "16-1": Case("WideResNet-16-1, step", (16, 1), 128, 7, "1.3"),
    "28-10": Case("WideResNet-28-10, step", (28, 10), 8, 3, "1.3"),
}


class Problem:
    """Network, weights on `xp`, and `n` random images of a case."""

    def __init__(self, case, n, dtype="float32", xp=np):
        self.channels, side = (3, 32) if case.size else (1, 28)
        self.shape = (self.channels, side, side)
        self.constants = (0.5,) * self.channels, (0.25,) * self.channels
        build = partial(wideresnet, *case.size) if case.size else convnet
        self.network = build(*self.constants)
        initial = initial_arrays(self.network, stream(0, "weights"), dtype)
        self.weights = {name: asarray(values, xp) for name, values in initial.items()}
        rng = stream(0, "images")
        x = rng.random((n, *self.shape), dtype=dtype)
        self.images = classifier.Images(x, rng.integers(0, 10, n))


def ours(case, pool, xp=np):
    """The call to time, for a pool at work."""
    problem = Problem(case, case.batch, xp=xp)
    network, weights, (x, y) = problem.network, problem.weights, problem.images
    if not case.step:
        margin = classifier.margin_function(network, weights, problem.shape)
        flat, y = asarray(x.reshape(len(x), -1), xp), asarray(y, xp)

        def part_of_gradient(part, total):
            rows = share(len(x), pool.workers, part)
            return margin(flat[rows], y[rows])

        return partial(pool.run, part_of_gradient)

    velocity = {name: xp.zeros_like(w) for name, w in weights.items() if not running(name)}
    number = itertools.count()

    def step():
        draw = Draw(0, "training", 0, next(number))
        found = minibatch.gradient(network, weights, problem.images, pool, draw)
        weights.update(network.moved(weights, found.moments))
        minibatch.step(weights, velocity, found.gradients, HOW, HOW.rate, pool)

    return step


def twin(case, problem, memory_format=FORMATS[0], device="cpu", **options):
    """The network in PyTorch on a device, with the same weights, and the images."""
    import torch

    from benchmarks import torch_networks

    torch.set_num_threads(WORKERS)
    if case.size:
        module = torch_networks.WideResNet(*case.size, *problem.constants, **options)
    else:
        module = torch_networks.ConvNet(*problem.constants)
    x, y = (torch.from_numpy(part).to(device) for part in problem.images)
    how = {"dtype": x.dtype, "memory_format": getattr(torch, memory_format)}
    torch_networks.load(module.to(device, **how), classifier.to_released(problem.weights))
    return module, x.to(**how), y


def theirs(case, memory_format, device="cpu"):
    """The call to time in PyTorch."""
    import torch
    from torch.nn.functional import cross_entropy

    module, x, y = twin(case, Problem(case, case.batch), memory_format, device)
    if not case.step:
        module.eval().requires_grad_(False)
        x.requires_grad_()
        return lambda: torch.autograd.grad(cross_entropy(module(x), y, reduction="sum"), x)

    settings = {"momentum": HOW.momentum, "weight_decay": HOW.decay, "nesterov": True}
    optimiser = torch.optim.SGD(module.parameters(), lr=HOW.rate, **settings)

    def step():
        optimiser.zero_grad()
        cross_entropy(module(x), y).backward()
        optimiser.step()

    return step


def difference(case, pool):
    """Of both float64 gradients in training mode without dropout, relative to their size."""
    from torch.nn.functional import cross_entropy

    problem = Problem(case, 4, "float64")
    found = minibatch.gradient(problem.network, problem.weights, problem.images, pool).gradients
    total = {name: sum(part[name] for part in found) for name in found[0]}
    module, x, y = twin(case, problem, **({"dropout": 0.0} if case.size else {}))
    cross_entropy(module(x), y).backward()
    expected = {name: weight.grad.numpy() for name, weight in module.named_parameters()}
    errors = classifier.to_released(total)
    squares = [np.sum((errors[name] - one) ** 2) for name, one in expected.items()]
    return np.sqrt(sum(squares) / sum(np.sum(one**2) for one in expected.values()))


def steps():
    """Both ratios and the memory of each case."""
    for name, case in CASES.items():
        with WorkerPool(
            WORKERS
        ) as pool:  # whose limit on BLAS threads does not reach PyTorch's own
            run, times = ours(case, pool), {}
            print(f"{case.title}, {case.batch} images")
            try:
                print(f"  gradients in float64 differ by {difference(case, pool):.0e}")
                times = {one: paired(theirs(case, one), run, case.runs) for one in FORMATS}
            except ImportError:
                seconds = paired(run, lambda: None, case.runs).a
                print(f"  ours {seconds:.3f} s; PyTorch is not installed: no peer")
        peer = max(times, key=lambda one: times[one].ratio, default=None)  # the faster, paired
        for one, (a, b, ratio, least, most) in times.items():
            judged = f" (wanted {case.wanted})" if one == peer else ""
            print(
                f"  ours {b:.3f} s, PyTorch {one} {a:.3f} s, ratio {ratio:.2f} "
                f"[{least:.2f}, {most:.2f}]{judged}"
            )
        for title, whose in {"ours": "ours", "PyTorch": peer}.items():
            if whose:
                imported, peak = measured_memory(name, whose)
                print(f"  peak memory, {title}: {peak:.0f} MB, {imported:.0f} MB after imports")
        sys.stdout.flush()


def measured_memory(name, whose):
    """Resident MB after imports, and at most."""
    command = [sys.executable, "-c", MEMORY, name, whose]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return map(float, done.stdout.split())


def memory(name, whose):
    """Three calls in this process; prints what `measured_memory` says."""
    if whose != "ours":
        from benchmarks import torch_networks  # noqa: F401

    imported = resident("VmRSS")
    with WorkerPool(WORKERS) as pool:
        if whose == "ours":
            keep_freed_memory()
            run = ours(CASES[name], pool)
        else:
            run = theirs(CASES[name], whose)
        for _ in range(3):
            run()
    print(imported, resident("VmHWM"))


def resident(what):
    """MB of this process on Linux; unlike getrusage's, the peak is not that of its parent."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith(what))


class Shape(NamedTuple):
    """A convolution of 3 x 3 and stride 1."""

    title: str
    samples: int  # of one worker
    side: int
    inputs: int
    outputs: int
    padding: int = 1

    def arrays(self):
        """x, w, b, dy in float32; uniform weights as at the start of training."""
        rng, r = stream(0, "layer"), self.side + 2 * self.padding - 2
        bound = (9 * self.inputs) ** -0.5
        x = rng.standard_normal((self.side, self.side, self.samples, self.inputs))
        w = rng.uniform(-bound, bound, (3, 3, self.inputs, self.outputs))
        b = rng.uniform(-bound, bound, self.outputs)
        dy = rng.standard_normal((r, r, self.samples, self.outputs))
        return [one.astype("float32") for one in (x, w, b, dy)]


SHAPES = (
    Shape("ConvNet conv2", 64, 13, 16, 128, padding=0),
    Shape("ConvNet conv3", 64, 11, 128, 128),
    Shape("ConvNet conv4", 64, 11, 128, 256, padding=0),
    Shape("ConvNet conv5", 64, 9, 256, 256),
    Shape("width 1, first", 64, 32, 3, 16),
    Shape("width 1", 64, 32, 16, 16),
    Shape("width 1", 64, 32, 16, 32),
    Shape("width 1", 64, 16, 32, 32),
    Shape("width 1", 64, 8, 64, 64),
    Shape("width 10", 4, 32, 16, 160),
    Shape("width 10", 4, 32, 160, 160),
    Shape("width 10", 4, 16, 320, 320),
    Shape("width 10", 4, 8, 640, 640),
)


def convolved(x, w, b, dy, padding, m):
    """y, dx, dw by tiles of m x m, or without m by columns."""
    if m is None:
        y = layers.plain_convolution(x, w, b, 1, padding)
        return y, *layers.plain_convolution_backward(dy, x, w, 1, padding)[:2]
    dx, dw, *_ = winograd.convolve_backward(x, w, dy, padding, m)
    return winograd.convolve(x, w, b, padding, m), dx, dw


def timed_layers(runs=7):
    """All ways in turn, medians."""
    ways = (None, *winograd.TILES)
    heads = ("columns", *(f"m = {m}" for m in winograd.TILES))
    print(f"{'forward and backward, ms':<40}" + "".join(f"{head:>9} " for head in heads))
    for shape in SHAPES:
        x, w, b, dy = shape.arrays()
        seconds = {m: [] for m in ways}
        with threadpool_limits(1, "blas"):
            for _, m in itertools.product(range(runs + 1), ways):
                start = time.perf_counter()
                convolved(x, w, b, dy, shape.padding, m)
                seconds[m].append(time.perf_counter() - start)
        found = {m: statistics.median(each[1:]) for m, each in seconds.items()}
        chosen = layers.tile_size(x, w, 1, shape.padding)
        title = (
            f"{shape.title}, {shape.samples} x {shape.side} x {shape.side}, "
            f"{shape.inputs} to {shape.outputs}"
        )
        row = "".join(f"{1e3 * found[m]:9.1f}{'*' if m == chosen else ' '}" for m in ways)
        over = found[chosen] / min(found.values())
        print(f"{title:<40}{row}  chosen / best {over:.2f}", flush=True)


def rounding():
    """Errors of y, dx, dw in float32, relative to their root mean squares in float64."""
    shape = SHAPES[1]
    arrays = shape.arrays()
    exact = convolved(*(one.astype("float64") for one in arrays), shape.padding, None)
    print(f"errors in float32 at {shape.inputs} channels, rms (largest), relative to the rms")
    for m in (None, *winograd.TILES):
        found = convolved(*arrays, shape.padding, m)
        cells = []
        for name, one, true in zip(("y", "dx", "dw"), found, exact, strict=True):
            error = (one - true) / np.sqrt(np.mean(true**2))
            cells.append(f"{name} {np.sqrt(np.mean(error**2)):.1e} ({np.abs(error).max():.1e})")
        print(f"{'columns' if m is None else f'm = {m}':<9}" + "  ".join(cells))


PARTS = {"steps": steps, "layers": timed_layers, "rounding": rounding}

if __name__ == "__main__":
    print_machine()
    keep_freed_memory()  # as the command line does
    for part in sys.argv[1:] or PARTS:
        PARTS[part]()
