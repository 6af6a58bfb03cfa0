import { createRequire } from "node:module";

// The SDK writes down where each of its promises was made, one for every property of every resource, and shows that to nobody unless
// PULUMI_DEBUG_PROMISE_LEAKS is set. With source maps on, that was a third of what our program computes. Loading this file is enough.
const sdk = createRequire(__filename)("@pulumi/pulumi/runtime/debuggable") as {
    debuggablePromise: (promise: Promise<unknown>, what: unknown) => unknown;
};
const { debuggablePromise } = sdk;

if ((process.env["PULUMI_DEBUG_PROMISE_LEAKS"] ?? "") === "") {
    sdk.debuggablePromise = (promise, what) => {
        const { stackTraceLimit } = Error;
        Error.stackTraceLimit = 0;
        try {
            return debuggablePromise(promise, what);
        } finally {
            Error.stackTraceLimit = stackTraceLimit;
        }
    };
}
