"""Results that travel: a folder with tables, a card and a static site, for whoever has no prunebench."""
