// Plain JavaScript, because it decides how TypeScript is loaded: `node start.js NAME ARGUMENT...`.
//
// The engine starts every plugin for every preview, so start-up counts. Translating these few files takes 0.7 s, loading
// the translation takes none: it is kept in the tool cache under a name made of its content. Compiled code is kept there
// too, by Node itself. Types are left to `npm run check:types`.
"use strict";

const { createHash } = require("node:crypto");
const { mkdirSync, readFileSync, renameSync, writeFileSync } = require("node:fs");
const { enableCompileCache } = require("node:module");
const { homedir } = require("node:os");
const { join } = require("node:path");

const name = process.argv[2];
const [major, minor] = process.versions.node.split(".").map(Number);
if (major < 22 || (major === 22 && minor < 19)) {
    console.error(
        `pulumi-${name}: Node.js ${process.versions.node} is too old, 22.19 or newer is needed. ` +
            `It ran ${process.execPath}. Run 'npm ci' in ${join(__dirname, "../..")}.`,
    );
    process.exit(1);
}

const cache = process.env.ML_API_CACHE || join(process.env.XDG_CACHE_HOME || join(homedir(), ".cache"), "ml-api");
const compileCache = join(cache, "node-compile");
const translations = join(cache, "typescript");
enableCompileCache(compileCache);

const compilerOptions = { target: "ES2022", module: "CommonJS", esModuleInterop: true, inlineSourceMap: true };
const compiler = require("typescript/package.json").version;

function keep(file, text) {
    try {
        mkdirSync(translations, { recursive: true });
        // Under its own name at once or not at all: other plugins start at the same moment.
        writeFileSync(`${file}.${process.pid}`, text);
        renameSync(`${file}.${process.pid}`, file);
    } catch {
        // A cache that cannot be written costs time, nothing else.
    }
}

function translate(fileName, source) {
    const key = createHash("sha256")
        .update(JSON.stringify([compiler, compilerOptions, fileName, source]))
        .digest("hex");
    const file = join(translations, `${key}.js`);
    try {
        return readFileSync(file, "utf8");
    } catch {
        const { outputText } = require("typescript").transpileModule(source, { fileName, compilerOptions });
        keep(file, outputText);
        return outputText;
    }
}

require.extensions[".ts"] = (module, fileName) => {
    module._compile(translate(fileName, readFileSync(fileName, "utf8")), fileName);
};
process.setSourceMapsEnabled(true);

const plugins = {
    "language-nodejs": () => require("./language-host").main(process.argv.slice(3), compileCache),
    "resource-random": () => require("./random").main(process.argv.slice(3)),
    "resource-kubernetes": () => require("./kubernetes/provider").main(process.argv.slice(3)),
};
plugins[name]();
