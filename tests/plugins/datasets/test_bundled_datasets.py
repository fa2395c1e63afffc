"""Every data set arrives in the shape asked for, split once and for all, and says what is missing."""

from __future__ import annotations

import gzip
import struct
import subprocess
import sys
from pathlib import Path
from urllib.error import URLError

import numpy as np
import prunebench_datasets
import pytest
import torch
from PIL import Image
from prunebench import DataError, Dataset, Splits
from prunebench_datasets.handwriting import Digits, EmnistLetters, Mnist, RenderedLetters
from prunebench_datasets.idx import parse_idx
from prunebench_datasets.images import as_inputs
from prunebench_datasets.photographs import ImageNet

MNIST_FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


def idx_bytes(array: np.ndarray) -> bytes:
    """`array` in the published format."""
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.astype(np.uint8).tobytes()


def write_idx(folder: Path, names: tuple[str, ...], counts: tuple[int, int], first_label: int, zipped: bool) -> None:
    """Four files of random pictures; every picture's first pixel is its label."""
    folder.mkdir(parents=True)
    generator = np.random.default_rng(0)
    for (image_name, label_name), count in zip((names[:2], names[2:]), counts, strict=True):
        images = generator.integers(0, 256, (count, 28, 28))
        images[:, 0, 0] = labels = np.arange(count) % 10 + first_label
        for name, array in ((image_name, images), (label_name, labels)):
            path = folder / (name + ".gz" if zipped else name)
            path.write_bytes(gzip.compress(idx_bytes(array)) if zipped else idx_bytes(array))


def emnist_names() -> tuple[str, ...]:
    return tuple(
        f"emnist-letters-{part}-{kind}"
        for part in ("train", "test")
        for kind in ("images-idx3-ubyte", "labels-idx1-ubyte")
    )


def parts(splits: Splits) -> tuple:
    return splits.train, splits.validation, splits.test


@pytest.mark.parametrize("dataset", [Digits(), RenderedLetters(per_class=7)], ids=lambda d: d.name)
@pytest.mark.parametrize("shape", [(1, 28, 28), (1, 32, 32), (3, 16, 20)])
def test_inputs_come_in_the_shape_that_the_model_asks_for(dataset: Dataset, shape: tuple, tmp_path: Path) -> None:
    splits = dataset.load(shape, tmp_path)
    for part in parts(splits):
        images, labels = part.head(2)
        assert images.shape == (2, *shape)
        assert (images.dtype, labels.dtype) == (torch.float32, torch.int64)
        assert images.min() >= -1 and images.max() <= 1
    assert dataset.available(tmp_path) and not list(tmp_path.iterdir())


def test_digits_are_stratified_into_997_300_and_500(tmp_path: Path) -> None:
    splits = Digits().load((1, 8, 8), tmp_path)
    assert [len(part) for part in parts(splits)] == [997, 300, 500]
    for part in parts(splits):
        shares = part.labels.bincount() / len(part)
        assert shares.min() > 0.09 and shares.max() < 0.11


def test_digits_at_their_own_size_are_the_source_pixel_by_pixel(tmp_path: Path) -> None:
    from sklearn.datasets import load_digits

    source = torch.from_numpy(load_digits().images).float() / 8 - 1  # 16 is white
    splits = Digits().load((1, 8, 8), tmp_path)
    loaded = torch.cat([part.images[:, 0] for part in parts(splits)])
    ours = loaded.flatten(1).mul(8).round().unique(dim=0)
    torch.testing.assert_close(ours, source.flatten(1).mul(8).unique(dim=0))


@pytest.mark.parametrize("seed", range(5))
def test_rows_are_split_as_scikit_learn_splits_them(seed: int) -> None:
    from prunebench_datasets.digits import SPLIT_SEED, stratified
    from sklearn.model_selection import train_test_split

    generator = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(7).repeat(3), generator.integers(0, 7, 100)])
    rows = generator.permutation(len(labels))
    kept, taken = train_test_split(rows, test_size=31, random_state=SPLIT_SEED, stratify=labels[rows])
    ours = stratified(rows, labels, 31)
    assert np.array_equal(ours[0], kept) and np.array_equal(ours[1], taken)


def test_the_fingerprint_of_the_digits_is_what_it_always_was(tmp_path: Path) -> None:
    assert Digits().load((1, 8, 8), tmp_path).fingerprint.startswith("a450f928f772b604")


def test_digits_that_are_not_there_are_an_error_that_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    from prunebench_datasets import digits

    monkeypatch.setattr(digits, "FILE", Path("no", "such", "digits.csv.gz"))
    with pytest.raises(DataError, match="pip install --force-reinstall scikit-learn"):
        digits.read_digits()


def test_digits_are_read_without_importing_scikit_learn() -> None:
    code = (
        "import sys; from prunebench_datasets.digits import read_digits; read_digits(); print('sklearn' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize("dataset", [Digits(), RenderedLetters(per_class=10)], ids=lambda d: d.name)
def test_two_loads_are_equal_and_the_model_leaves_the_fingerprint(dataset: Dataset, tmp_path: Path) -> None:
    first, second, other = (dataset.load((1, side, side), tmp_path) for side in (28, 28, 32))
    assert torch.equal(first.test.images, second.test.images) and torch.equal(first.train.labels, second.train.labels)
    assert first.fingerprint == second.fingerprint == other.fingerprint


def test_no_digit_is_in_two_parts(tmp_path: Path) -> None:
    splits = Digits().load((1, 8, 8), tmp_path)
    whole = torch.cat([part.images.flatten(1) for part in parts(splits)])
    assert len(whole.unique(dim=0)) == len(whole) == 1797


def test_letters_are_a_tenth_of_emnist_in_its_proportions(tmp_path: Path) -> None:
    splits = RenderedLetters().load((1, 28, 28), tmp_path)
    assert [len(part) for part in parts(splits)] == [10_400, 2_080, 2_080]
    assert all(len(part.labels.bincount().unique()) == 1 for part in parts(splits))


@pytest.mark.parametrize("per_class", [3, 4, 7, 11])
def test_every_letter_is_in_every_part_however_few_there_are(per_class: int, tmp_path: Path) -> None:
    splits = RenderedLetters(per_class=per_class).load((1, 28, 28), tmp_path)
    assert all(part.labels.bincount(minlength=26).min() >= 1 for part in parts(splits))
    assert sum(len(part) for part in parts(splits)) == 26 * per_class


@pytest.mark.parametrize("change", [{"drawing": 1}, {"noise": 0.2}, {"distortion": 0.0}])
def test_another_drawing_is_another_data_set(change: dict, tmp_path: Path) -> None:
    plain, changed = (RenderedLetters(per_class=4, **fields).load((1, 28, 28), tmp_path) for fields in ({}, change))
    assert plain.fingerprint != changed.fingerprint


def test_undistorted_pictures_of_a_letter_differ_in_case_and_stroke_only(tmp_path: Path) -> None:
    splits = RenderedLetters(per_class=60, distortion=0.0, noise=0.0).load((1, 28, 28), tmp_path)
    letter_e = splits.train.images[splits.train.labels == 4]
    assert len(letter_e.flatten(1).unique(dim=0)) == 6  # two cases, three strokes
    assert letter_e.amax(dim=(1, 2, 3)).min() > 0.5  # there is ink in every picture


def test_letters_can_be_learned_from_their_pictures(tmp_path: Path) -> None:
    splits = RenderedLetters(per_class=70).load((1, 28, 28), tmp_path)
    train, test = splits.train.images.flatten(1), splits.test.images.flatten(1)
    nearest = splits.train.labels[torch.cdist(test, train).argmin(dim=1)]
    assert (nearest == splits.test.labels).float().mean() > 0.4  # chance is 0.04


def test_a_model_with_two_input_channels_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="1 or 3 input channels, got 2"):
        Digits().load((2, 28, 28), tmp_path)


def test_resizing_in_chunks_equals_resizing_at_once() -> None:
    images = torch.randint(256, (5000, 8, 8), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    torch.testing.assert_close(as_inputs(images, (1, 12, 12))[4090:4100], as_inputs(images[4090:4100], (1, 12, 12)))


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("below", ["MNIST/raw", "mnist", "."])
def test_mnist_is_read_in_the_published_format(below: str, zipped: bool, tmp_path: Path) -> None:
    write_idx(tmp_path / "data" / below, MNIST_FILES, (48, 20), first_label=0, zipped=zipped)
    assert Mnist().available(tmp_path / "data")
    splits = Mnist().load((1, 28, 28), tmp_path / "data")
    assert [len(part) for part in parts(splits)] == [44, 4, 20]
    for part in parts(splits):
        assert torch.equal(part.images[:, 0, 0, 0].add(1).mul(127.5).round().long(), part.labels)


def test_emnist_labels_start_at_zero_and_a_sixth_validates(tmp_path: Path) -> None:
    write_idx(tmp_path / "EMNIST" / "raw", emnist_names(), (60, 20), first_label=1, zipped=False)
    splits = EmnistLetters().load((1, 28, 28), tmp_path)
    assert [len(part) for part in parts(splits)] == [50, 10, 20]
    assert (splits.test.labels.min(), splits.test.labels.max()) == (0, 9)
    assert torch.equal(splits.test.images[:, 0, 0, 0].add(1).mul(127.5).round().long() - 1, splits.test.labels)


def test_emnists_one_archive_is_unpacked_without_a_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import hashlib
    import zipfile

    from torchvision import datasets

    write_idx(tmp_path / "made", emnist_names(), (60, 20), first_label=1, zipped=True)
    whole = tmp_path / "data" / "EMNIST" / "raw" / "gzip.zip"
    whole.parent.mkdir(parents=True)
    with zipfile.ZipFile(whole, "w") as archive:
        for path in (tmp_path / "made").iterdir():
            archive.write(path, f"gzip/{path.name}")
    digest = hashlib.md5(whole.read_bytes(), usedforsecurity=False).hexdigest()
    monkeypatch.setattr(datasets.EMNIST, "md5", digest)
    assert EmnistLetters().available(tmp_path / "data")
    assert len(EmnistLetters().load((1, 28, 28), tmp_path / "data").test) == 20


def test_the_layout_is_the_one_that_torchvision_reads(tmp_path: Path) -> None:
    from torchvision import datasets

    write_idx(tmp_path / "MNIST" / "raw", MNIST_FILES, (48, 20), first_label=0, zipped=False)
    theirs = datasets.MNIST(tmp_path, train=False)
    ours = Mnist().load((1, 28, 28), tmp_path).test
    assert torch.equal(ours.labels, theirs.targets)
    torch.testing.assert_close(ours.images[:, 0], theirs.data / 127.5 - 1)


@pytest.mark.parametrize("dataset", [Mnist(), EmnistLetters(), ImageNet()], ids=lambda d: d.name)
def test_what_is_not_there_is_asked_for_by_name(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable(*_: object, **__: object) -> None:
        raise URLError("no route to host")

    monkeypatch.setattr("urllib.request.urlopen", unreachable)
    assert not dataset.available(tmp_path)
    with pytest.raises(DataError, match=r"put .* in .*--data-dir"):
        dataset.load((3, 28, 28), tmp_path)


def test_a_data_folder_that_cannot_be_made_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"MNIST: could not be fetched \(.*file.*\)"):
        Mnist().load((1, 28, 28), tmp_path / "file" / "data")


def test_a_truncated_file_is_named(tmp_path: Path) -> None:
    write_idx(tmp_path / "mnist", MNIST_FILES, (12, 10), first_label=0, zipped=True)
    path = tmp_path / "mnist" / "t10k-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(DataError, match=r"t10k-images-idx3-ubyte.gz is not a readable IDX file"):
        Mnist().load((1, 28, 28), tmp_path)


def test_images_and_labels_of_different_lengths_are_refused(tmp_path: Path) -> None:
    write_idx(tmp_path / "mnist", MNIST_FILES, (12, 10), first_label=0, zipped=False)
    (tmp_path / "mnist" / "t10k-labels-idx1-ubyte").write_bytes(idx_bytes(np.arange(9)))
    with pytest.raises(DataError, match="do not belong together"):
        Mnist().load((1, 28, 28), tmp_path)


@pytest.mark.parametrize("data", [b"", b"\x00\x00\x0d\x01", b"\x00\x00\x08\x01\x00\x00\x00\x05abc"])
def test_bytes_that_are_no_idx_file_are_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"starts with|bytes of data"):
        parse_idx(data)


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with one or two JPEGs in each of 1,000 synset folders; a picture's grey level says its class."""
    folder = tmp_path_factory.mktemp("data")
    for number in range(1000):
        place = folder / "imagenet" / "val" / f"n{1440764 + number:08d}"
        place.mkdir(parents=True)
        for i in range(1 + (number < 40)):
            level = number // 4
            picture = Image.new("RGB", (12, 9), (level, level, level // 2))
            picture.save(place / f"ILSVRC2012_val_{2 * number + i:08d}.JPEG")
    return folder


def test_photographs_get_the_labels_of_their_folders_in_order(photographs: Path) -> None:
    dataset = ImageNet(test=30, validation=10)
    assert dataset.available(photographs)
    splits = dataset.load((3, 8, 8), photographs)
    assert [len(part) for part in parts(splits)] == [1000, 10, 30]
    images, labels = splits.test.head(30)
    red = (images[:, 0].mean(dim=(1, 2)) * 0.229 + 0.485) * 255
    assert images.shape == (30, 3, 8, 8) and labels.max() > 500
    assert (red - labels // 4).abs().max() < 4


def test_grey_photographs_have_three_equal_channels_before_normalising(photographs: Path) -> None:
    images, _ = ImageNet(test=4, validation=4, greyscale=True).load((3, 8, 8), photographs).test.head(4)
    raw = (
        images * torch.tensor([0.229, 0.224, 0.225])[:, None, None] + torch.tensor([0.485, 0.456, 0.406])[:, None, None]
    )
    torch.testing.assert_close(raw[:, 0], raw[:, 2], atol=1e-5, rtol=0)


def test_another_drawing_of_the_split_has_another_fingerprint(photographs: Path) -> None:
    first, second = (ImageNet(test=4, validation=4, drawing=i).load((3, 8, 8), photographs) for i in (0, 1))
    assert first.fingerprint != second.fingerprint


def test_too_few_photographs_for_the_split_are_counted(photographs: Path) -> None:
    with pytest.raises(DataError, match=r"1,040 photographs; 10,000 to test and 1,000 to validate leave none"):
        ImageNet().load((3, 8, 8), photographs)


def test_a_resize_below_the_input_is_refused(photographs: Path) -> None:
    with pytest.raises(DataError, match="resize must be at least the model's input, 64 pixels, got 32"):
        ImageNet(resize=32).load((3, 64, 64), photographs)


def test_grey_models_are_refused_for_photographs(photographs: Path) -> None:
    with pytest.raises(DataError, match="3 input channels, got 1"):
        ImageNet().load((1, 28, 28), photographs)


def test_a_folder_with_some_of_the_classes_is_not_imagenet(tmp_path: Path) -> None:
    (tmp_path / "imagenet" / "val" / "n01440764").mkdir(parents=True)
    assert not ImageNet().available(tmp_path)
    with pytest.raises(DataError, match="has 1 class folders of 1,000"):
        ImageNet().load((3, 8, 8), tmp_path)


def test_a_split_that_leaves_nothing_to_train_is_refused_when_planned() -> None:
    with pytest.raises(ValueError, match="leave some to train"):
        ImageNet(test=40_000, validation=10_000).check()


def test_names_are_unique_and_every_class_says_what_it_is() -> None:
    datasets = prunebench_datasets.datasets()
    assert {"digits", "rendered_letters", "mnist", "emnist_letters", "imagenet"} <= {d.name for d in datasets}
    assert len({d.name for d in datasets}) == len(datasets)
    assert all(d.__doc__ and issubclass(d, Dataset) for d in datasets)


def write_archives(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The two published archives in small: a photograph for each of 1,000 synsets, in an order that is not theirs."""
    import hashlib
    import io
    import tarfile

    from scipy.io import savemat
    from torchvision.datasets import imagenet

    synsets = [f"n{1440764 + number:08d}" for number in range(1000)]
    order = np.random.default_rng(0).permutation(1000)
    kinds = [("ILSVRC2012_ID", "i4"), ("WNID", "O"), ("words", "O"), ("gloss", "O"), ("num_children", "i4")]
    rows = [(number + 1, synset, f"thing {number}, object", "a thing", 0) for number, synset in enumerate(synsets)]
    meta = io.BytesIO()
    savemat(meta, {"synsets": np.array(rows, dtype=kinds)})
    truth = "".join(f"{number + 1}\n" for number in order).encode()
    place.mkdir(parents=True)
    devkit = {"data/meta.mat": meta.getvalue(), "data/ILSVRC2012_validation_ground_truth.txt": truth}
    photographs = {}
    for position, number in enumerate(order):
        picture = io.BytesIO()
        Image.new("RGB", (8, 8), (int(number) // 4,) * 3).save(picture, "JPEG")
        photographs[f"ILSVRC2012_val_{position + 1:08d}.JPEG"] = picture.getvalue()
    contents = {
        "ILSVRC2012_devkit_t12.tar.gz": {f"ILSVRC2012_devkit_t12/{name}": data for name, data in devkit.items()},
        "ILSVRC2012_img_val.tar": photographs,
    }
    for (name, members), key in zip(contents.items(), ("devkit", "val"), strict=True):
        with tarfile.open(place / name, "w:gz" if name.endswith("gz") else "w") as archive:
            for member, data in members.items():
                facts = tarfile.TarInfo(member)
                facts.size = len(data)
                archive.addfile(facts, io.BytesIO(data))
        digest = hashlib.md5((place / name).read_bytes(), usedforsecurity=False).hexdigest()
        monkeypatch.setitem(imagenet.ARCHIVE_META, key, (name, digest))


def test_the_published_archives_are_unpacked_with_the_labels_of_the_devkit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_archives(tmp_path / "imagenet", monkeypatch)
    assert ImageNet().available(tmp_path)
    splits = ImageNet(test=20, validation=10).load((3, 8, 8), tmp_path)
    assert [len(part) for part in parts(splits)] == [970, 10, 20]
    images, labels = splits.test.head(20)
    red = (images[:, 0].mean(dim=(1, 2)) * 0.229 + 0.485) * 255
    assert (red - labels // 4).abs().max() < 4


def test_archives_that_are_not_the_published_ones_are_refused(tmp_path: Path) -> None:
    (tmp_path / "imagenet").mkdir()
    for name in ("ILSVRC2012_img_val.tar", "ILSVRC2012_devkit_t12.tar.gz"):
        (tmp_path / "imagenet" / name).write_bytes(b"something else")
    with pytest.raises(DataError, match=r"the archives in .* cannot be unpacked"):
        ImageNet().load((3, 8, 8), tmp_path)


@pytest.mark.parametrize("shape", [None, (16,)])
def test_images_refuse_a_model_of_tables_in_one_line(shape: tuple | None, tmp_path: Path) -> None:
    for dataset in (Digits(), RenderedLetters(per_class=7)):
        with pytest.raises(DataError, match=r"input_shape is \(C, H, W\)"):
            dataset.load(shape, tmp_path)
