"""Where the photographs of ImageNet lie: one folder per synset, or the published archives. Nothing is read here."""

from __future__ import annotations

from pathlib import Path

CLASS_COUNT = 1000
ARCHIVES = ("ILSVRC2012_img_val.tar", "ILSVRC2012_devkit_t12.tar.gz")


def validation_folder(folder: Path) -> Path | None:
    """The folder with one sub-folder for each of the 1,000 classes, if there is one."""
    for place in (folder / "imagenet" / "val", folder / "val", folder):
        if place.is_dir() and len(class_folders(place)) == CLASS_COUNT:
            return place
    return None


def has_archives(folder: Path) -> bool:
    """Whether both published archives lie in `imagenet/`, ready to be unpacked."""
    return all((folder / "imagenet" / name).is_file() for name in ARCHIVES)


def class_folders(place: Path) -> list[Path]:
    """Sub-folders that are called as a synset is, `n01440764`; their order is that of the classes."""
    return sorted(path for path in place.glob("n????????") if path.name[1:].isdigit() and path.is_dir())
