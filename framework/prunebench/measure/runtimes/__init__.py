"""Networks as programs that other runtimes execute: exported, checked against torch, timed like any network."""
