import { setTimeout as sleep } from "node:timers/promises";
import type { StartedImage } from "../local/image/start";
import { ask, hold } from "./doctor-ask";
import { type Check, failed, ok, unchecked } from "./doctor-checks";
import { type Paths, serverChecks } from "./doctor-server";

/** What was measured while it started. */
export interface Measured {
    /** From its start to the first 200 of its ready path. */
    readonly readySeconds: number;
    readonly peakBytes: number;
}

export interface Begun {
    readonly paths: Paths;
    readonly port: number;
    readonly key: string;
    readonly sample: string | undefined;
    readonly maxRequestBytes: number;
    readonly maxConcurrentRequests: number;
    /** How long it may load, in seconds. */
    readonly budgetSeconds: number;
}

/** What the exit of a server after SIGTERM may take once its last answer is given, in milliseconds. */
const EXIT_LIMIT = 10_000;

/** Watches a server from its first moment, checks it, and stops it in the middle of a prediction. */
export async function startedChecks(
    image: StartedImage,
    begun: Begun,
): Promise<{ checks: Check[]; measured?: Measured }> {
    const { checks: first, measured } = await watchStart(image, begun);
    if (measured === undefined) return { checks: first };
    const address = { socket: image.socket };
    const served = await serverChecks({ ...begun, address });
    const peakBytes = image.peakBytes();
    const stop = begun.sample === undefined ? await stopIdle(image) : await stopBusy(image, begun, begun.sample);
    const memory = ok("memory", `${Math.round(peakBytes / (1 << 20))} MiB at most, with its model loaded and asked`);
    return { checks: [...first, ...served, ...stop, memory], measured: { ...measured, peakBytes } };
}

async function watchStart(
    image: StartedImage,
    { paths, port, key, sample, budgetSeconds }: Begun,
): Promise<{ checks: Check[]; measured?: Measured }> {
    const address = { socket: image.socket };
    const began = performance.now();
    const seconds = (): number => (performance.now() - began) / 1000;
    let alive: number | undefined;
    let said503 = false;
    while (seconds() < budgetSeconds) {
        image.peakBytes();
        if (image.ended()) {
            const says = `it ended with code ${await image.wait(0)} after ${seconds().toFixed(1)} s: ${lastWords(image)}`;
            return {
                checks: [failed("starts", says, "it runs as user 10001 on a read-only root; /tmp can be written")],
            };
        }
        const live = await ask(address, { path: paths.live, limit: 5000 });
        if (live.status === 200) alive ??= seconds();
        const ready = await ask(address, { path: paths.ready, limit: 5000 });
        said503 ||= ready.status === 503;
        if (ready.status === 200) {
            const readySeconds = seconds();
            return {
                checks: [
                    ok(
                        "starts",
                        `as user 10001, on a read-only root, without a network: ready after ${readySeconds.toFixed(1)} s`,
                    ),
                    ok("port", `it listens on $PORT (${port})`),
                    liveWhileLoading(alive, readySeconds, said503),
                    await firstPrediction(image, { paths, key, sample }),
                ],
                measured: { readySeconds, peakBytes: image.peakBytes() },
            };
        }
        await sleep(100);
    }
    const others = image.listens().filter((one) => one !== port);
    return {
        checks: image.listens().includes(port)
            ? [
                  failed(
                      "starts",
                      `${paths.ready} was not 200 within ${budgetSeconds} s: ${lastWords(image)}`,
                      "a longer model.loadBudgetSeconds, or another api.paths.ready",
                  ),
              ]
            : [
                  failed(
                      "port",
                      others.length > 0
                          ? `it listens on ${others.join(", ")}, not on $PORT (${port})`
                          : `nothing listens on $PORT (${port}) after ${budgetSeconds} s: ${lastWords(image)}`,
                      "listen on 0.0.0.0:$PORT",
                  ),
              ],
    };
}

function lastWords(image: StartedImage): string {
    const words = image.output().trim().split("\n").at(-1) ?? "";
    return words === "" ? "it printed nothing" : words.slice(0, 300);
}

function liveWhileLoading(alive: number | undefined, ready: number, said503: boolean): Check {
    const name = "live while loading";
    if (alive === undefined)
        return failed(name, "the live path never answered 200", "answer 200 while the process works");
    if (said503) return ok(name, `it was alive after ${alive.toFixed(1)} s, and said 503 until ready`);
    return unchecked(name, `it was ready before it could be seen loading (${ready.toFixed(1)} s)`);
}

/** Ready is to mean: the next prediction is answered. */
async function firstPrediction(
    image: StartedImage,
    { paths, key, sample }: Pick<Begun, "paths" | "key" | "sample">,
): Promise<Check> {
    const name = "ready means ready";
    if (sample === undefined) return unchecked(name, "needs --sample");
    const { status, milliseconds, body } = await ask(
        { socket: image.socket },
        { method: "POST", path: paths.predict, key, body: sample, limit: 60_000 },
    );
    return status === 200
        ? ok(name, `the first prediction after it is answered with 200 in ${milliseconds} ms`)
        : failed(
              name,
              `the first prediction after it is answered with ${status === 0 ? body : status}`,
              "be ready only once the model has answered; or verify.warmUp: true",
          );
}

async function stopIdle(image: StartedImage): Promise<Check[]> {
    image.terminate();
    return [unchecked("drain", "needs --sample"), await exits(image)];
}

/** SIGTERM while a prediction is half sent: it is to be answered, and the process to go. */
async function stopBusy(image: StartedImage, { paths, key }: Begun, sample: string): Promise<Check[]> {
    const address = { socket: image.socket };
    const held = hold(address, { method: "POST", path: paths.predict, key, body: sample, limit: 40_000 });
    await sleep(300);
    image.terminate();
    await sleep(500);
    const answer = await held.finish();
    const drained =
        answer.status === 200
            ? ok("drain", "a prediction that was under way at SIGTERM was answered with 200")
            : failed(
                  "drain",
                  `a prediction that was under way at SIGTERM got ${answer.status === 0 ? `no answer (${answer.body})` : answer.status}`,
                  "finish what was begun (timeout_graceful_shutdown), then exit",
              );
    return [drained, await exits(image)];
}

async function exits(image: StartedImage): Promise<Check> {
    const began = performance.now();
    const code = await image.wait(EXIT_LIMIT);
    const took = ((performance.now() - began) / 1000).toFixed(1);
    return image.ended()
        ? ok("exit", `it left ${took} s after its last answer, with code ${code}`)
        : failed(
              "exit",
              `it still ran ${EXIT_LIMIT / 1000} s after SIGTERM`,
              "handle SIGTERM: Kubernetes kills it after terminationGracePeriodSeconds",
          );
}
