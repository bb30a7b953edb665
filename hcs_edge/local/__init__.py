"""A whole cluster on one machine: real nats-server, PostgreSQL and Kubernetes, simulated cards."""
