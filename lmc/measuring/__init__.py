"""Measuring trained models: paths, layers, conditions."""
