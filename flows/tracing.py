"""Traces: spans of OpenTelemetry, from whoever sends events through topics and tasks to the outputs. An option.

The context travels as W3C's header `traceparent`, in requests and in records. `pip install 'flows[otel]'` brings what
makes spans; where they go, and how many, is said by OpenTelemetry's own variables (`OTEL_*`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib.util import find_spec
from typing import Any, Literal, Protocol

from flows.errors import UsageError

TRACEPARENT = "traceparent"

Pair = tuple[str, bytes]
Kind = Literal["producer", "consumer"]


class Span(Protocol):
    """Something under way; `header` is what goes along with what it causes."""

    header: bytes

    def end(self, error: str | None = None) -> None:
        """Note that it is over."""


class Tracer(Protocol):
    """Makes spans."""

    def begin(self, name: str, kind: Kind, parent: bytes | None, about: Mapping[str, str | int]) -> Span:
        """Begin a span; `parent` is the `traceparent` of what caused it, None for the first of all."""

    def close(self) -> None:
        """Send the spans that are waiting, and make none any more."""


def trace_of(headers: Iterable[Pair]) -> tuple[Pair, ...]:
    """Return the header of a record's trace, where it has one.

    >>> trace_of((("a", b"1"), ("traceparent", b"00-ab-cd-01")))
    (('traceparent', b'00-ab-cd-01'),)
    """
    for header in headers:
        if header[0] == TRACEPARENT:
            return (header,)
    return ()


def open_tracer(service: str, exporter: Any = None) -> Tracer:
    """Make the tracer of a process; its spans go to `exporter`, by default by OTLP over HTTP.

    Raises `UsageError` where OpenTelemetry is not installed.
    """
    if find_spec("opentelemetry") is None or find_spec("opentelemetry.sdk") is None:
        raise UsageError("tracing needs OpenTelemetry", fix="pip install 'flows[otel]'")
    return _OpenTelemetry(service, exporter)


class _OpenTelemetry:
    def __init__(self, service: str, exporter: Any) -> None:
        from opentelemetry.sdk.resources import SERVICE_NAME, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.trace import SpanKind
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        if exporter is None:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

            exporter = OTLPSpanExporter()
        # What the environment says of the service goes before the app's id.
        resource = Resource.create({SERVICE_NAME: service}).merge(Resource.create())
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("flows")
        self._propagator = TraceContextTextMapPropagator()
        self._kinds = {"producer": SpanKind.PRODUCER, "consumer": SpanKind.CONSUMER}

    def begin(self, name: str, kind: Kind, parent: bytes | None, about: Mapping[str, str | int]) -> Span:
        from opentelemetry.context import Context
        from opentelemetry.trace import set_span_in_context

        carrier = {} if parent is None else {TRACEPARENT: parent.decode("latin-1")}
        context = self._propagator.extract(carrier, context=Context())
        span = self._tracer.start_span(name, context, self._kinds[kind], dict(about))
        told: dict[str, str] = {}
        self._propagator.inject(told, context=set_span_in_context(span))
        return _Span(span, told[TRACEPARENT].encode())

    def close(self) -> None:
        self._provider.shutdown()


class _Span:
    def __init__(self, span: Any, header: bytes) -> None:
        self._span, self.header = span, header

    def end(self, error: str | None = None) -> None:
        if error is not None:
            from opentelemetry.trace import Status, StatusCode

            self._span.set_status(Status(StatusCode.ERROR, error))
        self._span.end()
