"""The Media Gateway operator: custom resources in, Deployments and Jobs out.

kopf delivers events (`runtime`), which put objects into a store and keys into queues; one idempotent ``reconcile(key)``
per kind does the work: observe → pure ``desired`` → carry out. Imports ``media_gateway.core`` and no component.
"""
