"""What tests of the deep networks need of PyTorch; imported only where it is there."""

import torch
from torch import nn
from torch.nn import functional


class Masked(nn.Module):
    """Dropout with a mask that is given, (N, C, H, W)."""

    def __init__(self, mask):
        super().__init__()
        self.mask = mask

    def forward(self, x):
        return x * self.mask if self.training else x


def with_masks(network, masks):
    """`network` with these masks, by the names of its dropouts, in place of random ones."""
    for name, values in masks.items():
        block, _, own = name.rpartition(".")
        setattr(network.get_submodule(block), own, Masked(torch.tensor(values)))
    return network


def trained(twin, images, test, how, orders):
    """Train a module by PyTorch's own gradients and optimiser, an epoch an order of the images.

    Returns what the epochs' curves should be: mean losses, accuracies, accuracies on test images.
    """
    x, test_x = (torch.tensor(one.x / 255) for one in (images, test))
    y, test_y = (torch.tensor(one.y) for one in (images, test))
    settings = {"lr": how.rate, "momentum": how.momentum, "weight_decay": how.decay}
    optimiser = torch.optim.SGD(twin.parameters(), nesterov=True, **settings)
    curves = []
    for order in orders:
        losses, hits = [], []
        for first in range(0, len(order) - how.batch + 1, how.batch):
            some = torch.tensor(order[first : first + how.batch])
            twin.train()
            optimiser.zero_grad()
            z = twin(x[some])
            loss = functional.cross_entropy(z, y[some])
            loss.backward()
            optimiser.step()
            losses.append(loss.item())
            hits.append(_accuracy(z, y[some]))
        twin.eval()
        with torch.no_grad():
            on_test = _accuracy(twin(test_x), test_y)
        curves.append((sum(losses) / len(losses), sum(hits) / len(hits), on_test))
    return [list(values) for values in zip(*curves, strict=True)]


def _accuracy(z, y):
    return (z.argmax(1) == y).double().mean().item()
