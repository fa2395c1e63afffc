"""What a method may know of a transformer's structure: plain names of the parts that belong together."""

from __future__ import annotations

from prunebench.anatomy.parts import Anatomy, Attention, Block, Mlp, Part

__all__ = ["Anatomy", "Attention", "Block", "Mlp", "Part"]
