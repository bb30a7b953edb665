"""The only package that imports a Kubernetes client."""
