"""Media Gateway: many streaming catalogues behind one API.

One distribution holds every service; each service is a sub-package that imports ``core`` and never a sibling.
"""

__version__ = "0.1.0"
