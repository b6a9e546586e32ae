"""What every component shares; imports no component."""
