"""The only part of Partita that prints: escaping, layout, formats, and the wording of reports. What to report is decided elsewhere."""
