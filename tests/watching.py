"""What telemetry gives to the SDK of OpenTelemetry, for tests."""

from __future__ import annotations

import json
from typing import Any

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import HistogramDataPoint, InMemoryMetricReader, Metric
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import Sampler
from opentelemetry.trace import SpanContext, SpanKind

from smsc_status.telemetry import Telemetry
from smsc_status.telemetry._instruments import Instruments

Series = dict[tuple[tuple[str, Any], ...], Any]
"""By its attributes, the value of each time series; of a histogram the number of its values and their sum."""


class Watch:
    """A telemetry of its own, and all that comes of it."""

    def __init__(self, sampler: Sampler | None = None) -> None:
        self._exporter = InMemorySpanExporter()
        self.tracers = TracerProvider(sampler=sampler, shutdown_on_exit=False)
        self.tracers.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.reader = InMemoryMetricReader()
        self.meters = MeterProvider([self.reader], shutdown_on_exit=False)
        self.telemetry = Telemetry(tracer_provider=self.tracers, meter_provider=self.meters)
        self.tracer = self.tracers.get_tracer("the program")

    @property
    def instruments(self) -> Instruments:
        """What the telemetry keeps between two reads, and which clients it asks. No metric shows that."""
        return self.telemetry._instruments

    @property
    def spans(self) -> list[ReadableSpan]:
        """All spans that have ended."""
        return list(self._exporter.get_finished_spans())

    def named(self, name: str) -> list[ReadableSpan]:
        """The spans of this name."""
        return [span for span in self.spans if span.name == name]

    @property
    def requests(self) -> list[ReadableSpan]:
        """The spans of requests."""
        return [span for span in self.spans if span.kind is SpanKind.CLIENT]

    def metrics(self) -> dict[str, Metric]:
        """All metrics as they are now, by name."""
        data = self.reader.get_metrics_data()
        if data is None:
            return {}
        scopes = [scope for resource in data.resource_metrics for scope in resource.scope_metrics]
        return {metric.name: metric for scope in scopes for metric in scope.metrics}

    def series(self, name: str) -> Series:
        """The time series of a metric; none if nothing was measured."""
        metric = self.metrics().get(name)
        points = [] if metric is None else metric.data.data_points
        return {tuple(sorted((point.attributes or {}).items())): _value(point) for point in points}

    def everything(self) -> str:
        """All spans and metrics as JSON."""
        spans = [json.loads(span.to_json()) for span in self.spans]
        return json.dumps(spans) + "".join(metric.to_json() for metric in self.metrics().values())


def _value(point: Any) -> Any:
    return (point.count, point.sum) if isinstance(point, HistogramDataPoint) else point.value


def context_of(span: ReadableSpan) -> SpanContext:
    """The span's context, which every span has."""
    context = span.get_span_context()
    assert context is not None
    return context


def linked_to(span: ReadableSpan) -> set[int]:
    """The ids of the spans to which it is linked."""
    return {link.context.span_id for link in span.links}


def ids_of(spans: list[ReadableSpan]) -> set[int]:
    """The ids of these spans."""
    return {context_of(span).span_id for span in spans}


def parent_of(span: ReadableSpan) -> int | None:
    """The id of its parent."""
    return None if span.parent is None else span.parent.span_id


def attributes_of(span: ReadableSpan) -> dict[str, Any]:
    """Its attributes."""
    return dict(span.attributes or {})
