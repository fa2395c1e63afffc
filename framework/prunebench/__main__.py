"""`python -m prunebench` is `bench`."""

from prunebench.cli import main

main()
