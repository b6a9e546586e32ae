"""Use cases of discovery, called by the routes: searching, and reading the catalogue. Know no HTTP."""
