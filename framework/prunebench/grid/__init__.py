"""From the text of a grid to checked trials."""
