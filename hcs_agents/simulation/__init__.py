"""Simulated nodes: scenario files, read by the simulated vendor libraries in `c/sim`."""
