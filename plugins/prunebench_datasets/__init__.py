"""The data sets that come with prunebench, through the same door as anyone else's."""

from __future__ import annotations

from prunebench import Dataset, hookimpl

from prunebench_datasets import drawings, handwriting, imported, natural_images, photographs, tables, texts

FAMILIES = (drawings, handwriting, natural_images, photographs, tables, texts, imported)


@hookimpl
def datasets() -> list[type[Dataset]]:
    """Handwriting, drawn shapes and letters, small colour images, photographs, tables, text, and your own."""
    return [dataset for family in FAMILIES for dataset in family.DATASETS]
