import { once } from "node:events";
import { openRecords } from "../components/guarded-release/live/live";
import { decodeRecord } from "../components/guarded-release/live/record";
import { isValues } from "../components/config/values";
import { curlCommand } from "../components/ml-api/outputs";
import { checkoutRoot } from "../local/paths";
import { ensureTools } from "../local/tools";
import { forwarded } from "./predict";
import { deployedStack } from "./release-status";
import { logToStderr } from "./rendered-stack";
import { findStack } from "./stacks";

/** Opens a deployed API on this machine until Ctrl-C, and says how to ask it. */
export async function openCommand(name: string, { port = "0" }: { port?: string }): Promise<void> {
    if (!/^\d{1,5}$/.test(port)) throw new Error(`"${port}" is no port: a number up to 65535, or leave it out`);
    const stack = findStack(checkoutRoot, name);
    const { cluster: context, namespace, release, env, place } = await deployedStack(checkoutRoot, stack);
    const { records } = await openRecords(place, env, 10_000);
    const newest = records.at(-1);
    const values = newest === undefined ? {} : decodeRecord(newest.secret).values;
    const { kubectl } = await ensureTools(["kubectl"], { log: logToStderr });
    const use = async (address: string, ended: Promise<never>) => {
        const apiKey = values["apiKey"];
        const keySecret = isValues(apiKey) && apiKey["enabled"] !== false ? apiKey["existingSecret"] : undefined;
        const where = {
            name: release,
            namespace,
            context,
            keySecret: typeof keySecret === "string" ? keySecret : undefined,
        };
        process.stdout.write(`${address}\n${curlCommand(where, address, values)}\n`);
        process.stderr.write("open until Ctrl-C\n");
        await Promise.race([once(process, "SIGINT"), once(process, "SIGTERM"), ended]);
    };
    const leading = ["--context", context, "--namespace", namespace];
    const options = { program: kubectl.path, port: Number(port) };
    await forwarded({ release, env, cwd: checkoutRoot }, leading, use, options);
}
