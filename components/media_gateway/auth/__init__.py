"""Who people and programs are, and what they may do: accounts, OAuth 2, the signing-in of TVs. Serves on port 8084."""
