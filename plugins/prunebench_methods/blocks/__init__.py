"""Coupled parts of transformers, found by their anatomy: blocks, heads, widths, tokens."""

from __future__ import annotations

from prunebench import Method

from prunebench_methods.blocks.drop_blocks import DropBlocks, DropBlocksRandom
from prunebench_methods.blocks.heads import Heads, HeadsRandom
from prunebench_methods.blocks.mlp_width import MlpWidth, MlpWidthRandom
from prunebench_methods.blocks.modegpt import AttentionRandom, AttentionSvd, ModeGpt, ModeGptRandom
from prunebench_methods.blocks.slice_residual import SliceResidual, SliceResidualRandom
from prunebench_methods.blocks.token_merging import TokenMerging, TokenMergingRandom

METHODS: list[type[Method]] = [
    MlpWidth,
    MlpWidthRandom,
    DropBlocks,
    DropBlocksRandom,
    Heads,
    HeadsRandom,
    ModeGpt,
    ModeGptRandom,
    AttentionSvd,
    AttentionRandom,
    SliceResidual,
    SliceResidualRandom,
    TokenMerging,
    TokenMergingRandom,
]
