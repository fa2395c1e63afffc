"""Reading, splitting and scaling tables."""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path

import numpy as np
import torch
from prunebench import DataError, Dataset, Splits, TensorSplit
from torch import Tensor

from prunebench_datasets.digits import stratified

SHARE = 0.2  # of the rows for validation, and as many for testing
SEED = 20
Rows = tuple[np.ndarray, np.ndarray, np.ndarray]


def splits_of(dataset: Dataset, input_shape: tuple[int, ...] | None) -> Splits:
    """The splits of a bundled table; raises `DataError` where its file is missing or samples have another shape."""
    values, targets = _READERS[dataset.name]()
    return _split(dataset, input_shape, values, targets)


def friedman(dataset: Dataset, input_shape: tuple[int, ...] | None, count: int) -> Splits:
    """Friedman's first function on made-up rows."""
    rng = np.random.RandomState(SEED)  # its stream is promised never to change
    x = rng.uniform(size=(count, 10))
    wave = 10 * np.sin(np.pi * x[:, 0] * x[:, 1])
    targets = wave + 20 * (x[:, 2] - 0.5) ** 2 + 10 * x[:, 3] + 5 * x[:, 4] + rng.standard_normal(count)
    return _split(dataset, input_shape, x, targets)


def _split(dataset: Dataset, input_shape: tuple[int, ...] | None, values: np.ndarray, targets: np.ndarray) -> Splits:
    width = values.shape[1]
    if input_shape not in (None, (width,)):
        raise DataError(f"{dataset.name} has {width} numbers a sample, the model wants {input_shape}: use mlp")
    rows = _stratified(targets) if dataset.class_count else _shuffled(len(targets))
    x = torch.from_numpy(_scaled(values, rows[0])).float()
    y = torch.from_numpy(targets if dataset.class_count else _scaled(targets[:, None], rows[0])[:, 0])
    y = y.long() if dataset.class_count else y.float()
    parts = [TensorSplit(x[part], y[part]) for part in map(torch.from_numpy, rows)]
    digest = _digest(x, y, *parts)
    return Splits(parts[0], parts[1], parts[2], dataset.class_count, digest, outputs=_outputs(dataset))


def _outputs(dataset: Dataset) -> int:
    return dataset.class_count or 1


def _scaled(values: np.ndarray, train: np.ndarray) -> np.ndarray:
    spread = values[train].std(0)
    result: np.ndarray = (values - values[train].mean(0)) / np.where(spread > 0, spread, 1)
    return result


def _stratified(labels: np.ndarray) -> Rows:
    count = round(len(labels) * SHARE)
    rest, test = stratified(np.arange(len(labels)), labels, count)
    train, validation = stratified(rest, labels, count)
    return train, validation, test


def _shuffled(count: int) -> Rows:
    order, held = np.random.RandomState(SEED).permutation(count), round(count * SHARE)
    return order[2 * held :], order[:held], order[held : 2 * held]


def _digest(x: Tensor, y: Tensor, *parts: TensorSplit) -> str:
    digest = hashlib.sha256(x.numpy().tobytes() + y.numpy().tobytes())
    for part in parts:
        digest.update(str(len(part)).encode())
    return digest.hexdigest()


def _csv() -> dict[str, str]:
    return {"breast_cancer": "breast_cancer.csv", "wine": "wine_data.csv"}


def _classes(name: str) -> tuple[np.ndarray, np.ndarray]:
    source = np.loadtxt(_file(_csv()[name]), delimiter=",", skiprows=1)
    return source[:, :-1], source[:, -1].astype(np.int64)


def _diabetes() -> tuple[np.ndarray, np.ndarray]:
    return np.loadtxt(_file("diabetes_data_raw.csv.gz")), np.loadtxt(_file("diabetes_target.csv.gz"))


def _file(name: str) -> Path:
    """In scikit-learn's folder: importing it takes seconds."""
    found = importlib.util.find_spec("sklearn")
    for folder in list(found.submodule_search_locations or ()) if found else []:
        path = Path(folder) / "datasets" / "data" / name
        if path.is_file():
            return path
    raise DataError(
        f"scikit-learn's table sklearn/datasets/data/{name} is not there: pip install --force-reinstall scikit-learn"
    )


_READERS = {
    "breast_cancer": lambda: _classes("breast_cancer"),
    "wine": lambda: _classes("wine"),
    "diabetes": _diabetes,
}
