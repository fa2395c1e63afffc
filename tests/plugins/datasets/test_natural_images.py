"""Small colour images are read in the published formats, and what is damaged is named."""

from __future__ import annotations

import io
import pickle
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image
from prunebench import DataError, Splits
from prunebench_datasets.image_split import ImageSplit, Labelled, Scaling
from prunebench_datasets.natural_images import Cifar10, Cifar100, HfImages, Svhn, TinyImageNet
from scipy.io import savemat

SHAPE = (3, 32, 32)
COUNT = 20  # images of each file


def pictures(seed: int, count: int = COUNT, side: int = 32) -> np.ndarray:
    """(N, 3, side, side) uint8; the first pixel's red is the label."""
    images = np.random.default_rng(seed).integers(0, 256, (count, 3, side, side), dtype=np.uint8)
    images[:, 0, 0, 0] = np.arange(count) % 10
    return images


def labels_of(images: np.ndarray) -> list[int]:
    return images[:, 0, 0, 0].tolist()


def cifar10_binary(place: Path) -> None:
    place.mkdir(parents=True)
    for number, name in enumerate([*(f"data_batch_{n}.bin" for n in range(1, 6)), "test_batch.bin"]):
        images = pictures(number)
        rows = np.concatenate([np.array(labels_of(images), dtype=np.uint8)[:, None], images.reshape(COUNT, -1)], axis=1)
        (place / name).write_bytes(rows.tobytes())


def cifar10_python(place: Path) -> None:
    place.mkdir(parents=True)
    for number, name in enumerate([*(f"data_batch_{n}" for n in range(1, 6)), "test_batch"]):
        images = pictures(number)
        table = {b"data": images.reshape(COUNT, -1), b"labels": labels_of(images)}
        (place / name).write_bytes(pickle.dumps(table, protocol=2))


def first_red(splits: Splits) -> list[tuple[list[int], list[int]]]:
    """The first pixel's red byte, and the label, of every sample of every split."""
    found = []
    for split in (splits.train, splits.validation, splits.test):
        images, labels = split.head(10_000)
        scaling = split.scaling
        red = (images[:, 0, 0, 0] * scaling.deviation[0] + scaling.mean[0]) * 255
        found.append((red.round().long().tolist(), labels.tolist()))
    return found


@pytest.mark.parametrize(
    ("write", "folder"), [(cifar10_binary, "cifar-10-batches-bin"), (cifar10_python, "cifar-10-batches-py")]
)
def test_cifar_is_read_in_both_published_forms(tmp_path: Path, write, folder: str) -> None:
    write(tmp_path / folder)
    dataset = Cifar10(validation=30)
    assert dataset.available(tmp_path)
    splits = dataset.load(SHAPE, tmp_path)
    assert [len(s) for s in (splits.train, splits.validation, splits.test)] == [70, 30, 20]
    assert all(red == labels for red, labels in first_red(splits))


def test_both_forms_of_cifar_are_the_same_data(tmp_path: Path) -> None:
    cifar10_binary(tmp_path / "a" / "cifar-10-batches-bin")
    cifar10_python(tmp_path / "b" / "cifar-10-batches-py")
    one, other = (Cifar10(validation=30).load(SHAPE, tmp_path / part) for part in "ab")
    assert one.fingerprint == other.fingerprint


def test_cifar_100_has_the_fine_label_behind_the_coarse_one(tmp_path: Path) -> None:
    place = tmp_path / "cifar-100-binary"
    place.mkdir()
    for name in ("train.bin", "test.bin"):
        images = pictures(1)
        marks = np.stack([np.full(COUNT, 3, dtype=np.uint8), np.array(labels_of(images), dtype=np.uint8)], axis=1)
        (place / name).write_bytes(np.concatenate([marks, images.reshape(COUNT, -1)], axis=1).tobytes())
    assert all(red == labels for red, labels in first_red(Cifar100(validation=5).load(SHAPE, tmp_path)))


def test_an_archive_of_cifar_is_read_packed(tmp_path: Path) -> None:
    cifar10_python(tmp_path / "x" / "cifar-10-batches-py")
    with tarfile.open(tmp_path / "cifar-10-python.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "x" / "cifar-10-batches-py", "cifar-10-batches-py")
    assert len(Cifar10(validation=30).load(SHAPE, tmp_path).train) == 70


def test_a_file_of_cifar_that_would_run_code_is_refused(tmp_path: Path) -> None:
    place = tmp_path / "cifar-10-batches-py"
    cifar10_python(place)

    class Evil:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "ran",))

    (place / "data_batch_3").write_bytes(pickle.dumps({b"data": Evil(), b"labels": []}))
    with pytest.raises(DataError, match=r"damaged \(it names pathlib"):
        Cifar10().load(SHAPE, tmp_path)
    assert not (tmp_path / "ran").exists()


def test_damaged_archives_are_named(tmp_path: Path) -> None:
    place = tmp_path / "cifar-10-batches-bin"
    cifar10_binary(place)
    (place / "data_batch_2.bin").write_bytes(b"\0" * 3072)
    with pytest.raises(DataError, match="no whole number of images"):
        Cifar10().load(SHAPE, tmp_path)
    (place / "data_batch_2.bin").unlink()
    with pytest.raises(DataError, match=r"lacks data_batch_2\.bin"):
        Cifar10().load(SHAPE, tmp_path)
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "cifar-10-python.tar.gz").write_bytes(b"not an archive")
    with pytest.raises(DataError, match="is damaged"):
        Cifar10().load(SHAPE, tmp_path / "b")


def test_what_cannot_be_fetched_says_where_to_put_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("no network")

    for kind in ("CIFAR10", "SVHN"):
        monkeypatch.setattr(f"torchvision.datasets.{kind}", refuse)
    for dataset in (Cifar10(), Svhn(), TinyImageNet()):
        assert not dataset.available(tmp_path)
        with pytest.raises(DataError, match="--data-dir"):
            dataset.load(SHAPE, tmp_path)


def test_svhn_calls_the_digit_zero_ten(tmp_path: Path) -> None:
    for name in ("train_32x32.mat", "test_32x32.mat"):
        images = pictures(2)
        y = np.array([label or 10 for label in labels_of(images)], dtype=np.uint8)[:, None]
        savemat(tmp_path / name, {"X": images.transpose(2, 3, 1, 0), "y": y})
    assert all(red == labels for red, labels in first_red(Svhn(validation=5).load(SHAPE, tmp_path)))
    savemat(tmp_path / "test_32x32.mat", {"X": pictures(2).transpose(2, 3, 1, 0), "y": np.ones((3, 1))})
    with pytest.raises(DataError, match="do not belong together"):
        Svhn(validation=5).load(SHAPE, tmp_path)
    (tmp_path / "test_32x32.mat").write_bytes(b"nothing")
    with pytest.raises(DataError, match="not a readable MATLAB file"):
        Svhn(validation=5).load(SHAPE, tmp_path)


def encoded(color: tuple[int, ...], mode: str = "RGB", kind: str = "PNG", side: int = 64) -> bytes:
    file = io.BytesIO()
    Image.new(mode, (side, side), color if len(color) > 1 else color[0]).save(file, kind)
    return file.getvalue()


def tiny_imagenet(folder: Path) -> Path:
    root = folder / "tiny-imagenet-200"
    for number, kind in enumerate(("n01", "n02")):
        place = root / "train" / kind / "images"
        place.mkdir(parents=True)
        for image in range(3):
            (place / f"{kind}_{image}.JPEG").write_bytes(encoded((40 + 100 * number,) * 3, kind="JPEG"))
    (root / "wnids.txt").write_text("n02\nn01\n")
    (root / "val" / "images").mkdir(parents=True)
    (root / "val" / "images" / "val_0.JPEG").write_bytes(encoded((140,), mode="L", kind="JPEG"))
    (root / "val" / "val_annotations.txt").write_text("val_0.JPEG\tn02\t0\t0\t62\t62\n")
    return root


def test_tiny_imagenet_is_read_packed_and_unpacked(tmp_path: Path) -> None:
    root = tiny_imagenet(tmp_path)
    splits = TinyImageNet(validation=2).load((3, 64, 64), tmp_path)
    packed = tmp_path / "packed"
    packed.mkdir()
    with zipfile.ZipFile(packed / "tiny-imagenet-200.zip", "w") as archive:
        for path in sorted(root.rglob("*")):
            archive.write(path, path.relative_to(tmp_path))
    again = TinyImageNet(validation=2).load((3, 64, 64), packed)
    assert splits.fingerprint == again.fingerprint
    images, labels = splits.test.head(1)
    assert labels.tolist() == [0]  # n02 is first in wnids.txt
    assert abs(float(images.mean() * splits.test.scaling.deviation[0] + splits.test.scaling.mean[0]) - 140 / 255) < 0.02


def test_tiny_imagenet_names_what_is_damaged(tmp_path: Path) -> None:
    root = tiny_imagenet(tmp_path)
    (root / "train" / "n01" / "images" / "n01_1.JPEG").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"n01_1\.JPEG is no image"):
        TinyImageNet(validation=2).load((3, 64, 64), tmp_path)
    (root / "wnids.txt").write_text("n02\n")
    with pytest.raises(DataError, match=r"a class that wnids\.txt does not name"):
        TinyImageNet(validation=2).load((3, 64, 64), tmp_path)
    (root / "wnids.txt").unlink()
    with pytest.raises(DataError, match=r"wnids\.txt is missing"):
        TinyImageNet(validation=2).load((3, 64, 64), tmp_path)


def parquet(file: Path, rows: list[tuple[object, object]]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    pl.DataFrame({"image": [row[0] for row in rows], "label": [row[1] for row in rows]}).write_parquet(file)


def test_parquet_of_hugging_face_is_read_without_a_network(tmp_path: Path) -> None:
    red = {"bytes": encoded((255, 0, 0)), "path": None}
    clear = {"bytes": encoded((255, 0, 0, 0), mode="RGBA"), "path": None}
    grey = {"bytes": encoded((0,), mode="L"), "path": None}
    parquet(tmp_path / "set" / "data" / "train-00000-of-00001.parquet", [(red, 0), (clear, 1), (grey, 2)] * 4)
    parquet(tmp_path / "set" / "data" / "test-00000-of-00001.parquet", [(clear, 1), (red, 0)])
    dataset = HfImages(folder="set")
    assert dataset.available(tmp_path)
    splits = dataset.load(SHAPE, tmp_path)
    assert splits.class_count == 3
    images, labels = splits.test.head(2)
    scaling = splits.test.scaling
    colours = (images[:, :, 0, 0] * torch.tensor(scaling.deviation) + torch.tensor(scaling.mean)) * 255
    assert labels.tolist() == [1, 0]
    assert colours.round().tolist() == [[255, 255, 255], [255, 0, 0]]  # what is transparent is white


def test_parquet_that_is_not_that_is_named(tmp_path: Path) -> None:
    place = tmp_path / "set"
    with pytest.raises(DataError, match="has no train-"):
        HfImages(folder="set").load(SHAPE, tmp_path)
    good = {"bytes": encoded((1, 2, 3)), "path": None}
    parquet(place / "test-0.parquet", [(good, 0)])
    parquet(place / "train-0.parquet", [({"bytes": b"x", "path": None}, 0), (good, 1)])
    with pytest.raises(DataError, match=r"row 0 of .*train-0.parquet is no image"):
        HfImages(folder="set").load(SHAPE, tmp_path)
    parquet(place / "train-0.parquet", [(good, -1)])
    with pytest.raises(DataError, match="whole number from 0, got -1"):
        HfImages(folder="set").load(SHAPE, tmp_path)
    with pytest.raises(DataError, match=r"images need a model whose input_shape is \(C, H, W\), got None"):
        HfImages(folder="set").load(None, tmp_path)
    with pytest.raises(DataError, match="it has image, label"):
        HfImages(folder="set", label="kind").load(SHAPE, tmp_path)
    (place / "train-0.parquet").write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match="not a readable Parquet file"):
        HfImages(folder="set").load(SHAPE, tmp_path)


def test_bytes_are_cast_as_floats_would_have_been() -> None:
    images = torch.from_numpy(pictures(3))
    split = ImageSplit(Labelled(images, torch.arange(COUNT)), Scaling(SHAPE, (0.4, 0.5, 0.6), (0.2, 0.25, 0.5)))
    expected = (images.double() / 255 - torch.tensor([0.4, 0.5, 0.6])[:, None, None]) / torch.tensor([0.2, 0.25, 0.5])[
        :, None, None
    ]
    found = torch.cat([x for x, _ in split.batches(7)])
    torch.testing.assert_close(found, expected.float())
    shuffled = list(split.batches(7, generator=torch.Generator().manual_seed(1)))
    order = torch.cat([labels for _, labels in shuffled])
    assert sorted(order.tolist()) == list(range(COUNT)) and order.tolist() != list(range(COUNT))
    torch.testing.assert_close(torch.cat([x for x, _ in shuffled]), expected.float()[order])


def test_too_large_a_validation_split_is_refused(tmp_path: Path) -> None:
    cifar10_binary(tmp_path / "cifar-10-batches-bin")
    with pytest.raises(DataError, match="leave some"):
        Cifar10(validation=100).load(SHAPE, tmp_path)


def test_images_go_to_the_device_as_bytes_where_they_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from prunebench.trial import workbench

    bench = workbench.Workbench(data_dir=tmp_path, checkpoints=tmp_path)
    bench.device = torch.device("meta")  # stands for a card: what lies there has no data
    scaling = Scaling((3, 8, 8), (0.0,) * 3, (1.0,) * 3)
    held = ImageSplit(Labelled(torch.zeros(5, 3, 8, 8, dtype=torch.uint8), torch.zeros(5, dtype=torch.int64)), scaling)
    assert held.byte_count == 5 * 3 * 8 * 8 + 5 * 8
    moved = bench._placed(held)
    assert moved.samples.images.device.type == "meta" and moved.samples.images.dtype == torch.uint8
    monkeypatch.setattr(workbench, "ON_DEVICE_LIMIT_BYTES", held.byte_count - 1)
    assert bench._placed(held) is held
