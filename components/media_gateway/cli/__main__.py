"""``python -m media_gateway.cli``: the same as the command `media-gateway`."""

from media_gateway.cli.main import main

if __name__ == "__main__":
    main()
