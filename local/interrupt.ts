/** What must not outlive this process: children, half-made folders, locks. */
const cleanUps = new Set<() => void>();
const signals = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

/**
 * Runs `cleanUp` when the process is told to end or leaves by `process.exit`, unless the returned function was called
 * before. It must be synchronous. A program that listens to the signal itself keeps the last word on when to end.
 */
export function onInterrupt(cleanUp: () => void): () => void {
    if (cleanUps.size === 0) listen();
    cleanUps.add(cleanUp);
    return () => {
        if (cleanUps.delete(cleanUp) && cleanUps.size === 0) unlisten();
    };
}

function listen(): void {
    for (const signal of signals) process.on(signal, endBy);
    process.on("exit", cleanAll);
}

function unlisten(): void {
    for (const signal of signals) process.off(signal, endBy);
    process.off("exit", cleanAll);
}

function cleanAll(): void {
    // Newest first: a child is ended before the folder it writes to goes.
    for (const cleanUp of [...cleanUps].reverse()) {
        try {
            cleanUp();
        } catch {
            // The next start repairs what could not be cleaned here; the other clean-ups still have to run.
        }
    }
    cleanUps.clear();
}

function endBy(signal: NodeJS.Signals): void {
    cleanAll();
    unlisten();
    if (process.listenerCount(signal) === 0) process.kill(process.pid, signal);
}
