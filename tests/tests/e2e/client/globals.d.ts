/** The globals that harness.js defines for the tests. */

import type { Live, Options } from '../../../../web/client/mayfly.js';

declare global {
  /** The tests by name. */
  var cases: Record<string, (world: World) => Promise<void>>;
  var addCases: (more: Record<string, (world: World) => Promise<void>>) => void;
  var makeWorld: () => World;
  /** Compares the JSON of two values. */
  var assertEqual: (actual: unknown, expected: unknown, message: unknown) => void;
  /** Returns the error that a function throws or that a promise is rejected with. */
  var findError: (call: () => unknown) => Promise<(Error & { code?: string }) | null>;

  interface World {
    sockets: FakeSocket[];
    /** The newest socket. */
    readonly socket: FakeSocket;
    /** The local clock minus the server's clock. */
    clockSkewMs: number;
    /** The server's time in the format of a frame. */
    readonly serverTime: string;
    /** Returns the server's time in `ms` milliseconds, in the format of a frame. */
    findTime(ms: number): string;
    Socket: any;
    /** Runs all microtasks. */
    flush(): Promise<void>;
    /** Dispatches an event of the window or the document. */
    dispatch(event: string, details?: object): void;
    countListeners(): number;
    countTimers(): number;
    /** Advances the clock, timer by timer. */
    advance(ms: number): Promise<void>;
    /** Advances the time of the server and `Date.now()`, but not timers and `performance.now()`. */
    sleep(ms: number): void;
    /** Connects and records every event. */
    connect(options?: Options): Promise<{
      live: Live & { state: any };
      /** Returns the details of all events of a type. */
      events(type: string): any[];
      states(): string[];
    }>;
    /** Closes the connection, and waits until the client has opened another one. */
    reconnect(offlineMs?: number): Promise<void>;
  }

  interface FakeSocket {
    url: string;
    /** The first frame of the client. */
    readonly connectFrame: any;
    /** All other frames of the client. */
    readonly sent: any[];
    isOpen: boolean;
    onmessage(event: { data: string }): void;
    receive(frame: object): void;
    receiveHello(more?: object): void;
    receiveMessage(
      id: string,
      options?: {
        ttl?: number;
        position?: string;
        channel?: string;
        /** The time since the message was accepted. */
        ageMs?: number;
        /** The clock that set the times of the message, minus the server's clock. */
        clockMs?: number;
      },
    ): void;
    /** Confirms the client's oldest unanswered frame. */
    confirm(): void;
    refuse(code: string, more?: object): void;
    /** Accepts the token in the client's oldest unanswered frame. */
    authenticate(lifetimeMs: number): void;
    /** Closes the connection from the server's side. */
    disconnect(code: number, reason?: string): void;
  }
}
