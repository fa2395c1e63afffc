"""What the CUDA paths have to prove, step by step; `benchmarks/card.sh` runs it."""
