import * as fs from "node:fs";
import * as path from "node:path";
import type { Problem } from "../components/config/problem";
import { readProject } from "../components/config/project-file";
import { readStack } from "../components/config/stack";
import { readStackFile, stackFileName, stackNames } from "../components/config/stack-file";
import { leaves } from "../components/config/values";
import { canonicalJson } from "../components/guarded-release/render/digest";
import { redactedValue } from "../components/guarded-release/changes/redaction";
import { git } from "./commit";

/** Behind a value it says that it only looks like a secret. */
const NOT_A_SECRET = /#.*\bnot a secret\b/;

/**
 * What may not be committed: a salt of a local passphrase, which is of no use to anybody else, and secrets in clear, by name or
 * by what they look like, in stack files and in the values that stacks use.
 */
export async function findSecrets(root: string): Promise<Problem[]> {
    const stacks = stackNames(root);
    const salts = await Promise.all(stacks.map((stack) => saltOf(root, stackFileName(stack))));
    const found = [...salts.flat(), ...stacks.flatMap((stack) => secretsOf(root, stack))];
    // Stacks that share a values file share its problems.
    return [...new Map(found.map((problem) => [problem.where, problem])).values()];
}

async function saltOf(root: string, file: string): Promise<Problem[]> {
    const lines = (await committedText(root, file)).split("\n");
    const line = lines.findIndex((text) => /^encryptionsalt:/.test(text));
    if (line < 0) return [];
    return [
        {
            where: `${file}:${line + 1}`,
            what: "the salt of somebody's local passphrase is committed; nobody else has that passphrase",
            fix: "remove the line; for secrets that a team shares: pulumi stack change-secrets-provider",
        },
    ];
}

/** The file as a commit would have it: `make up` lets git pass over the salt in the working tree. */
async function committedText(root: string, file: string): Promise<string> {
    const filter = await git(root, ["check-attr", "filter", "--", file]);
    if (/: filter: (?!unspecified|unset)/.test(filter.stdout)) {
        const staged = await git(root, ["show", `:./${file}`]);
        return staged.ok ? staged.stdout : "";
    }
    return fs.readFileSync(path.join(root, file), "utf8");
}

function secretsOf(root: string, stack: string): Problem[] {
    const project = readProject(root).name;
    const { config, places } = readStackFile(root, stack, project);
    const settings = Object.entries(config).flatMap(([key, value]): Problem[] => {
        if (typeof value !== "string" || key === `${project}:values`) return [];
        return suspect(root, key.split(":"), value, places.get(key) ?? stackFileName(stack));
    });
    return [...settings, ...secretsInValues(root, stack)];
}

function secretsInValues(root: string, stack: string): Problem[] {
    const { values, places, valuesFile } = readStack(root, stack);
    return leaves(values).flatMap(([dotted, value]) =>
        suspect(root, dotted.split("."), value, places.get(dotted) ?? valuesFile),
    );
}

function suspect(root: string, keys: readonly string[], value: unknown, where: string): Problem[] {
    if (canonicalJson(redactedValue(keys, value, "values")) === canonicalJson(value)) return [];
    const [, file = where, line] = /^(.*?):(\d+)/.exec(where) ?? [];
    const text = fs.readFileSync(path.join(root, file), "utf8").split("\n")[Number(line) - 1] ?? "";
    if (NOT_A_SECRET.test(text)) return [];
    return [
        {
            where,
            what: `${keys.join(".")} looks like a secret in clear`,
            fix: "put it into a Kubernetes Secret and name that Secret, then make a new one; if it is none, write `# not a secret` behind it",
        },
    ];
}
