"""Effects: running a plan. Reading inputs, calling functions, staging, publishing, recording, and the pure machine that decides what is next."""
