import { spawn } from "node:child_process";
import { existsSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { expect } from "chai";
import { withLock } from "../../local/lock";
import { freePorts, isFree } from "../../local/ports";
import { isAlive, listProcesses, processStart } from "../../local/processes";
import { run } from "../../local/run";
import { scratch, type Scratch } from "../unit/local-fakes";

describe("a lock between runs", () => {
    let place: Scratch;
    let lock: string;
    beforeEach(() => {
        place = scratch();
        lock = join(place.path, "deep/lock");
    });
    afterEach(() => {
        place.remove();
    });

    it("lets one in at a time and leaves no file", async () => {
        let inside = 0;
        let most = 0;
        const body = async (): Promise<void> => {
            inside += 1;
            most = Math.max(most, inside);
            await sleep(5);
            inside -= 1;
        };
        await Promise.all(Array.from({ length: 12 }, () => withLock(lock, body, { pollEvery: 2 })));
        expect(most).to.equal(1);
        expect(readdirSync(join(place.path, "deep"))).to.deep.equal([]);
    });

    it("is given back when the work fails", async () => {
        const failed = await withLock(lock, () => Promise.reject(new Error("work"))).catch((error: unknown) => error);
        expect(failed).to.be.instanceOf(Error);
        expect(existsSync(lock)).to.equal(false);
    });

    it("is taken over from a process that is gone", async () => {
        const dead = spawn("true");
        await new Promise((resolve) => dead.once("close", resolve));
        place.file("deep/lock", JSON.stringify({ pid: dead.pid, token: "x" }));
        expect(await withLock(lock, () => Promise.resolve("in"))).to.equal("in");
    });

    it("is taken over when its number belongs to another process by now", async function () {
        if (processStart(process.pid) === undefined) this.skip();
        place.file("deep/lock", JSON.stringify({ pid: process.pid, start: "1", token: "x" }));
        expect(await withLock(lock, () => Promise.resolve("in"))).to.equal("in");
    });

    it("is taken over when its file is not whole", async () => {
        for (const content of ["", "{", "[]", '{"pid":"1"}']) {
            place.file("deep/lock", content);
            expect(await withLock(lock, () => Promise.resolve("in"))).to.equal("in");
        }
    });

    it("waits for a process that lives, says so once, and can be told to stop waiting", async () => {
        const holder = spawn("sleep", ["60"]);
        try {
            place.file("deep/lock", JSON.stringify({ pid: holder.pid, token: "x" }));
            const waited: number[] = [];
            const stop = new AbortController();
            const waiting = withLock(lock, () => Promise.resolve("in"), {
                onWait: (pid) => waited.push(pid),
                pollEvery: 5,
                signal: stop.signal,
            });
            await sleep(40);
            stop.abort();
            expect(await waiting.catch((error: unknown) => (error instanceof Error ? error.name : ""))).to.equal(
                "AbortError",
            );
            expect(waited).to.deep.equal([holder.pid]);
        } finally {
            holder.kill("SIGKILL");
        }
    });

    it("is not taken from a live holder by many who found it stale at once", async () => {
        writeFileSync(place.file("deep/lock", ""), JSON.stringify({ pid: 2 ** 30, token: "stale" }));
        let inside = 0;
        let most = 0;
        await Promise.all(
            Array.from({ length: 20 }, () =>
                withLock(
                    lock,
                    async () => {
                        most = Math.max(most, (inside += 1));
                        await sleep(2);
                        inside -= 1;
                    },
                    { pollEvery: 1 },
                ),
            ),
        );
        expect(most).to.equal(1);
    });
});

describe("running programs", () => {
    const variables = { PATH: "/usr/bin:/bin" };

    it("gives what they print, and why they failed", async () => {
        const sh = (body: string, timeLimit = 5000): ReturnType<typeof run> =>
            run("sh", ["-c", body], { variables, timeLimit });
        expect(await sh("echo out; echo err >&2")).to.deep.equal({ stdout: "out\n", stderr: "err\n" });
        expect((await sh("exit 3")).failure).to.equal("ended with code 3");
        expect((await sh("kill -9 $$")).failure).to.equal("was ended by SIGKILL");
        expect((await run("/does/not/exist", [], { variables, timeLimit: 1000 })).failure).to.equal(
            "could not be started (ENOENT)",
        );
    });

    it("ends them with their children at the time limit, and when told to", async () => {
        const stop = new AbortController();
        const body = "sleep 61 & echo $!; wait";
        const late = await run("sh", ["-c", body], { variables, timeLimit: 150 });
        expect(late.failure).to.equal("did not end within 0.15 s");
        const told = run("sh", ["-c", body], { variables, timeLimit: 60_000, signal: stop.signal });
        setTimeout(() => {
            stop.abort();
        }, 100);
        const stopped = await told;
        expect(stopped.failure).to.equal("was interrupted");
        // A killed process closes its output a moment before it is gone.
        for (const { stdout } of [late, stopped]) {
            for (let tries = 0; isAlive(Number(stdout)) && tries < 100; tries++) await sleep(10);
            expect(isAlive(Number(stdout))).to.equal(false);
        }
    });

    it("passes on lines of standard error whole", async () => {
        const lines: string[] = [];
        const onErrorLine = (line: string): void => {
            lines.push(line);
        };
        await run("sh", ["-c", "printf 'one\\ntw' >&2; sleep 0.1; printf 'o\\nthree\\n' >&2"], {
            variables,
            timeLimit: 5000,
            onErrorLine,
        });
        expect(lines).to.deep.equal(["one", "two", "three"]);
    });
});

describe("processes and ports", () => {
    it("lists this process with its arguments", () => {
        expect(
            listProcesses()
                .find(({ pid }) => pid === process.pid)
                ?.argv.join(" "),
        ).to.contain("mocha");
    });

    it("knows who lives", async () => {
        const child = spawn("true");
        const pid = child.pid ?? 0;
        await new Promise((resolve) => child.once("close", resolve));
        expect([process.pid, pid, 0, -1, Number.NaN].map(isAlive)).to.deep.equal([true, false, false, false, false]);
    });

    it("finds different ports that are free", async () => {
        const ports = await freePorts(6, "seed");
        expect(new Set(ports).size).to.equal(6);
        expect(await Promise.all(ports.map(isFree))).to.deep.equal(Array(6).fill(true));
    });
});
