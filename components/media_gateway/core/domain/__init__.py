"""Values and rules of the platform; no driver, no framework."""
