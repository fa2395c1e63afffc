"""A network of one's own: compared, drawn, pruned, taken home, loaded and run again. At most a minute on two cores.

    python own_network.py              # torch alone, some seconds
    python own_network.py --runtimes   # and timed in ONNX Runtime and OpenVINO: pip install 'prunebench[runtimes]'

The notebook `own_network.ipynb` beside it does the same cell by cell, and the grid `own_network.toml` from the command
line, by `use = "import"`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import prunebench
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

METHODS = [{"use": "low_rank", "compression": 3.6, "skip_last": True}, {"use": "magnitude", "keep": 0.28}]


def build(outputs: int = 10, width: int = 128) -> nn.Module:
    """Any `nn.Module` will do."""
    return nn.Sequential(nn.Linear(64, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, outputs))


def data() -> tuple[Tensor, Tensor]:
    """1,797 handwritten digits, as 64 numbers each."""
    digits = load_digits()
    return torch.tensor(digits.data, dtype=torch.float32) / 16, torch.tensor(digits.target)


def trained() -> nn.Module:
    """As you would train it: prunebench takes it as it is and trains nothing."""
    torch.manual_seed(0)
    network, (inputs, labels) = build(), data()
    optimizer = torch.optim.Adam(network.parameters(), 1e-3)
    for epoch in range(20):
        for rows in torch.randperm(len(inputs), generator=torch.Generator().manual_seed(epoch)).split(64):
            optimizer.zero_grad()
            nn.functional.cross_entropy(network(inputs[rows]), labels[rows]).backward()
            optimizer.step()
    return network.eval()


def main(folder: Path, runtimes: bool) -> None:
    """Compare, draw, save, load, run again."""
    torch.set_num_threads(1)  # more make a network as small as this no faster
    network = trained()
    latency = {"batch": [64], "max_seconds": 1.0}
    if runtimes:
        latency["runtime"] = ["torch", "onnxruntime", "openvino"]
    found = prunebench.compare(
        network, data(), METHODS, db=folder / "results.duckdb", protocol={"latency": latency}, name="digits_net"
    )
    shown = ["runtime"] if runtimes else []
    print(found.frame.select("method_label", *shown, "top1_accuracy", "compression_ratio", "speedup"))
    found.chart("accuracy_compression").save(folder / "accuracy_compression.html")
    if runtimes:
        print(found.query("select method_label, runtime, speedup, difference, agrees from runtimes order by all"))
        found.chart("runtimes").save(folder / "runtimes.html")
    best = next(trial for trial in found.trials if trial.method.use == "low_rank")
    for old in folder.glob("pruned.safetensors*"):
        old.unlink()  # nothing that exists is written over
    card = found.save(best.id, folder / "pruned.safetensors")
    pruned = prunebench.load(folder / "pruned.safetensors")
    inputs, labels = data()
    agreed = (pruned(inputs).argmax(1) == labels).float().mean().item()
    print(f"pruned.safetensors: {card['file_bytes']:,} bytes, right on {agreed:.1%} of all digits")
    print("run again:", "; ".join(found.repro(best.id)) or "the same")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("own_network_results"))
    parser.add_argument("--runtimes", action="store_true", help="time in ONNX Runtime and OpenVINO, too")
    arguments = parser.parse_args()
    main(arguments.folder, arguments.runtimes)
