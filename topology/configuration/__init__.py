"""What a log is to compute: what the environment asks for, how that differs, and a change while all runs."""
