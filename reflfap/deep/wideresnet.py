"""The paper's network for CIFAR-10: WideResNet-DEPTH-WIDTH (Zagoruyko and Komodakis, 2016)."""

from reflfap import checks
from reflfap.deep import network as nn

DROPOUT = 0.3


def wideresnet(
    depth: int,
    width: int,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    channels: int = 3,
    classes: int = 10,
) -> nn.Chain:
    """Images (N, channels, H, W) on [0, 1] to outputs (N, classes); made for 32 x 32.

    conv 3x3, 16; three groups of n = (depth - 4)/6 blocks with 16, 32, 64 times `width` channels,
    the second and third of which halve the image; batch norm, ReLU, mean, linear. A block is x' +
    [BN, ReLU, conv 3x3, dropout 0.3, BN, ReLU, conv 3x3 (stride)](x), where x' is x, or a 1x1
    convolution of it where the shape changes. 28-10 has 36.5 M weights.
    Raises InputError for a depth that is not 6 n + 4.
    """
    blocks = (checks.resnet_depth(depth) - 4) // 6
    checks.whole_number("width", width, least=1)
    parts: list[nn.Layer] = [
        nn.Normalisation(mean, std),
        nn.Convolution("conv1", channels, 16, padding=1),
    ]
    inputs = 16
    for group, (outputs, stride) in enumerate(((16, 1), (32, 2), (64, 2)), 1):
        for number in range(blocks):
            name = f"layer{group}.{number}"
            parts.append(_block(name, inputs, outputs * width, 1 if number else stride))
            inputs = outputs * width
    # the last normalisation's running statistics are nearly the last batch's, as released
    parts += [nn.BatchNorm("bn1", inputs, momentum=0.9), nn.Relu(), nn.GlobalMean()]
    return nn.Chain((*parts, nn.Linear("linear", inputs, classes)))


def _block(name: str, inputs: int, outputs: int, stride: int) -> nn.Layer:
    body = nn.Chain(
        (
            *(nn.BatchNorm(f"{name}.bn1", inputs), nn.Relu()),
            nn.Convolution(f"{name}.conv1", inputs, outputs, padding=1),
            nn.Dropout(f"{name}.dropout", DROPOUT),
            *(nn.BatchNorm(f"{name}.bn2", outputs), nn.Relu()),
            nn.Convolution(f"{name}.conv2", outputs, outputs, stride=stride, padding=1),
        )
    )
    if stride == 1 and inputs == outputs:
        return nn.Residual(body)
    return nn.Residual(
        body, nn.Chain((nn.Convolution(f"{name}.shortcut", inputs, outputs, 1, stride),))
    )
