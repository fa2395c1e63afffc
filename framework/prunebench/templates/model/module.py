"""A small convolutional network, as a start: replace it with your model."""

from dataclasses import dataclass

from prunebench import Model, hookimpl, param


@dataclass(frozen=True)
class $cls(Model):
    """Two convolutions and a linear layer."""

    name = "$name"
    input_shape = (1, 28, 28)
    width: int = param(8, "channels of the first convolution", at_least=1)

    def build(self, class_count):
        from torch import nn

        return nn.Sequential(
            nn.Conv2d(1, self.width, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(self.width, 2 * self.width, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(2 * self.width * 49, class_count),
        )


@hookimpl
def models():
    return [$cls]
