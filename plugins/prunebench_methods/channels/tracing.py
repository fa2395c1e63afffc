"""A network's forward pass as a graph."""

from __future__ import annotations

from torch import fx, nn


def traced(network: nn.Module) -> fx.GraphModule:
    """The graph, with the network's own modules; the network stays as it is.

    torch's tracer leaves tensors that a forward pass makes as attributes of the network, where they would be counted.
    """
    before = set(vars(network))
    graph = fx.symbolic_trace(network)
    for name in set(vars(network)) - before:
        delattr(network, name)
    return graph
