"""One module for each agent program: what its hooks say, and what they want to hear."""
