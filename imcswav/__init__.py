"""Composable self-supervised image clustering. Importing this package loads no torch."""

__version__ = "0.1.0"
