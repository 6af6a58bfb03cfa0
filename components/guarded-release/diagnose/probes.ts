import type { Fault } from "./finding";
import { type Container, type Happening, type Probe, timesOf } from "./shapes";

export type ProbeKind = "Startup" | "Readiness" | "Liveness";

/** What a container has answered to its probe, newest last, and whether it was killed for it. */
export interface Answers {
    readonly last: string;
    /** How often it has answered the last thing. */
    readonly times: number;
    readonly killed: boolean;
}

export function answersTo(kind: ProbeKind, events: readonly Happening[]): Answers | undefined {
    const failed = events.filter(
        ({ reason, message = "" }) => reason === "Unhealthy" && message.startsWith(`${kind} probe`),
    );
    const killed = events.some(
        ({ reason, message = "" }) => reason === "Killing" && message.includes(`failed ${kind.toLowerCase()} probe`),
    );
    const newest = failed.at(-1);
    if (newest === undefined) return killed ? { last: "", times: 0, killed } : undefined;
    const last = (newest.message ?? "").replace(/^\w+ probe (?:failed|errored)[^:]*: /, "").trim();
    return { last, times: timesOf(newest), killed };
}

/** Why a probe's answers keep a container from being ready; undefined while a model may simply still be loading. */
export function probeFault(
    kind: ProbeKind,
    container: Container,
    { last, times, killed }: Answers,
    log: string | undefined,
): Fault | undefined {
    const probe = {
        Startup: container.startupProbe,
        Readiness: container.readinessProbe,
        Liveness: container.livenessProbe,
    }[kind];
    const port = portOf(container, probe);
    const status = /statuscode: (\d+)/.exec(last)?.[1];
    const path = probe?.httpGet?.path ?? "/";
    const refused = last.includes("connection refused");
    const elsewhere = refused ? listeningOn(log) : undefined;
    if (elsewhere !== undefined && port !== undefined && elsewhere !== port) {
        const sentence = `wrong port: the server listens on ${elsewhere}, and port ${port} refuses connections`;
        const fix = `have it listen on $PORT, or set api.port to ${elsewhere}`;
        return { problem: "port", certain: true, healable: false, sentence, fix };
    }
    const what = wordsOf(last, path, port);
    if (status !== undefined && /^(?:404|405|401|403)$/.test(status)) {
        const sentence = `the ${kind.toLowerCase()} probe's ${what}, which more time does not change`;
        const known = kind === "Liveness" ? "api.paths.live" : "api.paths.ready";
        const fix = `set ${known} to a path that answers 200 without a key`;
        return { problem: "probe-path", certain: killed || times >= 3, healable: false, sentence, fix };
    }
    if (kind === "Startup") {
        if (!killed) return undefined;
        const budget =
            (probe?.initialDelaySeconds ?? 0) + (probe?.periodSeconds ?? 10) * (probe?.failureThreshold ?? 3);
        const fault = { problem: "slow", certain: true, healable: false };
        if (refused) {
            const sentence = `nothing listened on port ${port ?? "?"} within its budget of ${budget} s, so it was killed`;
            const fix =
                "have the server listen on $PORT and 0.0.0.0; if loading takes longer, raise model.loadBudgetSeconds";
            return { ...fault, sentence, fix };
        }
        const sentence = `it was not ready within its budget of ${budget} s, so it was killed; the last answer: ${what}`;
        const fix = "raise model.loadBudgetSeconds if the model needs longer; if it never gets ready, its log says why";
        return { ...fault, sentence, fix };
    }
    if (kind === "Liveness") {
        if (!killed) return undefined;
        const sentence = `it did not show that it lives, so it was killed; the last answer: ${what}`;
        const fix = `see what holds the server back, or correct api.paths.live ("" asks for none)`;
        return { problem: "liveness", certain: true, healable: true, sentence, fix };
    }
    const sentence = `it started, but does not become ready; the last answer: ${what}`;
    const fix = "its log says what it waits for; api.paths.ready is what is asked";
    return { problem: "unready", certain: times >= 2, healable: true, sentence, fix };
}

function wordsOf(last: string, path: string, port: number | undefined): string {
    const request = `GET ${path} on port ${port ?? "?"}`;
    const status = /statuscode: (\d+)/.exec(last)?.[1];
    if (status !== undefined) return `${request} answers ${status}`;
    if (last.includes("connection refused")) return `${request} is refused: nothing listens there`;
    if (/deadline exceeded|timeout/i.test(last)) return `${request} gets no answer in time`;
    return last === "" ? "none" : last;
}

export function portOf({ ports = [] }: Container, probe: Probe | undefined): number | undefined {
    const wanted = probe?.httpGet?.port ?? ports[0]?.containerPort;
    return typeof wanted === "string" ? ports.find(({ name }) => name === wanted)?.containerPort : wanted;
}

/** The port that uvicorn, gunicorn, hypercorn or Flask say they listen on. */
function listeningOn(log: string | undefined): number | undefined {
    const [, port] = /(?:running on|listening at:?|running at) \w+:\/\/[^\s/]*:(\d+)/i.exec(log ?? "") ?? [];
    return port === undefined ? undefined : Number(port);
}
