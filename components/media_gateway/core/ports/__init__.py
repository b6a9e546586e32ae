"""What services need from the outside, one protocol a file; no driver, no framework."""
