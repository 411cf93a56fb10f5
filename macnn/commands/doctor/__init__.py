"""Is this machine fit for the work? What is installed and found, and a self-test."""
