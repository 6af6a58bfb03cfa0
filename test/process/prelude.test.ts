import { log } from "@pulumi/pulumi";
import { expect } from "chai";
import { execFileSync } from "node:child_process";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";

const PRELUDE = path.join(__dirname, "..", "..", "components", "prelude");

/** What a script prints in a Node.js of its own. */
function printed(script: string, env: NodeJS.ProcessEnv = {}): string {
    return execFileSync(process.execPath, ["-e", script], {
        cwd: PRELUDE,
        env: { ...process.env, NODE_OPTIONS: "", ...env },
        encoding: "utf8",
    }).trim();
}

describe("what is loaded before the program", () => {
    describe("for TypeScript", () => {
        let cache: string;
        before(() => {
            cache = fs.mkdtempSync(path.join(os.tmpdir(), "ml-api-cache-"));
            fs.writeFileSync(
                path.join(cache, "a.ts"),
                "interface Unused { a: number }\n\nexport const line = new Error().stack;\n",
            );
        });
        after(() => {
            fs.rmSync(cache, { recursive: true });
        });

        it("translates a file once, and knows its lines", () => {
            const script = `require("./load-typescript");
                const { line } = require(${JSON.stringify(path.join(cache, "a.ts"))});
                console.log(/a\\.ts:\\d+/.exec(line)[0], require.resolve("typescript") in require.cache)`;
            expect(printed(script, { ML_API_CACHE: cache })).to.equal("a.ts:3 true");
            expect(printed(script, { ML_API_CACHE: cache })).to.equal("a.ts:3 false");
        });

        it("does without its cache where it may not write", () => {
            const script = `require("./load-typescript"); console.log(typeof require(${JSON.stringify(path.join(cache, "a.ts"))}).line)`;
            expect(printed(script, { ML_API_CACHE: "/dev/null/none" })).to.equal("string");
        });
    });

    it("npm's installer, a part of the SDK, waits until somebody asks for it", () => {
        const loaded = `Object.keys(require.cache).filter((file) => file.includes("/@npmcli/arborist/")).length > 1`;
        const script = `require("./without-npm");
            const { runtime } = require("@pulumi/pulumi");
            const before = ${loaded};
            runtime.computeCodePaths().then((paths) => console.log(before, ${loaded}, paths.size > 0))`;
        expect(printed(script)).to.equal("false true true");
    });

    it("the SDK writes down where a promise was made only when somebody looks for leaks, and errors keep their stacks", () => {
        const script = `require("./index");
            const made = Promise.resolve();
            require("@pulumi/pulumi/runtime/debuggable").debuggablePromise(made, "made");
            console.log(made._debugStackTrace.split("\\n").length > 1, new Error().stack.split("\\n").length > 1)`;
        expect(printed(script)).to.equal("false true");
        expect(printed(script, { PULUMI_DEBUG_PROMISE_LEAKS: "1" })).to.equal("true true");
    });

    describe("debug messages of the SDK", () => {
        const sdk = log as { debug: (message: string) => Promise<void> };
        const original = sdk.debug;
        const sent: string[] = [];
        before(() => {
            sdk.debug = (message) => Promise.resolve(void sent.push(message));
            // eslint-disable-next-line @typescript-eslint/no-require-imports -- loading it is what it does
            require("../../components/prelude/debug-messages");
        });
        after(() => {
            sdk.debug = original;
        });

        it("do not carry the engine's answers, in which secrets stand in clear", async () => {
            await sdk.debug(
                "RegisterResource RPC finished: resource:x[a:b:C]; err: null, resp: urn:x,,data,\nkey,canary",
            );
            await sdk.debug("Invoke RPC finished: tok=a:b:c; err: Error: no, resp: canary");
            await sdk.debug("Registering resource: t=a:b:C");
            expect(sent).to.deep.equal([
                "RegisterResource RPC finished: resource:x[a:b:C]; err: null, resp: [not shown]",
                "Invoke RPC finished: tok=a:b:c; err: Error: no, resp: [not shown]",
                "Registering resource: t=a:b:C",
            ]);
        });
    });
});
