"""Admission: makes a Pod that asks for compute ready for any vendor, and guards results."""
