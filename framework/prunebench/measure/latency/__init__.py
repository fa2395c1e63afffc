"""How long a network takes beside its dense one, measured in pairs."""
