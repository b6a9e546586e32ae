"""Discovery (8081): search, content, availability, trending."""
