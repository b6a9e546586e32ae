"""A real Kubernetes on this machine, without Docker: one node in a network namespace of its own.

Run by ``make cluster-up`` and by the cluster tests as ``python -m tests.cluster.machine``. Nothing outside of
tests and benchmarks may depend on it.
"""
