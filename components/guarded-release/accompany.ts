import type { Accompanied, Companion, Operation, Outcome } from "./operation";

/** Milliseconds that a companion has to start, and to end. */
export interface Patience {
    readonly startMs: number;
    readonly endMs: number;
}

const PATIENCE: Patience = { startMs: 30_000, endMs: 20_000 };

/**
 * Starts the companions of an operation, one after the other. One that does not start in time is left behind.
 *
 * @returns ends them, in the opposite order; never rejects, and waits for none of them longer than its time
 * @throws what a companion throws that refuses the operation; those before it are ended first
 */
export async function accompany(
    operation: Operation,
    companions: readonly Companion[],
    { startMs, endMs }: Patience = PATIENCE,
): Promise<(outcome: Outcome) => Promise<void>> {
    const started: Accompanied[] = [];
    const end = async (outcome: Outcome): Promise<void> => {
        for (const { ended } of started.splice(0).reverse()) {
            try {
                await within(endMs, ended(outcome));
            } catch (error) {
                operation.inform(
                    `after the ${operation.event}: ${error instanceof Error ? error.message : String(error)}`,
                );
            }
        }
    };
    for (const companion of companions) {
        try {
            const one = await within(startMs, companion(operation));
            if (one !== undefined) started.push(one);
        } catch (error) {
            await end({ kind: "failed", errors: [] });
            throw error;
        }
    }
    return end;
}

/** What a promise gives, or undefined when it gives nothing for so long. The wait alone keeps no process alive. */
async function within<T>(milliseconds: number, promise: Promise<T>): Promise<T | undefined> {
    let timer: NodeJS.Timeout | undefined;
    const timeUp = new Promise<undefined>((resolve) => {
        timer = setTimeout(() => {
            resolve(undefined);
        }, milliseconds).unref();
    });
    try {
        return await Promise.race([promise, timeUp]);
    } finally {
        clearTimeout(timer);
    }
}
