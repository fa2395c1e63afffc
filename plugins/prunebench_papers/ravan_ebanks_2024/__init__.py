"""Ravan and Ebanks (2024): its numbers, its grids, and its figures as it draws them."""
