import type { Fault } from "./finding";
import { refusalFault } from "./refusals";

/** What Helm's own words mean, where they say more than that time is up. */
export function errorFault(errors: readonly string[]): Fault | undefined {
    const text = errors.join("\n");
    const refused = refusalFault(text.replace(/\s+$/, ""));
    if (refused !== undefined) return refused;
    const invalid = /(?:([A-Za-z0-9.]+) )?"([^"]*)" is invalid: ([^\n]*)/.exec(text);
    if (invalid !== null) {
        const [, kind = "object", name = "", why = ""] = invalid;
        const sentence = `the API server does not accept ${kind.split(".")[0] ?? kind} ${name}: ${why}`;
        return {
            problem: "invalid",
            sentence,
            fix: "correct the value that this field comes from (merge.pod, merge.container)",
        };
    }
    const unknown =
        /(?:unable to build kubernetes objects[^:]*: )?.*no matches for kind "([^"]*)" in version "([^"]*)"/.exec(text);
    if (unknown !== null) {
        const sentence = `the cluster does not know ${unknown[1] ?? ""} (${unknown[2] ?? ""})`;
        return { problem: "unknown-kind", sentence, fix: "install what brings that kind, or switch off what needs it" };
    }
    return undefined;
}
