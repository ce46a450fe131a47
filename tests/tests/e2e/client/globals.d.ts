/** The globals that harness.js defines for cases.js. */

import type { Live, Options } from '../../../../web/client/mayfly.js';

declare global {
  var cases: Record<string, (world: World) => Promise<void>>;
  var makeWorld: () => World;
  /** Compares the JSON of two values. */
  var assertEqual: (actual: unknown, expected: unknown, message: unknown) => void;

  interface World {
    sockets: FakeSocket[];
    /** The newest socket. */
    readonly socket: FakeSocket;
    /** The local clock minus the server's clock. */
    clockSkewMs: number;
    Socket: any;
    /** Runs all microtasks. */
    flush(): Promise<void>;
    /** Dispatches an event of the window. */
    dispatch(event: string): void;
    countListeners(): number;
    countTimers(): number;
    /** Advances the clock, timer by timer. */
    advance(ms: number): Promise<void>;
    /** Connects and records every event. */
    connect(options?: Options): Promise<{
      live: Live & { state: any };
      /** Returns the details of all events of a type. */
      events(type: string): any[];
      states(): string[];
    }>;
  }

  interface FakeSocket {
    url: URL;
    sent: any[];
    isOpen: boolean;
    onmessage(event: { data: string }): void;
    query(key: string): string[];
    receive(frame: object): void;
    receiveHello(more?: object): void;
    receiveMessage(
      id: string,
      options?: { ttl?: number; position?: string; channel?: string },
    ): void;
    /** Closes the connection from the server's side. */
    disconnect(code: number, reason?: string): void;
  }
}
