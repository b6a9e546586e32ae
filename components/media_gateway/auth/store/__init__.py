"""What auth keeps: the only place with its SQL and Lua scripts."""
