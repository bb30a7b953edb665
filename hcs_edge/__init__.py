"""Where HCS meets standard Kubernetes and people: extender, webhook, command line, local cluster."""
