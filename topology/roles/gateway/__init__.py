"""The role `gateway`: REST, WebSocket and pages, and what they ask of the log and of the master."""
