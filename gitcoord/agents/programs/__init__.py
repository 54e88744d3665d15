"""One module for each agent program: the documents of its hooks, and the answers that it takes."""
