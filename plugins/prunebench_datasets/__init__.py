"""The data sets that come with prunebench, through the same door as anyone else's."""

from __future__ import annotations

from prunebench import Dataset, hookimpl

from prunebench_datasets import drawings, handwriting, natural_images, photographs, tables, texts

FAMILIES = (drawings, handwriting, natural_images, photographs, tables, texts)


@hookimpl
def datasets() -> list[type[Dataset]]:
    """Handwriting, synthetic letters, small colour images, photographs, tables, text and drawn shapes."""
    return [dataset for family in FAMILIES for dataset in family.DATASETS]
