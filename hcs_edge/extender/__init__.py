"""The scheduler extender: filter, prioritize and bind over the projection in memory."""
