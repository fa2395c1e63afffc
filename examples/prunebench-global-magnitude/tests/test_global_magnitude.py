"""The kit judges the method, and one number that the kit cannot know."""

from prunebench.testing import bench
from prunebench_global_magnitude import GlobalMagnitude


def test_the_kit_finds_nothing(check_method):
    check_method(GlobalMagnitude)


def test_the_zeros_are_where_the_smallest_weights_of_all_layers_were():
    network = bench.network("fully connected")
    task = bench.task(network)
    layers = [network.get_submodule(shape.name) for shape in task.shapes]
    medians = [float(layer.weight.abs().median()) for layer in layers]
    GlobalMagnitude(sparsity=0.5).prune(network, task)
    zeros = [int((layer.weight == 0).sum()) for layer in layers]
    shares = [count / layer.weight.numel() for count, layer in zip(zeros, layers, strict=True)]
    assert medians.index(min(medians)) == shares.index(max(shares))
    assert sum(zeros) == sum(layer.weight.numel() for layer in layers) // 2
