// The SDK loads all of npm's installer for packing functions into dynamic providers, which nobody does here: a quarter of a
// second at every preview. With this loaded before the SDK it is loaded when it is asked for. Plain JavaScript, as its
// neighbour that loads TypeScript.
"use strict";

const { createRequire, Module } = require("node:module");

const INSTALLER = "@npmcli/arborist";
const sdk = createRequire(require.resolve("@pulumi/pulumi/package.json"));

function resolved() {
    try {
        return sdk.resolve(INSTALLER);
    } catch {
        return undefined;
    }
}

const file = resolved();
if (file !== undefined && require.cache[file] === undefined) {
    const placeholder = new Module(file);
    placeholder.loaded = true;
    placeholder.exports = {
        // Else the SDK would copy what is in it, and so ask for it.
        __esModule: true,
        get Arborist() {
            if (require.cache[file] === placeholder) delete require.cache[file];
            return sdk(INSTALLER).Arborist;
        },
    };
    require.cache[file] = placeholder;
}
