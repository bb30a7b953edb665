"""What containers use of their memory quotas: the socket that the interceptor reports to."""

from hcs_agents.quota.server import QuotaServer

__all__ = ["QuotaServer"]
