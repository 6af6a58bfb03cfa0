import { createHash } from "node:crypto";
import { realpathSync } from "node:fs";
import { homedir } from "node:os";
import { dirname, isAbsolute, join } from "node:path";

/** The environment variables a path depends on; `process.env` fits. */
export type Variables = Readonly<Record<string, string | undefined>>;

/** Root of the checkout this file is part of. */
export const checkoutRoot = dirname(__dirname);

/**
 * Where built and downloaded tools are kept. Shared by all checkouts of a user, outlives `make down`.
 * `ML_API_CACHE` names it; else it is `ml-api` in the user's cache folder.
 */
export function cacheDir(variables: Variables = process.env): string {
    const own = variables["ML_API_CACHE"];
    if (own !== undefined && own !== "") {
        if (!isAbsolute(own)) throw new Error(`ML_API_CACHE is "${own}"; it must be an absolute path.`);
        return own;
    }
    return join(baseDirectory(variables, "XDG_CACHE_HOME", ".cache"), "ml-api");
}

/** Everything of one checkout that `make down` removes: cluster, kubeconfig, Pulumi back end, passphrase, evidence. */
export function stateDir(checkout: string = checkoutRoot, variables: Variables = process.env): string {
    return join(baseDirectory(variables, "XDG_STATE_HOME", ".local", "state"), "ml-api", checkoutHash(checkout));
}

/** Ten hex digits that tell two checkouts apart; two ways to write the same folder give the same ones. */
export function checkoutHash(checkout: string = checkoutRoot): string {
    return createHash("sha256").update(realpathSync(checkout)).digest("hex").slice(0, 10);
}

/** The XDG rule: the variable counts only when it is an absolute path. */
function baseDirectory(variables: Variables, name: string, ...fallback: readonly string[]): string {
    const given = variables[name];
    if (given !== undefined && isAbsolute(given)) return given;
    const home = variables["HOME"];
    return join(home !== undefined && isAbsolute(home) ? home : homedir(), ...fallback);
}
