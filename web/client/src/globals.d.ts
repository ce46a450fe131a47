/** The environment of a CommonJS module. */
declare const module: { exports?: object } | undefined;
