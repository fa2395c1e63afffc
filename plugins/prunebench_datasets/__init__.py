"""The data sets that come with prunebench, through the same door as anyone else's."""

from __future__ import annotations

from prunebench import Dataset, hookimpl

from prunebench_datasets import handwriting, natural_images, photographs, tables


@hookimpl
def datasets() -> list[type[Dataset]]:
    """Handwriting, synthetic letters, small colour images, photographs and tables."""
    return [*handwriting.DATASETS, *natural_images.DATASETS, *photographs.DATASETS, *tables.DATASETS]
