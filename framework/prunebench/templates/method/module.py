"""Global magnitude pruning, as a start: replace it with your method."""

from dataclasses import dataclass

from prunebench import Method, NotApplicable, hookimpl, param


@dataclass(frozen=True)
class $cls(Method):
    """Zero the smallest weights of the whole network, wherever they sit."""

    name = "$name"
    paper = "https://arxiv.org/abs/1506.02626"
    sparsity: float = param(0.5, "share of the weights that become zero", at_least=0, below=1)

    def prune(self, network, task):
        from torch import nn
        from torch.nn.utils import prune

        layers = [m for m in network.modules() if isinstance(m, (nn.Linear, nn.Conv2d))]
        if not layers:
            raise NotApplicable("the network has no linear or convolutional layer")
        prune.global_unstructured([(m, "weight") for m in layers], prune.L1Unstructured, amount=self.sparsity)
        return network


@hookimpl
def methods():
    return [$cls]
