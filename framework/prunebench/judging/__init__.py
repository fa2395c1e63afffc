"""Readers of the store with an opinion: audits, claims and comparisons."""
