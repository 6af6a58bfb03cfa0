import { checkProject } from "../components/config/project";
import { InputError } from "../components/config/problem";
import { checkoutRoot } from "../local/paths";
import { askRegistry } from "./new-image";
import { describeModel } from "./new-model";
import { type NewPlan, planApi } from "./new-plan";
import { askAtTerminal, askMissing, nameProblems, type NewOptions, readRequest } from "./new-request";
import { type Written, writeApi } from "./new-write";
import { ensureHelm, renderStack } from "./rendered-stack";

/** Makes the files of an API: its values, its stacks, and for a model a server. */
export async function newCommand(
    name: string,
    options: NewOptions & { readonly yes?: boolean; readonly json?: boolean },
): Promise<void> {
    const asks = process.stdin.isTTY && options.yes !== true && options.json !== true;
    // Nobody should answer questions about an API that cannot be called so.
    const hopeless = asks ? nameProblems(checkoutRoot, name, []) : [];
    if (hopeless.length > 0) throw new InputError(`API "${name}"`, hopeless);
    const said = asks ? await askMissing(name, options, askAtTerminal) : options;
    const { plan, written } = await makeApi(checkoutRoot, name, said);
    process.stdout.write(options.json === true ? asJson(name, plan, written) : inWords(plan, written));
}

/**
 * Makes an API in a project's folder.
 *
 * @throws InputError with everything that is against it; nothing is written then
 */
export async function makeApi(
    root: string,
    name: string,
    options: NewOptions,
    oracles = { registry: askRegistry, model: describeModel },
): Promise<{ plan: NewPlan; written: Written }> {
    const request = readRequest(root, name, options);
    if (!("source" in request)) throw new InputError(`API "${name}"`, request);
    const plan = await planApi(root, request, oracles);
    if (!("files" in plan)) throw new InputError(`API "${name}"`, plan);
    const before = new Set(checkProject(root).map((problem) => JSON.stringify(problem)));
    const written = await writeApi(root, plan, async () => {
        const found = checkProject(root).filter((problem) => !before.has(JSON.stringify(problem)));
        if (found.length > 0) throw new InputError(`API "${name}"`, found);
        const helm = await ensureHelm();
        for (const stack of plan.stacks) await renderStack(root, stack, helm);
    });
    return { plan, written };
}

function asJson(name: string, { stacks, notes, next }: NewPlan, { created, changed }: Written): string {
    const commands = next.map(([command]) => command);
    return `${JSON.stringify({ version: 1, name, stacks, created, changed, notes, next: commands }, undefined, 2)}\n`;
}

function inWords({ notes, next }: NewPlan, { created, changed }: Written): string {
    const width = Math.max(...next.map(([command]) => command.length));
    return [
        ...folded(created).map((file) => `created ${file}`),
        ...changed.map((file) => `changed ${file}`),
        ...notes.map((note) => `note    ${note}`),
        "next",
        ...next.map(([command, does]) => `  ${command.padEnd(width)}  # ${does}`),
        "",
    ].join("\n");
}

/** A server has many files; its folder says as much. */
function folded(files: readonly string[]): readonly string[] {
    const server = files.filter((file) => SERVER_FILE.test(file));
    const folder = SERVER_FILE.exec(server[0] ?? "")?.[1];
    const others = files.filter((file) => !SERVER_FILE.test(file));
    return folder === undefined ? others : [...others, `${folder} (${server.length} files)`];
}

const SERVER_FILE = /^(apis\/[^/]+\/server\/)/;
