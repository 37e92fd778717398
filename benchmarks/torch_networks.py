"""The deep networks in PyTorch, peer and oracle: modules by the names of the released code."""

import torch
from torch import nn
from torch.nn.functional import relu


class Normalised(nn.Module):
    """A network for pixels on [0, 1]: it subtracts the data set's mean and divides by the std."""

    def __init__(self, mean, std):
        super().__init__()
        for name, values in (("mean", mean), ("std", std)):
            constant = torch.tensor(values, dtype=torch.float64).reshape(-1, 1, 1)
            self.register_buffer(name, constant, persistent=False)

    def normalised(self, x):
        return (x - self.mean) / self.std


class ConvNet(Normalised):
    def __init__(self, mean, std, channels=1, classes=10, width=16):
        super().__init__(mean, std)
        middle, last = 8 * width, 16 * width
        self.conv1 = nn.Conv2d(channels, width, 3, stride=2)
        self.conv2 = nn.Conv2d(width, middle, 3)
        self.conv3 = nn.Conv2d(middle, middle, 3, padding=1)
        self.conv4 = nn.Conv2d(middle, last, 3)
        self.conv5 = nn.Conv2d(last, last, 3, padding=1)
        self.linear = nn.Linear(last, classes)

    def forward(self, x):
        x = relu(self.conv2(relu(self.conv1(self.normalised(x)))))
        x = x + relu(self.conv3(x))
        x = relu(self.conv4(x))
        x = x + relu(self.conv5(x))
        return self.linear(x.mean((2, 3)))


class Block(nn.Module):
    def __init__(self, inputs, outputs, stride, dropout):
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.dropout = nn.Dropout(dropout)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, stride, padding=1)
        self.shortcut = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Conv2d(inputs, outputs, 1, stride)

    def forward(self, x):
        y = self.dropout(self.conv1(relu(self.bn1(x))))
        return self.shortcut(x) + self.conv2(relu(self.bn2(y)))


class WideResNet(Normalised):
    def __init__(self, depth, width, mean, std, channels=3, classes=10, dropout=0.3):
        super().__init__(mean, std)
        self.conv1 = nn.Conv2d(channels, 16, 3, padding=1)
        inputs = 16
        for group, (outputs, stride) in enumerate(((16, 1), (32, 2), (64, 2)), 1):
            blocks = []
            for number in range((depth - 4) // 6):
                blocks.append(Block(inputs, outputs * width, 1 if number else stride, dropout))
                inputs = outputs * width
            setattr(self, f"layer{group}", nn.Sequential(*blocks))
        self.bn1 = nn.BatchNorm2d(inputs, momentum=0.9)
        self.linear = nn.Linear(inputs, classes)

    def forward(self, x):
        x = self.layer3(self.layer2(self.layer1(self.conv1(self.normalised(x)))))
        return self.linear(relu(self.bn1(x)).mean((2, 3)))


def load(module, arrays):
    """Take arrays by the released names, as `reflfap.deep.classifier.to_released` gives them."""
    weights = {name: torch.from_numpy(values) for name, values in arrays.items()}
    found = module.load_state_dict(weights, strict=False)
    assert not found.unexpected_keys
    assert all(name.endswith("num_batches_tracked") for name in found.missing_keys)
    return module
