"""Use cases of auth, called by the routes. Know no HTTP."""
