import { redactedText } from "../changes/redaction";
import type { Fault } from "./finding";
import { imageFault } from "./images";
import { answersTo, probeFault } from "./probes";
import type { Container, ContainerStatus, Happening, Terminated } from "./shapes";

/** A container of a pod that is to become ready, and what is known about it. */
export interface Seen {
    readonly container: Container;
    readonly status: ContainerStatus;
    /** Events of this container, oldest first. */
    readonly events: readonly Happening[];
    /** Its pod has been ready before. */
    readonly wasReady: boolean;
    /** The log of the run that is under way, and of the last one that has ended; undefined while unknown. */
    readonly log: string | undefined;
    readonly endLog: string | undefined;
}

/** How the container ended the last time it did. */
export function lastEnd({ state, lastState }: ContainerStatus): Terminated | undefined {
    return state?.terminated ?? lastState?.terminated;
}

/** What keeps a container from being ready; undefined while it may just need its time. */
export function containerFault(seen: Seen): Fault | undefined {
    const { container, status, events } = seen;
    const end = lastEnd(status);
    // It is up again; that it went down is still remarkable in a pod that is so young.
    const ended = end !== undefined && end.exitCode !== 0;
    if (status.ready)
        return ended && answersTo("Liveness", events)?.killed !== true && answersTo("Startup", events)?.killed !== true
            ? { ...crash(seen, end), certain: true, healable: true }
            : undefined;
    const { reason = "", message = "" } = status.state?.waiting ?? {};
    const pulls = events.filter(
        (event) => event.reason === "Failed" && event.message?.startsWith("Failed to pull") === true,
    );
    // The status shows the name that the node made of it; the person knows the one in the pod.
    const image = imageFault(container.image ?? status.image, reason, message, pulls.at(-1)?.message ?? "");
    if (image !== undefined) return image;
    if (reason === "CreateContainerConfigError") return configFault(message);
    const cannotStart = /^(?:RunContainerError|CreateContainerError)$/.test(reason)
        ? message
        : end?.reason === "StartError"
          ? end.message
          : undefined;
    if (cannotStart !== undefined) return startFault(cannotStart);
    if (end?.reason === "OOMKilled") return outOfMemory(container, status);
    for (const kind of ["Startup", "Liveness"] as const) {
        const answers = answersTo(kind, events);
        if (answers?.killed !== true) continue;
        // Until its grace period is over, a killed container still runs.
        const log = seen.endLog ?? seen.log;
        const fault = probeFault(kind, container, answers, log);
        if (fault === undefined || !/^(?:slow|liveness)$/.test(fault.problem)) return fault;
        return { ...fault, ...withWords(fault.sentence, undefined, log) };
    }
    if (end !== undefined && (ended || status.restartCount > 0)) return crash(seen, end);
    const kind = status.started === true ? "Readiness" : "Startup";
    const answers = answersTo(kind, events);
    return answers === undefined ? undefined : probeFault(kind, container, answers, seen.log);
}

function configFault(message: string): Fault {
    const fault = { problem: "config", certain: true, healable: false };
    const missing = /^(secret|configmap) "([^"]*)" not found/.exec(message);
    if (missing !== null) {
        const kind = missing[1] === "secret" ? "Secret" : "ConfigMap";
        const sentence = `the ${kind} ${missing[2] ?? ""}, which a variable is taken from, is not in the namespace`;
        return { ...fault, sentence, fix: `create it, or correct the name (secrets, apiKey.existingSecret)` };
    }
    const key = /couldn't find key (\S+) in (Secret|ConfigMap) \S+?\/(\S+)/.exec(message);
    if (key !== null) {
        const sentence = `the ${key[2] ?? ""} ${key[3] ?? ""} has no entry ${key[1] ?? ""}, which a variable is taken from`;
        return { ...fault, sentence, fix: "add the entry, or correct its name (secrets.NAME.key)" };
    }
    if (/non-root|runAsNonRoot/.test(message)) {
        const sentence = "the image would run as root, which the pod forbids (runAsNonRoot)";
        return { ...fault, sentence, fix: "build it with a USER other than root" };
    }
    return { ...fault, healable: true, sentence: `it cannot be made: ${message}`, fix: "correct what it says" };
}

function startFault(message: string): Fault {
    const program = /exec: "([^"]*)":/.exec(message)?.[1];
    const fault = { problem: "start", certain: true, healable: false };
    if (program !== undefined && /not found|no such file/.test(message)) {
        const sentence = `its program ${program} is not in the image`;
        return { ...fault, sentence, fix: "correct the image's CMD, or merge.container.command" };
    }
    if (program !== undefined && message.includes("permission denied")) {
        const sentence = `its program ${program} may not be executed`;
        return { ...fault, sentence, fix: "make it executable in the image for user 10001" };
    }
    const why = message.split(": ").slice(-3).join(": ");
    return { ...fault, healable: true, sentence: `it cannot be started: ${why}`, fix: "correct what it says" };
}

function outOfMemory({ resources }: Container, { restartCount }: ContainerStatus): Fault {
    const limit = resources?.limits?.["memory"];
    const sentence = `it was killed because it used more memory than its limit${limit === undefined ? "" : ` of ${limit}`} (OOMKilled${restartCount > 1 ? `, ${restartCount} times` : ""})`;
    const fix = "raise resources.requests.memory (and limits.memory), or load a smaller model or fewer workers";
    return { problem: "memory", certain: true, healable: false, sentence, fix };
}

function crash(seen: Seen, end: Terminated): Fault {
    const { restartCount, state } = seen.status;
    const ends = state?.running === undefined ? restartCount + 1 : restartCount;
    const seconds = Math.round((Date.parse(end.finishedAt ?? "") - Date.parse(end.startedAt ?? "")) / 1000);
    const when = seen.wasReady ? " after it had been ready" : " at start";
    const after = seconds > 0 ? `, ${seconds} s after it was started` : "";
    const how = `it crashes${when}: ${exitWords(end.exitCode)}${after}${ends > 1 ? `, ${ends} times` : ""}`;
    const fix =
        end.exitCode === 0
            ? "a server must not end: correct the image's CMD"
            : "correct what its last words say; then deploy again";
    return {
        problem: "crash",
        // A first crash at start can come from something that the pod needs and that is not there yet.
        certain: ends > 1 || seen.wasReady,
        healable: ends < 3,
        ...withWords(how, end.message, seen.endLog),
        fix,
    };
}

function exitWords(code: number): string {
    if (code === 137) return "exit code 137 (killed)";
    if (code === 139) return "exit code 139 (segmentation fault)";
    if (code === 143) return "exit code 143 (told to end)";
    return `exit code ${code}`;
}

const LINES = 6;

/** A sentence with what the container said last: its termination message, else the end of its log. Without secrets. */
export function withWords(
    sentence: string,
    message: string | undefined,
    log: string | undefined,
): Pick<Fault, "sentence" | "details"> {
    const words = (message ?? "") === "" ? (log ?? "") : (message ?? "");
    const details = words
        .split("\n")
        .map((line) => line.trimEnd())
        .filter((line) => line !== "")
        .slice(-LINES)
        .map((line) => redactedText(line.slice(0, 400)));
    const last = details.at(-1)?.trim();
    if (last === undefined) return { sentence };
    return { sentence: `${sentence}; its last words: ${last}`, ...(details.length > 1 ? { details } : {}) };
}
