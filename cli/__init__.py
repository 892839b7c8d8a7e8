"""Partita's command line: `main` finds the command, `project` puts the parts together, `render` prints. Nothing heavy loads here."""

from __future__ import annotations

__version__ = "0.1.0"
"""The version of the distribution; a test holds it equal to `pyproject.toml`, because reading package metadata costs 30 ms."""
