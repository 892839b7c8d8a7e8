"""What a run leaves to read: logs and traces."""
