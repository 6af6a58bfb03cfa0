// From here on `require` takes TypeScript files, without checking their types, and fast: translating the program takes two seconds
// at every preview, loading the translation takes none. It is kept in the cache folder under a name made of its content, and so is
// compiled code, by Node itself. Plain JavaScript, because it is what loads TypeScript; whoever loads it first (the program, the
// command, a plugin) need do no more. Types are left to `npm run check:types`.
"use strict";

const { createHash } = require("node:crypto");
const { mkdirSync, readFileSync, renameSync, writeFileSync } = require("node:fs");
const { enableCompileCache } = require("node:module");
const { homedir } = require("node:os");
const { basename, join } = require("node:path");

const cache = process.env.ML_API_CACHE || join(process.env.XDG_CACHE_HOME || join(homedir(), ".cache"), "ml-api");
const compileCache = join(cache, "node-compile");
const translations = join(cache, "typescript");

// As in tsconfig.json: `import()` stays one, so that packages without `require` can be loaded.
const compilerOptions = { target: "ES2022", module: "Node20", esModuleInterop: true, inlineSourceMap: true };
const compiler = require("typescript/package.json").version;

function keep(file, text) {
    try {
        mkdirSync(translations, { recursive: true });
        // Under its own name at once or not at all: other programs start at the same moment.
        writeFileSync(`${file}.${process.pid}`, text);
        renameSync(`${file}.${process.pid}`, file);
    } catch {
        // A cache that cannot be written costs time, nothing else.
    }
}

function translate(file, source) {
    // Only the last part of its name gets into a translation, so all checkouts share it.
    const fileName = basename(file);
    const key = createHash("sha256")
        .update(JSON.stringify([compiler, compilerOptions, fileName, source]))
        .digest("hex");
    const translation = join(translations, `${key}.js`);
    try {
        return readFileSync(translation, "utf8");
    } catch {
        const { outputText } = require("typescript").transpileModule(source, { fileName, compilerOptions });
        keep(translation, outputText);
        return outputText;
    }
}

enableCompileCache(compileCache);
require.extensions[".ts"] = (module, fileName) => {
    module._compile(translate(fileName, readFileSync(fileName, "utf8")), fileName);
};
// Node itself finds the lines of the TypeScript file; ts-node, which loads the program's first file, only those of its own files.
process.setSourceMapsEnabled(true);
Error.prepareStackTrace = undefined;

/**
 * Where programs that the language host starts keep their compiled code. Not in the same folder: the SDK runs them with a debugger
 * attached, and V8 refuses and replaces the code of the other kind, so that neither would ever find its own.
 */
module.exports = { programCompileCache: `${compileCache}-programs` };
