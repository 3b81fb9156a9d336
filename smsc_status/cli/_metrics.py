"""The page `/metrics`, which Prometheus reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

from smsc_status.errors import ConfigError

if TYPE_CHECKING:
    from smsc_status.telemetry import Telemetry


class Metrics:
    """Metrics for Prometheus: what the client measures, beside those of the process that Prometheus' client has.

    Raises:
        ConfigError: the packages that this needs are not installed.
    """

    def __init__(self) -> None:
        try:
            from opentelemetry.exporter.prometheus import PrometheusMetricReader  # noqa: PLC0415 (an extra)
            from opentelemetry.sdk.metrics import MeterProvider  # noqa: PLC0415 (likewise)
        except ImportError:
            raise ConfigError(
                "--metrics needs OpenTelemetry's exporter for Prometheus: pip install 'smsc-status[metrics]'"
            ) from None
        from smsc_status.telemetry import Telemetry  # noqa: PLC0415 (likewise)

        self._provider = MeterProvider([PrometheusMetricReader()])
        self.telemetry: Telemetry = Telemetry(meter_provider=self._provider)

    def page(self) -> tuple[int, str, bytes]:
        """What Prometheus reads. Call it in the event loop of the client."""
        from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, generate_latest  # noqa: PLC0415 (an extra)

        return 200, CONTENT_TYPE_LATEST, generate_latest(REGISTRY)

    def close(self) -> None:
        """Measure no more."""
        self._provider.shutdown()
