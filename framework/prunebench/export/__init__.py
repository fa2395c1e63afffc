"""The pruned network of a row as a file that others can run, and back."""
