/** Which publishers answer from here. Each is asked once; what is learnt holds for the run. */
export interface Origins {
    /** Undefined when the origin of this URL may be used, else why not. */
    readonly problem: (url: string) => Promise<string | undefined>;
    /** A download failed half-way: nothing else is tried there in this run. */
    readonly giveUp: (url: string, why: string) => void;
}

/** Milliseconds an origin has to answer at all. */
const probeLimit = 3000;

export function createOrigins(timeLimit: number = probeLimit): Origins {
    const known = new Map<string, Promise<string | undefined>>();
    return {
        problem: (url) => {
            const { origin } = new URL(url);
            const asked = known.get(origin) ?? probe(origin, timeLimit);
            known.set(origin, asked);
            return asked;
        },
        giveUp: (url, why) => {
            known.set(new URL(url).origin, Promise.resolve(why));
        },
    };
}

/** What this process has learnt; shared by tools and plugins. */
export const originsOfThisRun = createOrigins();

/** Any answer will do: what matters is that somebody is there. */
async function probe(origin: string, timeLimit: number): Promise<string | undefined> {
    try {
        await fetch(origin, { method: "HEAD", redirect: "manual", signal: AbortSignal.timeout(timeLimit) });
        return undefined;
    } catch (error) {
        return `${new URL(origin).host} ${networkProblem(error, timeLimit)}`;
    }
}

/** The end of a sentence that starts with a host. */
export function networkProblem(error: unknown, timeLimit: number): string {
    if (!(error instanceof Error)) return "could not be reached";
    if (error.name === "TimeoutError" || error.name === "AbortError")
        return `does not answer within ${timeLimit / 1000} s`;
    const cause = error.cause;
    const code = cause instanceof Error && "code" in cause ? String(cause.code) : undefined;
    if (code === "ENOTFOUND" || code === "EAI_AGAIN") return "is not known to this machine's name service";
    if (code === "ECONNREFUSED") return "refuses connections";
    return `could not be reached (${code ?? error.message})`;
}
