"""Mathematics and layer surgery that several families of methods share."""
