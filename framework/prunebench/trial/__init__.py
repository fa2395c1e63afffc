"""One trial, from the dense network to its result."""
