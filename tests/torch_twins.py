"""The two deep networks as modules of PyTorch, by the names of the released code."""

import torch
from torch import nn
from torch.nn import functional


class Normalised(nn.Module):
    """Pixels (N, C, H, W) less the data set's mean, over its deviation."""

    def __init__(self, mean, std):
        super().__init__()
        self.mean, self.std = (
            torch.tensor(values, dtype=torch.float64)[:, None, None] for values in (mean, std)
        )

    def forward(self, x):
        return (x - self.mean) / self.std


class ConvNet(nn.Module):
    def __init__(self, mean, std):
        super().__init__()
        self.normalised = Normalised(mean, std)
        self.conv1 = nn.Conv2d(len(mean), 16, 3, stride=2)
        self.conv2 = nn.Conv2d(16, 128, 3)
        self.conv3 = nn.Conv2d(128, 128, 3, padding=1)
        self.conv4 = nn.Conv2d(128, 256, 3)
        self.conv5 = nn.Conv2d(256, 256, 3, padding=1)
        self.linear = nn.Linear(256, 10)

    def forward(self, x):
        x = torch.relu(self.conv2(torch.relu(self.conv1(self.normalised(x)))))
        x = x + torch.relu(self.conv3(x))
        x = torch.relu(self.conv4(x))
        x = x + torch.relu(self.conv5(x))
        return self.linear(x.mean(dim=(2, 3)))


class Block(nn.Module):
    """A wide residual block without its dropout."""

    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, stride=stride, padding=1)
        changed = stride != 1 or inputs != outputs
        self.shortcut = nn.Conv2d(inputs, outputs, 1, stride=stride) if changed else nn.Identity()

    def forward(self, x):
        y = self.conv1(torch.relu(self.bn1(x)))
        return self.conv2(torch.relu(self.bn2(y))) + self.shortcut(x)


class WideResNet(nn.Module):
    def __init__(self, depth, width, mean, std):
        super().__init__()
        self.normalised = Normalised(mean, std)
        self.conv1 = nn.Conv2d(len(mean), 16, 3, padding=1)
        inputs = 16
        for group, (channels, stride) in enumerate(((16, 1), (32, 2), (64, 2)), 1):
            blocks = []
            for number in range((depth - 4) // 6):
                blocks.append(Block(inputs, channels * width, stride if number == 0 else 1))
                inputs = channels * width
            self.add_module(f"layer{group}", nn.Sequential(*blocks))
        self.bn1 = nn.BatchNorm2d(inputs, momentum=0.9)
        self.linear = nn.Linear(inputs, 10)

    def forward(self, x):
        x = self.conv1(self.normalised(x))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.linear(torch.relu(self.bn1(x)).mean(dim=(2, 3)))


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
