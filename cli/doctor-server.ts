import { setTimeout as sleep } from "node:timers/promises";
import { type Address, type Answer, ask, hold, type Question } from "./doctor-ask";
import { type Check, failed, ok, unchecked } from "./doctor-checks";

export interface Paths {
    readonly live: string;
    readonly ready: string;
    readonly predict: string;
    readonly metrics: string;
}

/** A server that can be asked. */
export interface Subject {
    readonly address: Address;
    readonly paths: Paths;
    /** An accepted key; undefined: none is known. */
    readonly key: string | undefined;
    /** Body of a prediction that must work. */
    readonly sample: string | undefined;
    /** Bytes above which a body is refused. */
    readonly maxRequestBytes: number;
    /** Predictions at once above which one is refused; undefined: it serves others, whose places are not taken. */
    readonly maxConcurrentRequests: number | undefined;
}

/** What the paths, the key and the limits of a server are like. It must be ready. */
export async function serverChecks(subject: Subject): Promise<Check[]> {
    const { address, paths, key, sample } = subject;
    const get = (path: string): Promise<Answer> => ask(address, { path });
    const live = await get(paths.live);
    if (live.status === 0)
        return [failed("reachable", `nobody answers (${live.body})`, "is it running, and is this its address?")];
    const ready = await get(paths.ready);
    const metrics = await get(paths.metrics);
    return [
        statusCheck("live path", paths.live, live, 200, "answer 200 while the process works"),
        statusCheck("ready path", paths.ready, ready, 200, "answer 200 once the model has answered, 503 before"),
        metrics.status === 200 && /^# (?:HELP|TYPE) /m.test(metrics.body)
            ? ok("metrics path", `GET ${paths.metrics} answers 200, Prometheus text`)
            : failed(
                  "metrics path",
                  `GET ${paths.metrics} answers ${answerText(metrics)}`,
                  "answer 200 with Prometheus text (prometheus_client)",
              ),
        await openPaths(subject),
        ...(await keyChecks(subject)),
        ...(key !== undefined && sample !== undefined ? await predictChecks(subject, sample) : unaskable(subject)),
        ...(await bodyChecks(subject)),
        sample === undefined
            ? unchecked("429", "it takes predictions that last: give --sample")
            : await concurrencyCheck(subject, sample),
    ];
}

function statusCheck(name: string, path: string, answer: Answer, wanted: number, fix: string): Check {
    return answer.status === wanted
        ? ok(name, `GET ${path} answers ${wanted} in ${answer.milliseconds} ms`)
        : failed(name, `GET ${path} answers ${answerText(answer)}`, fix);
}

function answerText({ status, body }: Answer): string {
    return status === 0 ? `nothing (${body})` : String(status);
}

/** The probes carry no key. */
async function openPaths({ address, paths }: Subject): Promise<Check> {
    const asked = [paths.live, paths.ready, paths.metrics];
    const answers = await Promise.all(asked.map((path) => ask(address, { path })));
    const closed = asked.filter((_, index) => [401, 403].includes(answers[index]?.status ?? 0));
    return closed.length === 0
        ? ok("open paths", "probes and Prometheus need no key")
        : failed(
              "open paths",
              `${closed.join(", ")} ask for a key, which probes and Prometheus do not have`,
              "ask for the key on all other paths only",
          );
}

async function keyChecks({ address, paths, sample }: Subject): Promise<Check[]> {
    const body = sample ?? "{}";
    const cases = [
        ["401 without key", undefined],
        ["401 wrong key", "wrong"],
    ] as const;
    return Promise.all(
        cases.map(async ([name, key]) => {
            const answer = await ask(address, { method: "POST", path: paths.predict, key, body });
            return answer.status === 401
                ? ok(name, `POST ${paths.predict} answers 401`)
                : failed(
                      name,
                      `POST ${paths.predict} answers ${answerText(answer)}: whoever reaches the port may ask`,
                      "compare Authorization: Bearer with every line of API_KEYS_FILE",
                  );
        }),
    );
}

async function predictChecks({ address, paths, key }: Subject, sample: string): Promise<Check[]> {
    const question: Question = { method: "POST", path: paths.predict, key };
    const answer = await ask(address, { ...question, body: sample, limit: 60_000 });
    const bad = await ask(address, { ...question, body: '{"not": "this"}' });
    return [
        answer.status === 200
            ? ok("predict path", `POST ${paths.predict} answers the sample with 200 in ${answer.milliseconds} ms`)
            : failed(
                  "predict path",
                  `POST ${paths.predict} answers the sample with ${answerText(answer)}`,
                  "is the sample one good input, with all that is around it?",
              ),
        bad.status >= 400 && bad.status < 500
            ? ok("bad input", `answered with ${bad.status}`)
            : failed(
                  "bad input",
                  `{"not": "this"} is answered with ${answerText(bad)}`,
                  "answer what is no input with 422",
              ),
    ];
}

function unaskable({ key, sample }: Subject): Check[] {
    const missing = [
        ...(key === undefined ? ["a key (--key-file)"] : []),
        ...(sample === undefined ? ["--sample"] : []),
    ];
    return ["predict path", "bad input"].map((name) => unchecked(name, `needs ${missing.join(" and ")}`));
}

async function bodyChecks({ address, paths, key, maxRequestBytes }: Subject): Promise<Check[]> {
    if (key === undefined) return ["413", "413 in chunks"].map((name) => unchecked(name, "needs a key (--key-file)"));
    const body = `"${"x".repeat(maxRequestBytes)}"`;
    return Promise.all(
        [false, true].map(async (chunked) => {
            const name = chunked ? "413 in chunks" : "413";
            const answer = await ask(address, { method: "POST", path: paths.predict, key, body, chunked });
            // Who refuses before it has read everything may close the connection on the rest.
            return answer.status === 413
                ? ok(name, `${body.length} bytes are refused`)
                : failed(
                      name,
                      `${body.length} bytes are answered with ${answerText(answer)}, and MAX_REQUEST_BYTES is ${maxRequestBytes}`,
                      chunked
                          ? "count the bytes as they come: there is no Content-Length"
                          : "answer a larger body with 413",
                  );
        }),
    );
}

/** Tries on top of as many as are allowed. */
const BURST = 32;

/** Holds as many predictions open as are allowed, half sent, and asks once more. */
async function concurrencyCheck(
    { address, paths, key, maxConcurrentRequests: most }: Subject,
    body: string,
): Promise<Check> {
    const name = "429";
    if (most === undefined)
        return unchecked(name, "it would take places from those whom it serves; an image is started here for this");
    const question: Question = { method: "POST", path: paths.predict, key, body, limit: 30_000 };
    const held = Array.from({ length: most }, () => hold(address, question));
    await sleep(300);
    const over = await ask(address, question);
    const finished = await Promise.all(held.map(({ finish }) => finish()));
    if (over.status === 429)
        return finished.every(({ status }) => status === 200)
            ? ok(name, `with ${most} predictions under way one more is refused`)
            : failed(
                  name,
                  `one more than ${most} is refused, but those before it get ${finished.map(answerText).join(", ")}`,
                  "refuse the newest, and finish the others",
              );
    const burst = await Promise.all(Array.from({ length: most + BURST }, () => ask(address, question)));
    return burst.some(({ status }) => status === 429)
        ? ok(name, `of ${most + BURST} predictions at once some are refused`)
        : failed(
              name,
              `${most + BURST} predictions at once are all taken, and MAX_CONCURRENT_REQUESTS is ${most}`,
              "answer more than that with 429 and Retry-After",
          );
}
