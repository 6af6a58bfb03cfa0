import { InputError } from "../components/config/problem";
import { checkoutRoot } from "../local/paths";
import { byEnvironment } from "./diff-report";
import { paint } from "./diff-terminal";
import { type StackStatus, statusOf } from "./release-status";
import { findStack, stackNames } from "./stacks";
import { statusExitCode, statusJson, statusTable, statusText } from "./status-text";

/** Shows how a stack is, or all of them. */
export async function statusCommand(name: string | undefined, { json = false }: { json?: boolean }): Promise<void> {
    const stacks = name === undefined ? stackNames() : [findStack(checkoutRoot, name)];
    const found = await Promise.all(
        stacks.map((stack) =>
            statusOf(checkoutRoot, stack).catch((error: unknown): StackStatus => {
                // A stack file with a mistake hides no other stack.
                if (name !== undefined || !(error instanceof InputError)) throw error;
                const place = { environment: "", release: "", namespace: "", cluster: "", locks: [] };
                return { stack, ...place, state: "unknown", why: error.message };
            }),
        ),
    );
    const all = byEnvironment(found);
    const now = new Date();
    const [one] = all;
    if (json) process.stdout.write(statusJson(all));
    else if (name !== undefined && one !== undefined) process.stdout.write(statusText(one, now, paint));
    else process.stdout.write(statusTable(all, now, paint));
    if (name !== undefined) process.exitCode = statusExitCode(all);
}
