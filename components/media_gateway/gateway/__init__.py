"""The one public door: routes requests to the services behind it. Serves on port 8080."""
