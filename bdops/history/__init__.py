"""What checks said before: recorded results in a small database of the user's own."""
