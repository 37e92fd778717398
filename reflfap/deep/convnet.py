"""The paper's network for MNIST and Fashion-MNIST: five convolutions, two of them residual."""

from reflfap.deep.network import (
    Chain,
    Convolution,
    GlobalMean,
    Linear,
    Normalisation,
    Relu,
    Residual,
)


def convnet(
    mean: tuple[float, ...], std: tuple[float, ...], channels: int = 1, classes: int = 10
) -> Chain:
    """Images (N, channels, H, W) on [0, 1] to outputs (N, classes); made for 28 x 28, H, W >= 11.

    conv 3x3 stride 2, 16, ReLU; conv 3x3, 128, ReLU; x + ReLU(conv 3x3 pad 1, 128); conv 3x3, 256,
    ReLU; x + ReLU(conv 3x3 pad 1, 256); mean over the map; linear. 0.92 G multiplications for ten
    images of 28 x 28; 1.05 M weights.
    Checked by test_network.py::test_gradients_of_whole_networks and ::test_parity_with_torch.
    """
    return Chain(
        (
            Normalisation(mean, std),
            *(Convolution("conv1", channels, 16, stride=2), Relu()),
            *(Convolution("conv2", 16, 128), Relu()),
            Residual(Chain((Convolution("conv3", 128, 128, padding=1), Relu()))),
            *(Convolution("conv4", 128, 256), Relu()),
            Residual(Chain((Convolution("conv5", 256, 256, padding=1), Relu()))),
            GlobalMean(),
            Linear("linear", 256, classes),
        )
    )
