"""What a plugin is: contracts, hooks, discovery, the catalogue of published ones, and a package to start from."""
