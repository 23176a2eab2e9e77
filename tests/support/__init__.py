"""What several folders of tests need: servers, and stores that misbehave."""
