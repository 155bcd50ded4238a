"""Towers that others trained: from their files into our modules, and back."""
