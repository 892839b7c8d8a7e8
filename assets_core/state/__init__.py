"""What is written down: the state store port and its adapters, and the manifest of a loaded project."""
