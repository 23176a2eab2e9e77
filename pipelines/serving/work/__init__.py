"""What the endpoints ask for: jobs, the worker that does them, and where it runs."""
