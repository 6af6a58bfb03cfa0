import { log } from "@pulumi/pulumi";

// The SDK sends the engine's answer to every call as a debug message, with the secrets in it in clear or base64, and
// `pulumi up --json` prints debug messages. What is left says that the call ended, and how; loading this file is enough.
const sdk = log as { debug: typeof log.debug };
const { debug } = sdk;
sdk.debug = (message, ...rest) =>
    debug(message.replace(/( RPC finished: [^]*?, resp: )[^]*$/, "$1[not shown]"), ...rest);
