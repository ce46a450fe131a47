/** The variable that every CommonJS module can access. */
declare const module: { exports?: object } | undefined;
