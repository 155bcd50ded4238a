"""Region-aware retrieval of pediatric wrist radiographs, learned from radiology reports."""

__version__ = "0.1.0"
