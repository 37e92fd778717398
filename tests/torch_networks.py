"""Both networks in PyTorch, with the released code's names; imported only where torch is there."""

import torch
from torch import nn
from torch.nn.functional import relu


class Normalised(nn.Module):
    """Pixels on [0, 1], less their mean, over their deviation; no arrays of its own by name."""

    def __init__(self, mean, std):
        super().__init__()
        self.mean, self.std = (
            torch.tensor(one, dtype=torch.float64).view(-1, 1, 1) for one in (mean, std)
        )

    def normalised(self, x):
        return (x - self.mean.to(x.dtype)) / self.std.to(x.dtype)


class ConvNet(Normalised):
    def __init__(self, mean, std, channels=1, classes=10):
        super().__init__(mean, std)
        self.conv1 = nn.Conv2d(channels, 16, 3, stride=2)
        self.conv2 = nn.Conv2d(16, 128, 3)
        self.conv3 = nn.Conv2d(128, 128, 3, padding=1)
        self.conv4 = nn.Conv2d(128, 256, 3)
        self.conv5 = nn.Conv2d(256, 256, 3, padding=1)
        self.linear = nn.Linear(256, classes)

    def forward(self, x):
        x = relu(self.conv1(self.normalised(x)))
        x = relu(self.conv2(x))
        x = x + relu(self.conv3(x))
        x = relu(self.conv4(x))
        x = x + relu(self.conv5(x))
        return self.linear(x.mean((2, 3)))


class Block(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.dropout = nn.Dropout(0.3)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, stride=stride, padding=1)
        changes = stride != 1 or inputs != outputs
        self.shortcut = nn.Conv2d(inputs, outputs, 1, stride) if changes else nn.Identity()

    def forward(self, x):
        y = self.dropout(self.conv1(relu(self.bn1(x))))
        return self.conv2(relu(self.bn2(y))) + self.shortcut(x)


class WideResNet(Normalised):
    def __init__(self, depth, width, mean, std, channels=3, classes=10):
        super().__init__(mean, std)
        sizes = [16, 16 * width, 32 * width, 64 * width]
        self.conv1 = nn.Conv2d(channels, 16, 3, padding=1)
        for group, stride in enumerate((1, 2, 2), 1):
            first = Block(sizes[group - 1], sizes[group], stride)
            rest = [Block(sizes[group], sizes[group], 1) for _ in range((depth - 4) // 6 - 1)]
            setattr(self, f"layer{group}", nn.Sequential(first, *rest))
        self.bn1 = nn.BatchNorm2d(sizes[3], momentum=0.9)
        self.linear = nn.Linear(sizes[3], classes)

    def forward(self, x):
        x = self.layer3(self.layer2(self.layer1(self.conv1(self.normalised(x)))))
        return self.linear(relu(self.bn1(x)).mean((2, 3)))


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
