"""The paper's network for MNIST and Fashion-MNIST: five convolutions, two of them residual."""

from reflfap.deep import network as nn

RELEASED_WIDTH = 16


def convnet(
    mean: tuple[float, ...],
    std: tuple[float, ...],
    channels: int = 1,
    classes: int = 10,
    width: int = 16,
) -> nn.Chain:
    """Images (N, channels, H, W) on [0, 1] to outputs (N, classes); made for 28 x 28, H, W >= 11.

    conv 3x3 stride 2, 16, ReLU; conv 3x3, 128, ReLU; x + ReLU(conv 3x3 pad 1, 128); conv 3x3, 256,
    ReLU; x + ReLU(conv 3x3 pad 1, 256); mean over the map; linear. 0.92 G multiplications for ten
    images of 28 x 28; 1.05 M weights. So it is for the released `width` 16; in general there are
    `width`, 8 width and 16 width channels.
    """
    middle, last = 8 * width, 16 * width
    return nn.Chain(
        (
            nn.Normalisation(mean, std),
            *(nn.Convolution("conv1", channels, width, stride=2), nn.Relu()),
            *(nn.Convolution("conv2", width, middle), nn.Relu()),
            nn.Residual(nn.Chain((nn.Convolution("conv3", middle, middle, padding=1), nn.Relu()))),
            *(nn.Convolution("conv4", middle, last), nn.Relu()),
            nn.Residual(nn.Chain((nn.Convolution("conv5", last, last, padding=1), nn.Relu()))),
            nn.GlobalMean(),
            nn.Linear("linear", last, classes),
        )
    )
