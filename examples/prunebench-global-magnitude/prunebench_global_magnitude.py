"""Global magnitude pruning (Han et al., 2015)."""

from dataclasses import dataclass

from prunebench import Method, NotApplicable, hookimpl, param


@dataclass(frozen=True)
class GlobalMagnitude(Method):
    """Zero the smallest weights of the whole network, wherever they sit."""

    name = "global_magnitude"
    paper = "https://arxiv.org/abs/1506.02626"
    sparsity: float = param(0.9, "share of the weights that become zero", at_least=0, below=1)

    def prune(self, network, task):
        from torch.nn.utils import prune

        layers = [(network.get_submodule(shape.name), "weight") for shape in task.shapes]
        if not layers:
            raise NotApplicable("the network has no linear or convolutional layer")
        prune.global_unstructured(layers, prune.L1Unstructured, amount=self.sparsity)
        return network


@hookimpl
def methods():
    return [GlobalMagnitude]
