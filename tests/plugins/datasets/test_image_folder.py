"""A folder of images for each class: sizes, colours, transparency, damage, and folders that cannot be used."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from prunebench import DataError
from prunebench.testing import check_dataset
from prunebench_datasets.natural_images import ImageFolder

COLOURS = {"reds": (200, 20, 20), "greens": (20, 200, 20), "blues": (20, 20, 200)}
SIZES = ((40, 30), (24, 24), (31, 57))


def picture(path: Path, colour, size=(24, 24), mode: str = "RGB") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).convert(mode).save(path)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Ten images of each class: three sizes, PNG and JPEG, a palette, and files that are none."""
    for name, colour in COLOURS.items():
        for number in range(9):
            ending = "jpg" if number % 2 else "png"
            shade = tuple(part + number for part in colour)
            picture(tmp_path / "image_folder" / name / f"{number}.{ending}", shade, SIZES[number % 3])
        picture(tmp_path / "image_folder" / name / "below" / "9.GIF", tuple(p + 9 for p in colour), mode="P")
        (tmp_path / "image_folder" / name / "notes.txt").write_text("not an image")
        (tmp_path / "image_folder" / name / ".hidden.png").write_bytes(b"")
    return tmp_path


def test_the_kit_finds_nothing(place):
    assert check_dataset(ImageFolder, folder=place) == []


def test_every_class_has_its_share_in_every_split_and_no_image_is_twice(place):
    splits = ImageFolder().load((3, 16, 16), place)
    assert splits.class_count == 3
    counts = [torch.bincount(split.head(99)[1], minlength=3).tolist() for split in
              (splits.train, splits.validation, splits.test)]  # fmt: skip
    assert counts == [[7, 7, 7], [1, 1, 1], [2, 2, 2]]
    again = ImageFolder().load((3, 16, 16), place)
    assert again.fingerprint == splits.fingerprint != ImageFolder(drawing=1).load((3, 16, 16), place).fingerprint


def test_labels_follow_the_folders_and_pixels_the_files(place):
    splits = ImageFolder().load((3, 16, 16), place)
    scaling, kinds = splits.test.scaling, sorted(COLOURS)
    inputs, labels = splits.test.head(99)
    raw = (inputs * torch.tensor(scaling.deviation)[:, None, None] + torch.tensor(scaling.mean)[:, None, None]) * 255
    for image, label in zip(raw, labels.tolist(), strict=True):
        assert image.mean((1, 2)).tolist() == pytest.approx(
            COLOURS[kinds[label]], abs=14
        )  # shades by number; JPEG is not exact


def test_own_test_and_validation_folders_are_taken_as_they_are(place, tmp_path):
    root = place / "image_folder"
    for split, count in (("train", 6), ("val", 2), ("test", 3)):
        for name, colour in COLOURS.items():
            for number in range(count):
                picture(root / split / name / f"{number}.png", colour)
    splits = ImageFolder().load((3, 8, 8), place)
    assert [len(split) for split in (splits.train, splits.validation, splits.test)] == [18, 6, 9]


def test_grey_files_fit_colour_models_and_colour_files_grey_ones(place):
    for name in COLOURS:
        picture(place / "grey" / name / "a.png", (90, 90, 90), mode="L")
        picture(place / "grey" / name / "b.png", (90, 90, 90), mode="LA")
        picture(place / "grey" / name / "c.png", (90, 90, 90))
    for channels in (1, 3):
        images = ImageFolder(folder="grey").load((channels, 24, 24), place).train.samples.images
        assert images.unique().tolist() == [90]


def test_transparent_pixels_stand_on_white_and_16_bits_keep_the_upper(tmp_path):
    wide = Image.fromarray(np.full((8, 8), 25_600, np.uint16))
    for name in ("a", "b"):
        for number in range(3):
            (tmp_path / "x" / name).mkdir(parents=True, exist_ok=True)
            Image.new("RGBA", (8, 8), (0, 0, 0, 0)).save(tmp_path / "x" / name / f"{number}.png")
            (tmp_path / "y" / name).mkdir(parents=True, exist_ok=True)
            wide.save(tmp_path / "y" / name / f"{number}.png")
    assert ImageFolder(folder="x").load((3, 8, 8), tmp_path).train.samples.images.unique().tolist() == [255]
    assert ImageFolder(folder="y").load((1, 8, 8), tmp_path).train.samples.images.unique().tolist() == [100]


def test_a_model_that_takes_any_size_needs_one_size_or_to_be_told(place):
    with pytest.raises(DataError, match="images of 3 sizes, 24×24 to 40×30: say size = 32"):
        ImageFolder().load(None, place)
    inputs, _ = ImageFolder(size=12).load(None, place).train.head(2)
    assert inputs.shape == (2, 3, 12, 12)
    for name in COLOURS:
        for number in range(3):
            picture(place / "one" / name / f"{number}.png", (9, 9, 9), (20, 10), "L")
    assert ImageFolder(folder="one").load(None, place).train.head(1)[0].shape == (1, 1, 10, 20)


def damaged(root):
    (root / "reds" / "0.png").write_bytes(b"no image at all")
    (root / "blues" / "1.jpg").write_bytes((root / "blues" / "1.jpg").read_bytes()[:300])


def empty_class(root):
    (root / "yellows").mkdir()


def one_class(root):
    for name in ("reds", "greens"):
        (root / name).rename(root.parent / name)


def too_few(root):
    picture(root / "yellows" / "1.png", (1, 1, 1))


def no_test(root):
    picture(root / "train" / "a" / "1.png", (1, 1, 1))


def stranger(root):
    for name in ("a", "b"):
        picture(root / "train" / name / "1.png", (1, 1, 1))
    picture(root / "test" / "c" / "1.png", (1, 1, 1))


def gone(root):
    root.rename(root.parent / "elsewhere")


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (damaged, r"blues/1.jpg is a damaged image \(.*; .*reds/0.png is no image: replace or remove it"),
        (empty_class, "image_folder/yellows has no image: remove the folder"),
        (one_class, "has 1 folders of images: it needs one for each class"),
        (too_few, "yellows has 1 images: 1 to validate and 1 to test leave none to train"),
        (no_test, "has a folder `train` and no `test`"),
        (stranger, "test/c is of a class that the training images do not have"),
        (gone, "image_folder cannot be read"),
    ],
)
def test_what_cannot_be_used_is_named_in_a_line(place, spoil, reason):
    spoil(place / "image_folder")
    with pytest.raises(DataError, match=reason) as raised:
        ImageFolder().load((3, 16, 16), place)
    assert "\n" not in str(raised.value)


def test_other_channels_and_shares_are_refused(place):
    with pytest.raises(DataError, match=r"input is \(1 or 3, H, W\), got \(10,\)"):
        ImageFolder().load((10,), place)
    with pytest.raises(ValueError, match="must be below 1"):
        ImageFolder(validation_share=0.5, test_share=0.5).check()
