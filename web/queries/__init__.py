"""What an answer is made of: the mirror and the archive read as one, and what is made of their rows."""
