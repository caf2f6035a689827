"""The page and the HTTP API: a server that keeps jobs, and the processes that decode and restore for it."""
