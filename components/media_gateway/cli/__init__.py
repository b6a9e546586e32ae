"""The `media-gateway` command."""
