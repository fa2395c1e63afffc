"""A network and data that somebody has in hand, compared as a grid would: `prunebench.compare`."""
