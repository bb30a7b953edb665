"""Where HCS meets Kubernetes and people: extender, webhook, command line, local cluster."""
