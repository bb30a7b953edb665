"""Where the projection is kept: the port, its PostgreSQL adapter and its twin in memory."""
