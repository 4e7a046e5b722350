"""The log on the broker: its topics, its header and commands, following them, and how far each role is."""
