"""Reads English reports by rules, following GUIDELINE.md; needs no weights."""
