"""What `deploy/bench` runs: the pipeline as users run it, against a broker of its own, and what bounds its speed."""
