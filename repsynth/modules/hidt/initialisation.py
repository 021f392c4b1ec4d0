"""How the translation networks start (official code)."""

from torch import nn


def initialise(module: nn.Module) -> None:
    """Draw the weights of a convolution or linear layer from N(0, 2 / fan-in) and zero its bias; for `Module.apply`.

    The last layer of the network that predicts adaptive norms is no exception: their scales start with mean zero and
    random sign.
    """
    if isinstance(module, nn.Conv2d | nn.Linear):
        nn.init.kaiming_normal_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
