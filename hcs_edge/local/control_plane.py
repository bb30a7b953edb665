"""A real Kubernetes control plane on loopback; KWOK plays the kubelets of the simulated nodes."""

import base64
import os
import subprocess
from pathlib import Path

from hcs_edge.local import https, kubeconfig
from hcs_edge.local.errors import ProgramFailedError
from hcs_edge.local.files import PRIVATE_DIRECTORY_MODE, write_private
from hcs_edge.local.home import Home
from hcs_edge.local.launcher import Launcher, Stage
from hcs_edge.local.pki import CLUSTER_CA, ETCD_CA
from hcs_edge.local.ports import LOOPBACK
from hcs_edge.local.programs import program
from hcs_edge.local.settings import Settings, read, template

SERVICE_RANGE = "10.0.0.0/24"
NODE_LEASE_S = 40
KUBECTL_TIMEOUT_S = 60.0
# Plain programs on one machine: nothing to protect from each other, and tests come in bursts.
CLIENT_QPS = 5000
CLIENT_BURST = 10000
USERS = (
    "kube-scheduler",
    "kube-controller-manager",
    "extender",
    "kwok",
)  # beside the administrator


def start_etcd(launcher: Launcher, settings: Settings) -> None:
    """Start the store. It keeps its own authority, so only the API server may speak to it."""
    pki = settings.pki
    client = f"https://{settings.address('etcd')}"
    peer = f"https://{settings.address('etcd-peer')}"
    files = [
        str(pki.certificate("etcd")),
        str(pki.key("etcd")),
        str(pki.certificate(ETCD_CA)),
    ]
    argv = [str(program("etcd")), "--name=hcs", f"--data-dir={settings.home.etcd}"]
    argv += [f"--listen-client-urls={client}", f"--advertise-client-urls={client}"]
    argv += [f"--listen-peer-urls={peer}", f"--initial-advertise-peer-urls={peer}"]
    argv += [f"--initial-cluster=hcs={peer}", "--log-level=warn"]
    for prefix in ("--", "--peer-"):
        argv += [f"{prefix}cert-file={files[0]}", f"{prefix}key-file={files[1]}"]
        argv += [f"{prefix}trusted-ca-file={files[2]}", f"{prefix}client-cert-auth"]
    # Kubernetes objects here are made anew from files: losing the last ones to a power cut is fine.
    argv += ["--unsafe-no-fsync"]
    launcher.start("etcd", argv, port=settings.ports["etcd"], stage=Stage.STORE)


def await_etcd(launcher: Launcher, settings: Settings) -> None:
    """Wait until the store answers."""
    launcher.await_ready(
        "etcd",
        lambda: https.is_ready(
            settings.pki,
            settings.ports["etcd"],
            "/health",
            client="etcd-client",
            authority=ETCD_CA,
        ),
    )


def start_apiserver(launcher: Launcher, settings: Settings) -> None:
    """Start the API server and write everybody's kubeconfig."""
    pki, port = settings.pki, settings.ports["kube-apiserver"]
    server = f"https://{settings.address('kube-apiserver')}"
    directory = settings.home.kubernetes
    directory.mkdir(mode=PRIVATE_DIRECTORY_MODE, exist_ok=True)
    kubeconfig.write(settings.home.kubeconfig, pki, user="admin", server=server)
    for user in USERS:
        kubeconfig.write(user_kubeconfig(settings.home, user), pki, user=user, server=server)
    argv = [
        str(program("kube-apiserver")),
        f"--etcd-servers=https://{settings.address('etcd')}",
    ]
    argv += [f"--etcd-cafile={pki.certificate(ETCD_CA)}"]
    argv += [f"--etcd-certfile={pki.certificate('etcd-client')}"]
    argv += [f"--etcd-keyfile={pki.key('etcd-client')}"]
    argv += [f"--bind-address={LOOPBACK}", f"--advertise-address={LOOPBACK}"]
    argv += [f"--secure-port={port}", f"--client-ca-file={pki.certificate(CLUSTER_CA)}"]
    argv += [f"--tls-cert-file={pki.certificate('kube-apiserver')}"]
    argv += [f"--tls-private-key-file={pki.key('kube-apiserver')}"]
    argv += ["--authorization-mode=Node,RBAC", "--allow-privileged=true"]
    argv += ["--service-account-issuer=https://kubernetes.default.svc"]
    argv += [f"--service-account-key-file={pki.key('service-account')}"]
    argv += [f"--service-account-signing-key-file={pki.key('service-account')}"]
    argv += [
        f"--service-cluster-ip-range={SERVICE_RANGE}",
        "--endpoint-reconciler-type=none",
    ]
    launcher.start("kube-apiserver", argv, port=port, stage=Stage.SERVERS)


def await_apiserver(launcher: Launcher, settings: Settings) -> None:
    """Wait until the API server serves, its own roles and namespaces included."""
    pki, port = settings.pki, settings.ports["kube-apiserver"]
    launcher.await_ready(
        "kube-apiserver", lambda: https.is_ready(pki, port, "/readyz", client="admin")
    )


def start_controllers(launcher: Launcher, settings: Settings) -> None:
    """Start controller-manager, scheduler and KWOK: they need only the API server."""
    kubectl(settings.home, "apply", "-f", str(read("manifests/rbac.yaml")))
    _start_controller_manager(launcher, settings)
    _start_scheduler(launcher, settings)
    argv = [
        str(program("kwok")),
        f"--config={read('kwok/stages.yaml')}",
        "--manage-all-nodes=false",
    ]
    argv += ["--manage-nodes-with-annotation-selector=kwok.x-k8s.io/node=fake"]
    argv += [f"--kubeconfig={user_kubeconfig(settings.home, 'kwok')}"]
    launcher.start("kwok", [*argv, f"--node-lease-duration-seconds={NODE_LEASE_S}"])


def await_controllers(launcher: Launcher, settings: Settings) -> None:
    """Wait until the controllers run and a Pod could be made in the namespace `default`."""
    for name in ("kube-controller-manager", "kube-scheduler"):
        _await_health(launcher, settings, name)
    launcher.await_ready("kube-controller-manager", lambda: _has_default_account(settings.home))


def create_nodes(launcher: Launcher, settings: Settings) -> None:
    """Create the simulated nodes and wait until KWOK has made them ready."""
    manifests = [template("manifests/node.yaml", node=node) for node in settings.nodes]
    kubectl(settings.home, "apply", "-f", "-", text="---\n".join(manifests))
    launcher.await_ready("kwok", lambda: _nodes_are_ready(settings))


def register_webhooks(settings: Settings) -> None:
    """Let the API server call the webhook; from here on no Pod passes without it."""
    authority = settings.pki.certificate(CLUSTER_CA).read_bytes()
    manifest = template(
        "manifests/webhooks.yaml",
        webhook_port=settings.ports["webhook"],
        ca_bundle=base64.b64encode(authority).decode(),
    )
    kubectl(settings.home, "apply", "-f", "-", text=manifest)


def user_kubeconfig(home: Home, user: str) -> Path:
    """Return the path of a program's own kubeconfig."""
    return home.kubernetes / f"{user}.kubeconfig"


def kubectl(home: Home, *arguments: str, text: str = "") -> str:
    """Run kubectl as the administrator and return what it prints.

    Raises:
        ProgramFailedError: kubectl failed; the message holds what it said.
    """
    command = [str(program("kubectl")), f"--kubeconfig={home.kubeconfig}", *arguments]
    # Not the caller's settings: HOME only serves kubectl's cache of what the server offers.
    environment = {**os.environ, "KUBECACHEDIR": str(home.kubernetes / "cache")}
    result = subprocess.run(
        command,
        input=text,
        capture_output=True,
        text=True,
        env=environment,
        timeout=KUBECTL_TIMEOUT_S,
        check=False,
    )
    if result.returncode != 0:
        raise ProgramFailedError(f"kubectl {' '.join(arguments)}: {result.stderr.strip()}")
    return result.stdout


def _start_controller_manager(launcher: Launcher, settings: Settings) -> None:
    pki, name = settings.pki, "kube-controller-manager"
    argv = [str(program(name)), f"--kubeconfig={user_kubeconfig(settings.home, name)}"]
    argv += [f"--service-account-private-key-file={pki.key('service-account')}"]
    argv += [f"--root-ca-file={pki.certificate(CLUSTER_CA)}", "--leader-elect=false"]
    argv += ["--use-service-account-credentials=true"]  # the controllers' roles are made for this
    argv += [f"--kube-api-qps={CLIENT_QPS}", f"--kube-api-burst={CLIENT_BURST}"]
    launcher.start(name, [*argv, *_serving(settings, name)], port=settings.ports[name])


def _start_scheduler(launcher: Launcher, settings: Settings) -> None:
    pki, name = settings.pki, "kube-scheduler"
    config = settings.home.kubernetes / "scheduler.yaml"
    text = template(
        "scheduler.yaml",
        kubeconfig=user_kubeconfig(settings.home, name),
        extender_port=settings.ports["extender"],
        ca=pki.certificate(CLUSTER_CA),
        certificate=pki.certificate("scheduler-to-extender"),
        key=pki.key("scheduler-to-extender"),
    )
    write_private(config, text.encode())
    argv = [str(program(name)), f"--config={config}", *_serving(settings, name)]
    launcher.start(name, argv, port=settings.ports[name])


def _await_health(launcher: Launcher, settings: Settings, name: str) -> None:
    port = settings.ports[name]
    launcher.await_ready(name, lambda: https.is_ready(settings.pki, port, "/healthz"))


def _serving(settings: Settings, name: str) -> list[str]:
    pki = settings.pki
    return [
        f"--bind-address={LOOPBACK}",
        f"--secure-port={settings.ports[name]}",
        f"--tls-cert-file={pki.certificate('kube-components')}",
        f"--tls-private-key-file={pki.key('kube-components')}",
    ]


def _has_default_account(home: Home) -> bool:
    arguments = (
        "get",
        "serviceaccount",
        "default",
        "--ignore-not-found",
        "--output=name",
    )
    return bool(kubectl(home, *arguments))


def _nodes_are_ready(settings: Settings) -> bool:
    path = "{range .items[*]}{.metadata.name}={.status.conditions[?(@.type=='Ready')].status} {end}"
    states = kubectl(settings.home, "get", "nodes", f"--output=jsonpath={path}").split()
    return all(f"{node}=True" in states for node in settings.nodes)
