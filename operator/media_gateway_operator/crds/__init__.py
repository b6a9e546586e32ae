"""The four custom resources: models of their specs and statuses, and the generator of ``crds/*.yaml``.

Reconcilers read manifests and build statuses with these models. Nothing here talks to a cluster or imports kopf.
"""
