"""One kubeconfig per user of the API server; they name the certificates by path."""

import json
from pathlib import Path

from hcs_edge.local.files import write_private
from hcs_edge.local.pki import CLUSTER_CA, Pki


def write(path: Path, pki: Pki, *, user: str, server: str) -> None:
    """Write the kubeconfig of the user with this certificate. JSON is YAML."""
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "hcs",
        "contexts": [{"name": "hcs", "context": {"cluster": "hcs", "user": user}}],
        "clusters": [
            {
                "name": "hcs",
                "cluster": {
                    "server": server,
                    "certificate-authority": str(pki.certificate(CLUSTER_CA)),
                },
            }
        ],
        "users": [
            {
                "name": user,
                "user": {
                    "client-certificate": str(pki.certificate(user)),
                    "client-key": str(pki.key(user)),
                },
            }
        ],
    }
    write_private(path, json.dumps(config, indent=2).encode())
