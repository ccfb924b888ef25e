import type { Secrets } from '@app/secrets'
import type { MeterProvider, TracerProvider } from '@opentelemetry/api'

/** Whose spans and metrics they are. */
export interface InstrumentOptions {
  /** Default: the global one. */
  tracerProvider?: TracerProvider
  /** Default: the global one. */
  meterProvider?: MeterProvider
}

/**
 * Makes a span of each call of a client, by OpenTelemetry's conventions for databases, and metrics of its `stats()`: cache,
 * batches, connections and the listener. No attribute holds a name, an id or a value. Gives a function that ends it.
 *
 * Needs `@opentelemetry/api`. Without it there is nothing to pay: an uninstrumented client makes no spans.
 */
export declare function instrument(secrets: Secrets, options?: InstrumentOptions): () => void
