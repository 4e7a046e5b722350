"""What a role shows over HTTP."""
