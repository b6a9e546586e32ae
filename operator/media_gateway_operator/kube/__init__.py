"""The Kubernetes API as the operator uses it: kinds, a client for server-side apply, a store of what is watched."""
