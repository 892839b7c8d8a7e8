"""Pure decisions about what is stale, why, and what a run would do about it."""
