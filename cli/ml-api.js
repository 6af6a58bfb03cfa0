#!/usr/bin/env node
"use strict";
// Plain JavaScript, because it runs before anything can load TypeScript: it finds a Node that is new enough (the checkout has
// one of its own among its packages) and loads the command without type checking, which `npm run check:types` does.
const { spawn } = require("node:child_process");
const fs = require("node:fs");
const path = require("node:path");

const root = path.dirname(__dirname);
const bin = path.join(root, "node_modules", ".bin");

function fail(message) {
    process.stderr.write(`ml-api: ${message}\n`);
    process.exit(1);
}

if (!fs.existsSync(path.join(root, "node_modules", "typescript")))
    fail(`its packages are not installed → cd ${root} && npm ci`);

const [major, minor] = process.versions.node.split(".").map(Number);
if (major > 22 || (major === 22 && minor >= 19)) {
    // Whatever is started from here finds the same Node.
    process.env.PATH = `${bin}${path.delimiter}${process.env.PATH}`;
    require("../components/prelude/load-typescript");
    require("../components/prelude/without-npm");
    require("./main").main(process.argv.slice(2));
} else {
    const own = path.join(bin, "node");
    if (process.env.ML_API_OWN_NODE || !fs.existsSync(own))
        fail(`Node ${process.versions.node} is too old, 22.19 is needed → npm ci`);
    const child = spawn(own, [__filename, ...process.argv.slice(2)], {
        stdio: "inherit",
        env: { ...process.env, ML_API_OWN_NODE: "1" },
    });
    // A terminal sends SIGINT to both of us; the child decides when to end.
    process.on("SIGINT", () => undefined);
    process.on("SIGTERM", () => child.kill("SIGTERM"));
    child.on("error", (error) => fail(error.message));
    child.on("exit", (code, signal) => process.exit(signal ? 1 : code));
}
