"""The gateway: events from outside, by HTTP and WebSocket, answered when the broker has them.

`posts` and `sockets` take them, `body` holds a request to its bounds, `writers` and `lane` write them: the latter says
how a request that is sent again is there once.
"""

from flows.web.gateway.base import GatewayLimits, IngestTopic
from flows.web.gateway.gateway import GATEWAY, Gateway
from flows.web.gateway.metrics import GatewayCollector
from flows.web.gateway.routes import endpoints
from flows.web.gateway.server import GatewayServer

__all__ = ["GATEWAY", "Gateway", "GatewayCollector", "GatewayLimits", "GatewayServer", "IngestTopic", "endpoints"]
